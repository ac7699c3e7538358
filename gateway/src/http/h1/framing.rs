//! How long a message is: RFC 9112 section 6, without any of its leniency.
//!
//! Pure. Two parsers that disagree about the length of a message are how requests are smuggled; so a message that could be
//! read in two ways is refused, also where the RFC allows to repair it.

use crate::error::{Error, Kind, Retry, Side};
use crate::http::{Fields, Method, StatusCode, Version, name};

/// How the end of a body is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks, then trailers.
    Chunked,
    /// The end of the connection; responses only.
    UntilClose,
}

/// The framing of a request (RFC 9112 section 6.3).
pub fn of_request(version: Version, fields: &Fields) -> Result<Framing, Error> {
    let framing = declared(version, fields, Side::Client)?;
    Ok(framing.unwrap_or(Framing::None))
}

/// The framing of a response to this method (RFC 9112 section 6.3).
pub fn of_response(method: &Method, status: StatusCode, version: Version, fields: &Fields) -> Result<Framing, Error> {
    let declared = declared(version, fields, Side::Upstream)?;
    if has_no_body(method, status) {
        return Ok(Framing::None);
    }
    Ok(declared.unwrap_or(Framing::UntilClose))
}

/// Whether a response has no body whatever its fields say (RFC 9112 section 6.3, rules 1 and 2).
pub fn has_no_body(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}

/// The one content-length, when there is one (RFC 9110 section 8.6).
pub fn content_length(fields: &Fields) -> Result<Option<u64>, &'static str> {
    let mut values = fields.values(name::CONTENT_LENGTH);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err("several content-length fields");
    }
    // u64::from_str takes a plus sign, so the digits are looked at first.
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return Err("content-length is not a number");
    }
    let length = value.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Ok(Some(length))
}

fn declared(version: Version, fields: &Fields, side: Side) -> Result<Option<Framing>, Error> {
    let malformed = |what| Error { kind: Kind::Malformed(what), side, retry: Retry::Never };
    let length = content_length(fields).map_err(malformed)?;
    let mut codings = fields.values(name::TRANSFER_ENCODING);
    let Some(coding) = codings.next() else { return Ok(length.map(Framing::Length)) };
    if codings.next().is_some() {
        return Err(malformed("several transfer-encoding fields"));
    }
    if length.is_some() {
        return Err(malformed("content-length beside transfer-encoding"));
    }
    if version == Version::Http10 {
        return Err(malformed("transfer-encoding in HTTP/1.0"));
    }
    if !coding.eq_ignore_ascii_case(b"chunked") {
        return Err(malformed("a transfer-coding other than chunked"));
    }
    Ok(Some(Framing::Chunked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[(&str, &str)]) -> Result<Framing, Error> {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.append_bytes(name.as_bytes(), value.as_bytes()).unwrap();
        }
        of_request(Version::Http11, &fields)
    }

    #[test]
    fn plain_framing_is_understood() {
        assert_eq!(request(&[]), Ok(Framing::None));
        assert_eq!(request(&[("content-length", "0")]), Ok(Framing::Length(0)));
        assert_eq!(request(&[("content-length", "42")]), Ok(Framing::Length(42)));
        assert_eq!(request(&[("transfer-encoding", "Chunked")]), Ok(Framing::Chunked));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for lines in [
            &[("content-length", "1"), ("content-length", "1")][..],
            &[("content-length", "1"), ("content-length", "2")],
            &[("content-length", "1, 1")],
            &[("content-length", "+1")],
            &[("content-length", "-1")],
            &[("content-length", "0x1")],
            &[("content-length", "1 1")],
            &[("content-length", "")],
            &[("content-length", "99999999999999999999")],
            &[("content-length", "1"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "chunked, chunked")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "identity")],
            &[("transfer-encoding", "xchunked")],
            &[("transfer-encoding", "chunked;q=1")],
            &[("transfer-encoding", "\"chunked\"")],
            &[("transfer-encoding", "")],
        ] {
            assert!(request(lines).is_err(), "{lines:?}");
        }
    }

    #[test]
    fn http_1_0_knows_no_chunks() {
        let mut fields = Fields::new();
        fields.append(name::TRANSFER_ENCODING, b"chunked").unwrap();
        assert!(of_request(Version::Http10, &fields).is_err());
    }

    #[test]
    fn some_responses_have_no_body_whatever_they_say() {
        let mut fields = Fields::new();
        fields.append(name::CONTENT_LENGTH, b"5").unwrap();
        let of = |method: Method, status: u16| {
            of_response(&method, StatusCode::from_u16(status).unwrap(), Version::Http11, &fields)
        };
        assert_eq!(of(Method::HEAD, 200), Ok(Framing::None));
        assert_eq!(of(Method::GET, 204), Ok(Framing::None));
        assert_eq!(of(Method::GET, 304), Ok(Framing::None));
        assert_eq!(of(Method::GET, 103), Ok(Framing::None));
        assert_eq!(of(Method::GET, 200), Ok(Framing::Length(5)));
        let none = of_response(&Method::GET, StatusCode::OK, Version::Http11, &Fields::new());
        assert_eq!(none, Ok(Framing::UntilClose));
    }
}
