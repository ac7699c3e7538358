//! A request at an endpoint, or at two of them side by side.
//!
//! In: a request, and where it is to go. Out: the first answer; or what failed, and who gets the request whatever that was.
//! Whatever becomes of an attempt is counted and told here, once. One that is dropped closes its connection or resets its stream.

use std::any::Any;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::exchange::{Exchange, Hedged};
use super::plugins;
use super::shown::Shown;
use crate::balance::{Active, Stay};
use crate::clock::{Deadline, Watchdog};
use crate::config::model::{self, HostHeader};
use crate::error::{Error, Kind, Phase, Side};
use crate::http::{Body, RequestHead};
use crate::metrics::{self, Connection, Hedge, PoolId};
use crate::plugin::{Outcome, Part, Picked};
use crate::snapshot::Snapshot;
use crate::upstream::{self, Again, Attempt, ClientEnds, Failure, Pool, Reply, Site, Times, Tried, Waiter};

/// What all attempts of one request have in common.
pub(super) struct Destination<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) pool: &'a Pool,
    pub(super) id: PoolId,
    pub(super) metrics: &'a metrics::Worker,
    pub(super) times: Times,
    pub(super) retry: &'a model::Retry,
    pub(super) deadline: Option<Deadline>,
    pub(super) body_limit: u64,
    pub(super) client: ClientEnds,
    /// Counts a new connection until what it gives is dropped.
    pub(super) counted: &'a dyn Fn() -> Box<dyn Any>,
    /// Whether a connection that was used before may be used.
    pub(super) reuse: bool,
}

/// An endpoint that was picked.
pub(super) struct Aim {
    pub(super) index: usize,
    pub(super) site: Rc<Site>,
    /// The right to be there, where that is limited.
    pub(super) stay: Option<Stay>,
}

/// Two of them for one request.
pub(super) struct Pair {
    /// Is asked at once.
    pub(super) first: Aim,
    /// Is asked too when the first fails or this time is over; none: the pool is asked for one when the time is over.
    pub(super) second: Option<Aim>,
    pub(super) after: Duration,
}

/// What an endpoint answered.
pub(super) struct Answer {
    pub(super) aim: Aim,
    pub(super) reply: Reply,
    /// Keeps the endpoint's count.
    pub(super) active: Active,
    /// From the attempt's begin to the first byte.
    pub(super) latency: Duration,
}

/// An attempt that failed.
pub(super) struct Miss {
    pub(super) aim: Aim,
    pub(super) failure: Failure,
    /// The index of who gets the request whatever failed.
    pub(super) next: Option<usize>,
}

/// Has the request answered by this endpoint.
pub(super) async fn send(x: &mut Exchange<'_>, to: &Destination<'_>, aim: Aim, body: Body) -> Result<Answer, Miss> {
    to.address(x, &aim);
    let begun = Begun::new(aim, x.facts.retries);
    let waiter = Waiter::new(&mut x.responder);
    let mut attempt = to.attempt(&begun.aim.site, &x.request, &waiter, x.watchdog);
    let result = attempt.run(body).await;
    to.ended(begun, result, &x.facts.parts)
}

/// Has a request that has no body, and may be sent twice, answered by the first of two endpoints; by the second when that fails,
/// and by whichever is quicker when it takes too long.
pub(super) async fn race(
    x: &mut Exchange<'_>,
    to: &Destination<'_>,
    pair: Pair,
    tried: &mut Tried,
) -> Result<Answer, Miss> {
    to.address(x, &pair.first);
    let first = Begun::new(pair.first, x.facts.retries);
    let waiter = Waiter::new(&mut x.responder);
    let site = first.aim.site.clone();
    let mut attempt = to.attempt(&site, &x.request, &waiter, x.watchdog);
    let mut asked = pin!(attempt.run(Body::Empty));
    let early = tokio::select! {
        biased;
        result = &mut asked => Some(result),
        () = silence(pair.after, || waiter.is_informed()) => None,
    };
    if let Some(result) = early {
        to.first_took(&result, &first);
        return to.ended(first, result, &x.facts.parts).map_err(|miss| {
            if pair.second.is_none() || is_final(miss.failure.error) {
                return miss;
            }
            let failure = Failure { body: Some(Body::Empty), ..miss.failure };
            Miss { failure, next: pair.second.map(|aim| aim.index), ..miss }
        });
    }
    let second = pair.second.or_else(|| {
        let shown = Shown::request(&x.request, &x.facts, x.client, to.snapshot);
        let second = to.another(&shown, &first.aim, x.facts.retries + 1);
        plugins::note_second_pick(&mut x.facts, to.pool);
        second
    });
    let second = second.and_then(|second| to.try_enter_endpoint(second));
    let again = second.as_ref().and_then(|_| to.again());
    let Some((second, _again)) = second.zip(again) else {
        let result = asked.await;
        to.first_took(&result, &first);
        return to.ended(first, result, &x.facts.parts);
    };
    to.metrics.upstream_hedge(to.id, Hedge::Sent);
    x.facts.hedge = Some(Hedged::Lost);
    let second = Begun::new(second, x.facts.retries);
    let mut head = x.request.clone();
    if let Some(authority) = to.authority(&second.aim) {
        authority.clone_into(&mut head.authority);
    }
    let mut watchdog = Watchdog::default();
    let other_site = second.aim.site.clone();
    let mut attempt_too = to.attempt(&other_site, &head, &waiter, &mut watchdog);
    let mut asked_too = pin!(attempt_too.run(Body::Empty));
    let (is_first, result) = tokio::select! {
        biased;
        result = &mut asked => (true, result),
        result = &mut asked_too => (false, result),
    };
    to.first_took(&result, &first);
    let (ended, other) = if is_first { (first, second) } else { (second, first) };
    let miss = match to.ended(ended, result, &x.facts.parts) {
        Ok(answer) => {
            to.pool.cancelled(other.aim.index, other.attempt, other.began.elapsed(), &x.facts.parts);
            x.facts.hedge = Some(if is_first { Hedged::Lost } else { Hedged::Won });
            return Ok(answer);
        }
        Err(miss) if is_final(miss.failure.error) => return Err(miss),
        Err(miss) => miss,
    };
    tried.failed(miss.aim.index, miss.failure.error);
    to.tell(&miss);
    let result = if is_first { asked_too.await } else { asked.await };
    let answer = to.ended(other, result, &x.facts.parts)?;
    x.facts.hedge = Some(if is_first { Hedged::Won } else { Hedged::Lost });
    Ok(answer)
}

/// Ready after this time, unless an upstream was heard meanwhile.
async fn silence(time: Duration, was_heard: impl Fn() -> bool) {
    tokio::time::sleep(time).await;
    if was_heard() {
        std::future::pending::<()>().await;
    }
}

/// Whether another endpoint would not help: the client is gone, or the time is up.
fn is_final(error: Error) -> bool {
    error.side == Side::Client || error.kind == Kind::Timeout(Phase::Request)
}

/// An attempt under way.
struct Begun {
    aim: Aim,
    active: Active,
    began: Instant,
    attempt: u32,
}

impl Begun {
    fn new(aim: Aim, attempt: u32) -> Begun {
        Begun { active: aim.site.endpoint.begin(), aim, began: Instant::now(), attempt }
    }
}

impl<'a> Destination<'a> {
    /// The endpoint with this index.
    pub(super) fn aim(&self, index: usize) -> Result<Aim, Error> {
        let site = self.pool.site(index).ok_or(Error::gateway(Kind::NoEndpoint))?;
        Ok(Aim { index, site, stay: None })
    }

    /// The right to send a request once more, out of the pool's budget.
    pub(super) fn again(&self) -> Option<Again> {
        let again = self.pool.state.again(self.retry.budget);
        if again.is_none() {
            self.metrics.upstream_retry_refused(self.id);
        }
        again
    }

    /// An endpoint for a request that this one has and does not answer.
    fn another(&self, shown: &Shown<'_>, than: &Aim, attempt: u32) -> Option<Aim> {
        if !self.pool.state.hedging.as_ref().is_none_or(|hedging| hedging.may()) {
            self.metrics.upstream_hedge(self.id, Hedge::Refused);
            return None;
        }
        let index = match self.pool.pick(shown, &Tried::asked(than.index), attempt) {
            Picked::Endpoint(index) | Picked::Hedge(index, ..) => index,
            Picked::List(list) => list.into_iter().find(|index| *index != than.index)?,
            Picked::Refused(_) | Picked::Nowhere => return None,
        };
        self.aim(index).ok().filter(|aim| aim.index != than.index)
    }

    /// Notes how long the endpoint took that was asked first, or that it took longer than until another answered.
    fn first_took(&self, result: &Result<Reply, Failure>, first: &Begun) {
        if let (Some(hedging), Ok(_)) = (&self.pool.state.hedging, result) {
            hedging.took(first.began.elapsed());
        }
    }

    /// Writes on the request which endpoint gets it.
    pub(super) fn address(&self, x: &mut Exchange<'_>, aim: &Aim) {
        x.facts.endpoint = Some(aim.site.endpoint.clone());
        if let Some(authority) = self.authority(aim) {
            let before = std::mem::replace(&mut x.request.authority, authority.to_owned());
            x.facts.original_authority.get_or_insert(before);
        }
    }

    /// The authority that the endpoint is told, when it is not the client's.
    fn authority<'b>(&'b self, aim: &'b Aim) -> Option<&'b str> {
        match &self.pool.state.model.host {
            HostHeader::Preserve => None,
            HostHeader::Endpoint => Some(&aim.site.endpoint.address),
            HostHeader::Fixed(host) => Some(host),
        }
    }

    fn attempt<'b, 'w>(
        &'b self,
        site: &'b Rc<Site>,
        head: &'b RequestHead,
        waiter: &'b Waiter<'w>,
        watchdog: &'b mut Watchdog,
    ) -> Attempt<'b, 'w> {
        let a_try = |time| Deadline::after(time, Phase::Try, Side::Upstream).or(self.deadline);
        let deadline = self.retry.try_time.map(a_try).or(self.deadline);
        Attempt {
            pool: &self.pool.state,
            site,
            head,
            waiter,
            watchdog,
            deadline,
            times: self.times,
            body_limit: self.body_limit,
            client: self.client,
            counted: self.counted,
            reuse: self.reuse,
        }
    }

    /// Counts what became of an attempt. Of an answer the plugin is told when all of it is known.
    fn ended(&self, begun: Begun, result: Result<Reply, Failure>, parts: &[Part]) -> Result<Answer, Miss> {
        let Begun { aim, active, began, attempt } = begun;
        let latency = began.elapsed();
        let failure = match result {
            Ok(reply) => {
                if reply.reused {
                    self.metrics.upstream_connection(self.id, Connection::Reused);
                }
                if let Some(adaptive) = self.pool.state.adaptive.as_ref().filter(|_| teaches(&reply)) {
                    adaptive.took(reply.sent.map_or(latency, |sent| sent.elapsed()));
                }
                return Ok(Answer { aim, reply, active, latency });
            }
            Err(failure) => failure,
        };
        if failure.error.side != Side::Client {
            self.metrics.upstream_error(self.id, failure.error.label());
        }
        if matches!(failure.error.kind, Kind::Connect | Kind::Tls | Kind::Timeout(Phase::Connect)) {
            self.metrics.upstream_connection(self.id, Connection::Failed);
        }
        if let Some(adaptive) = &self.pool.state.adaptive {
            match failure.error.kind {
                Kind::Timeout(Phase::FirstByte | Phase::Try) => adaptive.took(latency),
                _ if failure.error.side == Side::Client => adaptive.given_up(latency),
                _ => {}
            }
        }
        // A kept connection that is found closed says nothing of the endpoint.
        if failure.error.side == Side::Upstream && !failure.is_stale() {
            let endpoint = u32::try_from(aim.index).unwrap_or(u32::MAX);
            self.pool.outcome(&Outcome { endpoint, status: 0, attempt, latency, bytes: 0 }, parts);
        }
        Err(Miss { aim, failure, next: None })
    }

    /// Warns of an endpoint that failed.
    pub(super) fn tell(&self, miss: &Miss) {
        upstream::tell(&self.pool.state, &miss.aim.site.endpoint.address, &miss.failure.error);
    }
}

/// Whether the time that an answer took says how busy its endpoint is: errors are quick.
fn teaches(reply: &Reply) -> bool {
    reply.tunnel.is_none() && !reply.head.status.is_server_error()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_was_heard_is_not_silent() {
        let moment = Duration::from_millis(1);
        silence(moment, || false).await;
        assert!(tokio::time::timeout(20 * moment, silence(moment, || true)).await.is_err());
    }

    #[test]
    fn another_endpoint_helps_unless_nobody_waits() {
        let late = |phase| Error::upstream(Kind::Timeout(phase), crate::error::Retry::Never);
        assert!(!is_final(late(Phase::FirstByte)) && is_final(late(Phase::Request)));
        assert!(!is_final(Error::gateway(Kind::Overloaded)) && is_final(Error::client(Kind::Closed)));
    }
}
