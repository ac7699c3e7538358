//! From a route's pool to a response: pick, send, and send again where that is safe.

use std::any::Any;
use std::rc::Rc;
use std::time::Duration;

use super::attempts::{self, Aim, Answer, Destination, Pair};
use super::course::{Course, may_go_twice};
use super::exchange::{Exchange, Hedged, Response};
use super::mirror;
use super::plugins;
use super::shown::Shown;
use crate::balance::Stay;
use crate::error::{Error, Kind};
use crate::http::{Body, upgrade};
use crate::metrics::{self, Connection, PoolId};
use crate::plugin::Picked;
use crate::snapshot::CompiledRoute;
use crate::upstream::{self, ClientEnds};
use crate::worker::View;

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
    let counted = || Open::counted(&worker.metrics, id);
    let retry = route.model.retry.as_ref().unwrap_or(&pool.state.model.retry);
    let mut to = Destination {
        snapshot: &view.snapshot,
        pool,
        id,
        metrics: &worker.metrics,
        times: route.times,
        retry,
        deadline: x.deadline,
        body_limit: x.facts.body_limit,
        client: ClientEnds { source: x.client.source, destination: x.client.destination },
        counted: &counted,
        reuse: true,
    };
    let stay = to.enter_pool(x).await?;
    let _admitted = to.enter_adaptive(x).await?;
    let mut body = outgoing(x, view, route);
    let mut copy = route.mirror.as_ref().and_then(|mirror| mirror::copy(x, view, mirror, &mut body));
    let mut course = Course::new(retry, body);
    x.request.scheme = pool.scheme();
    loop {
        let Some(mut goal) = pick(x, &to, &mut course)? else {
            let response = respond(x, &to, course.nothing_left()?, stay);
            // What this endpoint did was told when another was looked for.
            x.facts.answered = None;
            return Ok(response);
        };
        let body = course.begin(x, &to)?;
        to.enter_endpoint(x, goal.first()).await?;
        let result = match goal {
            Goal::One(aim) => attempts::send(x, &to, aim, body).await,
            // Boxed: two attempts need much room, and most requests are one.
            Goal::Both(pair) => Box::pin(attempts::race(x, &to, pair, &mut course.tried)).await,
        };
        let was_sent = result.as_ref().map_or_else(|miss| mirror::was_sent(miss.failure.error), |_| true);
        if let Some(copy) = copy.take_if(|_| was_sent) {
            mirror::send(copy);
        }
        match result {
            Ok(answer) if course.refuses(x, &to, &answer) => course.answered(x, &to, answer),
            Ok(answer) => return Ok(respond(x, &to, answer, stay)),
            Err(miss) => course.missed(x, &mut to, miss)?,
        }
        course.pause(x).await?;
    }
}

/// The body as the upstream is to have it. What a client sends after an upgrade is for the tunnel.
fn outgoing(x: &mut Exchange<'_>, view: &View, route: &CompiledRoute) -> Body {
    if let Some(received) = &x.facts.bytes_in {
        let rate = route.model.body_min_rate.unwrap_or(view.snapshot.limits.body_min_rate);
        received.demand_pace(&x.request, rate, route.times.idle_body);
    }
    if x.request.upgrade.is_some() { Body::Empty } else { std::mem::take(&mut x.body) }
}

/// Whom a request is for.
enum Goal {
    One(Aim),
    Both(Pair),
}

impl Goal {
    /// Who gets it in any case.
    fn first(&mut self) -> &mut Aim {
        match self {
            Goal::One(aim) => aim,
            Goal::Both(pair) => &mut pair.first,
        }
    }
}

/// Asks the pool where the request is to go; `None` when there is nowhere left.
fn pick(x: &mut Exchange<'_>, to: &Destination<'_>, course: &mut Course<'_>) -> Result<Option<Goal>, Error> {
    if !course.listed.is_empty() {
        let index = course.listed.remove(to.next_of(&course.listed));
        return to.aim(index).map(|aim| Some(Goal::One(aim)));
    }
    let number = course.number(x);
    let shown = Shown::request(&x.request, &x.facts, x.client, to.snapshot);
    let picked = match to.pool.pick(&shown, &course.tried, number) {
        Picked::Endpoint(index) if !to.has_room(index) => {
            Picked::Endpoint(to.roomier(index, &shown, &course.tried, number))
        }
        picked => picked,
    };
    plugins::note_pick(&mut x.facts, to.pool);
    let is_new = |index: &usize| !course.tried.all().contains(index);
    let twice = x.facts.hedge.is_none() && may_go_twice(&x.request, &course.bodies);
    course.listed = match picked {
        Picked::Endpoint(index) => {
            let first = to.aim(index)?;
            let hedging = to.pool.state.hedging.as_ref().filter(|_| number == 0 && twice);
            return Ok(Some(match hedging.map(|hedging| hedging.begin().unwrap_or(Duration::MAX)) {
                Some(after) => Goal::Both(Pair { first, second: None, after }),
                None => Goal::One(first),
            }));
        }
        Picked::Hedge(first, second, after) if twice && first != second && is_new(&first) && is_new(&second) => {
            let (first, second) = (to.aim(first)?, Some(to.aim(second)?));
            return Ok(Some(Goal::Both(Pair { first, second, after })));
        }
        Picked::Hedge(first, second, _) => [first, second].into_iter().filter(is_new).collect(),
        Picked::List(list) => list.into_iter().filter(is_new).collect(),
        Picked::Refused(status) => return Err(Error::gateway(Kind::PluginRefused(status))),
        Picked::Nowhere => return Ok(None),
    };
    if course.listed.is_empty() {
        return Ok(None);
    }
    let index = course.listed.remove(to.next_of(&course.listed));
    to.aim(index).map(|aim| Some(Goal::One(aim)))
}

/// A connection to an upstream that stands, until it is dropped.
pub(super) struct Open {
    metrics: Rc<metrics::Worker>,
    pool: PoolId,
}

impl Open {
    pub(super) fn counted(metrics: &Rc<metrics::Worker>, pool: PoolId) -> Box<dyn Any> {
        metrics.upstream_connection(pool, Connection::Opened);
        Box::new(Open { metrics: metrics.clone(), pool })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.upstream_connection(self.pool, Connection::Closed);
    }
}

fn respond(x: &mut Exchange<'_>, to: &Destination<'_>, answer: Answer, stay: Option<Stay>) -> Response {
    let Answer { aim, mut reply, active, latency } = answer;
    upstream::take_report(&to.pool.state, &aim.site.endpoint, &mut reply.head);
    let first_byte = x.facts.began.elapsed();
    x.facts.latency = latency;
    x.facts.first_byte = Some(first_byte);
    x.facts.answered = Some(aim.index);
    x.facts.answer = Some(reply.head.status);
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
    response.stays = [stay, aim.stay];
    response
}
