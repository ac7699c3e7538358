//! From a route's pool to a response: pick, send, and send again where that is safe.

use std::any::Any;
use std::rc::Rc;

use smallvec::SmallVec;

use super::attempts::{self, Aim, Answer, Destination, Pair};
use super::exchange::{Exchange, Hedged, Response};
use super::plugins;
use super::shown::Shown;
use crate::error::{Error, Kind, Retry};
use crate::http::{Body, Method, RequestHead, Scheme, upgrade};
use crate::metrics::{self, Connection, PoolId};
use crate::snapshot::CompiledRoute;
use crate::upstream::{ClientEnds, Failure, Picked, Tried};
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
    let (worker, id) = (x.worker, compiled.id);
    let counted = || -> Box<dyn Any> { Box::new(Open::begin(worker.metrics.clone(), id)) };
    let mut to = Destination {
        pool,
        id,
        metrics: &worker.metrics,
        times: route.times,
        deadline: x.deadline,
        body_limit: x.facts.body_limit,
        client: ClientEnds { source: x.client.source, destination: x.client.destination },
        counted: &counted,
        reuse: true,
    };
    let mut body = outgoing(x, view, route);
    // What HTTP/2 names is the connection that the request goes out on.
    x.request.scheme = if pool.state.tls.is_some() { Scheme::Https } else { Scheme::Http };
    let mut tried = Tried::default();
    let mut failed: Option<Error> = None;
    // What a plugin has listed and was not tried yet.
    let mut listed: SmallVec<[usize; 4]> = SmallVec::new();
    loop {
        let goal = match listed.is_empty() {
            false => Goal::One(to.aim(listed.remove(0))?),
            true => {
                let attempt = x.facts.retries + u32::from(failed.is_some());
                let goal = pick(x, view, &to, &body, &tried, attempt, &mut listed)?;
                goal.ok_or(failed.unwrap_or(Error::gateway(Kind::NoEndpoint)))?
            }
        };
        if failed.is_some() {
            x.facts.retries += 1;
            worker.metrics.upstream_retry(id);
        }
        let result = match goal {
            Goal::One(aim) => attempts::send(x, &to, aim, body).await,
            // Boxed: two attempts need much room, and most requests are one.
            Goal::Both(pair) => Box::pin(attempts::race(x, &to, pair, &mut tried)).await,
        };
        let miss = match result {
            Ok(answer) => return Ok(respond(x, &to, answer)),
            Err(miss) => miss,
        };
        let (error, stale) = (miss.failure.error, miss.failure.is_stale());
        if x.facts.retries + 1 + u32::from(x.facts.hedge.is_some()) >= MOST_ATTEMPTS {
            to.tell(&miss);
            return Err(error);
        }
        to.reuse &= tried.failed(miss.aim.index, error);
        let again = miss.next.is_some() || may_go_again(&x.request.method, &miss.failure);
        // That a kept connection is found closed and another one does is nothing to speak of.
        if !again || !stale {
            to.tell(&miss);
        }
        listed.extend(miss.next.map(|aim| aim.index));
        body = miss.failure.body.filter(|_| again).ok_or(error)?;
        failed = Some(error);
    }
}

/// The body as the upstream is to have it. What a client sends after an upgrade is for the tunnel.
fn outgoing(x: &mut Exchange<'_>, view: &View, route: &CompiledRoute) -> Body {
    if let Some(received) = &x.facts.bytes_in {
        received.demand_pace(&x.request, view.snapshot.limits.body_min_rate, route.times.idle_body);
    }
    if x.request.upgrade.is_some() { Body::Empty } else { std::mem::take(&mut x.body) }
}

/// Whom a request is for.
enum Goal {
    One(Aim),
    Both(Pair),
}

/// Asks the pool where the request is to go; `None` when there is nowhere left.
fn pick(
    x: &mut Exchange<'_>,
    view: &View,
    to: &Destination<'_>,
    body: &Body,
    tried: &Tried,
    attempt: u32,
    listed: &mut SmallVec<[usize; 4]>,
) -> Result<Option<Goal>, Error> {
    let shown =
        Shown { request: &x.request, response: None, facts: &x.facts, client: x.client, snapshot: &view.snapshot };
    let picked = to.pool.pick(&shown, tried, attempt);
    plugins::note_pick(x, to.pool);
    let is_new = |index: &usize| !tried.all().contains(index);
    *listed = match picked {
        Picked::Endpoint(index) => return to.aim(index).map(|aim| Some(Goal::One(aim))),
        Picked::Hedge(first, second, after) => {
            let twice = may_go_twice(&x.request, body) && x.facts.hedge.is_none();
            if twice && first != second && is_new(&first) && is_new(&second) {
                return Ok(Some(Goal::Both(Pair { first: to.aim(first)?, second: to.aim(second)?, after })));
            }
            [first, second].into_iter().filter(is_new).collect()
        }
        Picked::List(list) => list.into_iter().filter(is_new).collect(),
        Picked::Refused(status) => return Err(Error::gateway(Kind::PluginRefused(status))),
        Picked::Nowhere => return Ok(None),
    };
    if listed.is_empty() {
        return Ok(None);
    }
    to.aim(listed.remove(0)).map(|aim| Some(Goal::One(aim)))
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

/// Whether a failed request may be sent again. That is one that no upstream can have seen; and, of those that an upstream
/// may have seen, an idempotent one (RFC 9110 section 9.2.2) whose kept connection was found closed.
fn may_go_again(method: &Method, failure: &Failure) -> bool {
    let again = match failure.error.retry {
        Retry::Safe | Retry::Elsewhere => true,
        Retry::Idempotent => failure.is_stale() && is_idempotent(method),
        Retry::Never => false,
    };
    again && failure.body.is_some()
}

/// Whether two endpoints may get the request at the same time.
fn may_go_twice(request: &RequestHead, body: &Body) -> bool {
    is_idempotent(&request.method) && request.upgrade.is_none() && body.is_end()
}

fn is_idempotent(method: &Method) -> bool {
    // QUERY is safe, hence idempotent, by its own specification.
    matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE" | "QUERY")
}

fn respond(x: &mut Exchange<'_>, to: &Destination<'_>, answer: Answer) -> Response {
    let Answer { aim, reply, active, latency } = answer;
    let first_byte = x.facts.began.elapsed();
    x.facts.latency = latency;
    x.facts.first_byte = Some(first_byte);
    x.facts.answered = Some(aim.index);
    to.metrics.upstream_first_byte(to.id, first_byte);
    if x.facts.hedge == Some(Hedged::Won) {
        to.metrics.upstream_hedge(to.id, metrics::Hedge::Won);
        to.address(x, &aim);
    }
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
    use crate::error::Phase;

    fn failure(kind: Kind, retry: Retry, reused: bool, body: bool) -> Failure {
        Failure { error: Error::upstream(kind, retry), body: body.then_some(Body::Empty), reused }
    }

    #[test]
    fn only_what_had_no_effect_goes_again() {
        let again = |method: Method, failure| may_go_again(&method, &failure);
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
