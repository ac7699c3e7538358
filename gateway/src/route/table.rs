//! The table of routes, compiled for look-ups.
//!
//! In: the routes of a configuration, once; then request heads. Out: the route that wins by the order in [`super`], and
//! what its path captured. Hosts are found by hash; for each host there is a trie of path segments with a hash map at
//! each node. So a look-up costs one step for each label of the host that a wildcard could end at and one for each
//! segment of the path that the table knows, however many routes there are. Nothing is allocated for a path in normal
//! form without escapes, unless it captures more than a few dozen bytes.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::conditions::{Candidate, Candidates, Conditions};
use super::hash::ByBytes;
use super::path::{key, key_of_literal, normalise, wide};
use crate::config::model::{HostPattern, PathPattern, Route, Segment};
use crate::http::RequestHead;

/// Longer names than DNS knows (RFC 1035 section 2.3.4) are served by routes for any host only.
const HOST_SIZE: usize = 255;

/// The routes of one configuration.
#[derive(Debug, Default)]
pub struct RouteTable {
    /// By route.
    conditions: Vec<Conditions>,
    /// To roots among the nodes.
    exact_hosts: ByBytes<usize>,
    /// The same, by what follows the asterisk, with its dot.
    wildcard_hosts: ByBytes<usize>,
    longest_wildcard: usize,
    any_host: Option<usize>,
    nodes: Vec<Node>,
}

/// A place in a trie of path segments.
#[derive(Debug, Default)]
struct Node {
    literals: ByBytes<usize>,
    capture: Option<usize>,
    /// Routes whose pattern ends here and that take nothing below.
    exact: Candidates,
    /// Routes whose pattern ends here and that take everything below.
    prefix: Candidates,
}

/// The route that wins.
#[derive(Clone, Debug)]
pub struct Found<'t> {
    /// Of the route among those that the table was made from.
    pub index: usize,
    /// What the path captured.
    pub captures: Captures<'t>,
    /// How many segments of the normal path lie before what a folder has: those of a prefix; of an exact path all but the last.
    pub segments: usize,
}

/// What the `{name}` segments of a path pattern captured: names of the table, values of the request in normal form, so
/// of `pchar` and escapes only and without a slash.
#[derive(Clone, Debug, Default)]
pub struct Captures<'t> {
    names: &'t [Box<str>],
    text: SmallVec<[u8; 48]>,
    ends: SmallVec<[u32; 4]>,
}

impl<'t> Captures<'t> {
    /// Values for names, one each.
    pub fn new<'v>(names: &'t [Box<str>], values: impl IntoIterator<Item = &'v str>) -> Captures<'t> {
        let mut captures = Captures { names, ..Captures::default() };
        for value in values {
            captures.text.extend_from_slice(value.as_bytes());
            captures.ends.push(captures.text.len() as u32);
        }
        captures
    }

    /// All in the order of the path.
    pub fn iter(&self) -> impl Iterator<Item = (&'t str, &str)> {
        let mut start = 0;
        self.names.iter().zip(&self.ends).map(move |(name, &end)| {
            let value = self.text.get(start as usize..end as usize).unwrap_or_default();
            start = end;
            (&**name, std::str::from_utf8(value).unwrap_or_default())
        })
    }

    /// The value of a name.
    pub fn get(&self, wanted: &str) -> Option<&str> {
        self.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value)
    }
}

impl RouteTable {
    /// Compiles the routes. Their order is that of the file.
    pub fn new(routes: &[Route]) -> RouteTable {
        let mut table = RouteTable::default();
        for (number, route) in routes.iter().enumerate() {
            table.conditions.push(Conditions::new(&route.matches));
            if route.matches.hosts.is_empty() {
                let root = table.any_host.unwrap_or_else(|| table.node());
                table.any_host = Some(root);
                table.add_paths(root, number, &route.matches.paths);
            }
            for host in &route.matches.hosts {
                let root = table.root(host);
                table.add_paths(root, number, &route.matches.paths);
            }
        }
        for node in &mut table.nodes {
            node.exact.arrange(&table.conditions);
            node.prefix.arrange(&table.conditions);
        }
        table
    }

    fn node(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    fn root(&mut self, host: &HostPattern) -> usize {
        let fresh = self.nodes.len();
        let (map, name) = match host {
            HostPattern::Exact(name) => (&mut self.exact_hosts, name),
            HostPattern::Wildcard(name) => {
                self.longest_wildcard = self.longest_wildcard.max(name.len());
                (&mut self.wildcard_hosts, name)
            }
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let root = *map.entry(name.into_bytes().into()).or_insert(fresh);
        if root == fresh {
            self.node();
        }
        root
    }

    fn add_paths(&mut self, root: usize, route: usize, paths: &[PathPattern]) {
        if paths.is_empty() {
            self.add(root, Candidate { route, names: Box::default(), literal: 0, any_path: true }, true);
        }
        for path in paths {
            let (mut at, mut names, mut literal) = (root, Vec::new(), 0);
            // The exact path "/" has one segment, which is empty.
            let slash = [Segment::Literal(String::new())];
            let segments = if path.segments.is_empty() && !path.prefix { &slash } else { path.segments.as_slice() };
            for (depth, segment) in segments.iter().enumerate() {
                at = match segment {
                    Segment::Literal(text) => {
                        literal = depth + 1;
                        self.literal_below(at, key_of_literal(text))
                    }
                    Segment::Capture(name) => {
                        names.push(name.as_str().into());
                        self.capture_below(at)
                    }
                };
            }
            self.add(at, Candidate { route, names: names.into(), literal, any_path: false }, path.prefix);
        }
    }

    fn literal_below(&mut self, parent: usize, key: Box<[u8]>) -> usize {
        let fresh = self.nodes.len();
        let child = self.nodes.get_mut(parent).map_or(fresh, |node| *node.literals.entry(key).or_insert(fresh));
        if child == fresh { self.node() } else { child }
    }

    fn capture_below(&mut self, parent: usize) -> usize {
        let fresh = self.nodes.len();
        let child = self.nodes.get_mut(parent).map_or(fresh, |node| *node.capture.get_or_insert(fresh));
        if child == fresh { self.node() } else { child }
    }

    fn add(&mut self, node: usize, candidate: Candidate, prefix: bool) {
        if let Some(node) = self.nodes.get_mut(node) {
            if prefix { node.prefix.push(candidate) } else { node.exact.push(candidate) }
        }
    }

    /// The route that wins; `None` when there is none, when the path is one that [`normalise`] refuses, and when its
    /// readings lead to different routes (see [`super::path`]).
    pub fn find(&self, request: &RequestHead, client: IpAddr) -> Option<Found<'_>> {
        self.find_counted(request, client).0
    }

    /// The same, with the number of nodes and candidates that were looked at.
    fn find_counted(&self, request: &RequestHead, client: IpAddr) -> (Option<Found<'_>>, usize) {
        let Ok(path) = normalise(request.path()) else { return (None, 0) };
        let mut walk = Walk::new(self, request, client, &path);
        let found = walk.over_hosts();
        let (Some(hit), Some(wide)) = (&found, wide(&path)) else { return (walk.found(found), walk.steps) };
        let mut wide_walk = Walk::new(self, request, client, &wide.path);
        let other = wide_walk.over_hosts();
        let hidden = other
            .is_some_and(|other| other.candidate.route != hit.candidate.route && other.candidate.literal > wide.same);
        let steps = walk.steps + wide_walk.steps;
        if hidden { (None, steps) } else { (walk.found(found), steps) }
    }
}

/// One look-up.
struct Walk<'t, 'r> {
    table: &'t RouteTable,
    request: &'r RequestHead,
    client: IpAddr,
    /// In normal form or the lenient reading.
    path: &'r str,
    /// Where captured segments begin and end in the path.
    captured: SmallVec<[(usize, usize); 4]>,
    /// Nodes and candidates looked at.
    steps: usize,
}

struct Hit<'t> {
    candidate: &'t Candidate,
    segments: usize,
}

impl<'t, 'r> Walk<'t, 'r> {
    fn new(table: &'t RouteTable, request: &'r RequestHead, client: IpAddr, path: &'r str) -> Walk<'t, 'r> {
        Walk { table, request, client: client.to_canonical(), path, captured: SmallVec::new(), steps: 0 }
    }

    /// The most specific host that has a route for the path and conditions.
    fn over_hosts(&mut self) -> Option<Hit<'t>> {
        let host = self.request.host();
        let host = host.strip_suffix('.').unwrap_or(host);
        let hit = if host.is_empty() || host.len() > HOST_SIZE {
            None
        } else if host.bytes().any(|b| b.is_ascii_uppercase()) {
            let mut lower: SmallVec<[u8; HOST_SIZE]> = SmallVec::from_slice(host.as_bytes());
            lower.make_ascii_lowercase();
            self.below_host(&lower)
        } else {
            self.below_host(host.as_bytes())
        };
        hit.or_else(|| self.below(self.table.any_host?))
    }

    fn below_host(&mut self, host: &[u8]) -> Option<Hit<'t>> {
        let table = self.table;
        if let Some(&root) = table.exact_hosts.get(host)
            && let Some(hit) = self.below(root)
        {
            return Some(hit);
        }
        if table.wildcard_hosts.is_empty() {
            return None;
        }
        // From the longest suffix on; at least one byte stands before its dot.
        let from = host.len().saturating_sub(table.longest_wildcard).max(1);
        memchr::memchr_iter(b'.', host.get(from..)?).find_map(|dot| {
            let root = *table.wildcard_hosts.get(host.get(from + dot..)?)?;
            self.below(root)
        })
    }

    fn below(&mut self, root: usize) -> Option<Hit<'t>> {
        if self.path.starts_with('/') {
            return self.descend(root, Some(1), 0);
        }
        // `*`: only for routes that ask for no path.
        self.steps += 1;
        let candidates = &self.table.nodes.get(root)?.prefix;
        self.first(candidates, 0)
    }

    /// Looks for the segments of the path from `start` on below a node; `None` stands for the end of the path. Depth
    /// is bounded by the longest pattern, and each node is visited at most once, for it has one parent.
    fn descend(&mut self, node: usize, start: Option<usize>, depth: usize) -> Option<Hit<'t>> {
        self.steps += 1;
        let table = self.table;
        let node = table.nodes.get(node)?;
        let Some(start) = start else {
            // One file is meant: it stands under its own name in the folder of a static route.
            return self.first(&node.exact, depth.saturating_sub(1)).or_else(|| self.first(&node.prefix, depth));
        };
        let path = self.path;
        let rest = path.get(start..)?;
        let end = memchr::memchr(b'/', rest.as_bytes()).map(|at| start + at);
        let segment = path.get(start..end.unwrap_or(path.len()))?;
        let next = end.map(|end| end + 1);
        if !node.literals.is_empty()
            && let Some(&child) = node.literals.get(&*key(segment))
            && let Some(hit) = self.descend(child, next, depth + 1)
        {
            return Some(hit);
        }
        if !segment.is_empty()
            && let Some(child) = node.capture
        {
            self.captured.push((start, start + segment.len()));
            if let Some(hit) = self.descend(child, next, depth + 1) {
                return Some(hit);
            }
            self.captured.pop();
        }
        self.first(&node.prefix, depth)
    }

    fn first(&mut self, candidates: &'t Candidates, segments: usize) -> Option<Hit<'t>> {
        if candidates.is_empty() {
            return None;
        }
        let (table, request, client, steps) = (self.table, self.request, self.client, &mut self.steps);
        let star = !self.path.starts_with('/');
        let candidate = candidates.first(request, |candidate| {
            *steps += 1;
            (candidate.any_path || !star)
                && table.conditions.get(candidate.route).is_some_and(|conditions| conditions.hold(request, client))
        })?;
        Some(Hit { candidate, segments })
    }

    fn found(&self, hit: Option<Hit<'t>>) -> Option<Found<'t>> {
        let Hit { candidate, segments } = hit?;
        let values = self.captured.iter().filter_map(|&(start, end)| self.path.get(start..end));
        Some(Found { index: candidate.route, captures: Captures::new(&candidate.names, values), segments })
    }
}

#[cfg(test)]
mod tests;
