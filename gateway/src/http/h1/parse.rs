//! Heads of HTTP/1 messages out of complete bytes.
//!
//! Pure. In: a head that [`super::lines`] found complete. Out: the head, its framing, and what becomes of the
//! connection, or why it is refused. What belongs to one connection only (RFC 9110 section 7.6.1) is taken out here.

use super::framing::{self, Framing};
use super::lines::{parse_fields, split_start_line};
use crate::error::{Error, Kind, Retry, Side};
use crate::http::fields::token_length;
use crate::http::hygiene::{self, Target};
use crate::http::{Fields, Method, RequestHead, ResponseHead, Scheme, StatusCode, Version, name};
use crate::limits::Limits;

/// A request and what concerns its connection.
#[derive(Debug)]
pub struct ParsedRequest {
    /// The head, without fields that belong to the connection.
    pub head: RequestHead,
    /// The length of its body.
    pub framing: Framing,
    /// Whether the client wants to use the connection again.
    pub keep: bool,
    /// The client waits for 100 before it sends the body.
    pub expects_continue: bool,
}

/// A response and what concerns its connection.
#[derive(Debug)]
pub struct ParsedResponse {
    /// The head, without fields that belong to the connection.
    pub head: ResponseHead,
    /// The length of its body.
    pub framing: Framing,
    /// Whether the upstream lets the connection be used again.
    pub keep: bool,
    /// The protocol of a 101.
    pub upgrade: Option<String>,
}

/// Takes a request head apart.
pub fn request(bytes: &[u8], scheme: Scheme, limits: &Limits) -> Result<ParsedRequest, Error> {
    let malformed = |what| Error::client(Kind::Malformed(what));
    let (start, lines) = split_start_line(bytes);
    let (method, target, version) = request_line(start).map_err(malformed)?;
    if target.len() as u64 > limits.uri_size {
        return Err(Error::client(Kind::UriTooLong));
    }
    let method = Method::from_bytes(method).map_err(|_| malformed("method is not a token"))?;
    let target = hygiene::parse_target(&method, target).map_err(malformed)?;
    let mut fields = parse_fields(lines, Side::Client)?;
    let framing = framing::of_request(version, &fields)?;
    let host = host(version, &mut fields).map_err(malformed)?;
    let (authority, target) = match target {
        Target::Origin(path) => (host.unwrap_or_default(), path.to_owned()),
        Target::Asterisk => (host.unwrap_or_default(), "*".to_owned()),
        // RFC 9112 section 3.2.2: the absolute form replaces Host. That the two differ is nothing a client does by
        // accident, and a cache or filter before us may have looked at the other one.
        Target::Absolute { scheme, authority, target } => {
            if host.is_some_and(|host| !hygiene::same_authority(&host, authority, scheme)) {
                return Err(malformed("host differs from the request target"));
            }
            (authority.to_owned(), target.into_owned())
        }
        Target::Authority(authority) => (authority.to_owned(), String::new()),
    };
    let options = Options::of(&fields);
    let keep = options.keep(version);
    let upgrade = options.upgrade.then(|| upgrade(version, &fields)).flatten();
    let upgrade = upgrade.filter(|_| matches!(framing, Framing::None | Framing::Length(0)));
    let expects_continue = expectation(version, framing, &mut fields)?;
    hygiene::strip_hop_by_hop(&mut fields, true).map_err(malformed)?;
    let head = RequestHead { method, version, scheme, authority, target, upgrade, fields };
    Ok(ParsedRequest { head, framing, keep, expects_continue })
}

/// What is wrong with a client that speaks TLS where none is spoken, …
pub const TLS: &str = "TLS on a cleartext port";
/// … and with one that speaks none where it is.
pub const CLEARTEXT: &str = "a plain HTTP request was sent to an HTTPS port";

/// So many bytes are looked at for a method; a longer one is not judged.
const METHOD: usize = 32;

/// Whether the first bytes of a head that is not complete can become one, so that nobody waits for the rest of what never
/// will. `line_is_complete`: the start line is here. True: there is nothing more to find out.
pub fn opening(bytes: &[u8], line_is_complete: bool) -> Result<bool, &'static str> {
    let bytes = match bytes {
        [b'\r', b'\n', rest @ ..] => rest,
        [b'\r'] => return Ok(false),
        // A handshake record; its version is 3.something (RFC 8446 section 5.1).
        [0x16] | [0x16, 3, ..] => return Err(TLS),
        other => other,
    };
    if line_is_complete {
        return request_line(split_start_line(bytes).0).map(|_| true);
    }
    let window = bytes.get(..METHOD).unwrap_or(bytes);
    match (token_length(window), window.get(token_length(window))) {
        // A line that ends without a space is judged when it is complete.
        (_, None) | (1.., Some(b' ' | b'\r' | b'\n')) => Ok(false),
        (_, Some(_)) => Err("request line does not begin with a method"),
    }
}

/// The longest method and target that are told of a head that is refused.
const SKETCHED: usize = 16 * 1024;

/// What can be told of a request whose head is refused, for the log. Nothing may be decided by it: the head is malformed,
/// or only a part of it is here. `None`: not even a method.
pub fn sketch(bytes: &[u8], scheme: Scheme, limits: &Limits) -> Option<RequestHead> {
    let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let mut lines = bytes.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let start = lines.next()?;
    let (method, rest) = start.split_at(memchr::memchr(b' ', start.get(..SKETCHED).unwrap_or(start))?);
    let method = Method::from_bytes(method).ok()?;
    let rest = rest.get(1..)?;
    let (target, version) = match memchr::memrchr(b' ', rest).and_then(|at| rest.split_at_checked(at)) {
        Some((target, b" HTTP/1.0")) => (target, Version::Http10),
        Some((target, last)) if last.starts_with(b" HTTP/") => (target, Version::Http11),
        _ => (rest, Version::Http11),
    };
    let target = String::from_utf8_lossy(target.get(..SKETCHED).unwrap_or(target)).into_owned();
    let mut fields = Fields::new();
    for line in lines.take(limits.header_fields as usize) {
        let (name, value) = line.split_at(token_length(line));
        if let Some(value) = value.strip_prefix(b":").filter(|_| !name.is_empty()) {
            // What is no value is not told.
            let _ = fields.append_token(name, value);
        }
    }
    let host = fields.text(name::HOST).filter(|host| hygiene::check_authority(host).is_ok());
    let authority = host.unwrap_or_default().to_owned();
    fields.remove(name::HOST);
    Some(RequestHead { method, version, scheme, authority, target, upgrade: None, fields })
}

/// Takes a response head apart; `method` is that of the request.
pub fn response(bytes: &[u8], method: &Method) -> Result<ParsedResponse, Error> {
    let malformed = |what| Error::upstream(Kind::Malformed(what), Retry::Never);
    let (start, lines) = split_start_line(bytes);
    let (version, status) = status_line(start).map_err(malformed)?;
    let mut fields = parse_fields(lines, Side::Upstream)?;
    let framing = framing::of_response(method, status, version, &fields)?;
    let options = Options::of(&fields);
    let keep = options.keep(version) && framing != Framing::UntilClose;
    let upgrade = (status == StatusCode::SWITCHING_PROTOCOLS).then(|| upgrade(version, &fields)).flatten();
    hygiene::strip_hop_by_hop(&mut fields, false).map_err(malformed)?;
    Ok(ParsedResponse { head: ResponseHead { status, version, fields }, framing, keep, upgrade })
}

/// method SP request-target SP HTTP-version (RFC 9112 section 3), with exactly one space each.
fn request_line(line: &[u8]) -> Result<(&[u8], &[u8], Version), &'static str> {
    let method_end = memchr::memchr(b' ', line).ok_or("request line has no target")?;
    let version_start =
        memchr::memrchr(b' ', line).filter(|&at| at > method_end).ok_or("request line has no version")?;
    let method = line.get(..method_end).unwrap_or_default();
    let target = line.get(method_end + 1..version_start).unwrap_or_default();
    let version = match line.get(version_start + 1..).unwrap_or_default() {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        _ => return Err("not HTTP/1.1 or HTTP/1.0"),
    };
    Ok((method, target, version))
}

/// HTTP-version SP status-code SP [ reason-phrase ] (RFC 9112 section 4). The space before an absent reason is often
/// missing in practice and nothing can be misread without it.
fn status_line(line: &[u8]) -> Result<(Version, StatusCode), &'static str> {
    let version = match line.get(..9) {
        Some(b"HTTP/1.1 ") => Version::Http11,
        Some(b"HTTP/1.0 ") => Version::Http10,
        _ => return Err("not an HTTP/1 response"),
    };
    let status = line.get(9..12).and_then(|digits| StatusCode::from_bytes(digits).ok());
    let status = status.filter(|status| (100..600).contains(&status.as_u16())).ok_or("status is not a number")?;
    let reason = line.get(12..).unwrap_or_default();
    if !(reason.is_empty() || reason.starts_with(b" ")) || !crate::http::fields::is_value(reason) {
        return Err("malformed reason phrase");
    }
    Ok((version, status))
}

/// RFC 9112 section 3.2: exactly one Host in HTTP/1.1, at most one in HTTP/1.0.
fn host(version: Version, fields: &mut Fields) -> Result<Option<String>, &'static str> {
    let host = {
        let mut values = fields.values(name::HOST);
        let host = match (values.next(), values.next()) {
            (_, Some(_)) => return Err("several host fields"),
            (None, None) if version == Version::Http10 => return Ok(None),
            (None, None) => return Err("no host field"),
            (Some(host), None) => host,
        };
        std::str::from_utf8(host).map_err(|_| "malformed host")?.to_owned()
    };
    // An empty Host is what a client sends whose target has no authority (RFC 9110 section 7.2).
    if !host.is_empty() {
        hygiene::check_authority(&host)?;
    }
    fields.remove(name::HOST);
    Ok(Some(host))
}

/// RFC 9110 section 10.1.1. HTTP/1.0 knows no interim responses, so its expectation is dropped.
fn expectation(version: Version, framing: Framing, fields: &mut Fields) -> Result<bool, Error> {
    if !fields.contains(name::EXPECT) {
        return Ok(false);
    }
    if version != Version::Http10
        && fields.members(name::EXPECT).any(|value| !value.eq_ignore_ascii_case(b"100-continue"))
    {
        return Err(Error::client(Kind::ExpectationFailed));
    }
    if version == Version::Http10 || matches!(framing, Framing::None | Framing::Length(0)) {
        fields.remove(name::EXPECT);
        return Ok(false);
    }
    Ok(true)
}

/// The protocol to change to. WebSocket goes before others; HTTP/2 is not spoken by upgrade (RFC 9113 section 3.1), and
/// passing such a request on would let a client speak to an upstream past the gateway.
fn upgrade(version: Version, fields: &Fields) -> Option<String> {
    let mut wanted = None;
    for protocol in fields.members(name::UPGRADE) {
        let protocol = std::str::from_utf8(protocol).ok()?.to_ascii_lowercase();
        match protocol.as_str() {
            // RFC 9110 section 7.8: Upgrade means nothing in HTTP/1.0.
            "websocket" if version != Version::Http10 => return Some(protocol),
            _ if version == Version::Http10 || !may_upgrade_to(&protocol) => {}
            _ => {
                wanted.get_or_insert(protocol);
            }
        }
    }
    wanted
}

/// A protocol with an optional version, other than HTTP itself in any of its spellings.
fn may_upgrade_to(protocol: &str) -> bool {
    let (protocol, version) = protocol.split_once('/').unwrap_or((protocol, "1"));
    let is_token = |text: &str| crate::http::fields::is_token(text.as_bytes());
    is_token(protocol) && is_token(version) && !matches!(protocol, "h2" | "h2c" | "h3" | "http" | "tls")
}

#[derive(Default)]
struct Options {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

impl Options {
    /// The options of Connection that concern us (RFC 9110 section 7.6.1).
    fn of(fields: &Fields) -> Options {
        let mut options = Options::default();
        if !fields.contains(name::CONNECTION) {
            return options;
        }
        for option in fields.members(name::CONNECTION) {
            options.close |= option.eq_ignore_ascii_case(b"close");
            options.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            options.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
        options
    }

    /// RFC 9112 section 9.3.
    fn keep(&self, version: Version) -> bool {
        !self.close && (version != Version::Http10 || self.keep_alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_become_a_request_is_waited_for() {
        for head in ["GET / HTTP/1.1\r\nhost: a\r\n", "\r\nM-SEARCH * HTTP/1.1\r\n", "GET http://a/ HTTP/1.0\r\n"] {
            for end in 1..=head.len() {
                let bytes = &head.as_bytes()[..end];
                let line_is_complete = head[..end].trim_start().contains('\n');
                assert_eq!(opening(bytes, line_is_complete), Ok(line_is_complete), "{:?}", &head[..end]);
            }
        }
        let method = "X".repeat(1000);
        assert_eq!(opening(method.as_bytes(), false), Ok(false));
    }

    #[test]
    fn what_never_will_is_not() {
        for bytes in [&[0x16][..], &[0x16, 3], &[0x16, 3, 1, 2, 0]] {
            assert_eq!(opening(bytes, false), Err(TLS));
        }
        for bytes in
            [&b"\0"[..], b"\x16\x04", b"\x80\x2e\x01", b" GET", b"\rG", b"G\0", b"<xml", b"\xff\xfe", b"\r\n\0"]
        {
            assert!(opening(bytes, false).is_err(), "{}", bytes.escape_ascii());
        }
        for line in ["SSH-2.0-OpenSSH\r\n", "GET / HTTP/2.0\r\n", "GET /\r\n", "EHLO example\r\n"] {
            assert!(opening(line.as_bytes(), true).is_err(), "{line}");
        }
    }

    #[test]
    fn what_is_told_of_a_broken_head_is_what_stands_there() {
        let told = |bytes: &[u8]| sketch(bytes, Scheme::Http, &Limits::default());
        let head = told(b"\r\nPUT /a?b HTTP/1.0\r\nhost : x\r\nhost: a\r\nuser-agent: me\r\nx: \0\r\nrefe").unwrap();
        assert_eq!((head.method.as_str(), &*head.target, &*head.authority), ("PUT", "/a?b", "a"));
        assert_eq!((head.version, head.fields.len()), (Version::Http10, 1));
        assert_eq!(told(b"GET /unfini").unwrap().target, "/unfini");
        assert_eq!(told(b"GET /\xff x HTTP/1.1\r\n").unwrap().target, "/\u{fffd} x");
        for unknown in [&b""[..], b"GET", b"\0 / HTTP/1.1\r\n", b" / HTTP/1.1"] {
            assert!(told(unknown).is_none(), "{}", unknown.escape_ascii());
        }
    }
}
