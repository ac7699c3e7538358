//! Fields to header blocks (RFC 7541 section 6).
//!
//! In: fields one by one; out: bytes of one block. Invariant: the dynamic table is the one that the peer builds from
//! what we send. The table is filled but not turned over: what repeats on a connection (a server name, a content
//! type) is inserted while there is room, up to a few values of one name; what differs each time (a date, a length, a
//! tag) and what is secret goes as a literal. So a connection comes to rest after its first messages, and from then
//! on a field costs a look-up or a copy, no allocation.

use super::huffman;
use super::table::{Found, Label, OVERHEAD, Pseudo, STATIC, Table};
use crate::http::fields::{Name, name};

/// How many values of one name are inserted.
const VALUES: usize = 4;
/// Longer values are not inserted: they seldom repeat and would fill the table.
const LONGEST_VALUE: usize = 256;

/// One connection's encoder.
pub(in crate::http::h2) struct Encoder {
    table: Table,
    /// The most that we use, whatever the peer allows.
    wanted: usize,
    /// The smallest bound since the last block, when the peer changed it (RFC 7541 section 4.2).
    shrunk_to: Option<usize>,
    announce: bool,
}

/// Whether a field may be remembered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// Its value repeats.
    Index,
    /// It differs each time.
    Literal,
    /// A secret: intermediaries must not remember it either (RFC 7541 section 7.1.3).
    Never,
}

/// By the number of a known name: its first index in the static table, or 0.
const STATIC_INDEX: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut at = STATIC.len();
    while at > 0 {
        if let Label::Name(Name::Known(known)) = STATIC[at - 1].0 {
            table[known.number() as usize] = at as u8;
        }
        at -= 1;
    }
    table
};

const HABITS: [Habit; 256] = {
    let mut table = [Habit::Index; 256];
    let literal = [
        name::AGE,
        name::CONTENT_DISPOSITION,
        name::CONTENT_LENGTH,
        name::CONTENT_RANGE,
        name::COOKIE,
        name::DATE,
        name::ETAG,
        name::EXPIRES,
        name::FORWARDED,
        name::IF_MATCH,
        name::IF_MODIFIED_SINCE,
        name::IF_NONE_MATCH,
        name::IF_RANGE,
        name::IF_UNMODIFIED_SINCE,
        name::LAST_MODIFIED,
        name::LOCATION,
        name::RANGE,
        name::REFERER,
        name::SEC_WEBSOCKET_KEY,
        name::X_FORWARDED_FOR,
        name::X_REAL_IP,
        name::X_REQUEST_ID,
    ];
    let mut at = 0;
    while at < literal.len() {
        table[literal[at].number() as usize] = Habit::Literal;
        at += 1;
    }
    let never = [name::AUTHORIZATION, name::PROXY_AUTHORIZATION, name::SET_COOKIE];
    let mut at = 0;
    while at < never.len() {
        table[never[at].number() as usize] = Habit::Never;
        at += 1;
    }
    table
};

impl Encoder {
    /// An encoder that uses at most so many bytes of table.
    pub(in crate::http::h2) fn new(wanted: usize) -> Encoder {
        let bound = wanted.min(super::INITIAL_TABLE_SIZE);
        // A smaller table than the initial one must be announced as well.
        let shrunk_to = (bound < super::INITIAL_TABLE_SIZE).then_some(bound);
        Encoder { table: Table::new(bound), wanted, announce: shrunk_to.is_some(), shrunk_to }
    }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE.
    pub(in crate::http::h2) fn allow(&mut self, size: usize) {
        let bound = size.min(self.wanted);
        if bound == self.table.bound() {
            return;
        }
        self.shrunk_to = Some(self.shrunk_to.map_or(bound, |smallest| smallest.min(bound)));
        self.announce = true;
        self.table.set_bound(bound);
    }

    /// Begins a block.
    pub(in crate::http::h2) fn begin(&mut self, out: &mut Vec<u8>) {
        if !self.announce {
            return;
        }
        // RFC 7541 section 4.2: the smallest bound in between, then the last one.
        let last = self.table.bound();
        if let Some(smallest) = self.shrunk_to.take().filter(|&smallest| smallest < last) {
            integer(smallest, 5, 0x20, out);
        }
        integer(last, 5, 0x20, out);
        self.announce = false;
    }

    /// A status, whose common values are in the static table.
    pub(in crate::http::h2) fn status(&mut self, status: u16, out: &mut Vec<u8>) {
        let index = match status {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            other => {
                let digits =
                    [b'0' + (other / 100 % 10) as u8, b'0' + (other / 10 % 10) as u8, b'0' + (other % 10) as u8];
                integer(8, 4, 0, out);
                return literal(&digits, out);
            }
        };
        integer(index, 7, 0x80, out);
    }

    /// A pseudo-header field of a request.
    pub(in crate::http::h2) fn pseudo(&mut self, pseudo: Pseudo, value: &str, out: &mut Vec<u8>) {
        let (exact, name, habit) = match (pseudo, value) {
            (Pseudo::Method, "GET") => (2, 2, Habit::Index),
            (Pseudo::Method, "POST") => (3, 2, Habit::Index),
            (Pseudo::Method, _) => (0, 2, Habit::Index),
            (Pseudo::Path, "/") => (4, 4, Habit::Literal),
            (Pseudo::Path, "/index.html") => (5, 4, Habit::Literal),
            (Pseudo::Path, _) => (0, 4, Habit::Literal),
            (Pseudo::Scheme, "http") => (6, 6, Habit::Index),
            (Pseudo::Scheme, "https") => (7, 6, Habit::Index),
            (Pseudo::Scheme, _) => (0, 6, Habit::Index),
            (Pseudo::Authority, _) => (0, 1, Habit::Index),
            (Pseudo::Status, _) => (0, 8, Habit::Index),
            (Pseudo::Protocol, _) => (0, 0, Habit::Index),
        };
        match exact {
            0 => self.write(Label::Pseudo(pseudo), name, habit, value.as_bytes(), out),
            index => integer(index, 7, 0x80, out),
        }
    }

    /// A field.
    pub(in crate::http::h2) fn field(&mut self, name: Name<'_>, value: &[u8], out: &mut Vec<u8>) {
        let (index, habit) = match name {
            Name::Known(known) => (STATIC_INDEX[known.number() as usize], HABITS[known.number() as usize]),
            Name::Text(_) => (0, Habit::Index),
        };
        self.write(Label::Name(name), index as usize, habit, value, out);
    }

    fn write(&mut self, label: Label<'_>, static_index: usize, habit: Habit, value: &[u8], out: &mut Vec<u8>) {
        let prefix = match habit {
            Habit::Index => return self.remember(label, static_index, value, out),
            Habit::Literal => 0,
            Habit::Never => 0x10,
        };
        integer(static_index, 4, prefix, out);
        if static_index == 0 {
            literal(label.bytes(), out);
        }
        literal(value, out);
    }

    fn remember(&mut self, label: Label<'_>, static_index: usize, value: &[u8], out: &mut Vec<u8>) {
        let dynamic = STATIC.len() + 1;
        let (index, times) = match self.table.find(label, value) {
            Found::Both(position) => return integer(dynamic + position, 7, 0x80, out),
            Found::Name(position, times) if static_index == 0 => (dynamic + position, times),
            Found::Name(_, times) => (static_index, times),
            Found::Nothing => (static_index, 0),
        };
        let bytes = label.bytes();
        let insert = times < VALUES && value.len() <= LONGEST_VALUE && self.table.has_room(bytes, value);
        if !insert {
            integer(index, 4, 0, out);
            if index == 0 {
                literal(bytes, out);
            }
            return literal(value, out);
        }
        integer(index, 6, 0x40, out);
        if index == 0 {
            string(bytes, out);
        }
        string(value, out);
        self.table.insert(label, value);
    }
}

/// RFC 7541 section 5.1.
fn integer(value: usize, prefix: u32, pattern: u8, out: &mut Vec<u8>) {
    let mask = (1usize << prefix) - 1;
    if value < mask {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// A string as it is: for what is sent once, copying is cheaper than coding.
fn literal(text: &[u8], out: &mut Vec<u8>) {
    integer(text.len(), 7, 0, out);
    out.extend_from_slice(text);
}

/// A string in the shorter of its two forms.
fn string(text: &[u8], out: &mut Vec<u8>) {
    let length = huffman::encoded_length(text);
    if length >= text.len() {
        return literal(text, out);
    }
    integer(length, 7, 0x80, out);
    huffman::encode(text, out);
}

/// How large a field counts in a header list (RFC 9113 section 6.5.2).
pub(in crate::http::h2) fn list_size(name: &[u8], value: &[u8]) -> usize {
    name.len() + value.len() + OVERHEAD
}
