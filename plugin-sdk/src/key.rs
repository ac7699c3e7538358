//! What a request is known by, as a configuration says it.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::request::Request;

/// What a request is known by: `"client"` (its address), `"path"`, `"host"`, `"header:NAME"`, `"cookie:NAME"` or `"query:NAME"`;
/// or a list of these, of which the first counts that the request has.
///
/// ```
/// # use gatewright_sdk::prelude::*;
/// #[derive(Deserialize)]
/// struct Config {
///     #[serde(default)]       // the client's address
///     key: Key,
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Client,
    Path,
    Host,
    Header(String),
    Cookie(String),
    Query(String),
}

impl Default for Key {
    /// The client's address.
    fn default() -> Key {
        Key { parts: vec![Part::Client] }
    }
}

impl Key {
    /// A hash of the first of these that the request has; of the client's address when it has none of them. Nothing is copied.
    #[inline]
    pub fn hash(&self, request: &Request, seed: u64) -> Option<u64> {
        let of = |part: &Part| match part {
            Part::Client => request.hash_client(seed),
            Part::Path => request.hash_path(seed),
            Part::Host => request.hash_authority(seed),
            Part::Header(name) => request.hash_header(name, seed),
            Part::Cookie(name) => request.hash_cookie(name, seed),
            Part::Query(name) => request.hash_query_value(name, seed),
        };
        self.parts.iter().find_map(of).or_else(|| request.hash_client(seed))
    }

    /// The first of these that the request has and that is not empty, as text. A client's address is not asked for unless it is
    /// named, and has no text.
    pub fn value<'r>(&self, request: &'r Request) -> Option<&'r str> {
        let of = |part: &Part| match part {
            Part::Client => None,
            Part::Path => Some(request.path()),
            Part::Host => Some(request.host()),
            Part::Header(name) => request.header(name),
            Part::Cookie(name) => request.cookie(name),
            Part::Query(name) => request.query_value(name),
        };
        self.parts.iter().filter_map(of).find(|value| !value.is_empty())
    }
}

const KNOWN: &str = "\"client\", \"path\", \"host\", \"header:NAME\", \"cookie:NAME\" or \"query:NAME\"";

fn part(text: &str) -> Result<Part, String> {
    let (kind, name) = text.split_once(':').map_or((text, None), |(kind, name)| (kind, Some(name.trim())));
    // A name with a blank or a separator in it can stand in no header or cookie.
    let is_name = |name: &&str| !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || ";,=\"".contains(c));
    match (kind, name) {
        ("client", None) => Ok(Part::Client),
        ("path", None) => Ok(Part::Path),
        ("host", None) => Ok(Part::Host),
        ("header" | "cookie" | "query", None) => Err(format!("needs a name: \"{kind}:NAME\"")),
        ("header", Some(name)) if is_name(&name) => Ok(Part::Header(name.to_ascii_lowercase())),
        ("cookie", Some(name)) if is_name(&name) => Ok(Part::Cookie(name.to_owned())),
        ("query", Some(name)) if !name.is_empty() => Ok(Part::Query(name.to_owned())),
        ("header" | "cookie" | "query", Some(name)) => Err(format!("{name:?} is no name of a {kind}")),
        _ => Err(format!("takes {KNOWN}, not {text:?}")),
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        struct Parts;

        impl<'de> Visitor<'de> for Parts {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{KNOWN}, or a list of them")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Key, E> {
                part(text).map(|part| Key { parts: vec![part] }).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Key, A::Error> {
                let mut parts = Vec::new();
                while let Some(text) = list.next_element::<String>()? {
                    parts.push(part(&text).map_err(A::Error::custom)?);
                }
                if parts.is_empty() {
                    return Err(A::Error::custom("the list is empty"));
                }
                Ok(Key { parts })
            }
        }

        deserializer.deserialize_any(Parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Key, String> {
        #[derive(Deserialize)]
        struct Config {
            key: Key,
        }
        let config: Result<Config, _> = crate::config::parse(format!("{{\"key\": {json}}}").as_bytes());
        config.map(|config| config.key).map_err(|error| error.to_string())
    }

    #[test]
    fn one_or_several_and_errors_say_what_is_taken() {
        assert_eq!(read("\"client\"").unwrap(), Key::default());
        assert_eq!(read("\"header:X-User\"").unwrap().parts, [Part::Header("x-user".into())]);
        let list = [Part::Cookie("sid".into()), Part::Query("user".into()), Part::Path];
        assert_eq!(read("[\"cookie:sid\", \"query:user\", \"path\"]").unwrap().parts, list);
        for (json, words) in [
            ("\"haeder:x\"", "key: takes \"client\", \"path\", \"host\", \"header:NAME\", \"cookie:NAME\""),
            ("\"header\"", "key: needs a name: \"header:NAME\""),
            ("\"cookie:\"", "key: \"\" is no name of a cookie"),
            ("\"cookie:a b\"", "is no name of a cookie"),
            ("[]", "key: the list is empty"),
            ("7", "key: invalid type: integer `7`, expected \"client\""),
            ("[\"path\", \"pth\"]", "not \"pth\""),
        ] {
            let wrong = read(json).unwrap_err();
            assert!(wrong.contains(words), "{json}: {wrong}");
        }
    }
}
