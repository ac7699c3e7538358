//! What a message must not carry any further, and which authorities and targets are taken at all.
//!
//! In: fields, authorities and targets as a peer sent them. Out: fields without what belongs to one connection only;
//! checked parts of a target; or why it is refused, in words that a client may read. Invariant: nothing that a peer
//! names in `Connection` takes away a field that recipients decide by.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use smallvec::SmallVec;

use super::claims::is_forwarding;
use super::fields::{Fields, Known, Name, is_token, name};
use super::head::{Method, Scheme, host_of};

/// Options of `Connection` in one message that name fields; a client that sends more is up to no good.
const MAX_OPTIONS: usize = 32;

/// Names are not longer than this (RFC 1035 section 2.3.4).
const HOST_SIZE: usize = 255;

/// Fields that concern one connection only (RFC 9110 section 7.6.1), whether `Connection` names them or not.
///
/// `Proxy-Authorization` and `Proxy-Authenticate` are meant for the next proxy (section 11.7), which is us: credentials
/// for a proxy are nothing for a backend. `Proxy` is no field at all, but CGI programs read it as `HTTP_PROXY`.
/// `Trailer` stays: it announces what is passed on.
fn is_hop_by_hop(field: Name<'_>) -> bool {
    match field {
        Name::Known(known) => HOP_BY_HOP.contains(&known),
        Name::Text(text) => text == "proxy",
    }
}

const HOP_BY_HOP: [Known; 9] = [
    name::CONNECTION,
    name::HTTP2_SETTINGS,
    name::KEEP_ALIVE,
    name::PROXY_AUTHENTICATE,
    name::PROXY_AUTHORIZATION,
    name::PROXY_CONNECTION,
    name::TE,
    name::TRANSFER_ENCODING,
    name::UPGRADE,
];

/// Whether a field frames a message or belongs to one connection, so that only the protocols write it.
pub fn is_framing(field: Name<'_>) -> bool {
    is_hop_by_hop(field) || matches!(field, Name::Known(name::CONTENT_LENGTH | name::HOST))
}

/// Whether `Connection` may take this field away.
///
/// RFC 9110 section 7.6.1 has a proxy remove what `Connection` names, and forbids to name fields that are meant for all
/// recipients. Clients name those nevertheless, so that a backend does not see who they are, what the body is, or
/// what a proxy before us has said. Every field that we know by number is meant for all (the few others go anyway), and
/// so are forwarding fields and the fields that hold a client's identity or a request's context by custom. Those stay.
fn may_be_named(field: &[u8]) -> bool {
    const KEPT: [&str; 7] = ["x-real-", "x-client-", "x-request-", "x-auth", "sec-", "content-", "access-control-"];
    const KEPT_WHOLE: [&str; 3] = ["traceparent", "tracestate", "baggage"];
    let Ok(text) = std::str::from_utf8(field) else { return true };
    let name = Name::from(text);
    let is_kept = KEPT.iter().any(|start| text.starts_with(start)) || KEPT_WHOLE.contains(&text);
    !matches!(name, Name::Known(_)) && !is_kept && !is_forwarding(name)
}

/// Fields that frame, route, authenticate or explain a message and may not come after it (RFC 9110 section 6.5.1). The way
/// that a message took is told in its head, by us too.
const NOT_IN_TRAILERS: [Known; 13] = [
    name::AUTHORIZATION,
    name::CACHE_CONTROL,
    name::CONTENT_ENCODING,
    name::CONTENT_LENGTH,
    name::CONTENT_RANGE,
    name::CONTENT_TYPE,
    name::COOKIE,
    name::EXPECT,
    name::HOST,
    name::RANGE,
    name::SET_COOKIE,
    name::TRAILER,
    name::VIA,
];

/// Takes fields out that may not stand in trailers.
pub fn strip_trailers(trailers: &mut Fields) {
    for field in NOT_IN_TRAILERS.into_iter().chain(HOP_BY_HOP) {
        trailers.remove(field);
    }
}

/// Removes what concerns one connection only, and what `Connection` names. With `keep_trailers`, `TE: trailers` stays
/// (as gRPC needs it); other members of `TE` never do.
pub fn strip_hop_by_hop(fields: &mut Fields, keep_trailers: bool) -> Result<(), &'static str> {
    // Copied, for what they name is removed from the same fields: lower-case names, one after another.
    let mut text: SmallVec<[u8; 64]> = SmallVec::new();
    let mut ends: SmallVec<[usize; 8]> = SmallVec::new();
    let mut options = 0;
    let connection = if fields.contains(name::CONNECTION) { Some(fields.members(name::CONNECTION)) } else { None };
    for option in connection.into_iter().flatten() {
        if [&b"keep-alive"[..], b"close", b"upgrade", b"te"].iter().any(|usual| option.eq_ignore_ascii_case(usual)) {
            continue;
        }
        options += 1;
        if options > MAX_OPTIONS {
            return Err("too many connection options");
        }
        if !is_token(option) {
            return Err("malformed connection option");
        }
        let start = text.len();
        text.extend(option.iter().map(u8::to_ascii_lowercase));
        if may_be_named(text.get(start..).unwrap_or_default()) {
            ends.push(text.len());
        } else {
            text.truncate(start);
        }
    }
    let is_named = |field: &str| {
        let mut start = 0;
        ends.iter().any(|&end| text.get(std::mem::replace(&mut start, end)..end) == Some(field.as_bytes()))
    };
    let trailers = keep_trailers
        && fields.members(name::TE).any(|member| {
            let coding = member.split(|&b| b == b';').next().unwrap_or_default();
            super::fields::trim(coding).eq_ignore_ascii_case(b"trailers")
        });
    // One by one: most of them are not there, and then cost nothing.
    for field in HOP_BY_HOP {
        fields.remove(field);
    }
    fields.remove("proxy");
    if !ends.is_empty() {
        fields.retain(|field, _| !is_named(field.text()));
    }
    if trailers {
        fields.append(name::TE, b"trailers").map_err(|_| "fields are too large")?;
    }
    Ok(())
}

/// Whether an authority is one that we answer for: a host that is not empty and an optional port (RFC 9110 section
/// 4.2.1, RFC 3986 section 3.2). No user information (RFC 9110 section 4.2.4); no escapes, for names in DNS need none
/// and servers disagree on decoding them.
pub fn check_authority(authority: &str) -> Result<(), &'static str> {
    let bytes = authority.as_bytes();
    let (host, port) = match bytes.first() {
        Some(b'[') => {
            let (address, rest) = authority.get(1..).and_then(|rest| rest.split_once(']')).ok_or("malformed host")?;
            address.parse::<Ipv6Addr>().map_err(|_| "malformed host")?;
            ("[]", if rest.is_empty() { "" } else { rest.strip_prefix(':').ok_or("malformed host")? })
        }
        _ => authority.split_once(':').unwrap_or((authority, "")),
    };
    if host.is_empty() || host == "." {
        return Err("empty host");
    }
    if host.as_bytes().windows(2).any(|two| two == b"..") || host.starts_with('.') {
        return Err("malformed host");
    }
    if host.len() > HOST_SIZE {
        return Err("host is too long");
    }
    let in_name = |b: u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') // unreserved
            || matches!(b, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=') // sub-delims
    };
    if host != "[]" && !host.bytes().all(in_name) {
        return Err("malformed host");
    }
    // Digits, perhaps none (RFC 3986 section 3.2.3); the value must be a TCP port.
    if !port.bytes().all(|b| b.is_ascii_digit()) || (!port.is_empty() && port.parse::<u16>().is_err()) {
        return Err("malformed port");
    }
    Ok(())
}

/// Whether two checked authorities name the same place under a scheme: hosts in any case, the default port left out or
/// not.
pub fn same_authority(one: &str, other: &str, scheme: Scheme) -> bool {
    let default = match scheme {
        Scheme::Http => "80",
        Scheme::Https => "443",
    };
    let split = |authority| {
        let host = host_of(authority);
        let port = authority.get(host.len()..).unwrap_or_default().trim_start_matches(':');
        (host, if port.is_empty() { default } else { port })
    };
    let ((host, port), (other_host, other_port)) = (split(one), split(other));
    host.eq_ignore_ascii_case(other_host) && port == other_port
}

/// A request target by its form (RFC 9112 section 3.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target<'a> {
    /// Path and query, beginning with `/`.
    Origin(&'a str),
    /// A whole URL.
    Absolute {
        /// As the client wrote it, whatever the connection is.
        scheme: Scheme,
        /// Checked by [`check_authority`]; it goes before `Host` (RFC 9112 section 3.2.2).
        authority: &'a str,
        /// Path and query, beginning with `/`; or `*`.
        target: Cow<'a, str>,
    },
    /// Host and port of a CONNECT, checked by [`check_authority`].
    Authority(&'a str),
    /// `*`
    Asterisk,
}

/// Takes a request target apart. Only visible ASCII is taken, and no fragment: what must be escaped and is not
/// means different things to different servers.
pub fn parse_target<'a>(method: &Method, target: &'a [u8]) -> Result<Target<'a>, &'static str> {
    if target.is_empty() {
        return Err("empty request target");
    }
    if !target.iter().all(|b| b.is_ascii_graphic() && *b != b'#') {
        return Err("forbidden character in request target");
    }
    let target = std::str::from_utf8(target).map_err(|_| "forbidden character in request target")?;
    // RFC 9112 section 3.2.3: the authority form is for CONNECT, and CONNECT has no other.
    if *method == Method::CONNECT {
        check_authority(target)?;
        return match target.len() - host_of(target).len() {
            0 | 1 => Err("CONNECT without a port"),
            _ => Ok(Target::Authority(target)),
        };
    }
    if target.starts_with('/') {
        return Ok(Target::Origin(target));
    }
    if target == "*" {
        // Section 3.2.4.
        return if *method == Method::OPTIONS { Ok(Target::Asterisk) } else { Err("\"*\" is for OPTIONS only") };
    }
    let (scheme, rest) = target.split_once("://").ok_or("malformed request target")?;
    let scheme = match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
        _ if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
        _ => return Err("scheme of the request target is not http or https"),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    check_authority(authority)?;
    let target = match path.as_bytes().first() {
        // Section 3.2.4 for OPTIONS, section 3.2.1 for the others.
        None if *method == Method::OPTIONS => Cow::Borrowed("*"),
        None => Cow::Borrowed("/"),
        Some(b'?') => Cow::Owned(format!("/{path}")),
        Some(_) => Cow::Borrowed(path),
    };
    Ok(Target::Absolute { scheme, authority, target })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stripped(lines: &[(&str, &str)], keep_trailers: bool) -> Vec<String> {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.append_bytes(name.as_bytes(), value.as_bytes()).unwrap();
        }
        strip_hop_by_hop(&mut fields, keep_trailers).unwrap();
        fields.iter().map(|(name, value)| format!("{}: {}", name.text(), String::from_utf8_lossy(value))).collect()
    }

    #[test]
    fn what_belongs_to_the_connection_goes() {
        let hop = [
            ("Connection", "close, X-Hop"),
            ("connection", "Keep-Alive , other"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("Proxy-Authorization", "Basic x"),
            ("Proxy", "evil:80"),
            ("TE", "gzip"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "x"),
            ("X-HOP", "1"),
            ("x-hop", "2"),
            ("other", "3"),
            ("x-hop-2", "stays"),
            ("trailer", "x"),
        ];
        assert_eq!(stripped(&hop, true), ["x-hop-2: stays", "trailer: x"]);
    }

    #[test]
    fn te_keeps_nothing_but_trailers_and_only_when_asked_to() {
        let lines = [("te", "gzip;q=0.5, Trailers"), ("connection", "te")];
        assert_eq!(stripped(&lines, true), ["te: trailers"]);
        assert!(stripped(&lines, false).is_empty());
        assert!(stripped(&[("te", "trailersx")], true).is_empty());
    }

    #[test]
    fn connection_cannot_take_away_what_recipients_decide_by() {
        let fields = [
            "authorization",
            "cookie",
            "content-length",
            "host",
            "x-forwarded-for",
            "x-forwarded-client-cert",
            "forwarded",
            "via",
            "x-real-ip",
            "x-request-id",
            "content-type",
            "range",
            "origin",
            "cache-control",
            "x-auth-user",
            "true-client-ip",
            "cf-connecting-ip",
        ];
        let mut lines = vec![("connection".to_string(), fields.join(", "))];
        lines.extend(fields.iter().map(|field| (field.to_string(), "1".to_string())));
        let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(stripped(&lines, false), fields.map(|field| format!("{field}: 1")));
    }

    #[test]
    fn endless_or_odd_connection_options_are_refused() {
        for value in [vec!["a"; 33].join(","), "a b".into(), "\"close\"".into()] {
            let mut fields = Fields::new();
            fields.append(name::CONNECTION, value.as_bytes()).unwrap();
            assert!(strip_hop_by_hop(&mut fields, false).is_err(), "{value}");
        }
    }

    #[test]
    fn authorities_are_a_host_and_perhaps_a_port() {
        for good in ["a", "shop.example", "SHOP.example.:8080", "1.2.3.4:0", "[::1]", "[::1]:65535", "a_b-c~", "a:"] {
            assert_eq!(check_authority(good), Ok(()), "{good}");
        }
        let long = "a".repeat(256);
        for bad in [
            "",
            ":80",
            ".",
            "a:b",
            "a:80:80",
            "a:65536",
            "a:+80",
            "a:-1",
            "user@a",
            "a/b",
            "a?b",
            "a b",
            "a%41",
            "::1",
            "[::1",
            "[::1]80",
            "[]",
            "[::1%eth0]",
            "[1.2.3.4]",
            "[v1.x]",
            "a\r",
            "\u{fc}",
            "a\\b",
            &long,
        ] {
            assert!(check_authority(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn authorities_are_the_same_in_any_case_and_with_the_default_port() {
        assert!(same_authority("A.example", "a.EXAMPLE:80", Scheme::Http));
        assert!(same_authority("[::1]:443", "[::1]", Scheme::Https));
        assert!(!same_authority("a:80", "a", Scheme::Https));
        assert!(!same_authority("a", "b", Scheme::Http));
    }

    #[test]
    fn targets_come_in_four_forms() {
        let parse = |method: &str, target| parse_target(&method.parse().unwrap(), target);
        assert_eq!(parse("GET", b"/a?b"), Ok(Target::Origin("/a?b")));
        assert_eq!(parse("GET", b"//a"), Ok(Target::Origin("//a")));
        assert_eq!(parse("OPTIONS", b"*"), Ok(Target::Asterisk));
        assert_eq!(parse("CONNECT", b"a:443"), Ok(Target::Authority("a:443")));
        for (method, url, wanted) in [
            ("GET", "HTTP://a:80", "/"),
            ("OPTIONS", "http://a:80", "*"),
            ("GET", "http://a:80?x", "/?x"),
            ("GET", "http://a:80/x?y", "/x?y"),
        ] {
            let target = Cow::Borrowed(wanted);
            let absolute = Target::Absolute { scheme: Scheme::Http, authority: "a:80", target };
            assert_eq!(parse(method, url.as_bytes()), Ok(absolute), "{url}");
        }
        for (method, bad) in [
            ("GET", ""),
            ("GET", "*"),
            ("GET", "a:443"),
            ("GET", "x"),
            ("GET", "/a#b"),
            ("GET", "/a b"),
            ("GET", "/\u{fc}"),
            ("GET", "/\0"),
            ("GET", "/\x7f"),
            ("GET", "http:///x"),
            ("GET", "http://u@a/"),
            ("GET", "ftp://a/"),
            ("GET", "?x"),
            ("CONNECT", "a"),
            ("CONNECT", "a:"),
            ("CONNECT", "/"),
            ("CONNECT", "http://a:1/"),
        ] {
            assert!(parse(method, bad.as_bytes()).is_err(), "{method} {bad}");
        }
    }

    proptest! {
        #[test]
        fn any_target_is_taken_apart_or_refused(target in prop::collection::vec(any::<u8>(), 0..40)) {
            for method in [Method::GET, Method::OPTIONS, Method::CONNECT] {
                if let Ok(Target::Absolute { authority, target, .. }) = parse_target(&method, &target) {
                    prop_assert!(check_authority(authority).is_ok());
                    prop_assert!(target == "*" || target.starts_with('/'));
                }
            }
        }

        #[test]
        fn nothing_of_one_connection_survives(options in "[a-z,; -]{0,40}", name in "[a-z-]{1,6}") {
            let mut fields = Fields::new();
            for (field, value) in [("connection", &*options), (&name, "1"), ("te", "x"), ("upgrade", "x")] {
                fields.append_bytes(field.as_bytes(), value.as_bytes()).unwrap();
            }
            if strip_hop_by_hop(&mut fields, true).is_ok() {
                prop_assert!(fields.iter().all(|(field, _)| !is_hop_by_hop(field)));
                let named = options.split(',').any(|option| option.trim() == name);
                prop_assert!(!named || !may_be_named(name.as_bytes()) || !fields.contains(name.as_str()));
            }
        }
    }
}
