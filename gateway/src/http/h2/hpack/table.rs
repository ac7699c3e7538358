//! The tables of HPACK: the static one (RFC 7541 appendix A) and the dynamic one (section 2.3.2), which holds its
//! size bound whatever is put in.
//!
//! A name is told apart once, when it arrives, and kept in that form: a pseudo-header field, a name that the gateway
//! knows by number, another valid name, or bytes that are no field name at all.

use std::collections::VecDeque;

use crate::http::fields::{Known, Name, is_token, name};

/// A pseudo-header field (RFC 9113 section 8.3, RFC 8441 section 4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http::h2) enum Pseudo {
    /// `:authority`
    Authority,
    /// `:method`
    Method,
    /// `:path`
    Path,
    /// `:scheme`
    Scheme,
    /// `:status`
    Status,
    /// `:protocol`
    Protocol,
}

/// What stands before a value in a header block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http::h2) enum Label<'a> {
    /// A pseudo-header field.
    Pseudo(Pseudo),
    /// A valid field name in lower case.
    Name(Name<'a>),
    /// Anything else: no token, upper case, an unknown pseudo-header field.
    Invalid(&'a [u8]),
}

/// RFC 7541 appendix A; the first stands at index 1.
pub(super) const STATIC: [(Label<'static>, &[u8]); 61] = [
    (Label::Pseudo(Pseudo::Authority), b""),
    (Label::Pseudo(Pseudo::Method), b"GET"),
    (Label::Pseudo(Pseudo::Method), b"POST"),
    (Label::Pseudo(Pseudo::Path), b"/"),
    (Label::Pseudo(Pseudo::Path), b"/index.html"),
    (Label::Pseudo(Pseudo::Scheme), b"http"),
    (Label::Pseudo(Pseudo::Scheme), b"https"),
    (Label::Pseudo(Pseudo::Status), b"200"),
    (Label::Pseudo(Pseudo::Status), b"204"),
    (Label::Pseudo(Pseudo::Status), b"206"),
    (Label::Pseudo(Pseudo::Status), b"304"),
    (Label::Pseudo(Pseudo::Status), b"400"),
    (Label::Pseudo(Pseudo::Status), b"404"),
    (Label::Pseudo(Pseudo::Status), b"500"),
    (Label::Name(Name::Text("accept-charset")), b""),
    (Label::Name(Name::Known(name::ACCEPT_ENCODING)), b"gzip, deflate"),
    (Label::Name(Name::Known(name::ACCEPT_LANGUAGE)), b""),
    (Label::Name(Name::Known(name::ACCEPT_RANGES)), b""),
    (Label::Name(Name::Known(name::ACCEPT)), b""),
    (Label::Name(Name::Known(name::ACCESS_CONTROL_ALLOW_ORIGIN)), b""),
    (Label::Name(Name::Known(name::AGE)), b""),
    (Label::Name(Name::Known(name::ALLOW)), b""),
    (Label::Name(Name::Known(name::AUTHORIZATION)), b""),
    (Label::Name(Name::Known(name::CACHE_CONTROL)), b""),
    (Label::Name(Name::Known(name::CONTENT_DISPOSITION)), b""),
    (Label::Name(Name::Known(name::CONTENT_ENCODING)), b""),
    (Label::Name(Name::Known(name::CONTENT_LANGUAGE)), b""),
    (Label::Name(Name::Known(name::CONTENT_LENGTH)), b""),
    (Label::Name(Name::Known(name::CONTENT_LOCATION)), b""),
    (Label::Name(Name::Known(name::CONTENT_RANGE)), b""),
    (Label::Name(Name::Known(name::CONTENT_TYPE)), b""),
    (Label::Name(Name::Known(name::COOKIE)), b""),
    (Label::Name(Name::Known(name::DATE)), b""),
    (Label::Name(Name::Known(name::ETAG)), b""),
    (Label::Name(Name::Known(name::EXPECT)), b""),
    (Label::Name(Name::Known(name::EXPIRES)), b""),
    (Label::Name(Name::Known(name::FROM)), b""),
    (Label::Name(Name::Known(name::HOST)), b""),
    (Label::Name(Name::Known(name::IF_MATCH)), b""),
    (Label::Name(Name::Known(name::IF_MODIFIED_SINCE)), b""),
    (Label::Name(Name::Known(name::IF_NONE_MATCH)), b""),
    (Label::Name(Name::Known(name::IF_RANGE)), b""),
    (Label::Name(Name::Known(name::IF_UNMODIFIED_SINCE)), b""),
    (Label::Name(Name::Known(name::LAST_MODIFIED)), b""),
    (Label::Name(Name::Known(name::LINK)), b""),
    (Label::Name(Name::Known(name::LOCATION)), b""),
    (Label::Name(Name::Known(name::MAX_FORWARDS)), b""),
    (Label::Name(Name::Known(name::PROXY_AUTHENTICATE)), b""),
    (Label::Name(Name::Known(name::PROXY_AUTHORIZATION)), b""),
    (Label::Name(Name::Known(name::RANGE)), b""),
    (Label::Name(Name::Known(name::REFERER)), b""),
    (Label::Name(Name::Known(name::REFRESH)), b""),
    (Label::Name(Name::Known(name::RETRY_AFTER)), b""),
    (Label::Name(Name::Known(name::SERVER)), b""),
    (Label::Name(Name::Known(name::SET_COOKIE)), b""),
    (Label::Name(Name::Known(name::STRICT_TRANSPORT_SECURITY)), b""),
    (Label::Name(Name::Known(name::TRANSFER_ENCODING)), b""),
    (Label::Name(Name::Known(name::USER_AGENT)), b""),
    (Label::Name(Name::Known(name::VARY)), b""),
    (Label::Name(Name::Known(name::VIA)), b""),
    (Label::Name(Name::Known(name::WWW_AUTHENTICATE)), b""),
];

/// RFC 7541 section 4.1: what each entry counts beside its text.
pub(super) const OVERHEAD: usize = 32;

/// The dynamic table: newest first.
#[derive(Default)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    size: usize,
    bound: usize,
}

struct Entry {
    kind: EntryKind,
    name_length: u32,
    /// The name, then the value.
    text: Box<[u8]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum EntryKind {
    Pseudo(Pseudo),
    Known(Known),
    Text,
    Invalid,
}

impl Pseudo {
    /// With its colon.
    pub(in crate::http::h2) fn text(self) -> &'static str {
        match self {
            Pseudo::Authority => ":authority",
            Pseudo::Method => ":method",
            Pseudo::Path => ":path",
            Pseudo::Scheme => ":scheme",
            Pseudo::Status => ":status",
            Pseudo::Protocol => ":protocol",
        }
    }

    const ALL: [Pseudo; 6] =
        [Pseudo::Authority, Pseudo::Method, Pseudo::Path, Pseudo::Scheme, Pseudo::Status, Pseudo::Protocol];
}

impl<'a> Label<'a> {
    /// Tells what a name from the wire is.
    pub(super) fn of(text: &'a [u8]) -> Label<'a> {
        // RFC 9113 section 8.2: a token, in lower case.
        if is_token(text) && !text.iter().any(u8::is_ascii_uppercase) {
            if let Ok(text) = std::str::from_utf8(text) {
                return Label::Name(Name::from(text));
            }
        }
        match Pseudo::ALL.into_iter().find(|pseudo| pseudo.text().as_bytes() == text) {
            Some(pseudo) => Label::Pseudo(pseudo),
            None => Label::Invalid(text),
        }
    }

    /// As it stands on the wire.
    pub(super) fn bytes(self) -> &'a [u8] {
        match self {
            Label::Pseudo(pseudo) => pseudo.text().as_bytes(),
            Label::Name(name) => name.text().as_bytes(),
            Label::Invalid(text) => text,
        }
    }

    fn kind(self) -> EntryKind {
        match self {
            Label::Pseudo(pseudo) => EntryKind::Pseudo(pseudo),
            Label::Name(Name::Known(known)) => EntryKind::Known(known),
            Label::Name(Name::Text(_)) => EntryKind::Text,
            Label::Invalid(_) => EntryKind::Invalid,
        }
    }
}

impl Entry {
    fn size(&self) -> usize {
        self.text.len() + OVERHEAD
    }

    fn split(&self) -> (&[u8], &[u8]) {
        self.text.split_at_checked(self.name_length as usize).unwrap_or_default()
    }

    fn label(&self) -> Label<'_> {
        match self.kind {
            EntryKind::Pseudo(pseudo) => Label::Pseudo(pseudo),
            EntryKind::Known(known) => Label::Name(Name::Known(known)),
            EntryKind::Text => Label::Name(Name::Text(std::str::from_utf8(self.split().0).unwrap_or_default())),
            EntryKind::Invalid => Label::Invalid(self.split().0),
        }
    }

    fn has_name(&self, label: Label<'_>) -> bool {
        let kind = label.kind();
        self.kind == kind
            && match kind {
                EntryKind::Pseudo(_) | EntryKind::Known(_) => true,
                EntryKind::Text | EntryKind::Invalid => self.split().0 == label.bytes(),
            }
    }
}

/// What a search in the dynamic table finds, as positions from the newest entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// Name and value.
    Both(usize),
    /// The name only, and how many times.
    Name(usize, usize),
    /// Neither.
    Nothing,
}

impl Table {
    /// An empty table that may grow to so many bytes.
    pub(super) fn new(bound: usize) -> Table {
        Table { entries: VecDeque::new(), size: 0, bound }
    }

    /// The bound in force.
    pub(super) fn bound(&self) -> usize {
        self.bound
    }

    /// Sets the bound; what no longer fits is evicted (RFC 7541 section 4.3).
    pub(super) fn set_bound(&mut self, bound: usize) {
        self.bound = bound;
        self.evict(0);
    }

    /// Whether an entry fits without another leaving.
    pub(super) fn has_room(&self, name: &[u8], value: &[u8]) -> bool {
        self.size + name.len() + value.len() + OVERHEAD <= self.bound
    }

    /// Adds an entry as the newest (RFC 7541 section 4.4): one that is too large empties the table.
    pub(super) fn insert(&mut self, label: Label<'_>, value: &[u8]) {
        let name = label.bytes();
        let size = name.len() + value.len() + OVERHEAD;
        self.evict(size);
        if size > self.bound {
            return;
        }
        let mut text = Vec::with_capacity(name.len() + value.len());
        text.extend_from_slice(name);
        text.extend_from_slice(value);
        let entry = Entry { kind: label.kind(), name_length: name.len() as u32, text: text.into_boxed_slice() };
        self.size += size;
        self.entries.push_front(entry);
    }

    /// The entry at a position from the newest.
    pub(super) fn entry(&self, position: usize) -> Option<(Label<'_>, &[u8])> {
        let entry = self.entries.get(position)?;
        Some((entry.label(), entry.split().1))
    }

    /// Looks for a field.
    pub(super) fn find(&self, label: Label<'_>, value: &[u8]) -> Found {
        let mut named = Found::Nothing;
        for (position, entry) in self.entries.iter().enumerate() {
            if !entry.has_name(label) {
                continue;
            }
            if entry.split().1 == value {
                return Found::Both(position);
            }
            named = match named {
                Found::Name(first, times) => Found::Name(first, times + 1),
                _ => Found::Name(position, 1),
            };
        }
        named
    }

    fn evict(&mut self, room: usize) {
        while self.size + room > self.bound {
            match self.entries.pop_back() {
                Some(entry) => self.size -= entry.size(),
                None => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_static_table_is_in_order_and_names_itself() {
        assert_eq!(STATIC[0].0.bytes(), b":authority");
        assert_eq!(STATIC[15], (Label::of(b"accept-encoding"), &b"gzip, deflate"[..]));
        assert_eq!(STATIC[60].0.bytes(), b"www-authenticate");
        for (label, _) in STATIC {
            assert_eq!(Label::of(label.bytes()), label);
        }
    }

    #[test]
    fn the_bound_holds_and_the_oldest_leave_first() {
        let mut table = Table::new(100);
        table.insert(Label::of(b"a"), b"1");
        table.insert(Label::of(b"b"), b"2");
        assert_eq!(table.find(Label::of(b"a"), b"1"), Found::Both(1));
        assert_eq!(table.find(Label::of(b"a"), b"2"), Found::Name(1, 1));
        table.insert(Label::of(b"c"), b"3");
        assert_eq!(table.find(Label::of(b"a"), b"1"), Found::Nothing);
        assert_eq!(table.entry(0), Some((Label::of(b"c"), &b"3"[..])));
        table.insert(Label::of(b"d"), &[b'x'; 100]);
        assert_eq!((table.size, table.entries.len()), (0, 0));
    }

    #[test]
    fn names_are_told_apart() {
        assert_eq!(Label::of(b":path"), Label::Pseudo(Pseudo::Path));
        assert_eq!(Label::of(b"date"), Label::Name(Name::Known(name::DATE)));
        assert_eq!(Label::of(b"x-a"), Label::Name(Name::Text("x-a")));
        for invalid in [&b""[..], b":unknown", b"X-A", b"a b", b"a\n", b"\xff"] {
            assert_eq!(Label::of(invalid), Label::Invalid(invalid));
        }
    }
}
