//! Routes that can never win, because another one always goes before them.
//!
//! In: the routes in the order of the file. Out: pairs of the route that never wins and the one that goes before it. Pure.
//!
//! What is found: at each host and path pattern of the route there is another route that goes before it (as many
//! conditions, earlier in the file) and asks for nothing more. Patterns are the same when they differ by the names of
//! captures only; conditions ask for nothing more when they are the same, or wider in a way that shows at once: more
//! methods, larger networks, a value's beginning for the value. What is not found: routes that several others cover
//! only together, and routes at a pattern that others with many conditions share ([`COMPARED`]), unless they are the same.
//! So a warning is always right, and none does not mean that every route is reached.

use std::collections::HashMap;
use std::fmt::Write;

use http::Method;

use super::model::{HostPattern, Match, PathPattern, Route, Segment, ValuePattern};

/// With how many earlier routes at one pattern a route is compared, so that the time stays in proportion to the file.
const COMPARED: usize = 64;

/// A host and a path pattern of a route, in a form that is the same for those that match the same.
type Pattern<'r> = (Option<&'r HostPattern>, String);

/// Which routes never win, each with one that goes before it.
pub(super) fn shadowed(routes: &[Route]) -> Vec<(usize, usize)> {
    let mut earlier: HashMap<Pattern<'_>, Vec<usize>> = HashMap::new();
    let mut same: HashMap<(Pattern<'_>, String), usize> = HashMap::new();
    let mut found = Vec::new();
    for (number, route) in routes.iter().enumerate() {
        let patterns = patterns(&route.matches);
        let conditions = conditions(&route.matches);
        let wider = |pattern: &Pattern<'_>| {
            let near = earlier.get(pattern).into_iter().flatten().take(COMPARED).copied();
            let mut near =
                near.filter(|&other| routes.get(other).is_some_and(|other| covers(&other.matches, &route.matches)));
            same.get(&(pattern.clone(), conditions.clone())).copied().or_else(|| near.next())
        };
        let winners: Option<Vec<usize>> = patterns.iter().map(wider).collect();
        match winners.as_deref() {
            Some([first, ..]) => found.push((number, *first)),
            // One that never wins is not needed to find others: what is before it goes before them too.
            _ => {
                for pattern in patterns {
                    earlier.entry(pattern.clone()).or_default().push(number);
                    same.entry((pattern, conditions.clone())).or_insert(number);
                }
            }
        }
    }
    found
}

fn patterns(matches: &Match) -> Vec<Pattern<'_>> {
    let paths: Vec<String> = match matches.paths.as_slice() {
        // Takes "*" too, which "/" does not.
        [] => vec!["/".into(), "*".into()],
        paths => paths.iter().map(shape).collect(),
    };
    let hosts: Vec<Option<&HostPattern>> = match matches.hosts.as_slice() {
        [] => vec![None],
        hosts => hosts.iter().map(Some).collect(),
    };
    hosts.iter().flat_map(|host| paths.iter().map(|path| (*host, path.clone()))).collect()
}

/// A path pattern without the names of its captures. No literal has a brace in it.
fn shape(path: &PathPattern) -> String {
    let mut shape = String::new();
    for segment in &path.segments {
        shape.push('/');
        shape.push_str(match segment {
            Segment::Literal(text) => text,
            Segment::Capture(_) => "{}",
        });
    }
    shape.push_str(if path.prefix { "/" } else { "" });
    shape
}

/// All conditions besides host and path, the same for those that ask for the same.
fn conditions(matches: &Match) -> String {
    let mut methods: Vec<&str> = matches.methods.iter().map(Method::as_str).collect();
    methods.sort_unstable();
    methods.dedup();
    let mut clients = matches.clients.clone();
    clients.sort_unstable();
    clients.dedup();
    let mut headers: Vec<_> = matches.headers.iter().map(|(name, value)| (name.text(), value)).collect();
    headers.sort_unstable_by_key(|(name, _)| *name);
    let mut out = String::new();
    // Writing to a String does not fail. Query and cookies come from maps, and so in order.
    let _ = write!(
        out,
        "{:?} {methods:?} {clients:?} {headers:?} {:?} {:?}",
        matches.scheme, matches.query, matches.cookies
    );
    out
}

/// Whether `wide` goes before a later `narrow` at the same pattern, and takes every request that it takes.
fn covers(wide: &Match, narrow: &Match) -> bool {
    let method = |method: &Method| {
        wide.methods.contains(method) || (*method == Method::HEAD && wide.methods.contains(&Method::GET))
    };
    wide.scheme == narrow.scheme
        && wide.methods.is_empty() == narrow.methods.is_empty()
        && narrow.methods.iter().all(method)
        && wide.clients.is_empty() == narrow.clients.is_empty()
        && narrow.clients.iter().all(|client| wide.clients.iter().any(|network| network.contains(client)))
        && all_covered(&wide.headers, &narrow.headers)
        && all_covered(&wide.query, &narrow.query)
        && all_covered(&wide.cookies, &narrow.cookies)
}

/// Whether each of the wide conditions holds where the narrow ones do; fewer of them would go behind.
fn all_covered<N: PartialEq>(wide: &[(N, ValuePattern)], narrow: &[(N, ValuePattern)]) -> bool {
    let implied =
        |(name, wide): &(N, ValuePattern)| narrow.iter().any(|(other, value)| other == name && fits(wide, value));
    wide.len() == narrow.len() && wide.iter().all(implied)
}

/// Whether what fits `narrow` always fits `wide`.
fn fits(wide: &ValuePattern, narrow: &ValuePattern) -> bool {
    match (wide, narrow) {
        (ValuePattern::Present, narrow) => *narrow != ValuePattern::Absent,
        (ValuePattern::Prefix(start), ValuePattern::Exact(text) | ValuePattern::Prefix(text)) => {
            text.starts_with(start)
        }
        (wide, narrow) => wide == narrow,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::parse;

    /// Of routes with these matches, those that never win.
    fn found(matches: &[&str]) -> Vec<(usize, usize)> {
        let mut text = String::from("[[listener]]\naddress = \"127.0.0.1:0\"\n");
        for matches in matches {
            text.push_str(&format!("[[route]]\nmatch = {{ {matches} }}\nrespond = \"\"\n"));
        }
        shadowed(&parse(&text, Path::new("g.toml")).unwrap().routes)
    }

    #[test]
    fn the_second_of_two_that_ask_for_the_same_never_wins() {
        for (first, second) in [
            ("", ""),
            ("", "path = '/'"),
            ("path = '/a/{x}'", "path = '/a/{y}'"),
            ("path = ['/a', '/b/']", "path = '/b/'"),
            ("host = ['a.example', 'b.example']", "host = 'B.example'"),
            ("method = ['POST', 'GET']", "method = ['GET', 'POST']"),
            ("method = ['POST', 'GET']", "method = 'HEAD'"),
            ("client = '10.0.0.0/8'", "client = ['10.1.0.0/16', '10.2.3.4']"),
            ("header = { a = '1', b = true }", "header = { B = 'x', A = '1' }"),
            ("query = { a = 'de*' }", "query = { a = 'de-at' }"),
            ("scheme = 'http', cookie = { a = false }", "cookie = { a = false }, scheme = 'http'"),
        ] {
            assert_eq!(found(&[first, second]), [(1, 0)], "{first} | {second}");
        }
        assert_eq!(found(&["path = '/a'", "path = '/b'", "path = ['/a', '/b']", "path = '/b'"]), [(2, 0), (3, 1)]);
    }

    #[test]
    fn what_may_win_is_not_warned_of() {
        for (first, second) in [
            ("", "path = '/a'"),
            ("path = '/'", ""),
            ("path = '/a'", "path = '/a/'"),
            ("path = '/a/'", "path = ['/a/', '/b/']"),
            ("path = '/{x}/b'", "path = '/a/b'"),
            ("", "host = 'a.example'"),
            ("host = '*.example'", "host = 'a.example'"),
            ("host = 'a.example'", "host = ['a.example', 'b.example']"),
            ("", "method = 'GET'"),
            ("method = 'GET'", ""),
            ("method = 'HEAD'", "method = 'GET'"),
            ("scheme = 'http'", "scheme = 'https'"),
            ("client = '10.1.0.0/16'", "client = '10.0.0.0/8'"),
            ("header = { a = '1' }", "header = { a = '2' }"),
            ("header = { a = '1' }", "header = { a = '1*' }"),
            ("header = { a = true }", "header = { a = false }"),
            ("header = { a = true, b = true }", "header = { a = '1', A = '2' }"),
            ("query = { a = 'x' }", "cookie = { a = 'x' }"),
            // The wider one has fewer conditions, and so goes behind.
            ("header = { a = true }", "header = { a = true, b = true }"),
        ] {
            assert_eq!(found(&[first, second]), [], "{first} | {second}");
        }
    }

    #[test]
    fn the_same_is_found_among_many() {
        let all: Vec<String> = (0..2000).map(|n| format!("header = {{ tenant = 't{}' }}", n % 1999)).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert_eq!(found(&all), [(1999, 0)]);
    }
}
