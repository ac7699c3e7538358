//! What etcd says in JSON: numbers as text, keys and values in Base64.
//!
//! Pure. In: one answer. Out: what is wanted of it. Keys that are not known are passed over, so that a newer etcd is understood.

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// A key and its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Key {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// What became of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// It has this value.
    Put(Key),
    /// It is gone.
    Delete(Vec<u8>),
}

/// What a watch says.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// This has changed; may be nothing.
    Changes(Vec<Change>),
    /// The revision to begin from is not known any more.
    Compacted,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Header {
    #[serde(deserialize_with = "number")]
    revision: i64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct KeyValue {
    #[serde(deserialize_with = "bytes")]
    key: Vec<u8>,
    #[serde(deserialize_with = "bytes")]
    value: Vec<u8>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Range {
    header: Header,
    kvs: Vec<KeyValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    kv: KeyValue,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Watched {
    canceled: bool,
    #[serde(deserialize_with = "number")]
    compact_revision: i64,
    cancel_reason: String,
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Line {
    result: Option<Watched>,
    error: Option<Value>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Lease {
    #[serde(rename = "ID", deserialize_with = "number")]
    id: i64,
    #[serde(rename = "TTL", deserialize_with = "number")]
    ttl: i64,
    error: String,
}

#[derive(Deserialize)]
struct Kept {
    result: Option<Lease>,
    error: Option<Value>,
}

/// The keys, and the revision that they are of.
pub(super) fn range(answer: &[u8]) -> Result<(Vec<Key>, i64), String> {
    let range: Range = serde_json::from_slice(answer).map_err(unreadable)?;
    match range.header.revision {
        // Whatever this is, it is not believed to say that there are no keys.
        ..=0 => Err("it answers with what is none of etcd's: there is no revision".to_owned()),
        revision => Ok((range.kvs.into_iter().map(Key::from).collect(), revision)),
    }
}

/// A line of a watch.
pub(super) fn watched(line: &[u8]) -> Result<Said, String> {
    let line: Line = serde_json::from_slice(line).map_err(unreadable)?;
    if let Some(error) = line.error {
        return Err(complaint(&error));
    }
    let Some(watched) = line.result else { return Ok(Said::Changes(Vec::new())) };
    match watched.canceled {
        true if watched.compact_revision > 0 => Ok(Said::Compacted),
        true => Err(format!("it ended the watch: {}", excerpt(&watched.cancel_reason))),
        false => Ok(Said::Changes(watched.events.into_iter().map(Change::from).collect())),
    }
}

/// The id of a lease that was granted.
pub(super) fn granted(answer: &[u8]) -> Result<i64, String> {
    let lease: Lease = serde_json::from_slice(answer).map_err(unreadable)?;
    match lease.id {
        0 => Err(format!("it granted no lease: {}", excerpt(&lease.error))),
        id => Ok(id),
    }
}

/// Whether a lease is still there.
pub(super) fn kept(line: &[u8]) -> Result<bool, String> {
    let kept: Kept = serde_json::from_slice(line).map_err(unreadable)?;
    match kept.error {
        Some(error) => Err(complaint(&error)),
        None => Ok(kept.result.is_some_and(|lease| lease.ttl > 0)),
    }
}

/// The token of somebody who said who they are.
pub(super) fn token(answer: &[u8]) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Token {
        token: String,
    }
    serde_json::from_slice(answer).map(|Token { token }| token).map_err(unreadable)
}

/// What an answer that is no success says.
pub(super) fn refusal(status: u16, answer: &[u8]) -> String {
    match serde_json::from_slice::<Value>(answer) {
        Ok(value) => complaint(&value),
        Err(_) => format!("it answers with {status}"),
    }
}

/// All keys that begin with the prefix, as a request names them.
pub(super) fn under(prefix: &str) -> (String, String) {
    let mut end = prefix.as_bytes().to_vec();
    while end.last() == Some(&0xff) {
        end.pop();
    }
    match end.last_mut() {
        Some(last) => *last += 1,
        // All keys.
        None => end.push(0),
    }
    (base64(prefix.as_bytes()), base64(&end))
}

/// A question for a watch.
pub(super) fn watch(prefix: &str, revision: i64) -> Value {
    let (key, range_end) = under(prefix);
    let create = json!({ "key": key, "range_end": range_end, "start_revision": revision.to_string() });
    json!({ "create_request": create })
}

/// Base64 with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let word = three.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = ALPHABET.get((word >> (18 - 6 * place) & 63) as usize).filter(|_| place <= three.len());
            text.push(char::from(*digit.unwrap_or(&b'=')));
        }
    }
    text
}

/// The bytes that a text in Base64 stands for.
pub(super) fn unbase64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    for four in text.chunks(4) {
        let mut word = 0u32;
        for digit in four {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => return None,
            };
            word = word << 6 | u32::from(value);
        }
        word <<= 6 * (4 - four.len());
        let [_, three @ ..] = word.to_be_bytes();
        bytes.extend_from_slice(three.get(..four.len().checked_sub(1).filter(|count| *count > 0)?)?);
    }
    Some(bytes)
}

impl From<KeyValue> for Key {
    fn from(KeyValue { key, value }: KeyValue) -> Key {
        Key { key, value }
    }
}

impl From<Event> for Change {
    fn from(event: Event) -> Change {
        match &*event.kind {
            "DELETE" => Change::Delete(event.kv.key),
            // What is the default is left out.
            _ => Change::Put(event.kv.into()),
        }
    }
}

/// Numbers of 64 bits come as text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Text(String),
        Plain(i64),
    }
    match Number::deserialize(deserializer)? {
        Number::Text(text) => text.parse().map_err(serde::de::Error::custom),
        Number::Plain(number) => Ok(number),
    }
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    unbase64(&text).ok_or_else(|| serde::de::Error::custom("it is no Base64"))
}

fn unreadable(error: serde_json::Error) -> String {
    format!("it answers with what is none of etcd's: {error}")
}

fn complaint(error: &Value) -> String {
    let text = ["message", "error"].into_iter().find_map(|key| error[key].as_str());
    format!("it says {:?}", excerpt(text.unwrap_or("that something is wrong")))
}

fn excerpt(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_goes_there_and_back() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(
                (base64(bytes.as_bytes()), unbase64(text).unwrap()),
                (text.to_owned(), bytes.as_bytes().to_vec())
            );
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unbase64(&base64(&all)), Some(all));
        assert_eq!((unbase64("Z"), unbase64("Z!=="), unbase64("Zm9vY")), (None, None, None));
    }

    #[test]
    fn a_prefix_ends_before_the_next() {
        let ends = |prefix: &str| unbase64(&under(prefix).1).unwrap();
        assert_eq!((ends("/a/"), ends("")), (b"/a0".to_vec(), vec![0]));
    }

    #[test]
    fn answers_are_read() {
        let answer = br#"{"header":{"cluster_id":"1","revision":"7"},"kvs":[{"key":"L2E=","value":"YTox","lease":"9"}],"count":"1"}"#;
        let key = Key { key: b"/a".to_vec(), value: b"a:1".to_vec() };
        assert_eq!(range(answer), Ok((vec![key.clone()], 7)));
        assert_eq!(range(br#"{"header":{"revision":"3"}}"#), Ok((Vec::new(), 3)));
        let events = br#"{"result":{"header":{"revision":"8"},"events":[{"kv":{"key":"L2E=","value":"YTox"}},{"type":"DELETE","kv":{"key":"L2E="}}]}}"#;
        assert_eq!(watched(events), Ok(Said::Changes(vec![Change::Put(key), Change::Delete(b"/a".to_vec())])));
        assert_eq!(watched(br#"{"result":{"created":true}}"#), Ok(Said::Changes(Vec::new())));
        let compacted = br#"{"result":{"canceled":true,"compact_revision":"5"}}"#;
        assert_eq!(watched(compacted), Ok(Said::Compacted));
        let ended = br#"{"result":{"canceled":true,"cancel_reason":"no leader"}}"#;
        assert!(watched(ended).unwrap_err().contains("no leader"));
        assert!(watched(br#"{"error":{"message":"bad token"}}"#).unwrap_err().contains("bad token"));
        assert_eq!(granted(br#"{"ID":"12","TTL":"5"}"#), Ok(12));
        assert!(granted(b"{}").is_err());
        assert_eq!(
            (kept(br#"{"result":{"ID":"12","TTL":"5"}}"#), kept(br#"{"result":{"ID":"12"}}"#)),
            (Ok(true), Ok(false))
        );
    }

    #[test]
    fn hostile_answers_are_errors() {
        for hostile in
            ["", "[]", "{}", "{\"kvs\":5}", "{\"kvs\":[{\"key\":\"!\"}]}", "{\"header\":{\"revision\":\"x\"}}", "\u{0}"]
        {
            assert!(range(hostile.as_bytes()).is_err(), "{hostile}");
        }
        let deep = "[".repeat(100_000);
        assert!(range(deep.as_bytes()).is_err() && watched(deep.as_bytes()).is_err());
    }
}
