//! Heads between header blocks and the types that both protocols share (RFC 9113 section 8).
//!
//! In: decoded fields, one by one. Out: a head, or what is malformed about it; and the other way round, fields into an
//! encoder. Invariant: what leaves here as a head can be written to HTTP/1.1 without becoming anything else. Bounds:
//! `http2_header_list_size` and `header_fields`; beyond them nothing is kept, but all is still checked off, since the
//! decoder must follow the peer.

use super::hpack::{Encoder, Label, Pseudo, Sink, list_size};
use crate::error::Bound;
use crate::http::fields::{Fields, Name, is_value, name};
use crate::http::head::{Method, RequestHead, ResponseHead, Scheme, StatusCode, Version};
use crate::http::hygiene::{check_authority, same_authority, strip_trailers};
use crate::limits::Limits;

/// Which kind of section a block is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Section {
    Request,
    Response,
    Trailers,
    /// Decoded and thrown away.
    Unwanted,
}

/// Why a block gives no head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// Malformed (RFC 9113 section 8.1.1); the text says how.
    Malformed(&'static str),
    /// Well-formed as far as was looked at, but over this bound.
    TooLarge(Bound),
}

/// Collects the fields of one section.
pub(super) struct Collector {
    section: Section,
    size_left: usize,
    fields_left: u32,
    over: Option<Bound>,
    flaw: Option<&'static str>,
    fields: Fields,
    /// A regular field came: no pseudo-header field may follow.
    regular: bool,
    method: Option<Method>,
    scheme: bool,
    authority: Option<String>,
    host: Option<String>,
    path: Option<String>,
    protocol: Option<String>,
    status: Option<StatusCode>,
    cookies: Vec<u8>,
    /// From Content-Length.
    pub(super) length: Option<u64>,
}

impl Collector {
    pub(super) fn new(section: Section, limits: &Limits) -> Collector {
        let fields = match section {
            Section::Request | Section::Response => Fields::with_capacity(16, 512),
            Section::Trailers | Section::Unwanted => Fields::new(),
        };
        Collector {
            section,
            size_left: limits.http2_header_list_size.min(limits.header_size) as usize,
            fields_left: limits.header_fields,
            over: None,
            flaw: None,
            fields,
            regular: false,
            method: None,
            scheme: false,
            authority: None,
            host: None,
            path: None,
            protocol: None,
            status: None,
            cookies: Vec::new(),
            length: None,
        }
    }

    /// The request, whose scheme is the connection's; [`Collector::check`] and [`Collector::check_request`] found nothing.
    pub(super) fn request(mut self, scheme: Scheme) -> RequestHead {
        let (upgrade, fields) = (self.protocol.take(), std::mem::take(&mut self.fields));
        RequestHead { upgrade, fields, ..self.known(scheme) }
    }

    /// Whether what came makes a request together.
    pub(super) fn check_request(&self, scheme: Scheme) -> Result<(), Refusal> {
        let malformed = |what| Err(Refusal::Malformed(what));
        let Some(method) = &self.method else { return malformed(":method missing") };
        let connect = *method == Method::CONNECT;
        if self.protocol.is_some() && !connect {
            return malformed(":protocol without CONNECT");
        }
        // RFC 9110 section 9.3.6: CONNECT has no content; what follows is the tunnel's.
        if connect && self.length.is_some() {
            return malformed("Content-Length in CONNECT");
        }
        match (&self.authority, &self.host) {
            (Some(authority), Some(host)) if !same_authority(authority, host, scheme) => {
                return malformed("Host differs from :authority");
            }
            (Some(_), _) => {}
            // RFC 9113 section 8.5: CONNECT names its target by :authority.
            (None, Some(_)) if !connect => {}
            _ => return malformed(":authority missing"),
        }
        if connect && self.protocol.is_none() {
            let more = self.scheme || self.path.is_some();
            return if more { malformed("CONNECT with :scheme or :path") } else { Ok(()) };
        }
        if !self.scheme {
            return malformed(":scheme missing");
        }
        match self.path.as_deref() {
            None => malformed(":path missing"),
            Some(path) if path.starts_with('/') || (path == "*" && *method == Method::OPTIONS) => Ok(()),
            Some(_) => malformed("invalid :path"),
        }
    }

    pub(super) fn is_connect(&self) -> bool {
        self.method.as_ref() == Some(&Method::CONNECT)
    }

    /// Whether the method is known.
    pub(super) fn knows_method(&self) -> bool {
        self.method.is_some()
    }

    /// What is known of a request that is refused, for those who tell of it.
    pub(super) fn known(self, scheme: Scheme) -> RequestHead {
        RequestHead {
            method: self.method.unwrap_or(Method::GET),
            version: Version::Http2,
            scheme,
            authority: self.authority.or(self.host).unwrap_or_default(),
            target: self.path.unwrap_or_default(),
            upgrade: None,
            fields: Fields::new(),
        }
    }

    /// The response.
    pub(super) fn response(mut self) -> Result<ResponseHead, Refusal> {
        self.check()?;
        let status = self.status.ok_or(Refusal::Malformed(":status missing"))?;
        // RFC 9113 section 8.6: there is no 101 in HTTP/2. RFC 9110 section 15: nor anything beyond 599.
        if status == StatusCode::SWITCHING_PROTOCOLS || status.as_u16() >= 600 {
            return Err(Refusal::Malformed("invalid :status"));
        }
        Ok(ResponseHead { status, version: Version::Http2, fields: self.fields })
    }

    /// The trailer fields.
    pub(super) fn trailers(mut self) -> Result<Fields, Refusal> {
        self.check()?;
        strip_trailers(&mut self.fields);
        Ok(self.fields)
    }

    /// Whether what came can be a section at all.
    pub(super) fn check(&mut self) -> Result<(), Refusal> {
        match (self.flaw, self.over) {
            (Some(flaw), _) => return Err(Refusal::Malformed(flaw)),
            (None, Some(bound)) => return Err(Refusal::TooLarge(bound)),
            (None, None) => {}
        }
        if !self.cookies.is_empty() && self.fields.append(name::COOKIE, &self.cookies).is_err() {
            return Err(Refusal::Malformed("invalid cookie"));
        }
        Ok(())
    }

    fn pseudo(&mut self, pseudo: Pseudo, value: &[u8]) -> Result<(), &'static str> {
        if self.regular {
            return Err("pseudo-header field after a field");
        }
        let request = self.section == Section::Request;
        if (pseudo == Pseudo::Status) == request || self.section == Section::Trailers {
            return Err("pseudo-header field out of place");
        }
        let twice = match pseudo {
            Pseudo::Method => {
                let method = Method::from_bytes(value).map_err(|_| "invalid :method")?;
                self.method.replace(method).is_some()
            }
            // RFC 9113 section 8.3.1 leaves others to whoever translates them; we do not.
            Pseudo::Scheme if value.eq_ignore_ascii_case(b"http") || value.eq_ignore_ascii_case(b"https") => {
                std::mem::replace(&mut self.scheme, true)
            }
            Pseudo::Scheme => return Err("unknown :scheme"),
            Pseudo::Authority => self.authority.replace(authority(value).ok_or("invalid :authority")?).is_some(),
            Pseudo::Path => self.path.replace(path(value).ok_or("invalid :path")?).is_some(),
            Pseudo::Protocol => {
                if !crate::http::fields::is_token(value) {
                    return Err("invalid :protocol");
                }
                self.protocol.replace(String::from_utf8_lossy(value).into_owned()).is_some()
            }
            Pseudo::Status => {
                if value.len() != 3 {
                    return Err("invalid :status");
                }
                let status = StatusCode::from_bytes(value).map_err(|_| "invalid :status")?;
                self.status.replace(status).is_some()
            }
        };
        if twice { Err("pseudo-header field twice") } else { Ok(()) }
    }

    fn regular(&mut self, name: Name<'_>, value: &[u8]) -> Result<(), &'static str> {
        self.regular = true;
        // RFC 9113 section 8.2.1.
        if matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']) {
            return Err("field value with white space around it");
        }
        if let Name::Known(known) = name {
            match known {
                // RFC 9113 section 8.2.2.
                name::CONNECTION
                | name::PROXY_CONNECTION
                | name::KEEP_ALIVE
                | name::TRANSFER_ENCODING
                | name::UPGRADE
                | name::HTTP2_SETTINGS => return Err("connection-specific field"),
                name::TE if !value.eq_ignore_ascii_case(b"trailers") => return Err("TE other than trailers"),
                name::CONTENT_LENGTH => {
                    let length = content_length(value).ok_or("invalid Content-Length")?;
                    if self.length.replace(length).is_some() {
                        return Err("Content-Length twice");
                    }
                }
                name::HOST if self.section == Section::Request => {
                    if self.host.replace(authority(value).ok_or("invalid Host")?).is_some() {
                        return Err("Host twice");
                    }
                    return Ok(());
                }
                // It means nothing in a response or in trailers, but must not become a field of HTTP/1.1.
                name::HOST => return Ok(()),
                name::COOKIE => {
                    if !is_value(value) {
                        return Err("invalid field value");
                    }
                    // RFC 9113 section 8.2.3.
                    if !self.cookies.is_empty() {
                        self.cookies.extend_from_slice(b"; ");
                    }
                    self.cookies.extend_from_slice(value);
                    return Ok(());
                }
                _ => {}
            }
        }
        self.fields.append(name, value).map_err(|_| "invalid field value")
    }
}

impl Sink for Collector {
    fn field(&mut self, label: Label<'_>, value: &[u8]) {
        if self.section == Section::Unwanted || self.over.is_some() || self.flaw.is_some() {
            return;
        }
        let name_bytes = match label {
            Label::Pseudo(pseudo) => pseudo.text().as_bytes(),
            Label::Name(name) => name.text().as_bytes(),
            Label::Invalid(text) => text,
        };
        match (self.size_left.checked_sub(list_size(name_bytes, value)), self.fields_left.checked_sub(1)) {
            (Some(size), Some(fields)) => (self.size_left, self.fields_left) = (size, fields),
            (size, _) => {
                self.over = Some(if size.is_none() { Bound::List } else { Bound::Fields });
                self.fields.clear();
                return;
            }
        }
        let result = match label {
            Label::Pseudo(pseudo) => self.pseudo(pseudo, value),
            Label::Name(name) => self.regular(name, value),
            Label::Invalid([b':', ..]) => Err("unknown pseudo-header field"),
            Label::Invalid(_) => Err("invalid field name"),
        };
        self.flaw = result.err();
    }
}

/// RFC 9110 section 8.6: digits only.
fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |sum, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// RFC 9113 section 8.3.1: not empty; visible ASCII without a fragment.
fn path(value: &[u8]) -> Option<String> {
    let bad = value.iter().fold(value.is_empty(), |bad, &b| bad | !(0x21..=0x7e).contains(&b) | (b == b'#'));
    if bad { None } else { String::from_utf8(value.to_vec()).ok() }
}

/// RFC 3986 section 3.2 without user information, which RFC 9113 section 8.3.1 forbids: a host, perhaps a port.
fn authority(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    check_authority(text).ok().map(|()| text.to_owned())
}

/// Writes a request's block.
pub(super) fn encode_request(head: &RequestHead, encoder: &mut Encoder, out: &mut Vec<u8>) {
    encoder.begin(out);
    encoder.pseudo(Pseudo::Method, head.method.as_str(), out);
    let protocol = head.upgrade.as_deref().filter(|_| head.method == Method::CONNECT);
    if head.method != Method::CONNECT || protocol.is_some() {
        encoder.pseudo(Pseudo::Scheme, head.scheme.text(), out);
        encoder.pseudo(Pseudo::Path, &head.target, out);
    }
    if !head.authority.is_empty() {
        encoder.pseudo(Pseudo::Authority, &head.authority, out);
    }
    if let Some(protocol) = protocol {
        encoder.pseudo(Pseudo::Protocol, protocol, out);
    }
    encode_fields(&head.fields, encoder, out);
}

/// Writes a response's block.
pub(super) fn encode_response(head: &ResponseHead, encoder: &mut Encoder, out: &mut Vec<u8>) {
    encoder.begin(out);
    encoder.status(head.status.as_u16(), out);
    encode_fields(&head.fields, encoder, out);
}

/// Writes a trailer section's block.
pub(super) fn encode_trailers(fields: &Fields, encoder: &mut Encoder, out: &mut Vec<u8>) {
    encoder.begin(out);
    encode_fields(fields, encoder, out);
}

/// RFC 9113 section 8.2.2: without what belongs to one connection.
fn encode_fields(fields: &Fields, encoder: &mut Encoder, out: &mut Vec<u8>) {
    for (field, value) in fields.iter() {
        if let Name::Known(known) = field {
            match known {
                name::CONNECTION
                | name::PROXY_CONNECTION
                | name::KEEP_ALIVE
                | name::TRANSFER_ENCODING
                | name::UPGRADE
                | name::HTTP2_SETTINGS
                | name::HOST => continue,
                name::TE if !value.eq_ignore_ascii_case(b"trailers") => continue,
                _ => {}
            }
        }
        encoder.field(field, value, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h2::hpack::Decoder;

    fn request(fields: &[(&str, &str)]) -> Result<RequestHead, Refusal> {
        let mut collector = collect(Section::Request, fields);
        collector.check()?;
        collector.check_request(Scheme::Https)?;
        Ok(collector.request(Scheme::Https))
    }

    fn collect(section: Section, fields: &[(&str, &str)]) -> Collector {
        let mut collector = Collector::new(section, &Limits::default());
        let mut block = Vec::new();
        for (name, value) in fields {
            block.push(0);
            for text in [name, value] {
                assert!(text.len() < 127);
                block.push(text.len() as u8);
                block.extend_from_slice(text.as_bytes());
            }
        }
        Decoder::new().decode(&block, &mut collector).unwrap();
        collector
    }

    const GET: &[(&str, &str)] =
        &[(":method", "GET"), (":scheme", "https"), (":path", "/a?b"), (":authority", "Example.com:80")];

    fn with(more: &[(&str, &str)]) -> Result<RequestHead, Refusal> {
        request(&[GET, more].concat())
    }

    fn without(name: &str, more: &[(&str, &str)]) -> Result<RequestHead, Refusal> {
        let rest: Vec<_> = GET.iter().copied().filter(|field| field.0 != name).collect();
        request(&[&rest[..], more].concat())
    }

    #[test]
    fn a_request_becomes_a_head() {
        let head = with(&[("x-a", "1"), ("cookie", "a=b"), ("host", "example.com:80"), ("cookie", "c=d")]).unwrap();
        assert_eq!((head.method, &head.target[..], &head.authority[..]), (Method::GET, "/a?b", "Example.com:80"));
        assert_eq!(head.fields.text(name::COOKIE), Some("a=b; c=d"));
        assert_eq!(head.fields.len(), 2);
        assert_eq!(without(":authority", &[("host", "h")]).unwrap().authority, "h");
        assert!(with(&[("te", "trailers")]).is_ok());
        assert!(
            request(&[(":method", "QUERY"), (":scheme", "http"), (":path", "/"), (":authority", "[::1]:8")]).is_ok()
        );
        assert!(request(&[(":method", "OPTIONS"), (":scheme", "http"), (":path", "*"), (":authority", "a")]).is_ok());
    }

    #[test]
    fn connect_with_and_without_a_protocol() {
        let plain = request(&[(":method", "CONNECT"), (":authority", "a:1")]).unwrap();
        assert_eq!((plain.target.as_str(), plain.upgrade), ("", None));
        let connect = |protocol: &[(&'static str, &'static str)]| {
            let base = [(":method", "CONNECT"), (":scheme", "https"), (":path", "/c"), (":authority", "a")];
            request(&[&base[..], protocol].concat())
        };
        assert_eq!(connect(&[(":protocol", "websocket")]).unwrap().upgrade.as_deref(), Some("websocket"));
        assert!(connect(&[]).is_err());
        assert!(with(&[(":protocol", "websocket")]).is_err());
    }

    #[test]
    fn malformed_requests_are_refused() {
        for name in [":method", ":scheme", ":path", ":authority"] {
            assert!(without(name, &[]).is_err(), "{name} missing");
        }
        for field in GET {
            assert!(with(&[*field]).is_err(), "{field:?} twice");
        }
        for field in [
            ("X-Upper", "a"),
            ("x y", "a"),
            ("", "a"),
            (":unknown", "a"),
            (":status", "200"),
            ("connection", "close"),
            ("proxy-connection", "close"),
            ("keep-alive", "1"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            ("x", "a\r\nb: c"),
            ("x", "a\0"),
            ("x", " a"),
            ("x", "a\t"),
            ("content-length", "+1"),
            ("content-length", ""),
            ("content-length", "1, 1"),
            ("content-length", "99999999999999999999"),
            ("host", "other"),
            ("host", "Example.com:80, a"),
            ("cookie", "a\n"),
        ] {
            assert!(matches!(with(&[field]), Err(Refusal::Malformed(_))), "{field:?}");
        }
        assert!(with(&[("content-length", "1"), ("content-length", "1")]).is_err());
        assert!(with(&[("x", "y"), (":path", "/")]).is_err());
        for path in ["", "a", "*", "/ a", "/a#b", "/\u{e9}", "/\t", "http://a/"] {
            assert!(without(":path", &[(":path", path)]).is_err(), "{path:?}");
        }
        for method in ["", "G T", "GET\r\n"] {
            assert!(without(":method", &[(":method", method)]).is_err(), "{method:?}");
        }
        for authority in ["", "u@h", "a b", "a/b", "a:b", "a:1:2", "[::1", "[]", ":80", "a?b", "a#b", "a\\b"] {
            assert!(without(":authority", &[(":authority", authority)]).is_err(), "{authority:?}");
        }
        assert!(without(":scheme", &[(":scheme", "ftp")]).is_err());
    }

    #[test]
    fn what_is_too_large_is_told_apart_from_what_is_malformed() {
        let many: Vec<_> = (0..130).map(|_| ("x", "y")).collect();
        assert!(matches!(with(&many), Err(Refusal::TooLarge(Bound::Fields))));
    }

    #[test]
    fn responses_and_trailers_have_their_own_rules() {
        assert_eq!(collect(Section::Response, &[(":status", "204")]).response().unwrap().status, 204);
        for bad in ["101", "20", "2000", "abc", ""] {
            assert!(collect(Section::Response, &[(":status", bad)]).response().is_err(), "{bad}");
        }
        assert!(collect(Section::Response, &[]).response().is_err());
        assert!(collect(Section::Response, GET).response().is_err());
        assert!(collect(Section::Trailers, &[(":status", "200")]).trailers().is_err());
        assert!(collect(Section::Trailers, &[("transfer-encoding", "a")]).trailers().is_err());
        let trailers = collect(Section::Trailers, &[("grpc-status", "0"), ("content-length", "5")]).trailers().unwrap();
        assert_eq!(trailers.len(), 1);
    }

    #[test]
    fn a_request_comes_back_without_what_belongs_to_a_connection() {
        let mut head = with(&[("x-a", "1"), ("te", "trailers")]).unwrap();
        head.fields.append(name::CONNECTION, b"x").unwrap();
        let mut block = Vec::new();
        encode_request(&head, &mut Encoder::new(4096), &mut block);
        let mut collector = Collector::new(Section::Request, &Limits::default());
        Decoder::new().decode(&block, &mut collector).unwrap();
        collector.check().unwrap();
        collector.check_request(Scheme::Https).unwrap();
        let back = collector.request(Scheme::Https);
        assert_eq!((back.target, back.authority, back.fields.len()), (head.target, head.authority, 2));
    }
}
