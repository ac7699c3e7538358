//! What a route changes on its way: templates, the target, header fields.
//!
//! In: what the configuration says and the facts of one request. Out: text that is safe where it goes. Invariant: what
//! comes from the client (host, target, captures, request id) can end no line, open no new part of a URL, and bring no
//! dot segment or other host with it; a rewritten target begins with exactly one slash, and so does a relative redirect
//! unless the configuration itself writes `//`.

use std::fmt::Write;
use std::net::IpAddr;

use super::path::{is_pchar, key, normalise, push_escape};
use super::table::Captures;
use crate::config::model::{HeaderChanges, Rewrite, Template, TemplatePart};
use crate::http::claims::strip_alike;
use crate::http::fields::{InvalidField, is_visible};
use crate::http::hygiene::is_framing;
use crate::http::{Fields, Scheme};

/// The facts of one request that templates refer to.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// As the client used it, before all proxies.
    pub scheme: Scheme,
    /// Without port.
    pub host: &'a str,
    /// Path and query as they came.
    pub target: &'a str,
    /// The client's address.
    pub client: IpAddr,
    /// The request id.
    pub request_id: &'a str,
    /// What the path captured.
    pub captures: &'a Captures<'a>,
}

/// Where rendered text goes, which decides what is escaped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// A field value: any visible character.
    Header,
    /// A path that goes upstream, with a query perhaps.
    Path,
    /// A URL in a `Location`.
    Url,
}

impl Context<'_> {
    fn path_and_query(&self) -> (&str, Option<&str>) {
        match self.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.target, None),
        }
    }
}

/// Appends a template with its placeholders filled in. A capture that the path does not have is left empty.
pub fn render(template: &Template, context: &Context<'_>, place: Place, out: &mut String) {
    let (path, query) = context.path_and_query();
    for part in &template.parts {
        match part {
            TemplatePart::Text(text) => push_text(text, place, out),
            TemplatePart::Scheme => out.push_str(context.scheme.text()),
            TemplatePart::Host => push(context.host, is_host, out),
            TemplatePart::Path => push_path(path, place, out),
            TemplatePart::Query => push_query(query.unwrap_or_default(), place, out),
            TemplatePart::Uri => {
                push_path(path, place, out);
                if let Some(query) = query {
                    out.push('?');
                    push_query(query, place, out);
                }
            }
            TemplatePart::Client => {
                // Writing to a String cannot fail.
                let _ = write!(out, "{}", context.client);
            }
            TemplatePart::RequestId if place == Place::Header => push(context.request_id, is_visible, out),
            TemplatePart::RequestId => push(context.request_id, is_pchar, out),
            TemplatePart::Capture(name) => {
                push(context.captures.get(name).unwrap_or_default(), |b| is_pchar(b) || b == b'%', out);
            }
        }
    }
}

/// Appends what the configuration says: it may use all of a URL's syntax, but can break neither a line nor a URL.
fn push_text(text: &str, place: Place, out: &mut String) {
    match place {
        Place::Header => text.chars().for_each(|c| match c {
            '\t' => out.push(c),
            '\0'..'\u{20}' | '\u{7f}' => push_escape(c as u8, out),
            _ => out.push(c),
        }),
        Place::Path => push(text, |b| is_pchar(b) || matches!(b, b'/' | b'%' | b'?'), out),
        Place::Url => push(text, |b| is_pchar(b) || matches!(b, b'/' | b'%' | b'?' | b'#' | b'[' | b']'), out),
    }
}

fn push_path(path: &str, place: Place, out: &mut String) {
    if place == Place::Header {
        return push(path, is_visible, out);
    }
    // Behind other text, dot segments that are still there would climb out of it; in normal form there are none.
    let normal = normalise(path);
    let path = normal.as_deref().unwrap_or("/");
    if !path.starts_with('/') {
        return out.push('/'); // "*"
    }
    push(path, |b| is_pchar(b) || matches!(b, b'/' | b'%'), out);
}

fn push_query(query: &str, place: Place, out: &mut String) {
    // RFC 3986 section 3.4; a question mark may stand in a query, but must not begin one.
    let in_query = place == Place::Url || out.contains('?');
    match place {
        Place::Header => push(query, is_visible, out),
        _ => push(query, |b| is_pchar(b) || matches!(b, b'/' | b'%') || (b == b'?' && in_query), out),
    }
}

/// Appends text with an escape for each byte that may not stand there.
fn push(text: &str, may_stand: impl Fn(u8) -> bool, out: &mut String) {
    for byte in text.bytes() {
        // Only ASCII stands as it is: what is not is escaped byte by byte.
        if byte.is_ascii() && may_stand(byte) { out.push(char::from(byte)) } else { push_escape(byte, out) }
    }
}

/// RFC 3986 section 3.2.2 without userinfo.
fn is_host(byte: u8) -> bool {
    (is_pchar(byte) && byte != b'@') || matches!(byte, b'[' | b']' | b'%')
}

/// The target of a redirect.
pub fn location(template: &Template, context: &Context<'_>) -> String {
    let mut out = String::with_capacity(context.target.len() + 32);
    let first = template.parts.first();
    if let Some(TemplatePart::Capture(_) | TemplatePart::Query | TemplatePart::RequestId) = first {
        out.push('/'); // What the client chose must not choose the scheme.
    }
    render(template, context, Place::Url, &mut out);
    // "//host" names another host (RFC 3986 section 4.2); only the configuration may do that.
    if !matches!(first, Some(TemplatePart::Text(text)) if text.starts_with("//")) {
        one_slash(&mut out);
    }
    out
}

/// Leaves one of the slashes at the front.
fn one_slash(path: &mut String) {
    let slashes = path.bytes().take_while(|&b| b == b'/').count();
    path.drain(..slashes.saturating_sub(1));
}

/// The target that goes upstream, query included. `*` stays.
pub fn rewrite(rewrite: &Rewrite, context: &Context<'_>) -> String {
    let (path, query) = context.path_and_query();
    if !path.starts_with('/') {
        return context.target.to_string();
    }
    let mut out = String::with_capacity(context.target.len() + 32);
    let mut query = query;
    match rewrite {
        Rewrite::Prefix { strip, add } => {
            let normal = normalise(path);
            let path = normal.as_deref().unwrap_or(path);
            push_text(add, Place::Path, &mut out);
            if out.ends_with('/') {
                out.pop();
            }
            push(without_prefix(path, strip), |b| is_pchar(b) || matches!(b, b'/' | b'%'), &mut out);
        }
        Rewrite::Path(template) => {
            render(template, context, Place::Path, &mut out);
            if template.parts.iter().any(|part| matches!(part, TemplatePart::Query | TemplatePart::Uri)) {
                query = None;
            }
        }
    }
    if !out.starts_with('/') {
        out.insert(0, '/');
    }
    one_slash(&mut out);
    if let Some(query) = query {
        out.push(if out.contains('?') { '&' } else { '?' });
        out.push_str(query);
    }
    out
}

/// The path behind a prefix of whole segments: empty or from a slash on; all of it when it does not begin so.
fn without_prefix<'p>(path: &'p str, prefix: &str) -> &'p str {
    let mut rest = path;
    for wanted in prefix.split('/').filter(|segment| !segment.is_empty()) {
        let Some(behind) = rest.strip_prefix('/') else { return path };
        let (segment, after) = behind.split_at(behind.find('/').unwrap_or(behind.len()));
        if key(segment) != super::path::key_of_literal(wanted).as_ref() {
            return path;
        }
        rest = after;
    }
    rest
}

/// Changes fields as a route says: first removes, then sets, then adds. Fields that frame a message or belong to one
/// connection are left alone whatever the route says, for the protocols write those; and so is `Host`, which is the
/// authority.
pub fn apply(changes: &HeaderChanges, fields: &mut Fields, context: &Context<'_>) -> Result<(), InvalidField> {
    // What the configuration decides of nobody may write beside it in a spelling that CGI takes for the same.
    changes.replaced().for_each(|name| strip_alike(fields, name));
    for name in changes.remove.iter().filter(|name| !is_framing((*name).into())) {
        fields.remove(name);
    }
    let mut value = String::new();
    let set = changes.set.iter().map(|change| (true, change));
    let add = changes.add.iter().map(|change| (false, change));
    for (only, (name, template)) in set.chain(add).filter(|(_, (name, _))| !is_framing(name.into())) {
        value.clear();
        render(template, context, Place::Header, &mut value);
        if only {
            fields.set(name, value.as_bytes())?;
        } else {
            fields.append(name, value.as_bytes())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::FieldName;
    use crate::http::fields::is_value;
    use proptest::prelude::*;

    fn template(text: &str) -> Template {
        let mut parts = Vec::new();
        for piece in text.split_inclusive('}') {
            let (before, name) = piece.split_once('{').unwrap_or((piece, ""));
            if !before.is_empty() {
                parts.push(TemplatePart::Text(before.into()));
            }
            parts.push(match name.trim_end_matches('}') {
                "" => continue,
                "scheme" => TemplatePart::Scheme,
                "host" => TemplatePart::Host,
                "path" => TemplatePart::Path,
                "query" => TemplatePart::Query,
                "uri" => TemplatePart::Uri,
                "client" => TemplatePart::Client,
                "request_id" => TemplatePart::RequestId,
                name => TemplatePart::Capture(name.into()),
            });
        }
        Template { parts }
    }

    fn with<T>(target: &str, capture: &str, act: impl FnOnce(&Context<'_>) -> T) -> T {
        let names = ["id".into()];
        let captures = Captures::new(&names, [capture]);
        act(&Context {
            scheme: Scheme::Https,
            host: "shop.example",
            target,
            client: IpAddr::from([192, 0, 2, 1]),
            request_id: "r-1",
            captures: &captures,
        })
    }

    fn header(text: &str, target: &str, capture: &str) -> String {
        with(target, capture, |context| {
            let mut out = String::new();
            render(&template(text), context, Place::Header, &mut out);
            out
        })
    }

    #[test]
    fn every_placeholder_is_filled_in() {
        assert_eq!(
            header("{scheme}://{host}{path} {query} {uri} {client} {request_id} {id}{none}", "/a/b?c=d", "x"),
            "https://shop.example/a/b c=d /a/b?c=d 192.0.2.1 r-1 x"
        );
        assert_eq!(header("\u{fc} a\r\nb: c", "/", ""), "\u{fc} a%0D%0Ab: c");
        assert_eq!(header("{id}{query}", "/?a\r\nb", "\n"), "%0Aa%0D%0Ab");
    }

    #[test]
    fn a_prefix_is_taken_off_as_whole_segments_only() {
        let prefix = |strip: &str, add: &str, target: &str| {
            let change = Rewrite::Prefix { strip: strip.into(), add: add.into() };
            with(target, "", |context| rewrite(&change, context))
        };
        for (strip, add, target, wanted) in [
            ("/api", "", "/api/users?x=/api", "/users?x=/api"),
            ("/api", "", "/api", "/"),
            ("/api", "", "/api/", "/"),
            ("/api", "", "/apiary", "/apiary"),
            ("/api", "/v1", "/api/users", "/v1/users"),
            ("/api", "/v1", "/api", "/v1"),
            ("/api", "/v1/", "/api/", "/v1/"),
            ("/api/v2", "", "/api/v2/x", "/x"),
            ("/api/v2", "/y", "/api/x", "/y/api/x"),
            ("", "/v1", "/x", "/v1/x"),
            ("/api", "", "/%61pi/x", "/x"),
            ("/api", "", "/z/../api/x", "/x"),
            ("/api", "", "/api//evil.example/", "/evil.example/"),
            ("/api", "", "/api/%2fevil", "/%2Fevil"),
            ("/api", "", "*", "*"),
            ("/api", "", "/api?", "/?"),
        ] {
            assert_eq!(prefix(strip, add, target), wanted, "{strip} {add} {target}");
        }
    }

    #[test]
    fn a_path_is_replaced_and_the_query_stays() {
        let path = |text: &str, target: &str, id: &str| {
            with(target, id, |context| rewrite(&Rewrite::Path(template(text)), context))
        };
        assert_eq!(path("/v2/users/{id}", "/users/7?a=b", "7"), "/v2/users/7?a=b");
        assert_eq!(path("/v2/users/{id}", "/users/7?a=b", "a%2Fb"), "/v2/users/a%2Fb?a=b");
        assert_eq!(path("/find?id={id}", "/users/7?a=b", "7"), "/find?id=7&a=b");
        assert_eq!(path("/find?{query}&x", "/users?a=b?", "7"), "/find?a=b?&x");
        assert_eq!(path("/old{uri}", "/users?a=b", ""), "/old/users?a=b");
        assert_eq!(path("/old{path}", "/x/../y?a", ""), "/old/y?a");
        assert_eq!(path("{id}", "/x", "y"), "/y");
        assert_eq!(path("/{path}", "/evil.example", ""), "/evil.example");
        assert_eq!(path("/a b#?", "/x", ""), "/a%20b%23?");
    }

    #[test]
    fn a_redirect_cannot_be_sent_elsewhere_by_the_client() {
        let to = |text: &str, target: &str, id: &str| with(target, id, |context| location(&template(text), context));
        assert_eq!(to("https://{host}{uri}", "/a?b=c?d", ""), "https://shop.example/a?b=c?d");
        assert_eq!(to("{path}", "//evil.example/", ""), "/evil.example/");
        assert_eq!(to("{uri}", "/\\evil.example/?\"", ""), "/%5Cevil.example/?%22");
        assert_eq!(to("{id}", "/", "javascript:x"), "/javascript:x");
        assert_eq!(to("{id}", "/", "@evil"), "/@evil");
        assert_eq!(to("//cdn.example{path}", "/a", ""), "//cdn.example/a");
        assert_eq!(to("https://[::1]:1/x#y", "/", ""), "https://[::1]:1/x#y");
        assert_eq!(to("https://cdn.example{uri}", "*", ""), "https://cdn.example/");
    }

    #[test]
    fn fields_are_removed_then_set_then_added() {
        let name = |text: &str| FieldName::new(text).unwrap();
        let changes = HeaderChanges {
            remove: vec![name("server"), name("content-length")],
            set: vec![(name("x-env"), template("live")), (name("connection"), template("x-env"))],
            add: vec![(name("x-env"), template("{id}")), (name("host"), template("evil"))],
        };
        let mut fields = Fields::new();
        for (name, value) in [("server", "x"), ("x-env", "old"), ("x-env", "older"), ("content-length", "1")] {
            fields.append(name, value.as_bytes()).unwrap();
        }
        with("/", "v", |context| apply(&changes, &mut fields, context)).unwrap();
        let left: Vec<_> = fields.iter().map(|(name, value)| (name.text(), value)).collect();
        assert_eq!(left, [("content-length", &b"1"[..]), ("x-env", b"live"), ("x-env", b"v")]);
    }

    proptest! {
        #[test]
        fn whatever_the_client_sends_stays_inside(
            target in "/[/a.%2fF?\\\\@\u{0}-\u{ff}]{0,20}",
            capture in "[/a.%?\\\\@:\u{0}-\u{ff}]{0,10}",
        ) {
            let everything = template("{id}{path}{query}{uri}{id}");
            with(&target, &capture, |context| {
                let mut out = String::new();
                render(&everything, context, Place::Header, &mut out);
                prop_assert!(is_value(out.as_bytes()) && out.is_ascii());
                let to = location(&everything, context);
                prop_assert!(to.starts_with('/') && !to.starts_with("//") && to.bytes().all(|b| b.is_ascii_graphic()));
                for change in [
                    Rewrite::Path(template("{path}")),
                    Rewrite::Path(template("{id}{path}")),
                    Rewrite::Prefix { strip: "/a".into(), add: String::new() },
                ] {
                    let new = rewrite(&change, context);
                    let path = new.split('?').next().unwrap_or_default();
                    prop_assert!(path.starts_with('/') && !path.starts_with("//"), "{}", path);
                    prop_assert!(path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\'), "{}", path);
                }
                Ok(())
            })?;
        }
    }
}
