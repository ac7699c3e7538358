//! The heads of messages: what a request asks, what a response says, without their bodies.
//!
//! Protocol-neutral: an HTTP/1.1 and an HTTP/2 request for the same thing give equal heads.

use std::fmt;

pub use http::{Method, StatusCode};

use super::fields::Fields;

/// The protocol that a message came by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

/// The scheme of the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// Cleartext.
    Http,
    /// TLS.
    Https,
}

/// A request without its body. `Host` is not among the fields: it is the authority.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// Any token.
    pub method: Method,
    /// The protocol that the request came by.
    pub version: Version,
    /// As the connection says, not the client.
    pub scheme: Scheme,
    /// Host and optional port from `:authority`, the absolute form or `Host`; empty when an HTTP/1.0 client sent none.
    pub authority: String,
    /// Path and query as they stood on the wire, beginning with `/`; or `*`.
    pub target: String,
    /// `:protocol` of an extended CONNECT (RFC 8441), or the one member of `Upgrade` when the connection is to change.
    pub upgrade: Option<String>,
    /// The header fields, without pseudo-header fields, `Host`, `Connection` and what it names.
    pub fields: Fields,
}

/// A response without its body.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// Three digits.
    pub status: StatusCode,
    /// The protocol that the response came by.
    pub version: Version,
    /// The header fields.
    pub fields: Fields,
}

impl Version {
    /// As it stands in logs and in HTTP/1 start lines.
    pub fn text(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Scheme {
    /// `http` or `https`.
    pub fn text(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

impl RequestHead {
    /// The target up to the query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// What follows the first `?` of the target.
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The authority without its port; an IPv6 address keeps its brackets.
    pub fn host(&self) -> &str {
        host_of(&self.authority)
    }

    /// The value of a cookie.
    pub fn cookie(&self, wanted: &str) -> Option<&[u8]> {
        cookies(&self.fields, wanted).next()
    }
}

/// The values of all cookies of a name. Space around the name is not meant, as most readers have it.
pub fn cookies<'f, 'w>(fields: &'f Fields, wanted: &'w str) -> impl Iterator<Item = &'f [u8]> + use<'f, 'w> {
    let pairs = fields.values(super::fields::name::COOKIE).flat_map(pairs).map(super::fields::trim);
    pairs.filter_map(move |pair| {
        let (name, value) = pair.split_at_checked(memchr::memchr(b'=', pair)?)?;
        (super::fields::trim(name) == wanted.as_bytes())
            .then(|| super::fields::trim(value.get(1..).unwrap_or_default()))
    })
}

/// What stands between semicolons.
fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let end = memchr::memchr(b';', line);
        rest = end.and_then(|end| line.get(end + 1..));
        line.get(..end.unwrap_or(line.len()))
    })
}

impl ResponseHead {
    /// An HTTP/1.1 response without fields.
    pub fn new(status: StatusCode) -> ResponseHead {
        ResponseHead { status, version: Version::Http11, fields: Fields::new() }
    }
}

/// The values of a query's parameters of this name, decoded.
pub fn query_values<'q>(query: &'q str, wanted: &'q [u8]) -> impl Iterator<Item = impl Iterator<Item = u8> + 'q> + 'q {
    query.split('&').filter_map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (!pair.is_empty() && decoded(name).eq(wanted.iter().copied())).then(|| decoded(value))
    })
}

/// All names of a query and their values, decoded.
pub fn query_pairs(query: &str) -> impl Iterator<Item = [Vec<u8>; 2]> + '_ {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        [decoded(name).collect(), decoded(value).collect()]
    })
}

/// A part of a query as forms write it: escapes and `+` decoded, malformed escapes as they are.
fn decoded(text: &str) -> impl Iterator<Item = u8> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (&byte, behind) = rest.split_first()?;
        rest = behind;
        match (byte, behind) {
            (b'+', _) => Some(b' '),
            (b'%', [high, low, after @ ..]) => {
                match char::from(*high).to_digit(16).zip(char::from(*low).to_digit(16)) {
                    Some((high, low)) => {
                        rest = after;
                        Some((high << 4 | low) as u8)
                    }
                    None => Some(byte),
                }
            }
            _ => Some(byte),
        }
    })
}

/// An authority without its port; an IPv6 address keeps its brackets.
pub fn host_of(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_loses_its_port_but_not_its_brackets() {
        assert_eq!(host_of("example.com:80"), "example.com");
        assert_eq!(host_of("example.com"), "example.com");
        assert_eq!(host_of("[::1]:80"), "[::1]");
        assert_eq!(host_of("[::1]"), "[::1]");
        assert_eq!(host_of(""), "");
    }
}
