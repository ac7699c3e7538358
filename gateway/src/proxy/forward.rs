//! From a route's pool to a response: pick, send, and send again where that is safe.

use std::any::Any;
use std::rc::Rc;
use std::time::Instant;

use smallvec::SmallVec;

use super::exchange::{Exchange, Response};
use super::plugins;
use super::shown::Shown;
use crate::balance::Active;
use crate::config::model::HostHeader;
use crate::error::{Error, Kind, Phase, Retry, Side};
use crate::http::{Body, Method, Scheme, upgrade};
use crate::metrics::{self, Connection, PoolId};
use crate::plugin::Outcome;
use crate::snapshot::CompiledRoute;
use crate::upstream::{self, Attempt, ClientEnds, Failure, Picked, Pool, Reply, Tried};
use crate::worker::View;

/// Endpoints that one request is sent to at the most.
const MOST_ATTEMPTS: u32 = 3;

/// Has the request answered by an endpoint of the pool.
pub(super) async fn forward(
    x: &mut Exchange<'_>,
    view: &Rc<View>,
    pool_index: usize,
    route: &CompiledRoute,
) -> Result<Response, Error> {
    let missing = Error::gateway(Kind::Internal("no such pool"));
    let (pool, compiled) = view.pools.get(pool_index).zip(view.snapshot.pools.get(pool_index)).ok_or(missing)?;
    x.facts.pool = Some(pool_index);
    let metrics = &x.worker.metrics;
    // What a client sends after an upgrade is for the tunnel.
    let mut body = if x.request.upgrade.is_some() { Body::Empty } else { std::mem::take(&mut x.body) };
    if let Some(received) = &x.facts.bytes_in {
        received.demand_pace(&x.request, view.snapshot.limits.body_min_rate, route.times.idle_body);
    }
    // What HTTP/2 names is the connection that the request goes out on.
    x.request.scheme = if pool.state.tls.is_some() { Scheme::Https } else { Scheme::Http };
    let mut tried = Tried::default();
    let mut failed: Option<Error> = None;
    let mut reuse = true;
    let (counts, id) = (x.worker.metrics.clone(), compiled.id);
    let counted = move || -> Box<dyn Any> { Box::new(Open::begin(counts.clone(), id)) };
    // What a plugin has listed and was not tried yet.
    let mut listed: SmallVec<[usize; 4]> = SmallVec::new();
    loop {
        let index = match listed.is_empty() {
            false => listed.remove(0),
            true => {
                let attempt = x.facts.retries + u32::from(failed.is_some());
                let picked = pick(x, view, pool, &tried, attempt, &mut listed)?;
                picked.ok_or(failed.unwrap_or(Error::gateway(Kind::NoEndpoint)))?
            }
        };
        if failed.is_some() {
            x.facts.retries += 1;
            metrics.upstream_retry(compiled.id);
        }
        let site = pool.site(index).ok_or(Error::gateway(Kind::NoEndpoint))?;
        x.facts.endpoint = Some(site.endpoint.clone());
        let active = site.endpoint.begin();
        let began = Instant::now();
        match &pool.state.model.host {
            HostHeader::Preserve => {}
            HostHeader::Endpoint => replace_authority(x, &site.endpoint.address),
            HostHeader::Fixed(host) => replace_authority(x, host),
        }
        let attempt = Attempt {
            pool: &pool.state,
            site: &site,
            head: &x.request,
            responder: &mut x.responder,
            watchdog: x.watchdog,
            deadline: x.deadline,
            times: route.times,
            body_limit: x.facts.body_limit,
            client: ClientEnds { source: x.client.source, destination: x.client.destination },
            counted: &counted,
            reuse,
        };
        match attempt.run(body).await {
            Ok(mut reply) => {
                upstream::take_report(&pool.state, &site.endpoint, &mut reply.head);
                let first_byte = x.facts.began.elapsed();
                x.facts.latency = began.elapsed();
                x.facts.first_byte = Some(first_byte);
                x.facts.answered = Some(index);
                metrics.upstream_first_byte(compiled.id, first_byte);
                if reply.reused {
                    metrics.upstream_connection(compiled.id, Connection::Reused);
                }
                return Ok(respond(x, reply, active));
            }
            Err(failure) => {
                if failure.error.side != Side::Client {
                    metrics.upstream_error(compiled.id, failure.error.label());
                }
                if matches!(failure.error.kind, Kind::Connect | Kind::Tls | Kind::Timeout(Phase::Connect)) {
                    metrics.upstream_connection(compiled.id, Connection::Failed);
                }
                if failure.error.side == Side::Upstream {
                    let outcome = Outcome {
                        endpoint: u32::try_from(index).unwrap_or(u32::MAX),
                        status: 0,
                        attempt: x.facts.retries,
                        latency: began.elapsed(),
                        bytes: 0,
                    };
                    pool.outcome(&outcome, &x.facts.parts);
                }
                let tell = |error| upstream::tell(&pool.state, &site.endpoint.address, &error);
                if x.facts.retries + 1 >= MOST_ATTEMPTS {
                    tell(failure.error);
                    return Err(failure.error);
                }
                let (error, stale) = (failure.error, failure.is_stale());
                reuse &= tried.failed(index, error);
                let again = may_go_again(&x.request.method, failure);
                // That a kept connection is found closed and another one does is nothing to speak of.
                if again.is_err() || !stale {
                    tell(error);
                }
                body = again?;
                failed = Some(error);
            }
        }
    }
}

/// Asks the pool where the request is to go; `None` when there is nowhere left.
fn pick(
    x: &mut Exchange<'_>,
    view: &View,
    pool: &Pool,
    tried: &Tried,
    attempt: u32,
    listed: &mut SmallVec<[usize; 4]>,
) -> Result<Option<usize>, Error> {
    let shown =
        Shown { request: &x.request, response: None, facts: &x.facts, client: x.client, snapshot: &view.snapshot };
    let picked = pool.pick(&shown, tried, attempt);
    plugins::note_pick(x, pool);
    match picked {
        Picked::Endpoint(index) => Ok(Some(index)),
        Picked::List(mut list) => {
            list.retain(|index| !tried.all().contains(index));
            *listed = list;
            Ok((!listed.is_empty()).then(|| listed.remove(0)))
        }
        Picked::Refused(status) => Err(Error::gateway(Kind::PluginRefused(status))),
        Picked::Nowhere => Ok(None),
    }
}

/// A connection to an upstream that stands, until it is dropped.
struct Open {
    metrics: Rc<metrics::Worker>,
    pool: PoolId,
}

impl Open {
    fn begin(metrics: Rc<metrics::Worker>, pool: PoolId) -> Open {
        metrics.upstream_connection(pool, Connection::Opened);
        Open { metrics, pool }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.upstream_connection(self.pool, Connection::Closed);
    }
}

fn replace_authority(x: &mut Exchange<'_>, authority: &str) {
    let before = std::mem::replace(&mut x.request.authority, authority.to_owned());
    x.facts.original_authority.get_or_insert(before);
}

/// The body of a request that may be sent again. That is one that no upstream can have seen; and, of those that an upstream
/// may have seen, an idempotent one (RFC 9110 section 9.2.2) whose kept connection was found closed.
fn may_go_again(method: &Method, failure: Failure) -> Result<Body, Error> {
    let stale = failure.is_stale();
    let again = match failure.error.retry {
        Retry::Safe | Retry::Elsewhere => true,
        Retry::Idempotent => stale && is_idempotent(method),
        Retry::Never => false,
    };
    failure.body.filter(|_| again).ok_or(failure.error)
}

fn is_idempotent(method: &Method) -> bool {
    // QUERY is safe, hence idempotent, by its own specification.
    matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE" | "QUERY")
}

fn respond(x: &Exchange<'_>, reply: Reply, active: Active) -> Response {
    if let Some(received) = &x.facts.bytes_in {
        received.leave_pace();
    }
    let mut response = Response::new(reply.head, reply.body);
    if reply.tunnel.is_some() {
        response.head = upgrade::accepted(&x.request, response.head);
    }
    response.tunnel = reply.tunnel;
    response.active = Some(active);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: Kind, retry: Retry, reused: bool, body: bool) -> Failure {
        Failure { error: Error::upstream(kind, retry), body: body.then_some(Body::Empty), reused }
    }

    #[test]
    fn only_what_had_no_effect_goes_again() {
        let again = |method: Method, failure| may_go_again(&method, failure).is_ok();
        assert!(again(Method::POST, failure(Kind::Connect, Retry::Safe, false, true)));
        assert!(again(Method::POST, failure(Kind::Timeout(Phase::Connect), Retry::Elsewhere, false, true)));
        assert!(again(Method::GET, failure(Kind::Closed, Retry::Idempotent, true, true)));
        assert!(!again(Method::POST, failure(Kind::Closed, Retry::Idempotent, true, true)));
        assert!(!again(Method::GET, failure(Kind::Closed, Retry::Idempotent, false, true)));
        assert!(!again(Method::GET, failure(Kind::Truncated, Retry::Idempotent, true, true)));
        assert!(!again(Method::PUT, failure(Kind::Closed, Retry::Idempotent, true, false)));
        assert!(!again(Method::GET, failure(Kind::Malformed(""), Retry::Never, true, true)));
    }
}
