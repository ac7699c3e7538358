//! What people write who come from other servers, and what to write here instead.
//!
//! In: a text that is not taken, or that looks like something else than it is. Out: what to write, to stand behind the
//! message, or nothing when that cannot be told. Pure.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::problem::excerpt;

/// Beyond this nothing is guessed.
const LENGTH: usize = 200;

/// What `[name]` and `[[name]]` mean.
pub(super) fn double_brackets(name: &str) -> String {
    format!("write [[{name}]] with two brackets on either side, once for each {name}")
}

/// For a text that is no address with a port.
pub(super) fn address(text: &str) -> Option<String> {
    if is_unix(text) {
        return Some("unix sockets are not supported".into());
    }
    if let Some((_, rest)) = text.split_once("://") {
        let right = rest.trim_end_matches('/');
        right.parse::<SocketAddr>().ok()?;
        return Some(format!("write {right:?}; https is spoken where \"tls\" is given"));
    }
    let every = |port: u16| {
        format!("for every address of this machine write \"[::]:{port}\", for this machine alone \"127.0.0.1:{port}\"")
    };
    let any = text.strip_prefix("*:").or(text.strip_prefix(':')).unwrap_or(text);
    if let Some(port) = port(any) {
        return Some(every(port));
    }
    if let Some(right) = with_brackets(text, 8080) {
        return Some(format!("write {right:?}"));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, digits)) => (host, port(digits)?),
        None if text == "localhost" => (text, 8080),
        None => return None,
    };
    if host == "localhost" {
        return Some(format!("write \"127.0.0.1:{port}\""));
    }
    super::value::host_name(host).ok()?;
    Some(format!("names are not looked up here: write an address of this machine, such as \"127.0.0.1:{port}\""))
}

/// For a text that is no endpoint, which is to be written without a scheme.
pub(super) fn endpoint(text: &str) -> Option<String> {
    if is_unix(text) {
        return Some("unix sockets are not supported".into());
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let (default, tls) = match scheme {
            "http" => (80, ""),
            "https" => (443, " and the pool's key tls = true"),
            _ => return None,
        };
        let host = rest.trim_end_matches('/');
        let right = if super::value::endpoint(host).is_ok() { host.to_owned() } else { with_port(host, default)? };
        return Some(format!("write {right:?}{tls}"));
    }
    if let Some(port) = port(text.strip_prefix(':').unwrap_or(text)) {
        return Some(format!("write \"127.0.0.1:{port}\""));
    }
    with_port(text, 80).map(|right| format!("write {right:?}"))
}

/// For a text that is no time.
pub(super) fn time(text: &str) -> Option<String> {
    let (number, unit) = number_and_unit(text)?;
    let unit = match unit.as_str() {
        "" | "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "ms" | "msec" | "millis" | "milliseconds" => "ms",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hr" | "hrs" | "hour" | "hours" => "h",
        "d" | "day" | "days" => "d",
        _ => return None,
    };
    Some(format!("write \"{number}{unit}\""))
}

/// For a text that is no size. Where other servers say "m", they mean 1024 times 1024.
pub(super) fn size(text: &str) -> Option<String> {
    let (number, unit) = number_and_unit(text)?;
    let unit = match unit.as_str() {
        "b" | "byte" | "bytes" => "B",
        "kb" => "KB",
        "mb" => "MB",
        "gb" => "GB",
        "tb" => "TB",
        "k" | "ki" | "kib" => "KiB",
        "m" | "mi" | "mib" => "MiB",
        "g" | "gi" | "gib" => "GiB",
        "t" | "ti" | "tib" => "TiB",
        _ => return None,
    };
    Some(format!("write \"{number}{unit}\""))
}

/// For a path that is not taken, when it is written as in a server that knows regular expressions, stars or modifiers.
pub(super) fn path(text: &str) -> Option<String> {
    if text.len() > LENGTH {
        return None;
    }
    if text.contains("://") {
        return Some("takes a path alone; the host is matched by \"host\", the scheme by \"scheme\"".into());
    }
    let modifiers = ["^~", "~*", "~", "="];
    let modifier = modifiers.into_iter().find(|modifier| text.starts_with(modifier)).unwrap_or_default();
    let bare = text.strip_prefix(modifier).unwrap_or(text).trim();
    let regex = modifier.starts_with('~') || is_regex(bare);
    if modifier.is_empty() && !regex && !bare.ends_with('*') {
        return None;
    }
    let begins = bare.strip_prefix('^').unwrap_or(bare);
    let ends = begins.strip_suffix('$').unwrap_or(begins);
    let cut = ["(/.*)?", "(.*)", "/?", ".*", ".+", "*"].iter().fold(ends, |rest, end| rest.trim_end_matches(end));
    let exact = modifier == "=" || (begins.len() > ends.len() && cut == ends);
    let plain = cut.starts_with('/') && cut.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.~".contains(&b));
    let what = if regex { "regular expressions are not known" } else { "modifiers and stars are not known" };
    let write = match (plain, exact) {
        (true, true) => format!("; write {cut:?} for that path alone"),
        (true, false) => {
            let slash = if cut.ends_with('/') { "" } else { "/" };
            format!("; write \"{cut}{slash}\" for it and everything below")
        }
        (false, _) => {
            "; \"/api/\" matches /api and everything below, \"/api\" that path alone, \"{name}\" one segment".into()
        }
    };
    Some(format!("{what} in paths{write}"))
}

/// For a path that is taken, but in which a segment looks like something else than a literal.
pub(super) fn literal_path(text: &str) -> Option<String> {
    let odd = |segment: &&str| is_regex(segment) || segment.strip_prefix(':').is_some_and(|name| !name.is_empty());
    let segment = excerpt(text.split('/').find(odd)?);
    let word = segment.strip_prefix(':').filter(|word| word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
    let name = word.unwrap_or("name");
    Some(format!("{segment:?} is compared letter by letter; for any one segment write \"{{{name}}}\""))
}

/// Signs that hardly any path has and nearly every regular expression.
fn is_regex(text: &str) -> bool {
    let signs = ["^", ".*", ".+", "\\", "(?", "[0-9", "[a-z", "[A-Z", "[^", ")?", ")*", "]+", "]*", "/?"];
    text.ends_with('$') || signs.iter().any(|sign| text.contains(sign)) || (text.contains('(') && text.contains('|'))
}

fn is_unix(text: &str) -> bool {
    text.starts_with("unix:") || text.starts_with('/') || text.ends_with(".sock")
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

/// An IPv6 address with a port but without brackets, or any address without a port.
fn with_brackets(text: &str, default: u16) -> Option<String> {
    if let Some((address, digits)) = text.rsplit_once(':')
        && let (Ok(address), Some(port)) = (address.parse::<Ipv6Addr>(), port(digits))
    {
        return Some(format!("[{address}]:{port}"));
    }
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    inner.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, default).to_string())
}

/// A host that lacks a port, or brackets.
fn with_port(text: &str, default: u16) -> Option<String> {
    if text.is_empty() || text.len() > LENGTH {
        return None;
    }
    let name = || super::value::host_name(text).ok().map(|()| format!("{text}:{default}"));
    with_brackets(text, default).or_else(name)
}

fn number_and_unit(text: &str) -> Option<(u64, String)> {
    let text: String = text.chars().take(LENGTH).filter(|c| !c.is_whitespace()).collect();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_other_servers_are_understood() {
        let every = "for every address of this machine write \"[::]:8080\", for this machine alone \"127.0.0.1:8080\"";
        for (written, hint) in [
            (":8080", every),
            ("8080", every),
            ("*:8080", every),
            ("localhost:8080", "write \"127.0.0.1:8080\""),
            ("localhost", "write \"127.0.0.1:8080\""),
            ("::1:8085", "write \"[::1]:8085\""),
            (":::80", "write \"[::]:80\""),
            ("::", "write \"[::]:8080\""),
            ("[::1]", "write \"[::1]:8080\""),
            ("0.0.0.0", "write \"0.0.0.0:8080\""),
            ("http://0.0.0.0:80/", "write \"0.0.0.0:80\"; https is spoken where \"tls\" is given"),
            ("unix:/run/g.sock", "unix sockets are not supported"),
            (
                "shop.example:443",
                "names are not looked up here: write an address of this machine, such as \"127.0.0.1:443\"",
            ),
        ] {
            assert_eq!(address(written).as_deref(), Some(hint), "{written}");
        }
        for unknown in ["", "nowhere", "a b:80", ":99999", "+80", "http://a/"] {
            assert_eq!(address(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn endpoints_of_other_servers_are_understood() {
        for (written, hint) in [
            ("unix:/run/app.sock", "unix sockets are not supported"),
            ("/run/app.sock", "unix sockets are not supported"),
            ("http://app:3000", "write \"app:3000\""),
            ("http://app/", "write \"app:80\""),
            ("https://app.example", "write \"app.example:443\" and the pool's key tls = true"),
            ("9001", "write \"127.0.0.1:9001\""),
            (":9001", "write \"127.0.0.1:9001\""),
            ("app", "write \"app:80\""),
            ("::1:80", "write \"[::1]:80\""),
            ("10.0.0.1", "write \"10.0.0.1:80\""),
        ] {
            assert_eq!(endpoint(written).as_deref(), Some(hint), "{written}");
        }
        for unknown in ["", "a b", "h2c://a:80", "http://a/b", "a:b:c"] {
            assert_eq!(endpoint(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn units_of_other_servers_are_understood() {
        for (written, right) in [("30", "30s"), ("30 s", "30s"), ("5min", "5m"), ("100msec", "100ms"), ("1H", "1h")] {
            assert_eq!(time(written), Some(format!("write {right:?}")), "{written}");
        }
        for (written, right) in [("10m", "10MiB"), ("10mb", "10MB"), ("64 KiB", "64KiB"), ("5 bytes", "5B")] {
            assert_eq!(size(written), Some(format!("write {right:?}")), "{written}");
        }
        for unknown in ["", "s", "-1s", "1.5s", "1 fortnight", "99999999999999999999s"] {
            assert_eq!(time(unknown), None, "{unknown}");
        }
        assert_eq!(size("1X"), None);
    }

    #[test]
    fn paths_of_other_servers_are_understood() {
        for (written, right) in [
            ("^/api", "\"/api/\" for it and everything below"),
            ("~ /x", "\"/x/\" for it and everything below"),
            ("^~ /static/", "\"/static/\" for it and everything below"),
            ("/a/.*", "\"/a/\" for it and everything below"),
            ("/a/*", "\"/a/\" for it and everything below"),
            ("/*", "\"/\" for it and everything below"),
            ("~* ^/a(/.*)?$", "\"/a/\" for it and everything below"),
            ("= /x", "\"/x\" for that path alone"),
            ("^/about$", "\"/about\" for that path alone"),
            ("~ \\.php$", "\"/api/\" matches /api and everything below"),
        ] {
            let hint = path(written).unwrap();
            assert!(hint.contains(right) && hint.contains("not known in paths"), "{written}: {hint}");
        }
        for unknown in ["", "b", "/a b", "/a//b"] {
            assert_eq!(path(unknown), None, "{unknown}");
        }
        assert!(path("https://a/b").unwrap().contains("\"host\""));
    }

    #[test]
    fn odd_literals_are_seen() {
        assert_eq!(
            literal_path("/users/:id").as_deref(),
            Some("\":id\" is compared letter by letter; for any one segment write \"{id}\"")
        );
        for odd in ["/users/[0-9]+", "/a/.+/b", "/x$", "/a/\\d", "/(a|b)"] {
            assert!(literal_path(odd).unwrap().contains("\"{name}\""), "{odd}");
        }
        for plain in ["/", "/a/{id}/", "/a:b", "/a.b", "/@scope/x", "/a(1)", "/.well-known/", "/$metadata"] {
            assert_eq!(literal_path(plain), None, "{plain}");
        }
    }
}
