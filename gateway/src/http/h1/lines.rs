//! Finding the end of a head or trailer section, and taking its lines apart.
//!
//! In: bytes as they arrive, in pieces of any size. Out: complete heads. Each byte is looked at once to find the end, however
//! slowly it arrives. Lines end with CRLF and nothing else (RFC 9112 section 2.2 lets a recipient take a bare LF;
//! implementations that differ in this are how requests are smuggled, so it is refused).

use crate::error::{Bound, Error, Kind, Side};
use crate::http::Fields;
use crate::http::fields::token_length;
use crate::limits::Limits;

/// How far the search for the end of a head has come.
#[derive(Default, Debug)]
pub struct Scan {
    scanned: usize,
    line_start: usize,
    lines: usize,
}

/// Where a head ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Where it begins, behind an empty line that a client put before it.
    pub start: usize,
    /// Behind its last CRLF.
    pub end: usize,
}

/// What the gateway itself adds to a head, about.
const ROOM: usize = 320;

const fn malformed(what: &'static str, side: Side) -> Error {
    Error { kind: Kind::Malformed(what), side, retry: crate::error::Retry::Never }
}

impl Scan {
    /// Goes on where it stopped. `None`: more bytes are needed. A trailer section has no start line.
    pub fn head(&mut self, bytes: &[u8], limits: &Limits, side: Side) -> Result<Option<End>, Error> {
        self.find(bytes, true, limits, side)
    }

    /// The same for a trailer section, which may be empty and has no start line.
    pub fn trailers(&mut self, bytes: &[u8], limits: &Limits, side: Side) -> Result<Option<End>, Error> {
        self.find(bytes, false, limits, side)
    }

    /// Whether the start line is complete.
    pub fn has_start_line(&self) -> bool {
        self.lines > 0
    }

    fn find(&mut self, bytes: &[u8], start_line: bool, limits: &Limits, side: Side) -> Result<Option<End>, Error> {
        let mut start = if start_line && bytes.starts_with(b"\r\n") { 2 } else { 0 };
        while let Some(offset) = memchr::memchr(b'\n', bytes.get(self.scanned..).unwrap_or_default()) {
            let feed = self.scanned + offset;
            if feed == 0 || bytes.get(feed - 1) != Some(&b'\r') {
                return Err(malformed("a line ends with a bare LF", side));
            }
            self.scanned = feed + 1;
            let empty = feed - 1 == self.line_start;
            self.line_start = feed + 1;
            if empty && start_line && self.lines == 0 {
                // RFC 9112 section 2.2: one empty line before the request line is passed over.
                if start == 0 || feed != 1 {
                    return Err(malformed("empty lines before the start line", side));
                }
                start = 2;
                continue;
            }
            if empty {
                return Ok(Some(End { start, end: feed + 1 }));
            }
            self.lines += 1;
            if self.lines > limits.header_fields as usize + usize::from(start_line) {
                let kind = Kind::HeadTooLarge(Bound::Fields);
                return Err(Error { kind, side, retry: crate::error::Retry::Never });
            }
            if feed as u64 > limits.header_size {
                break;
            }
        }
        self.scanned = self.scanned.max(bytes.len());
        if bytes.len() as u64 > limits.header_size {
            // What is too long for a head is too long for a target, unless that may be longer than its head.
            let target = start_line && self.lines == 0 && side == Side::Client && limits.uri_size < limits.header_size;
            let kind = if target { Kind::UriTooLong } else { Kind::HeadTooLarge(Bound::Size) };
            return Err(Error { kind, side, retry: crate::error::Retry::Never });
        }
        Ok(None)
    }
}

/// The start line and what follows it, both without the CRLF between them.
pub fn split_start_line(head: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\n', head) {
        Some(feed) => {
            (head.get(..feed.saturating_sub(1)).unwrap_or_default(), head.get(feed + 1..).unwrap_or_default())
        }
        None => (head, &[]),
    }
}

/// Takes field lines apart until the empty line. `lines` ends with that line.
///
/// A folded line (RFC 9112 section 5.2) begins with white space, white space before the colon (section 5.1) ends the name with
/// it: neither is a token, so both are refused here, as are bare CR and control characters in values.
pub fn parse_fields(mut lines: &[u8], side: Side) -> Result<Fields, Error> {
    let mut fields = Fields::with_capacity(24, lines.len() + ROOM);
    while let Some(feed) = memchr::memchr(b'\n', lines) {
        let line = lines.get(..feed.saturating_sub(1)).unwrap_or_default();
        lines = lines.get(feed + 1..).unwrap_or_default();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_at(token_length(line));
        let Some(value) = value.strip_prefix(b":").filter(|_| !name.is_empty()) else {
            return Err(malformed("a field name is not a token, or there is no colon", side));
        };
        fields.append_token(name, value).map_err(|problem| match problem {
            crate::http::fields::InvalidField::Name => malformed("a field name is not a token", side),
            crate::http::fields::InvalidField::Value => malformed("a field value holds a control character", side),
            crate::http::fields::InvalidField::Length => {
                Error { kind: Kind::HeadTooLarge(Bound::Size), ..malformed("", side) }
            }
        })?;
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> Result<Option<End>, Error> {
        Scan::default().head(bytes, &Limits::default(), Side::Client)
    }

    fn piecewise(bytes: &[u8]) -> Result<Option<End>, Error> {
        let mut scan = Scan::default();
        for end in 0..=bytes.len() {
            match scan.head(&bytes[..end], &Limits::default(), Side::Client) {
                Ok(None) => {}
                other => return other,
            }
        }
        Ok(None)
    }

    #[test]
    fn the_end_is_found_however_the_bytes_arrive() {
        for head in [
            &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
            b"\r\nGET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a\r\n",
            b"GET / HTTP/1.1\nhost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a\r\n\n",
            b"\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            b"\n",
        ] {
            assert_eq!(whole(head), piecewise(head), "{}", head.escape_ascii());
        }
        assert_eq!(whole(b"A\r\n\r\nrest"), Ok(Some(End { start: 0, end: 5 })));
        assert_eq!(whole(b"\r\nA\r\n\r\n"), Ok(Some(End { start: 2, end: 7 })));
        assert!(whole(b"A\r\n\n").is_err());
    }

    #[test]
    fn an_empty_trailer_section_ends_at_once() {
        let end = Scan::default().trailers(b"\r\n", &Limits::default(), Side::Client);
        assert_eq!(end, Ok(Some(End { start: 0, end: 2 })));
    }

    #[test]
    fn bounds_hold_before_the_end_is_there() {
        let limits = Limits { header_size: 64, uri_size: 32, header_fields: 2, ..Limits::default() };
        let mut long = b"GET /".to_vec();
        long.resize(100, b'a');
        let error = Scan::default().head(&long, &limits, Side::Client).unwrap_err();
        assert_eq!(error.kind, Kind::UriTooLong);
        let many = b"GET / HTTP/1.1\r\na:1\r\nb:2\r\nc:3\r\n";
        assert_eq!(
            Scan::default().head(many, &limits, Side::Client).unwrap_err().kind,
            Kind::HeadTooLarge(Bound::Fields)
        );
    }

    #[test]
    fn odd_field_lines_are_refused() {
        for lines in [
            &b"a : b\r\n\r\n"[..],
            b" a: b\r\n\r\n",
            b"a: b\r\n c\r\n\r\n",
            b"a\r\n\r\n",
            b": b\r\n\r\n",
            b"a: b\rc\r\n\r\n",
            b"a: b\0\r\n\r\n",
            b"a\t: b\r\n\r\n",
        ] {
            assert!(parse_fields(lines, Side::Client).is_err(), "{}", lines.escape_ascii());
        }
        let fields = parse_fields(b"a:  b \t\r\nC:\r\n\r\n", Side::Client).unwrap();
        assert_eq!(fields.value("a"), Some(&b"b"[..]));
        assert_eq!(fields.value("c"), Some(&b""[..]));
    }
}
