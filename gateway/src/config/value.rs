//! Values that people write as text: times, sizes, addresses, networks.
//!
//! In: one text. Out: the value, or in a few words what it should look like. Pure; nothing is resolved or opened.

mod registry;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::Method;
use ipnet::IpNet;

use super::hint;
use super::problem::{excerpt, suggestion};
use crate::http::FieldName;
use crate::http::fields::is_token;

pub use registry::{etcd_prefix, etcd_server, zookeeper_path, zookeeper_server};

/// Beyond this a time is taken for a mistake; it also keeps sums with a clock from overflowing.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// `"250ms"`, `"2s"`, `"1m30s"`, `"12h"`, `"7d"`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        let hint = behind(hint::time(text));
        format!("takes a time such as \"250ms\", \"2s\", \"1m30s\" or \"1h\", not {:?}{hint}", excerpt(text))
    };
    let mut rest = text;
    let mut sum: u64 = 0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let (number, after) = digits(rest).ok_or_else(wrong)?;
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit).ok_or_else(wrong)?;
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let part = number.checked_mul(milliseconds).and_then(|part| sum.checked_add(part));
        sum = part.filter(|&sum| u128::from(sum) <= LONGEST.as_millis()).ok_or("takes at most a year (\"365d\")")?;
        rest = after;
    }
    Ok(Duration::from_millis(sum))
}

/// `"64KiB"`, `"10MB"`, `"1GiB"`, `"300B"`.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || {
        let hint = behind(hint::size(text));
        format!("takes a size such as \"64KiB\", \"10MB\" or a number of bytes, not {:?}{hint}", excerpt(text))
    };
    let (number, unit) = digits(text).ok_or_else(wrong)?;
    let unit: u64 = match unit {
        "B" | "" => 1,
        "KB" | "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).filter(|&bytes| i64::try_from(bytes).is_ok()).ok_or("is too large for a size".into())
}

/// `10%`: of ten thousand.
pub fn share(text: &str) -> Result<u32, String> {
    let wrong = || format!("takes a share from \"0.01%\" to \"100%\", not {:?}", excerpt(text));
    let number = text.strip_suffix('%').ok_or_else(wrong)?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole, 3) || !digits(part, 2) {
        return Err(wrong());
    }
    let (whole, hundredths): (u32, u32) = (whole.parse().unwrap_or(0), format!("{part:0<2}").parse().unwrap_or(0));
    Some(whole * 100 + hundredths).filter(|share| (1..=10_000).contains(share)).ok_or_else(wrong)
}

/// The same, and `0%` for none.
pub fn share_or_none(text: &str) -> Result<u32, String> {
    match text.strip_suffix('%').map(str::parse::<f64>) {
        Some(Ok(0.0)) => Ok(0),
        _ => share(text).map_err(|error| error.replace("0.01%", "0%")),
    }
}

/// `"0.0.0.0:8080"`, `"[::]:8443"`.
pub fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let hint = behind(hint::address(text));
        let wrong = excerpt(text);
        format!("takes an address and a port, such as \"0.0.0.0:8080\" or \"[::]:8443\", not {wrong:?}{hint}")
    })
}

/// `"10.0.0.0/8"`, `"2001:db8::/32"`, or one address. What stands behind the prefix is dropped.
pub fn network(text: &str) -> Result<IpNet, String> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address)),
        Err(_) => text.parse::<IpNet>().ok(),
    };
    network.map(|network| network.trunc()).ok_or_else(|| {
        format!("takes a network such as \"10.0.0.0/8\" or \"2001:db8::/32\", or an address, not {:?}", excerpt(text))
    })
}

/// `"127.0.0.1:9001"`, `"backend.internal:80"`, `"[::1]:9001"`.
pub fn endpoint(text: &str) -> Result<String, String> {
    let wrong = || {
        let hint = behind(hint::endpoint(text));
        match text.split_once("://") {
            Some((scheme, _)) => format!("takes host and port without \"{}://\"{hint}", excerpt(scheme)),
            None => format!("takes host and port, such as \"127.0.0.1:9001\", not {:?}{hint}", excerpt(text)),
        }
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    host_name(host).map_err(|_| wrong())?;
    match port.parse::<u16>() {
        Ok(1..) if port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(text.to_owned()),
        _ => Err(wrong()),
    }
}

/// A Host to send: a name or an address, with or without a port.
pub fn authority(text: &str) -> Result<String, String> {
    if host_name(text).is_ok() || endpoint(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err(format!(
        "takes \"preserve\", \"endpoint\" or a host with or without a port, such as \"shop.example\", not {:?}",
        excerpt(text)
    ))
}

/// A name in ASCII, an IPv4 address, or an IPv6 address in brackets.
pub fn host_name(text: &str) -> Result<(), String> {
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().map(|_| ()).map_err(|_| "is not an IPv6 address".into());
    }
    if !text.is_ascii() {
        return Err("takes the ASCII form of a name (\"xn--…\")".into());
    }
    if text.contains(':') {
        return Err("takes a host without a port (an IPv6 address stands in brackets)".into());
    }
    if text.ends_with('.') {
        return Err("takes a name without a dot at its end".into());
    }
    // Underscores are no part of host names by RFC 1123 section 2.1, but they are found in container networks.
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() > 253 || !text.split('.').all(label) {
        return Err(format!("takes a host name, not {:?}", excerpt(text)));
    }
    Ok(())
}

/// `"GET"`; methods are case-sensitive (RFC 9110 section 9.1).
pub fn method(text: &str) -> Result<Method, String> {
    const USUAL: &[&str] =
        &["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY", "PROPFIND"];
    if !is_token(text.as_bytes()) || text.len() > 64 {
        return Err(format!("takes a method such as \"GET\", not {:?}", excerpt(text)));
    }
    if let Some(usual) = USUAL.iter().find(|usual| **usual != text && usual.eq_ignore_ascii_case(text)) {
        return Err(format!("methods are case-sensitive; did you mean {usual:?}?"));
    }
    Method::from_bytes(text.as_bytes()).map_err(|_| format!("takes a method such as \"GET\", not {:?}", excerpt(text)))
}

/// A field name, in any case.
pub fn field_name(text: &str) -> Result<FieldName, String> {
    FieldName::new(text).map_err(|_| format!("{:?} is not a header name", excerpt(text)))
}

/// Whether a field belongs to one connection and its framing (RFC 9110 section 7.6.1), which the gateway writes itself.
pub fn is_connection_field(name: &FieldName) -> bool {
    const OWN: &[&str] = &[
        "connection",
        "content-length",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    OWN.contains(&name.text())
}

/// Why routes cannot ask for a field; `None` when they can.
pub fn why_unmatched(name: &FieldName) -> Option<String> {
    let text = name.text();
    Some(match text {
        "host" => "the host is matched by \"host\"".into(),
        "content-length" => "\"content-length\" cannot be matched: not every request with a body has it".into(),
        "trailer" => return None,
        "upgrade" | "connection" => format!(
            "{text:?} belongs to the connection and is taken out before routes are looked for, so this would never \
             match; WebSockets pass on every route with a pool"
        ),
        _ if is_connection_field(name) || ["proxy-authorization", "proxy-authenticate", "proxy"].contains(&text) => {
            format!("{text:?} is taken out before routes are looked for, so this would never match")
        }
        _ => return None,
    })
}

/// A name for a pool or route, as it stands in logs and metrics.
pub fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 200 || text.chars().any(char::is_control) {
        return Err("takes a name of 1 to 200 bytes without control characters".into());
    }
    Ok(text.to_owned())
}

/// `"info"`, `"info,gatewright::tls=debug"`.
pub fn log_filter(text: &str) -> Result<String, String> {
    const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];
    for directive in text.split(',') {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level).trim();
        if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
            let meant = suggestion(level, LEVELS.iter().copied());
            let wrong = excerpt(level);
            return Err(format!(
                "takes off, error, warn, info, debug or trace, also for a part of the gateway as in \
                 \"info,gatewright::tls=debug\", not {wrong:?}{meant}"
            ));
        }
    }
    Ok(text.to_owned())
}

fn behind(hint: Option<String>) -> String {
    hint.map(|hint| format!("; {hint}")).unwrap_or_default()
}

fn digits(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_to_a_hundredth_of_a_percent() {
        for (text, expected) in [("10%", 1000), ("0.01%", 1), ("100%", 10_000), ("12.5%", 1250), ("0.5%", 50)] {
            assert_eq!(share(text), Ok(expected), "{text}");
        }
        for text in
            ["", "%", "10", "0%", "0.00%", "100.01%", "101%", "1e1%", "-1%", "+1%", "1.%", ".5%", "1.001%", "9999%"]
        {
            assert!(share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_read_with_their_units() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("365d"), Ok(LONGEST));
        for wrong in
            ["", "5", "s", "1 s", "-1s", "1.5s", "1S", "366d", "99999999999999999999s", "18446744073709551615d"]
        {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(size("64KiB"), Ok(65536));
        assert_eq!(size("10MB"), Ok(10_000_000));
        assert_eq!(size("300"), Ok(300));
        for wrong in ["", "KiB", "64 KiB", "64K", "-1B", "9999999TiB", "1.5MB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn endpoints_are_host_and_port() {
        for right in ["127.0.0.1:80", "[::1]:9001", "a_b.internal:65535"] {
            assert_eq!(endpoint(right).as_deref(), Ok(right));
        }
        for wrong in ["", "a", ":80", "a:0", "a:65536", "a:+8", "::1:80", "http://a:80", "a b:80", "[::1:80", "-a:1"] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_alone_is_a_network_of_one() {
        assert_eq!(network("192.0.2.7").map(|n| n.to_string()).as_deref(), Ok("192.0.2.7/32"));
        assert_eq!(network("2001:db8::1").map(|n| n.to_string()).as_deref(), Ok("2001:db8::1/128"));
        assert_eq!(network("10.1.2.3/8").map(|n| n.to_string()).as_deref(), Ok("10.0.0.0/8"));
        assert!(network("10.0.0.0/33").is_err());
        assert!(network("localhost").is_err());
    }

    #[test]
    fn a_port_alone_is_answered_with_what_to_write() {
        assert!(socket_address(":8080").unwrap_err().contains("\"[::]:8080\""));
        assert!(socket_address("localhost:80").is_err());
    }

    #[test]
    fn methods_keep_their_case() {
        assert!(method("get").unwrap_err().contains("\"GET\""));
        assert_eq!(method("QUERY").unwrap().as_str(), "QUERY");
        assert!(method("G T").is_err());
    }

    #[test]
    fn log_filters_name_levels() {
        assert!(log_filter("info,gatewright::tls=debug").is_ok());
        assert!(log_filter("inof").unwrap_err().contains("\"info\""));
        assert!(log_filter("").is_err());
    }
}
