//! Copies of requests for another pool, of whose answers nobody hears.
//!
//! In: a request that is about to go to its own pool. Out: a copy of it, in a task of its own, once the head of the request
//! has been sent; its body follows as it is read. Nothing here is waited for, and nothing that fails here is the client's.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::course::is_idempotent;
use super::exchange::Exchange;
use super::forward::Open;
use super::shown::Shown;
use crate::balance::{Admitted, Stay};
use crate::clock::{Deadline, Watchdog};
use crate::config::model::HostHeader;
use crate::error::{Error, Phase, Retry, Side};
use crate::http::branch::{Fate, Lost, branch};
use crate::http::{Body, Nobody, RequestHead, Responder, name};
use crate::metrics::{self, PoolId};
use crate::plugin::{Outcome, Picked};
use crate::snapshot::CompiledMirror;
use crate::upstream::{Attempt, ClientEnds, Failure, Pool, Reply, Site, Times, Tried, Waiter};
use crate::worker::View;

/// A copy of a request that is not on its way yet.
pub(super) struct Mirrored {
    head: RequestHead,
    pool: Rc<Pool>,
    id: PoolId,
    metrics: Rc<metrics::Worker>,
    /// The index of its endpoint.
    index: usize,
    site: Rc<Site>,
    times: Times,
    client: ClientEnds,
    _stays: [Option<Stay>; 3],
    _admitted: Option<Admitted>,
}

/// What copies are told apart by.
const MARK: &str = "x-mirrored";

/// Makes a copy, if it is the request's turn and there is room. That of a request with a body sets out by itself when the body is
/// read; any other is given back, for [`send`].
pub(super) fn copy(
    x: &mut Exchange<'_>,
    view: &Rc<View>,
    mirror: &CompiledMirror,
    body: &mut Body,
) -> Option<Box<Mirrored>> {
    if x.request.upgrade.is_some() || fastrand::u32(..10_000) >= mirror.model.share {
        return None;
    }
    let index = mirror.model.pool;
    let (pool, compiled) = view.pools.get(index).zip(view.snapshot.pools.get(index))?;
    let Some(copy) = prepare(x, view, mirror, (pool, compiled.id)) else {
        x.worker.metrics.mirrored(compiled.id, "full");
        return None;
    };
    let copy = Box::new(copy);
    if matches!(body, Body::Empty) {
        return Some(copy);
    }
    let begin = move |body, fate| drop(tokio::task::spawn_local(copy.run(body, Some(fate))));
    *body = branch(std::mem::take(body), mirror.model.buffer, begin);
    None
}

/// Sends a copy that has no body.
pub(super) fn send(copy: Box<Mirrored>) {
    tokio::task::spawn_local(copy.run(Body::Empty, None));
}

/// Whether a request that failed so was sent, as far as that is known.
pub(super) fn was_sent(error: Error) -> bool {
    error.side == Side::Upstream && !matches!(error.retry, Retry::Safe | Retry::Elsewhere)
}

fn prepare(
    x: &mut Exchange<'_>,
    view: &View,
    mirror: &CompiledMirror,
    (pool, id): (&Rc<Pool>, PoolId),
) -> Option<Mirrored> {
    let model = &pool.state.model;
    let place = mirror.room.try_enter(mirror.model.max_requests)?;
    let in_pool = model.max_pool_requests.map(|most| pool.state.room.try_enter(most).ok_or(())).transpose().ok()?;
    let admitted = pool.state.adaptive.as_ref().map(|adaptive| adaptive.try_enter().ok_or(())).transpose().ok()?;
    // Who balances is told whom it balances for.
    let own = x.facts.pool.replace(mirror.model.pool);
    let picked = pool.pick(&Shown::request(&x.request, &x.facts, x.client, &view.snapshot), &Tried::default(), 0);
    x.facts.pool = own;
    let index = match picked {
        Picked::Endpoint(index) | Picked::Hedge(index, ..) => index,
        Picked::List(list) => *list.first()?,
        Picked::Refused(_) | Picked::Nowhere => return None,
    };
    let site = pool.site(index)?;
    let there = model.max_requests.map(|most| site.endpoint.room.try_enter(most).ok_or(())).transpose().ok()?;
    let mut head = x.request.clone();
    head.scheme = pool.scheme();
    // Its client does not hear whether the body is wanted.
    head.fields.remove(name::EXPECT);
    head.fields.set(MARK, b"1").ok()?;
    match &model.host {
        HostHeader::Preserve => {}
        HostHeader::Endpoint => site.endpoint.address.clone_into(&mut head.authority),
        HostHeader::Fixed(host) => host.clone_into(&mut head.authority),
    }
    Some(Mirrored {
        head,
        pool: pool.clone(),
        id,
        metrics: x.worker.metrics.clone(),
        index,
        site,
        times: mirror.times,
        client: ClientEnds { source: x.client.source, destination: x.client.destination },
        _stays: [Some(place), in_pool, there],
        _admitted: admitted,
    })
}

impl Mirrored {
    async fn run(self: Box<Self>, body: Body, fate: Option<Fate>) {
        let lost = || fate.as_ref().and_then(|fate| fate.get());
        let result = match self.ask(body).await {
            Ok(()) => "answered",
            Err(error) => match lost() {
                Some(Lost::Behind) => "slow",
                Some(Lost::Broken) => "broken",
                None => {
                    self.metrics.upstream_error(self.id, error.label());
                    "failed"
                }
            },
        };
        self.metrics.mirrored(self.id, result);
    }

    /// Sends it, and reads its answer to the end.
    async fn ask(&self, body: Body) -> Result<(), Error> {
        let _active = self.site.endpoint.begin();
        let began = Instant::now();
        let deadline = self.times.request.map(|time| Deadline::after(time, Phase::Request, Side::Upstream));
        let mut answered = self.attempt(body, true, deadline).await;
        if let Err(failure) = &mut answered
            && failure.is_stale()
            && is_idempotent(&self.head.method)
            && let Some(body) = failure.body.take()
        {
            answered = self.attempt(body, false, deadline).await;
        }
        let latency = began.elapsed();
        let mut reply = match answered {
            Ok(reply) => reply,
            Err(failure) => {
                if failure.error.side == Side::Upstream && !failure.is_stale() {
                    self.tell(0, latency);
                }
                return Err(failure.error);
            }
        };
        self.metrics.upstream_first_byte(self.id, latency);
        let read = self.read(&mut reply.body, deadline).await;
        let is_broken = read.is_err_and(|error| error.side == Side::Upstream);
        self.tell(if is_broken { 0 } else { reply.head.status.as_u16() }, latency);
        read
    }

    async fn attempt(&self, body: Body, reuse: bool, deadline: Option<Deadline>) -> Result<Reply, Failure> {
        let (mut responder, mut watchdog) = (Responder::Nobody(Nobody::default()), Watchdog::default());
        let waiter = Waiter::new(&mut responder);
        let counted = || Open::counted(&self.metrics, self.id);
        let mut attempt = Attempt {
            pool: &self.pool.state,
            site: &self.site,
            head: &self.head,
            waiter: &waiter,
            watchdog: &mut watchdog,
            deadline,
            times: self.times,
            // What the request itself may have is decided where it goes.
            body_limit: u64::MAX,
            client: self.client,
            counted: &counted,
            reuse,
        };
        attempt.run(body).await
    }

    async fn read(&self, body: &mut Body, deadline: Option<Deadline>) -> Result<(), Error> {
        let mut watchdog = Watchdog::default();
        loop {
            let next = Deadline::after(self.times.idle_body, Phase::BodyIdle, Side::Upstream).or(deadline);
            let frame = async { body.frame().await.transpose() };
            if watchdog.within(next, frame).await?.is_none() {
                return Ok(());
            }
        }
    }

    /// Its own pool gets to know how its endpoint did.
    fn tell(&self, status: u16, latency: Duration) {
        let endpoint = u32::try_from(self.index).unwrap_or(u32::MAX);
        self.pool.outcome(&Outcome { endpoint, status, attempt: 0, latency, bytes: 0 }, &[]);
    }
}
