//! What a route asks of a request besides host and path, and the routes that stand at the same path.
//!
//! In: a request head and the client's address. Out: the first candidate, by rank, whose conditions all hold.
//! Candidates are tried one after another; when there are many, those that ask for an exact header value are found by
//! that value. So ten thousand tenants told apart by one header cost one look-up; routes at one path that differ only
//! in method, query, cookie, network or a header's beginning are tried in turn.

use std::net::IpAddr;

use http::Method;
use ipnet::IpNet;
use smallvec::SmallVec;

use super::hash::ByBytes;
use crate::config::model::{Match, ValuePattern};
use crate::http::head::{cookies, query_values};
use crate::http::{FieldName, Name, RequestHead, Scheme, name};

/// From how many candidates on an index is worth its look-ups.
const INDEX_FROM: usize = 9;

/// What a route asks of a request besides host and path; all must hold.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    scheme: Option<Scheme>,
    methods: Vec<Method>,
    headers: Vec<(FieldName, ValuePattern)>,
    query: Vec<(String, ValuePattern)>,
    cookies: Vec<(String, ValuePattern)>,
    clients: Vec<IpNet>,
}

/// A route at a path.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) route: usize,
    /// Of the captures of this path pattern, from the left.
    pub(super) names: Box<[Box<str>]>,
    /// How many segments of the pattern there are up to its last literal.
    pub(super) literal: usize,
    /// Whether the route asks for no path at all, and so takes `*` too.
    pub(super) any_path: bool,
}

/// The routes that end at the same node in the same way, by rank.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    ranked: Vec<Candidate>,
    index: Option<Box<Index>>,
}

#[derive(Debug, Default)]
struct Index {
    /// By the first header that must have an exact value: from values to ranks, ascending.
    headers: Vec<(FieldName, ByBytes<Vec<usize>>)>,
    /// The ranks of the others, ascending.
    others: Vec<usize>,
}

impl Conditions {
    pub(super) fn new(matches: &Match) -> Conditions {
        Conditions {
            scheme: matches.scheme,
            methods: matches.methods.clone(),
            headers: matches.headers.clone(),
            query: matches.query.clone(),
            cookies: matches.cookies.clone(),
            clients: matches.clients.clone(),
        }
    }

    /// How many there are, for the order among routes.
    pub(super) fn count(&self) -> usize {
        usize::from(self.scheme.is_some())
            + usize::from(!self.methods.is_empty())
            + self.headers.len()
            + self.query.len()
            + self.cookies.len()
            + usize::from(!self.clients.is_empty())
    }

    /// Whether all hold.
    pub(super) fn hold(&self, request: &RequestHead, client: IpAddr) -> bool {
        self.scheme.is_none_or(|scheme| scheme == request.scheme)
            && (self.methods.is_empty() || self.methods.iter().any(|method| serves(method, &request.method)))
            && self.headers.iter().all(|(name, pattern)| header_fits(name, pattern, request))
            && self.query.iter().all(|(name, pattern)| query_fits(name, pattern, request.query()))
            && self.cookies.iter().all(|(name, pattern)| cookie_fits(name, pattern, request))
            && (self.clients.is_empty() || self.clients.iter().any(|network| network.contains(&client)))
    }

    fn exact_header(&self) -> Option<(&FieldName, &str)> {
        self.headers.iter().find_map(|(name, pattern)| match pattern {
            ValuePattern::Exact(value) if name.text() != "host" => Some((name, value.as_str())),
            _ => None,
        })
    }
}

/// Whether a route for `wanted` serves a request of this method.
fn serves(wanted: &Method, method: &Method) -> bool {
    wanted == method || (wanted == Method::GET && method == Method::HEAD)
}

/// Whether a header of the request is like that.
pub fn header_fits(field: &FieldName, pattern: &ValuePattern, request: &RequestHead) -> bool {
    let field = Name::from(field);
    if field == Name::Known(name::HOST) {
        // The authority stands for it; it is not among the fields.
        let host = Some(request.authority.bytes()).filter(|_| !request.authority.is_empty());
        return fits(pattern, host.into_iter());
    }
    fits(pattern, request.fields.values(field).map(|value| value.iter().copied()))
}

/// Whether a cookie is; of several of one name, any.
pub fn cookie_fits(name: &str, pattern: &ValuePattern, request: &RequestHead) -> bool {
    fits(pattern, cookies(&request.fields, name).map(|value| value.iter().copied()))
}

fn query_fits(wanted: &str, pattern: &ValuePattern, query: Option<&str>) -> bool {
    fits(pattern, query_values(query.unwrap_or_default(), wanted.as_bytes()))
}

/// Whether one of the values fits.
fn fits(pattern: &ValuePattern, mut values: impl Iterator<Item = impl Iterator<Item = u8>>) -> bool {
    match pattern {
        ValuePattern::Present => values.next().is_some(),
        ValuePattern::Absent => values.next().is_none(),
        ValuePattern::Exact(text) => values.any(|value| value.eq(text.bytes())),
        ValuePattern::Prefix(text) => values.any(|mut value| text.bytes().all(|b| value.next() == Some(b))),
    }
}

impl Candidates {
    pub(super) fn push(&mut self, candidate: Candidate) {
        self.ranked.push(candidate);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranked.is_empty()
    }

    /// Puts them in order and makes the index; called once, after the last push.
    pub(super) fn arrange(&mut self, conditions: &[Conditions]) {
        let count = |candidate: &Candidate| conditions.get(candidate.route).map_or(0, Conditions::count);
        self.ranked.sort_by_key(|candidate| (std::cmp::Reverse(count(candidate)), candidate.route));
        if self.ranked.len() < INDEX_FROM {
            return;
        }
        let mut index = Index::default();
        for (rank, candidate) in self.ranked.iter().enumerate() {
            let Some((name, value)) = conditions.get(candidate.route).and_then(Conditions::exact_header) else {
                index.others.push(rank);
                continue;
            };
            let at = index.headers.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                index.headers.push((name.clone(), ByBytes::default()));
                index.headers.len() - 1
            });
            if let Some((_, values)) = index.headers.get_mut(at) {
                values.entry(value.as_bytes().into()).or_default().push(rank);
            }
        }
        self.index = Some(Box::new(index)).filter(|index| !index.headers.is_empty());
    }

    /// The first by rank that `holds`. What is asked is only left out when its exact header cannot fit.
    pub(super) fn first(&self, request: &RequestHead, mut holds: impl FnMut(&Candidate) -> bool) -> Option<&Candidate> {
        let Some(index) = &self.index else { return self.ranked.iter().find(|candidate| holds(candidate)) };
        let mut lists: SmallVec<[&[usize]; 4]> = SmallVec::new();
        lists.push(&index.others);
        for (name, values) in &index.headers {
            lists.extend(request.fields.values(name).filter_map(|value| values.get(value)).map(Vec::as_slice));
        }
        // Several ascending lists, taken together in ascending order.
        loop {
            let least = lists.iter_mut().filter(|list| !list.is_empty()).min_by_key(|list| list.first().copied())?;
            let (&rank, rest) = least.split_first()?;
            *least = rest;
            let candidate = self.ranked.get(rank)?;
            if holds(candidate) {
                return Some(candidate);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_compared_decoded() {
        let exact = |text: &str| ValuePattern::Exact(text.into());
        assert!(query_fits("a b", &exact("c&d"), Some("x=1&a%20b=c%26d")));
        assert!(query_fits("a b", &exact(""), Some("a+b")));
        assert!(query_fits("a", &exact("2"), Some("a=1&a=2")));
        assert!(query_fits("a", &exact("%zz"), Some("a=%zz")));
        assert!(query_fits("a", &ValuePattern::Prefix("1".into()), Some("a=12")));
        assert!(query_fits("a", &ValuePattern::Present, Some("a")));
        assert!(query_fits("a", &ValuePattern::Absent, Some("b=a")));
        assert!(query_fits("a", &ValuePattern::Absent, None));
        assert!(!query_fits("", &ValuePattern::Present, Some("")));
        assert!(!query_fits("a", &exact("1"), Some("aa=1")));
    }

    #[test]
    fn a_get_route_serves_head_and_nothing_else() {
        assert!(serves(&Method::GET, &Method::HEAD));
        assert!(!serves(&Method::HEAD, &Method::GET));
        assert!(!serves(&Method::GET, &Method::POST));
    }
}
