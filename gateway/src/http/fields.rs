//! Header and trailer fields of one message, in one arena.
//!
//! In: bytes that a parser took from the wire, or values that the gateway sets itself. Out: look-ups, iteration in
//! wire order. Invariant: every name is a lower-case token and no value holds CR, LF, NUL or another control character
//! but HTAB, so whatever is in here can be written to any protocol without becoming a new line.
//!
//! A message has some ten to thirty fields, which are looked at often and changed seldom. One text buffer and one
//! table of positions cost two allocations a message (none when reused) and no reference counts; common names
//! are numbers, so that a look-up compares integers.

use std::cell::RefCell;
use std::fmt;

use smallvec::SmallVec;

/// A field name that the gateway knows by number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Known(u8);

/// A field name to look up or to write: known by number, or lower-case text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Name<'a> {
    /// One of the names in [`name`].
    Known(Known),
    /// Any other name, in lower case. It is none of [`name`]: make it by `from`, which looks.
    Text(&'a str),
}

/// A field name that is kept, as configuration does. Always a lower-case token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldName {
    known: Option<Known>,
    text: Box<str>,
}

/// The fields of one message, in wire order.
#[derive(Default)]
pub struct Fields {
    text: Vec<u8>,
    entries: Vec<Entry>,
    /// The known names that may be here, by number: most look-ups are for fields that are not, and cost one comparison.
    present: u128,
}

/// Why a field was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidField {
    /// The name is empty or not a token (RFC 9110 section 5.1).
    #[error("field name is not a token")]
    Name,
    /// The value holds a control character (RFC 9110 section 5.5).
    #[error("field value holds a control character")]
    Value,
    /// The name is longer than 65 535 bytes, or the fields than 4 GiB.
    #[error("field is too long")]
    Length,
}

#[derive(Clone, Copy)]
struct Entry {
    /// A number from [`name`], or 0 for a name that stands as text.
    known: u8,
    name_length: u16,
    /// Where the name starts in the text; the value follows it directly.
    start: u32,
    value_length: u32,
}

macro_rules! known_names {
    ($($constant:ident = $text:literal),* $(,)?) => {
        /// The field names that are known by number.
        pub mod name {
            use super::Known;
            #[allow(non_camel_case_types, clippy::upper_case_acronyms, dead_code)]
            #[repr(u8)]
            enum Number { NONE, $($constant),* }
            $(#[doc = concat!("`", $text, "`")] pub const $constant: Known = Known(Number::$constant as u8);)*
        }
        const TEXTS: &[&str] = &["", $($text),*];
    };
}

known_names! {
    ACCEPT = "accept",
    ACCEPT_ENCODING = "accept-encoding",
    ACCEPT_LANGUAGE = "accept-language",
    ACCEPT_RANGES = "accept-ranges",
    ACCESS_CONTROL_ALLOW_ORIGIN = "access-control-allow-origin",
    AGE = "age",
    ALLOW = "allow",
    ALT_SVC = "alt-svc",
    AUTHORIZATION = "authorization",
    CACHE_CONTROL = "cache-control",
    CACHE_STATUS = "cache-status",
    CDN_CACHE_CONTROL = "cdn-cache-control",
    CONNECTION = "connection",
    CONTENT_DISPOSITION = "content-disposition",
    CONTENT_ENCODING = "content-encoding",
    CONTENT_LANGUAGE = "content-language",
    CONTENT_LENGTH = "content-length",
    CONTENT_LOCATION = "content-location",
    CONTENT_RANGE = "content-range",
    CONTENT_SECURITY_POLICY = "content-security-policy",
    CONTENT_TYPE = "content-type",
    COOKIE = "cookie",
    DATE = "date",
    ETAG = "etag",
    EXPECT = "expect",
    EXPIRES = "expires",
    FORWARDED = "forwarded",
    FROM = "from",
    GRPC_STATUS = "grpc-status",
    HOST = "host",
    HTTP2_SETTINGS = "http2-settings",
    IF_MATCH = "if-match",
    IF_MODIFIED_SINCE = "if-modified-since",
    IF_NONE_MATCH = "if-none-match",
    IF_RANGE = "if-range",
    IF_UNMODIFIED_SINCE = "if-unmodified-since",
    KEEP_ALIVE = "keep-alive",
    LAST_MODIFIED = "last-modified",
    LINK = "link",
    LOCATION = "location",
    MAX_FORWARDS = "max-forwards",
    ORIGIN = "origin",
    PRAGMA = "pragma",
    PRIORITY = "priority",
    PROXY_AUTHENTICATE = "proxy-authenticate",
    PROXY_AUTHORIZATION = "proxy-authorization",
    PROXY_CONNECTION = "proxy-connection",
    RANGE = "range",
    REFERER = "referer",
    REFRESH = "refresh",
    RETRY_AFTER = "retry-after",
    SEC_WEBSOCKET_ACCEPT = "sec-websocket-accept",
    SEC_WEBSOCKET_KEY = "sec-websocket-key",
    SEC_WEBSOCKET_PROTOCOL = "sec-websocket-protocol",
    SEC_WEBSOCKET_VERSION = "sec-websocket-version",
    SERVER = "server",
    SET_COOKIE = "set-cookie",
    STRICT_TRANSPORT_SECURITY = "strict-transport-security",
    SURROGATE_CONTROL = "surrogate-control",
    SURROGATE_KEY = "surrogate-key",
    TE = "te",
    TRAILER = "trailer",
    TRANSFER_ENCODING = "transfer-encoding",
    UPGRADE = "upgrade",
    USER_AGENT = "user-agent",
    VARY = "vary",
    VIA = "via",
    WWW_AUTHENTICATE = "www-authenticate",
    X_FORWARDED_FOR = "x-forwarded-for",
    X_FORWARDED_HOST = "x-forwarded-host",
    X_FORWARDED_PROTO = "x-forwarded-proto",
    X_REAL_IP = "x-real-ip",
    X_REQUEST_ID = "x-request-id",
}

/// [`Fields`] keeps a bit for each.
const _: () = assert!(TEXTS.len() <= 128);

const SLOTS: usize = 256;

const fn slot(first: u8, middle: u8, last: u8, length: usize) -> usize {
    (first as usize * 7 + middle as usize * 31 + last as usize * 3 + length * 13) % SLOTS
}

/// Open addressing, filled at compile time.
const TABLE: [u8; SLOTS] = {
    let mut table = [0u8; SLOTS];
    let mut number = 1;
    while number < TEXTS.len() {
        let text = TEXTS[number].as_bytes();
        let mut at = slot(text[0], text[text.len() / 2], text[text.len() - 1], text.len());
        while table[at] != 0 {
            at = (at + 1) % SLOTS;
        }
        table[at] = number as u8;
        number += 1;
    }
    table
};

/// RFC 9110 section 5.6.2: the lower-case form of each byte that may stand in a token, 0 for the others.
const TOKEN: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = match b {
            b'A'..=b'Z' => b + 32,
            b'a'..=b'z' | b'0'..=b'9' => b,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~' => {
                b
            }
            _ => 0,
        };
        byte += 1;
    }
    table
};

/// Whether a byte is a visible character of ASCII (RFC 5234 section B.1, VCHAR).
pub fn is_visible(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

/// Whether the bytes are a token (RFC 9110 section 5.6.2).
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| TOKEN[b as usize] != 0)
}

fn is_lower_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| b != 0 && TOKEN[b as usize] == b)
}

/// Shows a name that was written in any case as one to look up; `None` when it is no token.
pub fn with_name<T>(name: &[u8], look: impl FnOnce(Name<'_>) -> T) -> Option<T> {
    if is_lower_token(name) {
        return std::str::from_utf8(name).ok().map(|text| look(text.into()));
    }
    if !is_token(name) {
        return None;
    }
    let lower: SmallVec<[u8; 64]> = name.iter().map(u8::to_ascii_lowercase).collect();
    std::str::from_utf8(&lower).ok().map(|text| look(text.into()))
}

/// Whether a value may be written as it is: no control character but HTAB (RFC 9110 section 5.5).
pub fn is_value(bytes: &[u8]) -> bool {
    // Eight at a time, the last eight perhaps twice. A tab looks suspicious too and is looked at again alone.
    let (words, rest) = bytes.as_chunks::<8>();
    let last = if words.is_empty() { rest } else { &[] };
    let tail = if rest.is_empty() { None } else { bytes.last_chunk::<8>() };
    if words.iter().chain(tail).any(|word| is_suspicious(u64::from_ne_bytes(*word))) {
        return bytes.iter().all(|&b| is_value_byte(b));
    }
    last.iter().all(|&b| is_value_byte(b))
}

fn is_value_byte(b: u8) -> bool {
    (b >= 0x20 && b != 0x7f) || b == b'\t'
}

/// Whether one of eight bytes is below 0x20 or is 0x7f; seldom also for one that is not.
fn is_suspicious(word: u64) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let below = word.wrapping_sub(ONES * 0x20) & !word;
    let delete = word ^ (ONES * 0x7f);
    (below | (delete.wrapping_sub(ONES) & !delete)) & (ONES * 0x80) != 0
}

/// How many bytes at the start make up a token.
pub fn token_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|&b| TOKEN[b as usize] == 0).unwrap_or(bytes.len())
}

/// Takes spaces and tabs from both ends (RFC 9110 section 5.6.3).
pub fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The members of a comma-separated list (RFC 9110 section 5.6.1), trimmed, without the empty ones. Commas
/// inside quoted strings do not separate.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let value = rest?;
        let mut quoted = false;
        let mut escaped = false;
        let end = value.iter().position(|&b| {
            match b {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b',' if !quoted => return true,
                _ => {}
            }
            false
        });
        match end {
            Some(end) => {
                rest = value.get(end + 1..);
                value.get(..end)
            }
            None => rest.take(),
        }
    })
    .map(trim)
    .filter(|member| !member.is_empty())
}

impl Known {
    /// The name as it stands in HTTP/2, in lower case.
    pub fn text(self) -> &'static str {
        TEXTS[self.0 as usize]
    }

    /// The place in tables that are indexed by known names; below 128.
    pub const fn number(self) -> u8 {
        self.0
    }

    fn find(name: &[u8]) -> Option<Known> {
        let (&first, &last) = (name.first()?, name.last()?);
        let mut at = slot(first, name[name.len() / 2], last, name.len());
        while TABLE[at] != 0 {
            if TEXTS[TABLE[at] as usize].as_bytes() == name {
                return Some(Known(TABLE[at]));
            }
            at = (at + 1) % SLOTS;
        }
        None
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl<'a> Name<'a> {
    /// The name in lower case.
    pub fn text(self) -> &'a str {
        match self {
            Name::Known(known) => known.text(),
            Name::Text(text) => text,
        }
    }
}

impl From<Known> for Name<'_> {
    fn from(known: Known) -> Self {
        Name::Known(known)
    }
}

/// Looks the text up; it must be in lower case to be found.
impl<'a> From<&'a str> for Name<'a> {
    fn from(text: &'a str) -> Self {
        Known::find(text.as_bytes()).map_or(Name::Text(text), Name::Known)
    }
}

impl<'a> From<&'a FieldName> for Name<'a> {
    fn from(name: &'a FieldName) -> Self {
        name.known.map_or(Name::Text(&name.text), Name::Known)
    }
}

impl FieldName {
    /// A name from configuration or a peer, in any case.
    pub fn new(text: &str) -> Result<FieldName, InvalidField> {
        if !is_token(text.as_bytes()) {
            return Err(InvalidField::Name);
        }
        let text = text.to_ascii_lowercase().into_boxed_str();
        Ok(FieldName { known: Known::find(text.as_bytes()), text })
    }

    /// The name in lower case.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Fields {
    /// No fields and no memory.
    pub fn new() -> Fields {
        Fields::default()
    }

    /// Room for so many fields with so much text; with memory that a message before left behind, where there is some.
    pub fn with_capacity(fields: usize, text: usize) -> Fields {
        let (mut texts, mut entries) = STORE.with_borrow_mut(Vec::pop).unwrap_or_default();
        texts.reserve(text);
        entries.reserve(fields);
        Fields { text: texts, entries, present: 0 }
    }

    /// A copy, with room for so many fields more and so much more text.
    pub fn copy(&self, fields: usize, text: usize) -> Fields {
        let mut copy = Fields::with_capacity(self.entries.len() + fields, self.text.len() + text);
        copy.text.extend_from_slice(&self.text);
        copy.entries.extend_from_slice(&self.entries);
        copy.present = self.present;
        copy
    }

    /// Takes all fields out and keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.entries.clear();
        self.present = 0;
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The size by RFC 9113 section 6.5.2: name, value and 32 for each field.
    pub fn list_size(&self) -> usize {
        self.entries.iter().map(|e| e.name_length as usize + e.value_length as usize + 32).sum()
    }

    /// Adds a field at the end. The name may be in any case; the value is trimmed.
    pub fn append_bytes(&mut self, name: &[u8], value: &[u8]) -> Result<(), InvalidField> {
        if !is_token(name) {
            return Err(InvalidField::Name);
        }
        self.append_token(name, value)
    }

    /// The same with a name that the caller has found to be a token.
    pub(super) fn append_token(&mut self, name: &[u8], value: &[u8]) -> Result<(), InvalidField> {
        let value = trim(value);
        if !is_value(value) {
            return Err(InvalidField::Value);
        }
        let length = u16::try_from(name.len()).map_err(|_| InvalidField::Length)?;
        let (start, value_length) = self.room(name.len(), value.len())?;
        self.text.extend_from_slice(name);
        self.text[start as usize..].make_ascii_lowercase();
        let known = Known::find(&self.text[start as usize..]).map_or(0, |known| known.0);
        self.text.extend_from_slice(value);
        self.entries.push(Entry { known, name_length: length, start, value_length });
        self.present |= 1 << known;
        Ok(())
    }

    /// Adds a field at the end; others of the same name stay.
    pub fn append<'n>(&mut self, name: impl Into<Name<'n>>, value: &[u8]) -> Result<(), InvalidField> {
        let name = name.into();
        let value = trim(value);
        if !is_value(value) {
            return Err(InvalidField::Value);
        }
        self.append_value(name, value)
    }

    /// The same with a value that is one, and trimmed.
    fn append_value(&mut self, name: Name<'_>, value: &[u8]) -> Result<(), InvalidField> {
        let text = name.text().as_bytes();
        let known = match name {
            Name::Known(known) => known.0,
            Name::Text(_) if is_lower_token(text) => 0,
            Name::Text(_) => return self.append_bytes(text, value),
        };
        let length = u16::try_from(text.len()).map_err(|_| InvalidField::Length)?;
        let (start, value_length) = self.room(text.len(), value.len())?;
        self.text.extend_from_slice(text);
        self.text.extend_from_slice(value);
        self.entries.push(Entry { known, name_length: length, start, value_length });
        self.present |= 1 << known;
        Ok(())
    }

    /// Makes this the only field of its name.
    pub fn set<'n>(&mut self, name: impl Into<Name<'n>>, value: &[u8]) -> Result<(), InvalidField> {
        let name = name.into();
        let value = trim(value);
        if !is_value(value) {
            return Err(InvalidField::Value);
        }
        self.remove(name);
        self.append_value(name, value)
    }

    /// Removes all fields of this name and says how many there were.
    pub fn remove<'n>(&mut self, name: impl Into<Name<'n>>) -> usize {
        let name = name.into();
        if !self.may_have(name) {
            return 0;
        }
        let before = self.entries.len();
        let text = &self.text;
        self.entries.retain(|entry| !entry.is(name, text));
        if let Name::Known(known) = name {
            self.present &= !(1 << known.0);
        }
        before - self.entries.len()
    }

    /// Keeps the fields for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(Name<'_>, &[u8]) -> bool) {
        let text = &self.text;
        self.entries.retain(|entry| keep(entry.name(text), entry.value(text)));
    }

    /// The value of the first field of this name.
    pub fn value<'n>(&self, name: impl Into<Name<'n>>) -> Option<&[u8]> {
        let name = name.into();
        if !self.may_have(name) {
            return None;
        }
        self.entries.iter().find(|entry| entry.is(name, &self.text)).map(|entry| entry.value(&self.text))
    }

    /// The value of the first field of this name, when it is UTF-8.
    pub fn text<'n>(&self, name: impl Into<Name<'n>>) -> Option<&str> {
        self.value(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of all fields of this name, in wire order.
    pub fn values<'f, 'n: 'f>(&'f self, name: impl Into<Name<'n>>) -> impl Iterator<Item = &'f [u8]> {
        let name = name.into();
        let entries = if self.may_have(name) { &self.entries[..] } else { &[] };
        entries.iter().filter(move |entry| entry.is(name, &self.text)).map(|entry| entry.value(&self.text))
    }

    /// The members of the comma-separated list that the fields of this name make up together.
    pub fn members<'f, 'n: 'f>(&'f self, name: impl Into<Name<'n>>) -> impl Iterator<Item = &'f [u8]> {
        self.values(name).flat_map(list)
    }

    /// Whether there is a field of this name.
    pub fn contains<'n>(&self, name: impl Into<Name<'n>>) -> bool {
        self.value(name).is_some()
    }

    /// All fields in wire order.
    pub fn iter(&self) -> impl Iterator<Item = (Name<'_>, &[u8])> {
        self.entries.iter().map(|entry| (entry.name(&self.text), entry.value(&self.text)))
    }

    /// The same as bytes, for those who write them or compare: whether the name is known by number, the name, the value.
    pub fn iter_bytes(&self) -> impl Iterator<Item = (Option<Known>, &[u8], &[u8])> {
        self.entries.iter().map(|entry| {
            let known = (entry.known != 0).then_some(Known(entry.known));
            (known, entry.name_bytes(&self.text), entry.value(&self.text))
        })
    }

    fn may_have(&self, name: Name<'_>) -> bool {
        match name {
            Name::Known(known) => self.present & (1 << known.0) != 0,
            Name::Text(_) => self.present & 1 != 0,
        }
    }

    fn room(&self, name: usize, value: usize) -> Result<(u32, u32), InvalidField> {
        let start = u32::try_from(self.text.len()).map_err(|_| InvalidField::Length)?;
        u32::try_from(self.text.len() + name + value).map_err(|_| InvalidField::Length)?;
        Ok((start, value as u32))
    }
}

thread_local! {
    /// Memory of messages that are gone, for those that come.
    static STORE: RefCell<Vec<(Vec<u8>, Vec<Entry>)>> = const { RefCell::new(Vec::new()) };
}

/// How many messages' memory a thread keeps, and how much of each.
const STORE_SIZE: usize = 64;
const STORE_TEXT: usize = 4096;

impl Drop for Fields {
    fn drop(&mut self) {
        if self.entries.capacity() == 0 || self.text.capacity() > STORE_TEXT {
            return;
        }
        let (mut text, mut entries) = (std::mem::take(&mut self.text), std::mem::take(&mut self.entries));
        text.clear();
        entries.clear();
        // A thread that ends keeps nothing.
        let _ = STORE.try_with(|store| {
            if let Ok(mut store) = store.try_borrow_mut()
                && store.len() < STORE_SIZE
            {
                store.push((text, entries));
            }
        });
    }
}

/// Into memory that a message before left behind, where there is some.
impl Clone for Fields {
    fn clone(&self) -> Fields {
        let mut copy = Fields::with_capacity(self.entries.len(), self.text.len());
        copy.text.extend_from_slice(&self.text);
        copy.entries.extend_from_slice(&self.entries);
        copy.present = self.present;
        copy
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, value)| (name.text(), String::from_utf8_lossy(value)))).finish()
    }
}

impl Entry {
    fn is(&self, name: Name<'_>, text: &[u8]) -> bool {
        match name {
            Name::Known(known) => self.known == known.0,
            Name::Text(wanted) => self.known == 0 && self.name_bytes(text) == wanted.as_bytes(),
        }
    }

    fn name<'t>(&self, text: &'t [u8]) -> Name<'t> {
        match self.known {
            0 => Name::Text(std::str::from_utf8(self.name_bytes(text)).unwrap_or_default()),
            known => Name::Known(Known(known)),
        }
    }

    fn name_bytes<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        let start = self.start as usize;
        &text[start..start + self.name_length as usize]
    }

    fn value<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        let start = self.start as usize + self.name_length as usize;
        &text[start..start + self.value_length as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_by_its_text() {
        for (number, text) in TEXTS.iter().enumerate().skip(1) {
            assert_eq!(Known::find(text.as_bytes()), Some(Known(number as u8)), "{text}");
        }
        assert_eq!(Known::find(b"x-unknown"), None);
        assert_eq!(Known::find(b""), None);
    }

    #[test]
    fn names_are_found_in_any_case_and_keep_wire_order() {
        let mut fields = Fields::new();
        fields.append_bytes(b"X-Custom", b" one ").unwrap();
        fields.append_bytes(b"HOST", b"example").unwrap();
        fields.append("x-custom", b"two").unwrap();
        assert_eq!(fields.text(name::HOST), Some("example"));
        assert_eq!(fields.values("x-custom").collect::<Vec<_>>(), [b"one", b"two"]);
        assert_eq!(fields.remove("x-custom"), 2);
        assert_eq!(fields.len(), 1);
    }

    #[test]
    fn what_could_become_a_new_line_is_refused() {
        let mut fields = Fields::new();
        assert_eq!(fields.append_bytes(b"a", b"b\r\nc: d"), Err(InvalidField::Value));
        assert_eq!(fields.append(name::HOST, b"\0"), Err(InvalidField::Value));
        assert_eq!(fields.append_bytes(b"a b", b""), Err(InvalidField::Name));
        assert_eq!(fields.append_bytes(b"", b""), Err(InvalidField::Name));
        assert!(fields.set("a\n", b"x").is_err());
        assert!(fields.is_empty());
    }

    #[test]
    fn control_characters_are_seen_at_every_place() {
        for length in 0..40 {
            for at in 0..length {
                for byte in 0..=255u8 {
                    let mut value = vec![b'a'; length];
                    value[at] = byte;
                    assert_eq!(is_value(&value), is_value_byte(byte), "{byte:#x} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn list_members_are_trimmed_and_quotes_hold_commas() {
        assert_eq!(list(b" a , ,\"b,c\\\",\" ,d").collect::<Vec<_>>(), [&b"a"[..], b"\"b,c\\\",\"", b"d"]);
        assert_eq!(list(b"").count(), 0);
    }
}
