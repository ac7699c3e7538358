//! Where something is fetched from: a scheme, a host, a target.
//!
//! Pure. In: texts of the configuration and of `Location` and `realm`. Out: an address, or nothing when it is none of ours:
//! another scheme, a user in it, no host.

use std::fmt;

use crate::http::head::host_of;

/// An address that can be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Address {
    /// Whether it is asked without TLS.
    pub(super) plain: bool,
    /// Host, with or without a port.
    pub(super) authority: String,
    /// Path and query.
    pub(super) target: String,
}

impl Address {
    /// An absolute address.
    pub(super) fn parse(text: &str) -> Option<Address> {
        let uri: http::Uri = text.parse().ok()?;
        let plain = match uri.scheme_str()? {
            "https" => false,
            "http" => true,
            _ => return None,
        };
        let authority = uri.authority()?.as_str();
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let right = !authority.contains('@') && !host_of(authority).is_empty();
        right.then(|| Address { plain, authority: authority.to_owned(), target })
    }

    /// What a `Location` in an answer from here names (RFC 3986 section 5.2; without its rare forms).
    pub(super) fn join(&self, location: &str) -> Option<Address> {
        let scheme = if self.plain { "http" } else { "https" };
        if location.contains("://") && !location.starts_with(['/', '?']) {
            return Address::parse(location);
        }
        if location.starts_with("//") {
            return Address::parse(&format!("{scheme}:{location}"));
        }
        let path = self.target.split('?').next().unwrap_or("/");
        let target = match location.as_bytes().first()? {
            b'/' => location.to_owned(),
            b'?' => format!("{path}{location}"),
            _ => format!("{}/{location}", path.rsplit_once('/').map_or("", |(folder, _)| folder)),
        };
        Address::parse(&format!("{scheme}://{}{target}", self.authority))
    }

    /// The host, an IPv6 address in brackets.
    pub(super) fn host(&self) -> &str {
        host_of(&self.authority)
    }

    /// What a connection is made to.
    pub(super) fn socket(&self) -> Option<(&str, u16)> {
        let host = self.host();
        let port = match self.authority.get(host.len()..)?.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None if self.plain => 80,
            None => 443,
        };
        Some((host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host), port))
    }

    /// Whether both are of one server, which may then see the same secrets.
    pub(super) fn is_of_same_origin(&self, other: &Address) -> bool {
        let of = |address: &Address| Some((address.plain, address.host().to_ascii_lowercase(), address.socket()?.1));
        of(self) == of(other)
    }

    /// Whether it is on this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let Some((host, _)) = self.socket() else { return false };
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// Without its query, in which there may be signatures.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.plain { "http" } else { "https" };
        let (path, query) = self.target.split_once('?').map_or((&*self.target, ""), |(path, _)| (path, "?…"));
        write!(f, "{scheme}://{}{path}{query}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_joined() {
        let base = Address::parse("https://a.example:8443/b/c?d").unwrap();
        for (location, joined) in [
            ("https://e.example", "https://e.example/"),
            ("http://e.example/f?g", "http://e.example/f?…"),
            ("//e.example/f", "https://e.example/f"),
            ("/f", "https://a.example:8443/f"),
            ("f", "https://a.example:8443/b/f"),
            ("?f", "https://a.example:8443/b/c?…"),
            ("/f?to=http://g", "https://a.example:8443/f?…"),
        ] {
            assert_eq!(base.join(location).unwrap().to_string(), joined, "{location}");
        }
        for wrong in
            ["", "ftp://a.example/", "https://user@a.example/", "https:///a", "/a b", "/a\r\nb", "https://:80/"]
        {
            assert_eq!(base.join(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn hosts_ports_and_origins_are_told() {
        let read = |text: &str| Address::parse(text).unwrap();
        assert_eq!(read("https://a.example/").socket(), Some(("a.example", 443)));
        assert_eq!(read("http://[::1]/").socket(), Some(("::1", 80)));
        assert_eq!(read("https://[::1]:5000/x").socket(), Some(("::1", 5000)));
        assert!(read("https://A.example/x").is_of_same_origin(&read("https://a.example:443/y")));
        assert!(!read("https://a.example/").is_of_same_origin(&read("https://a.example:444/")));
        assert!(!read("https://a.example/").is_of_same_origin(&read("http://a.example:443/")));
        for (text, is) in
            [("localhost:5000", true), ("127.0.0.9", true), ("[::1]:1", true), ("localhost.example", false)]
        {
            assert_eq!(read(&format!("https://{text}/")).is_loopback(), is, "{text}");
        }
    }
}
