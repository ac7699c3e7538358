//! What routes match and what they write: host, path and value patterns, and texts with placeholders.
//!
//! In: one text of the configuration. Out: its parsed form, or in a few words what is wrong with it. Pure.

use super::hint;
use super::model::{HostPattern, PathPattern, Segment, Template, TemplatePart, ValuePattern};
use super::problem::{excerpt, nearest};
use super::value::host_name;
use crate::http::fields::{is_value, is_visible, trim};

/// Placeholders that every template knows. A capture cannot have one of these names.
pub const PLACEHOLDERS: &[&str] = &["scheme", "host", "path", "query", "uri", "client", "request_id"];

/// The longest path pattern.
const PATH_LENGTH: usize = 4096;

/// `"shop.example"`, `"*.shop.example"`, `"192.0.2.1"`, `"[2001:db8::1]"`.
pub fn host(text: &str) -> Result<HostPattern, String> {
    if text == "*" {
        return Err("takes a host; to match every host, leave \"host\" out".into());
    }
    let (wildcard, name) = match text.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, text),
    };
    if name.contains('*') {
        return Err("takes a * only as the whole first label, such as \"*.shop.example\"".into());
    }
    host_name(name)?;
    let name = name.to_ascii_lowercase();
    match wildcard {
        true if name.starts_with('[') => Err("takes no * before an address".into()),
        true => Ok(HostPattern::Wildcard(format!(".{name}"))),
        // An address may be written in several ways; requests are compared with the shortest.
        false => match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => Ok(HostPattern::Exact(
                inner.parse::<std::net::Ipv6Addr>().map_or(name.clone(), |address| format!("[{address}]")),
            )),
            None => Ok(HostPattern::Exact(name)),
        },
    }
}

/// `"/"`, `"/api/"`, `"/users/{id}"`.
pub fn path(text: &str) -> Result<PathPattern, String> {
    let Some(rest) = text.strip_prefix('/') else {
        if let Some(hint) = hint::path(text) {
            return Err(hint);
        }
        return Err(format!("takes a path that begins with a slash, not {:?}", excerpt(text)));
    };
    if let Some(hint) = hint::path(text).filter(|_| text.contains(['*', '?'])) {
        return Err(hint);
    }
    if let Some(wrong) = text.chars().find(|c| matches!(c, '?' | '#') || c.is_control()) {
        return Err(format!("takes a path alone, without {wrong:?}; the query is matched by \"query\""));
    }
    if text.len() > PATH_LENGTH {
        return Err(format!("takes a path of at most {PATH_LENGTH} bytes"));
    }
    if is_encoded(text) {
        return Err("takes a path as it is after decoding: without % and two hexadecimal digits".into());
    }
    let (inner, prefix) = match rest.strip_suffix('/') {
        Some(inner) => (inner, true),
        None => (rest, rest.is_empty()),
    };
    let mut segments = Vec::new();
    if !rest.is_empty() {
        for part in inner.split('/') {
            let segment = segment(part)?;
            if matches!(segment, Segment::Capture(_)) && segments.contains(&segment) {
                return Err(format!("captures {part} twice"));
            }
            segments.push(segment);
        }
    }
    Ok(PathPattern { text: text.to_owned(), segments, prefix })
}

fn segment(text: &str) -> Result<Segment, String> {
    match text {
        "" => return Err("holds an empty segment (two slashes)".into()),
        "." | ".." => return Err(format!("holds {text:?}, which is resolved before a path is matched")),
        _ => {}
    }
    if let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        if !is_capture_name(name) {
            return Err(format!(
                "takes a capture of letters, digits and _, such as \"{{id}}\", not {:?}",
                excerpt(text)
            ));
        }
        if PLACEHOLDERS.contains(&name) {
            return Err(format!("cannot capture {text}: that placeholder has a meaning of its own"));
        }
        return Ok(Segment::Capture(name.to_owned()));
    }
    if text.contains(['{', '}']) {
        return Err(format!("takes a capture only as a whole segment, such as \"/{{id}}/\", not {:?}", excerpt(text)));
    }
    if text.contains('*') {
        return Err("takes no *: a slash at the end matches everything below, \"{name}\" one segment".into());
    }
    Ok(Segment::Literal(text.to_owned()))
}

/// A prefix to take off or to put before a path, without the slash at its end. It is written as it goes over the wire.
pub fn prefix(text: &str) -> Result<String, String> {
    let prefix = text.strip_suffix('/').unwrap_or(text);
    let segments = prefix.strip_prefix('/').unwrap_or_default();
    let plain = |segment: &str| !matches!(segment, "" | "." | "..");
    if !is_plain(prefix) || prefix.contains(['{', '}']) || !segments.split('/').all(plain) {
        return Err(format!("takes whole segments after a slash, such as \"/api\", not {:?}", excerpt(text)));
    }
    Ok(prefix.to_owned())
}

/// The whole path that a rewrite makes.
pub fn rewrite(text: &str, captures: Option<&[&str]>) -> Result<Template, String> {
    let template = template(text, captures)?;
    let begins = match template.parts.first() {
        Some(TemplatePart::Text(text)) => text.starts_with('/'),
        first => first == Some(&TemplatePart::Path),
    };
    let right = template.parts.iter().all(|part| match part {
        TemplatePart::Text(text) => is_plain(text),
        part => !matches!(part, TemplatePart::Query | TemplatePart::Uri),
    });
    if begins && right {
        return Ok(template);
    }
    Err("takes a path that begins with a slash or {path}, without a query (which stays) and without spaces".into())
}

/// Where a redirect leads.
pub fn location(text: &str, captures: Option<&[&str]>) -> Result<Template, String> {
    let template = template(text, captures)?;
    let begins = match template.parts.first() {
        Some(TemplatePart::Text(text)) => {
            let lower = text.to_ascii_lowercase();
            ["/", "http://", "https://"].iter().any(|start| lower.starts_with(start))
        }
        first => matches!(first, Some(TemplatePart::Scheme | TemplatePart::Path | TemplatePart::Uri)),
    };
    let visible = |part: &TemplatePart| match part {
        TemplatePart::Text(text) => text.bytes().all(is_visible),
        _ => true,
    };
    if begins && template.parts.iter().all(visible) {
        return Ok(template);
    }
    Err("takes an address such as \"https://{host}{uri}\", or a path that begins with a slash; in ASCII, without spaces"
        .into())
}

/// `"text"` or `"text*"`.
pub fn value(text: &str) -> Result<ValuePattern, String> {
    if !is_value(text.as_bytes()) {
        return Err("takes a text without control characters".into());
    }
    if trim(text.as_bytes()).len() != text.len() {
        return Err("takes a text without spaces at its ends".into());
    }
    match text.strip_suffix('*') {
        Some("") => Err("takes true for any value".into()),
        Some(start) => Ok(ValuePattern::Prefix(start.to_owned())),
        None => Ok(ValuePattern::Exact(text.to_owned())),
    }
}

/// A text with placeholders in braces; `{{` and `}}` stand for braces. `captures` are those that the route's paths
/// define, or `None` when they are not known.
pub fn template(text: &str, captures: Option<&[&str]>) -> Result<Template, String> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        plain.push_str(before);
        if let Some(after) = from.strip_prefix("{{") {
            plain.push('{');
            rest = after;
        } else if let Some(after) = from.strip_prefix("}}") {
            plain.push('}');
            rest = after;
        } else {
            let inner = from.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let Some((name, after)) = inner else {
                return Err("holds a brace without its partner; a brace itself is written twice".into());
            };
            if !plain.is_empty() {
                parts.push(TemplatePart::Text(std::mem::take(&mut plain)));
            }
            parts.push(placeholder(name, captures)?);
            rest = after;
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(TemplatePart::Text(plain));
    }
    if !is_value(text.as_bytes()) {
        return Err("takes a text without control characters".into());
    }
    Ok(Template { parts })
}

fn placeholder(name: &str, captures: Option<&[&str]>) -> Result<TemplatePart, String> {
    Ok(match name {
        "scheme" => TemplatePart::Scheme,
        "host" => TemplatePart::Host,
        "path" => TemplatePart::Path,
        "query" => TemplatePart::Query,
        "uri" => TemplatePart::Uri,
        "client" => TemplatePart::Client,
        "request_id" => TemplatePart::RequestId,
        _ if captures.is_none_or(|captures| captures.contains(&name)) && is_capture_name(name) => {
            TemplatePart::Capture(name.to_owned())
        }
        _ => {
            let known = PLACEHOLDERS.iter().chain(captures.unwrap_or_default()).copied();
            let meant = match nearest(name, known.clone()) {
                Some(meant) => format!("; did you mean {:?}?", format!("{{{meant}}}")),
                None => ".".to_owned(),
            };
            let known: Vec<_> = known.map(|name| format!("{{{name}}}")).collect();
            let (wrong, known) = (format!("{{{}}}", excerpt(name)), known.join(", "));
            return Err(format!(
                "does not know {wrong:?}{meant} There are {known} and what every path of the route captures"
            ));
        }
    })
}

/// The first thing in a text that would be a placeholder in a template, with its braces.
pub fn like_a_placeholder<'t>(text: &'t str, captures: &[&str]) -> Option<&'t str> {
    text.split_inclusive('}').find_map(|piece| {
        let found = piece.get(piece.rfind('{')?..)?;
        let name = found.strip_prefix('{')?.strip_suffix('}')?;
        (PLACEHOLDERS.contains(&name) || captures.contains(&name)).then_some(found)
    })
}

fn is_capture_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether the text may stand in a path on the wire.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| is_visible(b) && b != b'?' && b != b'#')
}

/// Whether a percent sign with two hexadecimal digits stands in it.
fn is_encoded(text: &str) -> bool {
    text.as_bytes()
        .windows(3)
        .any(|three| matches!(three, [b'%', a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_exact_or_have_a_star_in_front() {
        assert_eq!(host("Shop.Example"), Ok(HostPattern::Exact("shop.example".into())));
        assert_eq!(host("*.shop.example"), Ok(HostPattern::Wildcard(".shop.example".into())));
        assert_eq!(host("[2001:DB8:0::1]"), Ok(HostPattern::Exact("[2001:db8::1]".into())));
        for wrong in ["", "*", "a.*", "*a.b", "a:80", "a.", "bücher.example", "*.[::1]", "a..b", "a/b"] {
            assert!(host(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn paths_are_exact_unless_they_end_with_a_slash() {
        let literal = |text: &str| Segment::Literal(text.into());
        assert_eq!(path("/"), Ok(PathPattern { text: "/".into(), segments: vec![], prefix: true }));
        let users = path("/users/{id}").unwrap();
        assert_eq!((users.segments, users.prefix), (vec![literal("users"), Segment::Capture("id".into())], false));
        let api = path("/api/100%/").unwrap();
        assert_eq!((api.segments, api.prefix), (vec![literal("api"), literal("100%")], true));
        for wrong in [
            "", "a", "//", "/a//b", "/a//", "/./", "/a/..", "/a?b", "/a#b", "/a%2fb", "/{a}/{a}", "/x{a}", "/{a",
            "/{}", "/{a b}", "/a*", "/{host}", "/\n",
        ] {
            assert!(path(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_star_at_the_end_of_a_value_means_its_beginning() {
        assert_eq!(value("ab*"), Ok(ValuePattern::Prefix("ab".into())));
        assert_eq!(value("a*b"), Ok(ValuePattern::Exact("a*b".into())));
        assert!(value("*").is_err());
        assert!(value(" a").is_err());
    }

    #[test]
    fn templates_know_placeholders_and_captures() {
        let text = |text: &str| TemplatePart::Text(text.into());
        let parts = |from: &str| template(from, Some(&["id"])).map(|template| template.parts);
        assert_eq!(parts("https://{host}{uri}"), Ok(vec![text("https://"), TemplatePart::Host, TemplatePart::Uri]));
        assert_eq!(parts("/v2/{id}"), Ok(vec![text("/v2/"), TemplatePart::Capture("id".into())]));
        assert_eq!(parts("{{\"a\":1}}"), Ok(vec![text("{\"a\":1}")]));
        assert_eq!(parts(""), Ok(vec![]));
        assert!(parts("{hots}").unwrap_err().contains("did you mean \"{host}\"? There are"));
        assert!(parts("{zzz}").unwrap_err().contains("\"{zzz}\". There are"));
        for wrong in ["{", "}", "{}", "{a", "a}", "{other}", "a\nb"] {
            assert!(parts(wrong).is_err(), "{wrong}");
        }
        assert!(template("{anything}", None).is_ok());
    }

    #[test]
    fn what_looks_like_a_placeholder_is_seen() {
        let found = |text| like_a_placeholder(text, &["id"]);
        assert_eq!(found("you are {client}, {{host}}"), Some("{client}"));
        assert_eq!(found("{\"a\": \"{id}\"}"), Some("{id}"));
        for plain in ["", "{}", "{\"host\": 1}", "{ host }", "host}", "{host", "{name}", "a { b } {{}}"] {
            assert_eq!(found(plain), None, "{plain}");
        }
    }

    #[test]
    fn prefixes_are_whole_segments() {
        assert_eq!(prefix("/api/v1/").as_deref(), Ok("/api/v1"));
        for wrong in ["", "/", "api", "//", "/a//b", "/..", "/a b", "/a?b", "/{a}", "/ü"] {
            assert!(prefix(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rewrite_makes_a_path_and_a_redirect_an_address() {
        for right in ["/v2{path}", "{path}", "/a/{id}"] {
            assert!(rewrite(right, Some(&["id"])).is_ok(), "{right}");
        }
        for wrong in ["", "v2", "/a?b", "/{query}", "{uri}", "/a b", "{host}"] {
            assert!(rewrite(wrong, None).is_err(), "{wrong}");
        }
        for right in ["https://{host}{uri}", "{scheme}://www.{host}/", "/new?{query}#x", "HTTP://a/"] {
            assert!(location(right, None).is_ok(), "{right}");
        }
        for wrong in ["", "www.example/", "{host}/", "javascript:alert(1)", "/a b"] {
            assert!(location(wrong, None).is_err(), "{wrong}");
        }
    }
}
