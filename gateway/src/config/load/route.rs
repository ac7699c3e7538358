//! `[[route]]`: what matches, what is done, what is changed on the way.

mod cache;
mod compress;
mod folder;
mod mirror;

use std::collections::{BTreeMap, HashMap, HashSet};

use http::StatusCode;

use super::{At, Either, Names, Reader, Span, file, value};
use crate::config::file::{Size, Strings};
use crate::config::model::{
    Action, HeaderChanges, HostPattern, Match, PathPattern, Redirect, Respond, Rewrite, Route, Segment, ValuePattern,
};
use crate::config::{hint, pattern, shadow};
use crate::http::fields::{is_token, is_value};
use crate::http::{FieldName, Scheme};

/// What the paths of a route all capture; `None` when that cannot be told, because one of them is wrong.
type Captures<'m> = Option<&'m [&'m str]>;

impl Reader<'_, '_> {
    pub(super) fn routes(&mut self, written: &[At<file::Route>], pools: &Names<'_>, plugins: &Names<'_>) -> Vec<Route> {
        let mut names: HashMap<&str, usize> = HashMap::new();
        for name in written.iter().filter_map(|route| route.value.name.as_ref()) {
            let (line, _) = self.report.position(name.span.start);
            if self.text(name, value::name).is_some()
                && let Some(before) = names.insert(&name.value, line)
            {
                self.report
                    .at(&name.span, format!("{:?} is the name of the route in line {before} already", name.value));
            }
        }
        let mut routes: Vec<Route> = written.iter().filter_map(|route| self.route(route, pools, plugins)).collect();
        self.shadowed(written, &routes);
        let mut taken: HashMap<String, usize> = names.keys().map(|name| ((*name).to_owned(), 1)).collect();
        for route in routes.iter_mut().filter(|route| route.name.is_empty()) {
            route.name = made_name(&route.matches, &mut taken);
        }
        routes
    }

    /// Warns of routes that never win; not when one of them could not be read, for then it is not known what it matches.
    fn shadowed(&mut self, written: &[At<file::Route>], routes: &[Route]) {
        if routes.len() != written.len() || !self.report.is_clean() {
            return;
        }
        for (loser, winner) in shadow::shadowed(routes) {
            let Some((loser, winner)) = written.get(loser).zip(written.get(winner)) else { continue };
            let (line, _) = self.report.position(winner.span.start);
            let message = format!(
                "can never win: the route in line {line} goes before it and takes every request that this one matches"
            );
            self.report.warn(&loser.span, message);
        }
    }

    fn route(&mut self, at: &At<file::Route>, pools: &Names<'_>, plugins: &Names<'_>) -> Option<Route> {
        let route = &at.value;
        let (matches, whole) = self.matches(route.matches.as_ref());
        let captured = captures(&matches.paths);
        let captures = whole.then_some(&*captured);
        let action = self.action(at, pools, captures);
        if route.pool.is_none() && action.is_some() {
            self.only_with_a_pool(route);
        }
        let router = route.router.as_ref().and_then(|name| self.index(&name.value, &name.span, plugins));
        let filters = self.filters(route.filters.as_ref(), plugins);
        let rewrite = route.rewrite.as_ref().and_then(|rewrite| self.rewrite(rewrite, captures));
        let request_headers = self.header_changes(route.request_headers.as_ref(), captures, true);
        let response_headers = self.header_changes(route.response_headers.as_ref(), captures, false);
        let cache = route.cache.as_ref().and_then(|cache| self.cache(cache));
        let retry = route.retry.as_ref().map(|retry| self.retry(retry));
        let mirror = route.mirror.as_ref().and_then(|mirror| self.mirror(mirror, action.as_ref(), pools));
        let timeouts = self.timeouts(route.timeouts.as_ref());
        let body_limit = route.body_limit.as_ref().and_then(|limit| self.bytes(limit));
        let body_min_rate = route.body_min_rate.as_ref().and_then(|rate| self.bytes(rate));
        let compress = route.compress.as_ref().and_then(|compress| self.compress(compress));
        let name = route.name.as_ref().map(|name| name.value.clone()).unwrap_or_default();
        let action = action?;
        Some(Route {
            name,
            matches,
            action,
            router,
            filters,
            rewrite,
            request_headers,
            response_headers,
            cache,
            retry,
            mirror,
            timeouts,
            body_limit,
            compress,
            body_min_rate,
        })
    }

    fn bytes(&mut self, at: &At<Size>) -> Option<u64> {
        match &at.value {
            Size::Bytes(bytes) => Some(*bytes),
            Size::Text(text) => self.read(&at.span, value::size(text)),
        }
    }

    /// Plugins in their order, each once.
    fn filters(&mut self, at: Option<&At<Vec<At<String>>>>, plugins: &Names<'_>) -> Vec<usize> {
        let Some(At { value: names, span }) = at else { return Vec::new() };
        if names.len() > Route::FILTERS {
            self.report.at(span, format!("takes at most {}", Route::FILTERS));
            return Vec::new();
        }
        let mut seen = HashSet::new();
        let mut filters = Vec::new();
        for name in names {
            if seen.insert(&name.value) {
                filters.extend(self.index(&name.value, &name.span, plugins));
            } else {
                self.report.at(&name.span, "stands in this list already");
            }
        }
        filters
    }

    /// What a route matches, and whether all its paths could be read.
    fn matches(&mut self, matches: Option<&At<file::Match>>) -> (Match, bool) {
        let Some(At { value: matches, span }) = matches else { return (Match::default(), true) };
        let written = match matches.path.as_ref().map(|path| &path.value) {
            None => 0,
            Some(Either::Short(_)) => 1,
            Some(Either::Long(paths)) => paths.len(),
        };
        let paths = self.strings(matches.path.as_ref(), pattern::path);
        self.literal_paths(matches.path.as_ref());
        let whole = paths.len() == written && !(written == 0 && self.report.is_damaged(span));
        let headers = self.values(matches.header.as_ref(), |name| {
            let name = value::field_name(name)?;
            value::why_unmatched(&name).map_or(Ok(name), Err)
        });
        let query = self.values(matches.query.as_ref(), |name| match name {
            "" => Err("takes the name of a parameter".into()),
            name => Ok(name.to_owned()),
        });
        let cookies = self.values(matches.cookie.as_ref(), |name| match is_token(name.as_bytes()) {
            true => Ok(name.to_owned()),
            false => Err("takes the name of a cookie".into()),
        });
        let hosts = self.strings(matches.host.as_ref(), pattern::host);
        let methods = self.strings(matches.method.as_ref(), value::method);
        let clients = self.strings(matches.client.as_ref(), value::network);
        let scheme = matches.scheme.map(|scheme| match scheme {
            file::Scheme::Http => Scheme::Http,
            file::Scheme::Https => Scheme::Https,
        });
        (Match { scheme, hosts, paths, methods, headers, query, cookies, clients }, whole)
    }

    fn literal_paths(&mut self, paths: Option<&At<Strings>>) {
        let Some(At { value, span }) = paths else { return };
        let texts: Vec<(&str, &Span)> = match value {
            Either::Short(text) => vec![(text, span)],
            Either::Long(texts) => texts.iter().map(|at| (at.value.as_str(), &at.span)).collect(),
        };
        for (text, span) in texts {
            if pattern::path(text).is_ok()
                && let Some(hint) = hint::literal_path(text)
            {
                self.report.warn(span, hint);
            }
        }
    }

    /// One text or several, but at least one: an empty list would match everything, which is not what it looks like.
    fn strings<T>(&mut self, at: Option<&At<Strings>>, read: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let Some(At { value, span }) = at else { return Vec::new() };
        match value {
            Either::Short(text) => self.read(span, read(text)).into_iter().collect(),
            Either::Long(texts) => {
                if texts.is_empty() {
                    self.report.at(span, "takes at least one; leave the key out to match everything");
                }
                self.texts(texts, read)
            }
        }
    }

    fn values<N>(
        &mut self,
        table: Option<&BTreeMap<String, At<Either<bool, String>>>>,
        name: impl Fn(&str) -> Result<N, String>,
    ) -> Vec<(N, ValuePattern)> {
        let mut values: Vec<(N, ValuePattern)> = Vec::new();
        for (key, At { value, span }) in table.into_iter().flatten() {
            let pattern = match value {
                Either::Short(true) => Some(ValuePattern::Present),
                Either::Short(false) => Some(ValuePattern::Absent),
                Either::Long(text) => self.read(span, pattern::value(text)),
            };
            if let (Some(name), Some(pattern)) = (self.read(span, name(key)), pattern) {
                values.push((name, pattern));
            }
        }
        values
    }

    /// Exactly one of the things that a route may do.
    fn action(&mut self, at: &At<file::Route>, pools: &Names<'_>, captures: Captures<'_>) -> Option<Action> {
        let route = &at.value;
        let given: Vec<(&str, &Span)> = [
            ("pool", route.pool.as_ref().map(|at| &at.span)),
            ("static", route.folder.as_ref().map(|at| &at.span)),
            ("redirect", route.redirect.as_ref().map(|at| &at.span)),
            ("respond", route.respond.as_ref().map(|at| &at.span)),
        ]
        .into_iter()
        .filter_map(|(key, span)| Some((key, span?)))
        .collect();
        match given.as_slice() {
            [] if self.report.is_damaged(&at.span) => {}
            [] => self.report.at(&at.span, "needs one of \"pool\", \"static\", \"redirect\" and \"respond\""),
            [_] => {}
            [(first, _), others @ ..] => {
                for (_, span) in others {
                    self.report.at(span, format!("stands beside {first:?}, but a route does one thing"));
                }
            }
        }
        // Every one is read, so that what is wrong with the second is said too.
        let pool = route.pool.as_ref().and_then(|pool| self.index(&pool.value, &pool.span, pools)).map(Action::Pool);
        let folder = route.folder.as_ref().and_then(|folder| self.folder(folder)).map(Action::Static);
        let redirect = route.redirect.as_ref().and_then(|to| self.redirect(to, captures)).map(Action::Redirect);
        let respond = route.respond.as_ref().and_then(|respond| self.respond(respond, captures)).map(Action::Respond);
        pool.or(folder).or(redirect).or(respond)
    }

    fn redirect(&mut self, at: &At<Either<String, file::Redirect>>, captures: Captures<'_>) -> Option<Redirect> {
        let (to, span, status) = match &at.value {
            Either::Short(to) => (to, &at.span, None),
            Either::Long(table) => (&table.to.value, &table.to.span, table.status.as_ref()),
        };
        let to = self.read(span, pattern::location(to, captures))?;
        // The schema lets no status through that is none of a redirect.
        let status = status.and_then(|status| StatusCode::from_u16(status.value).ok());
        Some(Redirect { to, status: status.unwrap_or(StatusCode::PERMANENT_REDIRECT) })
    }

    fn respond(&mut self, at: &At<Either<String, file::Respond>>, captures: Captures<'_>) -> Option<Respond> {
        let body = match &at.value {
            Either::Short(body) => Some((body, &at.span)),
            Either::Long(table) => table.body.as_ref().map(|body| (&body.value, &body.span)),
        };
        if let Some((body, span)) = body
            && let Some(found) = pattern::like_a_placeholder(body, captures.unwrap_or_default())
        {
            self.report.warn(span, format!("{found} is sent as it stands here: a body has no placeholders"));
        }
        let default =
            |body| Respond { status: StatusCode::OK, body, content_type: "text/plain; charset=utf-8".to_owned() };
        let table = match &at.value {
            Either::Short(body) => return Some(default(body.clone())),
            Either::Long(table) => table,
        };
        let mut respond = default(table.body.as_ref().map(|body| body.value.clone()).unwrap_or_default());
        if let Some(status) = &table.status {
            respond.status = StatusCode::from_u16(status.value).unwrap_or_default();
            // RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5: these have no content.
            if matches!(status.value, 204 | 205 | 304) && !respond.body.is_empty() {
                self.report.at(&status.span, format!("{} has no body, but one is given", status.value));
            }
        }
        if let Some(kind) = &table.content_type {
            let right = kind.value.contains('/') && is_value(kind.value.as_bytes());
            let read = right.then(|| kind.value.clone());
            respond.content_type =
                self.read(&kind.span, read.ok_or("takes a media type such as \"text/html; charset=utf-8\"".into()))?;
        }
        Some(respond)
    }

    /// Keys that do nothing on other routes are refused there, so that nobody waits for their effect.
    fn only_with_a_pool(&mut self, route: &file::Route) {
        let timeouts = route.timeouts.as_ref().map(|timeouts| &timeouts.value);
        let spans = [
            route.rewrite.as_ref().map(|at| &at.span),
            route.request_headers.as_ref().map(|at| &at.span),
            route.cache.as_ref().filter(|_| route.router.is_none()).map(|at| &at.span),
            route.retry.as_ref().map(|at| &at.span),
            route.mirror.as_ref().map(|at| &at.span),
            route.body_min_rate.as_ref().map(|at| &at.span),
            timeouts.and_then(|timeouts| timeouts.connect.as_ref()).map(|at| &at.span),
            timeouts.and_then(|timeouts| timeouts.first_byte.as_ref()).map(|at| &at.span),
            timeouts.and_then(|timeouts| timeouts.queue.as_ref()).map(|at| &at.span),
        ];
        for span in spans.into_iter().flatten() {
            self.report.at(span, "has a meaning only on a route with a pool");
        }
    }

    fn rewrite(&mut self, at: &At<file::Rewrite>, captures: Captures<'_>) -> Option<Rewrite> {
        let rewrite = &at.value;
        let strip = rewrite.strip_prefix.as_ref().and_then(|strip| self.text(strip, pattern::prefix));
        let add = rewrite.add_prefix.as_ref().and_then(|add| self.text(add, pattern::prefix));
        let prefixes = [&rewrite.strip_prefix, &rewrite.add_prefix].into_iter().flatten();
        match &rewrite.path {
            Some(path) => {
                for prefix in prefixes {
                    self.report.at(&prefix.span, "cannot stand beside \"path\", which makes the whole path");
                }
                self.text(path, |path| pattern::rewrite(path, captures)).map(Rewrite::Path)
            }
            None if prefixes.count() == 0 => {
                if !self.report.is_damaged(&at.span) {
                    self.report.at(&at.span, "needs \"strip_prefix\", \"add_prefix\" or \"path\"");
                }
                None
            }
            None => Some(Rewrite::Prefix { strip: strip.unwrap_or_default(), add: add.unwrap_or_default() }),
        }
    }

    fn header_changes(
        &mut self,
        at: Option<&At<file::HeaderChanges>>,
        captures: Captures<'_>,
        request: bool,
    ) -> HeaderChanges {
        let mut changes = HeaderChanges::default();
        let Some(At { value: written, .. }) = at else { return changes };
        changes.remove =
            self.texts(written.remove.as_deref().unwrap_or_default(), |name| changeable(name, request, false));
        let mut names = HashSet::new();
        for (name, at) in written.set.iter().flatten() {
            let name = self.read(&at.span, changeable(name, request, true));
            let value = self.text(at, |text| pattern::template(text, captures));
            let Some((name, value)) = name.zip(value) else { continue };
            if !names.insert(name.text().to_owned()) {
                self.report.at(&at.span, format!("{:?} is set twice, in upper and lower case", name.text()));
            }
            changes.set.push((name, value));
        }
        for (name, at) in written.add.iter().flatten() {
            let name = self.read(&at.span, changeable(name, request, false));
            for value in self.strings(Some(at), |text| pattern::template(text, captures)) {
                changes.add.extend(name.clone().map(|name| (name, value)));
            }
        }
        changes
    }
}

/// A header that may be changed. The Host of a request may be set, but a request has exactly one.
fn changeable(text: &str, request: bool, set: bool) -> Result<FieldName, String> {
    let name = value::field_name(text)?;
    if value::is_connection_field(&name) {
        return Err(format!("{:?} belongs to the connection; the gateway writes it itself", name.text()));
    }
    if request && !set && name.text() == "host" {
        return Err("\"host\" can be set, but not removed or added".into());
    }
    Ok(name)
}

/// What all the paths capture: only that is there whichever of them matches.
fn captures(paths: &[PathPattern]) -> Vec<&str> {
    let of = |path: &'_ PathPattern, wanted: &str| {
        path.segments.iter().any(|segment| matches!(segment, Segment::Capture(name) if name == wanted))
    };
    let Some((first, others)) = paths.split_first() else { return Vec::new() };
    let names = first.segments.iter().filter_map(|segment| match segment {
        Segment::Capture(name) => Some(name.as_str()),
        Segment::Literal(_) => None,
    });
    names.filter(|name| others.iter().all(|path| of(path, name))).collect()
}

/// Host and path that a route matches; with a number when another has that name.
fn made_name(matches: &Match, taken: &mut HashMap<String, usize>) -> String {
    let host = match matches.hosts.first() {
        Some(HostPattern::Exact(host)) => host.clone(),
        Some(HostPattern::Wildcard(rest)) => format!("*{rest}"),
        None => String::new(),
    };
    let path = matches.paths.first().map_or("/", |path| &path.text);
    let plain = format!("{host}{path}");
    let mut number = taken.get(&plain).copied().unwrap_or(0);
    loop {
        number += 1;
        let name = if number == 1 { plain.clone() } else { format!("{plain}#{number}") };
        if number == 1 || !taken.contains_key(&name) {
            taken.insert(plain, number);
            taken.entry(name.clone()).or_insert(1);
            return name;
        }
    }
}
