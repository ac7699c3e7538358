//! The end of every request: its response is made, sent, logged and counted here, once, however it came about.

mod page;
mod send;

use std::time::{Instant, SystemTime};

use crate::access_log::Record;
use crate::config::model::{Redirect, Respond, TemplatePart};
use crate::error::{Error, Kind, Side};
use crate::http::{Body, ResponseHead, StatusCode, name};
use crate::metrics::Finished;
use crate::metrics::RouteId;
use crate::plugin::Outcome;
use crate::policy;
use crate::proxy::{Exchange, Facts, Response};
use crate::route::Captures;
use crate::route::rewrite;

/// A redirect.
pub fn redirect(x: &Exchange<'_>, redirect: &Redirect, captures: &Captures<'_>) -> Result<Response, Error> {
    let needs_host = redirect.to.parts.iter().any(|part| matches!(part, TemplatePart::Host));
    // HTTP/1.0 need not name a host, and in HTTP/1.1 it may be empty (RFC 9112 section 3.2).
    if needs_host && x.request.host().is_empty() {
        return Err(Error::client(Kind::Malformed(
            "the redirect leads to the host that was asked, and none was named",
        )));
    }
    let location = rewrite::location(&redirect.to, &policy::context(x, captures));
    let mut head = ResponseHead::new(redirect.status);
    head.fields.set(name::LOCATION, location.as_bytes()).map_err(|_| Error::gateway(INVALID))?;
    Ok(Response::new(head, Body::Empty))
}

/// A fixed answer.
pub fn fixed(fixed: &Respond) -> Result<Response, Error> {
    let mut head = ResponseHead::new(fixed.status);
    if !fixed.body.is_empty() {
        head.fields.set(name::CONTENT_TYPE, fixed.content_type.as_bytes()).map_err(|_| Error::gateway(INVALID))?;
    }
    Ok(Response::new(head, Body::full(fixed.body.clone())))
}

const INVALID: Kind = Kind::Internal("a configured value is no field value");

/// Sends the response, or the page that tells of the error, then tells of the exchange.
pub async fn finish(x: &mut Exchange<'_>, outcome: Result<Response, Error>) {
    match outcome {
        Ok(response) => send::send(x, response).await,
        Err(error) => {
            note(x, error);
            if let Some(page) = error_page(x, error) {
                send::send(x, page).await;
            }
        }
    }
    tell(x);
}

/// Tells of an exchange that was cut before its end.
pub fn cut(x: &mut Exchange<'_>) {
    x.facts.error.get_or_insert(Error::gateway(Kind::Cut));
    tell(x);
}

/// Notes what went wrong; what was noted first is the cause.
fn note(x: &mut Exchange<'_>, error: Error) {
    if x.facts.error.is_some() {
        return;
    }
    x.facts.error = Some(error);
    if let Some(limit) = error.limit() {
        x.worker.metrics.limit_hit(limit);
    }
}

/// The page that tells of an error, when there is somebody to read it.
fn error_page(x: &Exchange<'_>, error: Error) -> Option<Response> {
    let outcome = error.outcome();
    let status = outcome.status.filter(|_| !x.responder.is_over())?;
    let request = x.refused.is_none().then_some(&x.request);
    let (mut head, body) = page::page(request, status, error.explanation(), x.facts.request_id.text());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let _ = head.fields.set(name::RETRY_AFTER, b"1");
    }
    if let Some(told) = &x.facts.cache {
        told.write(&mut head.fields);
    }
    Some(Response { keep: outcome.keep, ..Response::new(head, body) })
}

/// Tells the trials of plugins what became of a request. One that its client gave up says nothing of them.
fn note_parts(facts: &Facts) {
    for part in &facts.parts {
        match (facts.status, facts.error) {
            (_, Some(error)) if error.side == Side::Client => {}
            (None, None) => {}
            (status, _) => part.note(status.is_none_or(|status| status.is_server_error()), facts.first_byte),
        }
    }
}

/// Tells the pool what the endpoint did that answered, if one did, and how long its body was.
pub fn tell_pool(x: &Exchange<'_>, bytes: u64) {
    if let (Some(endpoint), Some(pool)) = (x.facts.answered, x.facts.pool.and_then(|pool| x.view.pools.get(pool))) {
        let broken = x.facts.error.is_some_and(|error| error.side == Side::Upstream);
        let outcome = Outcome {
            endpoint: u32::try_from(endpoint).unwrap_or(u32::MAX),
            status: x.facts.answer.filter(|_| !broken).map_or(0, |status| status.as_u16()),
            attempt: x.facts.retries,
            latency: x.facts.latency,
            bytes,
        };
        pool.outcome(&outcome, &x.facts.parts);
    }
}

fn tell(x: &mut Exchange<'_>) {
    x.facts.told = true;
    let snapshot = &x.view.snapshot;
    let route = x.facts.route.and_then(|route| snapshot.routes.get(route));
    let duration = Instant::now().duration_since(x.facts.began);
    let (bytes_in, bytes_out) = (x.facts.bytes_in.as_ref().map_or(0, |count| count.get()), x.facts.bytes_out.get());
    x.worker.metrics.request_finished(&Finished {
        route: route.map_or(RouteId::UNMATCHED, |route| route.id),
        status: x.facts.status,
        version: x.request.version,
        duration,
        bytes_in,
        bytes_out,
    });
    tell_pool(x, bytes_out);
    if let Some(told) = &x.facts.cache {
        x.worker.metrics.cache(told.status.word());
    }
    note_parts(&x.facts);
    let mut log = x.worker.access_log.borrow_mut();
    if !log.is_on() {
        return;
    }
    let pool = x.facts.pool.and_then(|pool| snapshot.pools.get(pool));
    log.write(&Record {
        time: SystemTime::now().checked_sub(duration).unwrap_or(SystemTime::UNIX_EPOCH),
        client: x.facts.client,
        method: x.facts.known.then_some(&x.request.method),
        scheme: x.facts.scheme,
        authority: x.facts.original_authority.as_deref().unwrap_or(&x.request.authority),
        target: x.facts.original_target.as_deref().unwrap_or(&x.request.target),
        version: x.request.version,
        status: x.facts.status,
        bytes_in,
        bytes_out,
        duration,
        upstream: x.facts.endpoint.as_ref().map(|endpoint| endpoint.address.as_str()),
        upstream_first_byte: x.facts.first_byte,
        retries: x.facts.retries,
        hedge: x.facts.hedge.map(|hedge| hedge.text()),
        route: route.map(|route| route.model.name.as_str()),
        pool: pool.map(|pool| pool.state.model.name.as_str()),
        request_id: x.facts.request_id.text(),
        error: x.facts.error.map(|error| error.label()),
        tls: x.client.tls.as_ref().map(|tls| tls.version),
        user_agent: x.request.fields.value(name::USER_AGENT),
        referer: x.request.fields.value(name::REFERER),
        cache: x.facts.cache.as_ref().map(|told| told.status.word()),
        encoding: x.facts.recoded.map(|done| done.text()),
        tags: &x.facts.tags,
    });
}
