//! What a route changes in a request and its response.
//!
//! In: an exchange that has found its route. Out: the same with the route's times, limit, target and header fields.

use crate::clock::Deadline;
use crate::error::{Error, Kind, Phase, Side};
use crate::http::{Fields, Name, ResponseHead, name};
use crate::proxy::Exchange;
use crate::route::Captures;
use crate::route::rewrite::{self, Context, Place};
use crate::snapshot::CompiledRoute;

/// Applies the route's word to the request.
pub fn enter(x: &mut Exchange<'_>, route: &CompiledRoute, captures: &Captures<'_>) -> Result<(), Error> {
    x.deadline = route.times.request.map(|time| Deadline::after(time, Phase::Request, Side::Upstream));
    x.facts.body_limit = route.model.body_limit.unwrap_or(x.view.snapshot.limits.body_size);
    if x.body.length().is_some_and(|length| length > x.facts.body_limit) {
        return Err(Error::client(Kind::BodyTooLarge));
    }
    let changes = &route.model.request_headers;
    if route.model.rewrite.is_none() && *changes == Default::default() {
        return Ok(());
    }
    let mut request = std::mem::replace(&mut x.request.fields, Fields::new());
    let (host, target) = {
        let context = context(x, captures);
        rewrite::apply(changes, &mut request, &context).map_err(|_| INVALID)?;
        let host = changes.set.iter().find(|(field, _)| Name::from(field) == Name::Known(name::HOST));
        let host = host.map(|(_, template)| {
            let mut host = String::new();
            rewrite::render(template, &context, Place::Header, &mut host);
            host
        });
        (host, route.model.rewrite.as_ref().map(|rewrite| rewrite::rewrite(rewrite, &context)))
    };
    x.request.fields = request;
    if let Some(host) = host {
        x.facts.original_authority = Some(std::mem::replace(&mut x.request.authority, host));
    }
    if let Some(target) = target {
        x.facts.original_target = Some(std::mem::replace(&mut x.request.target, target));
    }
    Ok(())
}

/// Applies the route's word to the response.
pub fn leave(
    x: &Exchange<'_>,
    route: &CompiledRoute,
    captures: &Captures<'_>,
    head: &mut ResponseHead,
) -> Result<(), Error> {
    let changes = &route.model.response_headers;
    if *changes == Default::default() {
        return Ok(());
    }
    rewrite::apply(changes, &mut head.fields, &context(x, captures)).map_err(|_| INVALID)
}

const INVALID: Error = Error::gateway(Kind::Internal("a header change gave an invalid field"));

/// What templates are filled from.
pub fn context<'a>(x: &'a Exchange<'_>, captures: &'a Captures<'a>) -> Context<'a> {
    Context {
        scheme: x.facts.scheme,
        host: x.request.host(),
        target: x.facts.original_target.as_deref().unwrap_or(&x.request.target),
        client: x.facts.client,
        request_id: x.facts.request_id.text(),
        captures,
    }
}

/// The part of the path below the route's prefix, beginning with `/`: what a static route looks up.
pub fn below(path: &str, segments: usize) -> &str {
    let mut rest = path;
    for _ in 0..segments {
        rest = rest.get(1..).and_then(|rest| rest.find('/').and_then(|at| rest.get(at..))).unwrap_or("/");
    }
    rest
}
