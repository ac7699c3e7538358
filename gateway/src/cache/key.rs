//! Under what a response is kept.
//!
//! In: a request. Out: its URL, written in one way, so that two requests for the same thing have the same. Where a request would go
//! is no part of it, but the entry's `place`: a change by an unsafe request concerns all that stands under a URL.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::http::Scheme;
use crate::http::head::host_of;

/// A URL as it is looked up, mostly without memory of its own.
pub type Url = SmallVec<[u8; 192]>;

/// Which of the answers to one URL are meant, whatever they vary by.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Way {
    /// By what route they come and go: requests that would go elsewhere have another number.
    pub number: u64,
    /// What plugins added to the key.
    pub part: Part,
}

/// What plugins added to the key of a request: parts, each with the plugin that added it. Mostly nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Part(Option<Arc<[u8]>>);

/// Which parameters of a query count.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query {
    /// Only these; `None`: all.
    pub keep: Option<Vec<String>>,
    /// All but these. A star at the end stands for anything.
    pub drop: Vec<String>,
    /// In any order.
    pub sort: bool,
}

/// The URL of a request.
pub fn url(scheme: Scheme, authority: &str, target: &str, query: &Query) -> Url {
    let mut url = Url::new();
    url.extend_from_slice(scheme.text().as_bytes());
    url.extend_from_slice(b"://");
    let begin = url.len();
    url.extend_from_slice(without_default_port(scheme, authority).as_bytes());
    if let Some(host) = url.get_mut(begin..) {
        // RFC 9110 section 4.2.3.
        host.make_ascii_lowercase();
    }
    match target.split_once('?').filter(|_| *query != Query::default()) {
        None => url.extend_from_slice(target.as_bytes()),
        Some((path, parameters)) => {
            url.extend_from_slice(path.as_bytes());
            let mut kept: SmallVec<[&str; 16]> = parameters.split('&').filter(|pair| query.counts(pair)).collect();
            // Two of the same name stay in their order, which some read; written in another way a name is not known to be the same.
            if query.sort && !kept.iter().any(|pair| is_escaped(name_of(pair))) {
                kept.sort_by_key(|pair| name_of(pair));
            }
            for (at, pair) in kept.iter().enumerate() {
                url.push(if at == 0 { b'?' } else { b'&' });
                url.extend_from_slice(pair.as_bytes());
            }
        }
    }
    url
}

/// What a reference in a response's field leads to, when that is at the same origin as the URL that was asked (RFC 9111
/// section 4.4): scheme and authority, and path with query.
pub fn same_origin<'r>(
    scheme: Scheme,
    authority: &str,
    path: &str,
    reference: &'r str,
) -> Option<std::borrow::Cow<'r, str>> {
    use std::borrow::Cow;
    let reference = reference.split('#').next().unwrap_or_default();
    let rest = match reference.split_once("://") {
        Some((other, rest)) if !other.contains(['/', '?']) => {
            if !other.eq_ignore_ascii_case(scheme.text()) {
                return None;
            }
            Some(rest)
        }
        _ => reference.strip_prefix("//"),
    };
    if let Some(rest) = rest {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, target) = rest.split_at_checked(end)?;
        let same = |one: &'_ str| without_default_port(scheme, one).to_ascii_lowercase();
        if same(host) != same(authority) {
            return None;
        }
        return Some(if target.starts_with('/') { Cow::Borrowed(target) } else { Cow::Owned(format!("/{target}")) });
    }
    if reference.starts_with('/') {
        return Some(Cow::Borrowed(reference));
    }
    if reference.starts_with('?') || reference.is_empty() {
        return Some(Cow::Owned(format!("{path}{reference}")));
    }
    // RFC 3986 section 5.2.3: beside the last segment. Dots are as good as absent: nothing is kept under a path with them.
    let folder = path.rfind('/').and_then(|at| path.get(..=at)).unwrap_or("/");
    let reference = reference.strip_prefix("./").unwrap_or(reference);
    Some(Cow::Owned(format!("{folder}{reference}")))
}

impl Way {
    /// Adds it to a key, so that no two look alike there, whatever follows.
    pub fn write(&self, key: &mut Vec<u8>) {
        key.extend_from_slice(&self.number.to_be_bytes());
        let part = self.part.bytes();
        key.extend_from_slice(&size(part));
        key.extend_from_slice(part);
    }
}

impl From<u64> for Way {
    fn from(number: u64) -> Way {
        Way { number, part: Part::default() }
    }
}

impl Part {
    /// With one more, of this plugin.
    #[must_use]
    pub fn with(&self, plugin: &str, part: &[u8]) -> Part {
        let mut all = self.bytes().to_vec();
        for text in [plugin.as_bytes(), part] {
            all.extend_from_slice(&size(text));
            all.extend_from_slice(text);
        }
        Part(Some(all.into()))
    }

    /// All of it, so that no two that differ are the same; empty when there is nothing.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Each as people read it: `PLUGIN=PART`.
    pub fn texts(&self) -> Vec<String> {
        let (mut rest, mut texts) = (self.bytes(), Vec::new());
        let next = |rest: &mut &[u8]| {
            let (size, more) = rest.split_first_chunk::<4>()?;
            let (text, more) = more.split_at_checked(u32::from_be_bytes(*size) as usize)?;
            *rest = more;
            Some(text.escape_ascii().to_string())
        };
        while let (Some(plugin), Some(part)) = (next(&mut rest), next(&mut rest)) {
            texts.push(format!("{plugin}={part}"));
        }
        texts
    }
}

fn size(text: &[u8]) -> [u8; 4] {
    u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes()
}

fn without_default_port(scheme: Scheme, authority: &str) -> &str {
    let host = host_of(authority);
    let default = match scheme {
        Scheme::Http => ":80",
        Scheme::Https => ":443",
    };
    match authority.get(host.len()..) {
        Some(port) if port == default || port == ":" => host,
        _ => authority,
    }
}

/// The name of a parameter, as it is written.
fn name_of(pair: &str) -> &str {
    pair.split('=').next().unwrap_or_default()
}

/// Whether a name may be another one than it looks like.
fn is_escaped(name: &str) -> bool {
    name.contains(['%', '+'])
}

impl Query {
    fn counts(&self, pair: &str) -> bool {
        let name = name_of(pair);
        if is_escaped(name) {
            return true;
        }
        let is_among = |names: &[String]| {
            names.iter().any(|one| one.strip_suffix('*').map_or(one == name, |begin| name.starts_with(begin)))
        };
        self.keep.as_ref().is_none_or(|keep| is_among(keep)) && !is_among(&self.drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(authority: &str, target: &str, query: &Query) -> String {
        String::from_utf8(url(Scheme::Http, authority, target, query).to_vec()).unwrap()
    }

    #[test]
    fn one_thing_has_one_url() {
        let all = Query::default();
        for (authority, target, expected) in [
            ("Example.COM:80", "/A?b=1&a", "http://example.com/A?b=1&a"),
            ("example.com:443", "/", "http://example.com:443/"),
            ("[::1]:80", "/", "http://[::1]/"),
            ("", "/x", "http:///x"),
        ] {
            assert_eq!(text(authority, target, &all), expected);
        }
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let sorted = Query { sort: true, ..Query::default() };
        assert_eq!(text("x", "/?b=1&a=2&b=0", &sorted), "http://x/?a=2&b=1&b=0");
        let dropped = Query { drop: list(&["utm_*", "fbclid"]), ..Query::default() };
        assert_eq!(text("x", "/?utm_source=1&a=2&fbclid=7", &dropped), "http://x/?a=2");
        assert_eq!(text("x", "/?utm_source=1", &dropped), "http://x/");
        let kept = Query { keep: Some(list(&["a"])), ..Query::default() };
        assert_eq!(text("x", "/?b=1&a=2&ab=3", &kept), "http://x/?a=2");
    }

    #[test]
    fn parts_of_a_key_are_told_apart() {
        let none = Part::default();
        let all = [
            none.clone(),
            none.with("a", b""),
            none.with("a", b"b"),
            none.with("ab", b""),
            none.with("a", b"").with("a", b""),
            none.with("a", b"b").with("c", b"d"),
            none.with("c", b"d").with("a", b"b"),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| one != other && one.bytes() != other.bytes()), "{one:?}");
        }
        assert_eq!(all[5].texts(), ["a=b", "c=d"]);
        assert_eq!(none.with("a", b"\x1b[1m\n").texts(), ["a=\\x1b[1m\\n"]);
        assert!(none.texts().is_empty());
        let key = |way: &Way, more: &[u8]| {
            let mut key = Vec::new();
            way.write(&mut key);
            [key, more.to_vec()].concat()
        };
        let part = Part::default().with("a", b"b");
        let bytes = [&size(part.bytes())[..], part.bytes()].concat();
        for more in [part.bytes(), &bytes] {
            assert_ne!(key(&Way { number: 1, part: part.clone() }, b""), key(&Way::from(1), more));
        }
    }

    #[test]
    fn references_lead_to_the_same_origin_or_nowhere() {
        let at =
            |reference| same_origin(Scheme::Http, "Example.com:80", "/a/b", reference).map(|found| found.into_owned());
        for (reference, expected) in [
            ("/x?y", Some("/x?y")),
            ("http://example.com/x#y", Some("/x")),
            ("//EXAMPLE.com/x", Some("/x")),
            ("http://example.com", Some("/")),
            ("https://example.com/x", None),
            ("http://other.example/x", None),
            ("http://example.com.evil/x", None),
            ("c", Some("/a/c")),
            ("?q", Some("/a/b?q")),
            ("", Some("/a/b")),
        ] {
            assert_eq!(at(reference).as_deref(), expected, "{reference}");
        }
    }
}
