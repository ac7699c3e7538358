//! The tries of one request: what has failed so far, whether it is tried again, and with what.
//!
//! In: what became of each try. Out: whether there is another one. A request that may have had an effect is tried again only where
//! its method is idempotent (RFC 9110 section 9.2.2) or the configuration says so.

use std::time::Duration;

use smallvec::SmallVec;

use super::attempts::{Answer, Destination, Miss};
use super::bodies::Bodies;
use super::exchange::Exchange;
use crate::clock::Deadline;
use crate::config::model::{self, RetryOn};
use crate::error::{Error, Kind, Phase, Retry, Side};
use crate::http::{Body, Method, RequestHead, ResponseHead, StatusCode};
use crate::plugin::Outcome;
use crate::upstream::{Again, Tried, Waiter};

/// What has become of a request so far.
pub(super) struct Course<'a> {
    policy: &'a model::Retry,
    pub(super) bodies: Bodies,
    pub(super) tried: Tried,
    /// What a plugin has listed and was not tried yet.
    pub(super) listed: SmallVec<[usize; 4]>,
    failed: Option<Failed>,
    /// The next try needs no pause before it.
    at_once: bool,
    /// Held while a try after the first is under way.
    again: Option<Again>,
}

enum Failed {
    Error(Error),
    /// An answer that the client gets when there is no other.
    Answer(Box<Answer>),
}

impl<'a> Course<'a> {
    pub(super) fn new(policy: &'a model::Retry, body: Body) -> Course<'a> {
        let (tried, listed) = (Tried::default(), SmallVec::new());
        let bodies = Bodies::new(body, policy.buffer);
        Course { policy, bodies, tried, listed, failed: None, at_once: false, again: None }
    }

    /// The number of the next try: 0 is the first.
    pub(super) fn number(&self, x: &Exchange<'_>) -> u32 {
        x.facts.retries + u32::from(self.failed.is_some())
    }

    /// A try begins; gives its body. What failed before is past.
    pub(super) fn begin(&mut self, x: &mut Exchange<'_>, to: &Destination<'_>) -> Result<Body, Error> {
        if self.failed.take().is_some() {
            x.facts.retries += 1;
            to.metrics.upstream_retry(to.id);
        }
        self.bodies.take().ok_or(Error::gateway(Kind::Internal("no body for another try")))
    }

    /// There is no endpoint: the last answer after all, or why there is none.
    pub(super) fn nothing_left(self) -> Result<Answer, Error> {
        match self.failed {
            Some(Failed::Answer(answer)) => Ok(*answer),
            Some(Failed::Error(error)) => Err(error),
            None => Err(Error::gateway(Kind::NoEndpoint)),
        }
    }

    /// Whether another endpoint is asked although one has answered so.
    pub(super) fn refuses(&mut self, x: &Exchange<'_>, to: &Destination<'_>, answer: &Answer) -> bool {
        is_refusal(self.policy, &answer.reply.head)
            && answer.reply.tunnel.is_none()
            && may_repeat(self.policy, &x.request)
            && self.has_more_tries(x)
            && self.bodies.has_more()
            && self.spend(to)
    }

    /// Keeps an answer that was refused, for when there is no other.
    pub(super) fn answered(&mut self, x: &Exchange<'_>, to: &Destination<'_>, answer: Answer) {
        let outcome = Outcome {
            endpoint: u32::try_from(answer.aim.index).unwrap_or(u32::MAX),
            status: answer.reply.head.status.as_u16(),
            attempt: x.facts.retries,
            latency: answer.latency,
            bytes: 0,
        };
        to.pool.outcome(&outcome, &x.facts.parts);
        self.tried.note(answer.aim.index);
        self.at_once = false;
        self.failed = Some(Failed::Answer(Box::new(answer)));
    }

    /// A try failed; gives the error when there is no other one.
    pub(super) fn missed(&mut self, x: &Exchange<'_>, to: &mut Destination<'_>, mut miss: Miss) -> Result<(), Error> {
        let error = miss.failure.error;
        // Whoever sent an interim response has seen the request.
        let stale = miss.failure.is_stale() && miss.failure.body.is_some();
        if stale {
            to.reuse = false;
        } else if !self.tried.failed(miss.aim.index, error) {
            self.tried.note(miss.aim.index);
        }
        let wanted = miss.next.is_some() || is_worth_another(self.policy, error, stale, &x.request);
        self.bodies.give_back(miss.failure.body.take());
        let again = wanted && self.has_more_tries(x) && self.bodies.has_more() && self.spend(to);
        // That a kept connection is found closed and another one does is nothing to speak of.
        if !again || !stale {
            to.tell(&miss);
        }
        self.at_once = stale || miss.next.is_some();
        self.listed.extend(miss.next);
        if !again {
            return Err(error);
        }
        self.failed = Some(Failed::Error(error));
        Ok(())
    }

    /// Waits before the next try.
    pub(super) async fn pause(&self, x: &mut Exchange<'_>) -> Result<(), Error> {
        let Some((first, most)) = self.policy.pause.filter(|_| !self.at_once) else { return Ok(()) };
        let time = pause(first, most, x.facts.retries, fastrand::u32(..));
        let far = Deadline::after(Duration::from_secs(3600), Phase::Request, Side::Gateway);
        let sleep = async {
            tokio::time::sleep(time).await;
            Ok(())
        };
        Waiter::new(&mut x.responder).within(x.watchdog, x.deadline.unwrap_or(far), sleep).await
    }

    fn has_more_tries(&self, x: &Exchange<'_>) -> bool {
        x.facts.retries + 1 + u32::from(x.facts.hedge.is_some()) < self.policy.tries
    }

    /// Takes the right to another try out of the pool's budget.
    fn spend(&mut self, to: &Destination<'_>) -> bool {
        // One right at a time is enough, and it is given back first.
        self.again = None;
        self.again = to.again();
        self.again.is_some()
    }
}

/// Whether an answer is one that another endpoint may better.
fn is_refusal(policy: &model::Retry, head: &ResponseHead) -> bool {
    // A gRPC server that refuses at once says so in its only block of fields.
    let grpc = || head.fields.value("grpc-status").and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    policy.statuses.contains(&head.status.as_u16())
        || (!policy.grpc_statuses.is_empty()
            && head.status == StatusCode::OK
            && grpc().is_some_and(|status: u8| policy.grpc_statuses.contains(&status)))
}

/// Whether a failed request may be sent again. That is one that no upstream can have seen; of those that an upstream may have seen,
/// an idempotent one whose kept connection was found closed; and what the configuration asks for.
fn is_worth_another(policy: &model::Retry, error: Error, stale: bool, request: &RequestHead) -> bool {
    let wants = |on: RetryOn| policy.on.contains(&on);
    let is_connect = matches!(error.kind, Kind::Connect | Kind::Tls | Kind::Timeout(Phase::Connect));
    match error.retry {
        Retry::Safe | Retry::Elsewhere => !is_connect || wants(RetryOn::Connect),
        Retry::Idempotent if stale && is_idempotent(&request.method) => true,
        _ if error.side != Side::Upstream || !may_repeat(policy, request) => false,
        _ => match error.kind {
            Kind::Closed | Kind::Truncated | Kind::Io | Kind::Reset(_) => wants(RetryOn::Reset),
            Kind::Timeout(Phase::FirstByte | Phase::Try) => wants(RetryOn::Timeout),
            _ => false,
        },
    }
}

/// Whether a request that an upstream may have seen may be sent again at all.
fn may_repeat(policy: &model::Retry, request: &RequestHead) -> bool {
    (policy.any_method || is_idempotent(&request.method)) && request.upgrade.is_none()
}

/// Whether two endpoints may get the request at the same time.
pub(super) fn may_go_twice(request: &RequestHead, bodies: &Bodies) -> bool {
    is_idempotent(&request.method) && request.upgrade.is_none() && bodies.are_empty()
}

pub(super) fn is_idempotent(method: &Method) -> bool {
    // QUERY is safe, hence idempotent, by its own specification.
    matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE" | "QUERY")
}

/// Twice as long each time; of that, between half and all, as it is drawn.
fn pause(first: Duration, most: Duration, retries: u32, draw: u32) -> Duration {
    let whole = first.saturating_mul(2u32.saturating_pow(retries)).min(most);
    whole / 2 + (whole / 2).mul_f64(f64::from(draw) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Retry as Policy;
    use crate::http::{Fields, Scheme, Version};

    fn request(method: Method) -> RequestHead {
        let (authority, target) = (String::new(), String::new());
        let (version, scheme, fields) = (Version::Http11, Scheme::Http, Fields::new());
        RequestHead { method, version, scheme, authority, target, upgrade: None, fields }
    }

    #[test]
    fn without_a_word_only_what_had_no_effect_goes_again() {
        let again = |method: Method, kind, retry, stale| {
            is_worth_another(&Policy::default(), Error::upstream(kind, retry), stale, &request(method))
        };
        assert!(again(Method::POST, Kind::Connect, Retry::Safe, false));
        assert!(again(Method::POST, Kind::Timeout(Phase::Connect), Retry::Elsewhere, false));
        assert!(again(Method::GET, Kind::Closed, Retry::Idempotent, true));
        assert!(!again(Method::POST, Kind::Closed, Retry::Idempotent, true));
        assert!(!again(Method::GET, Kind::Closed, Retry::Idempotent, false));
        assert!(!again(Method::GET, Kind::Truncated, Retry::Idempotent, false));
        assert!(!again(Method::GET, Kind::Timeout(Phase::FirstByte), Retry::Never, false));
        assert!(!again(Method::GET, Kind::Malformed(""), Retry::Never, false));
    }

    #[test]
    fn what_may_have_had_an_effect_goes_again_only_by_word() {
        let policy = |on: &[RetryOn], any_method| Policy { on: on.to_vec(), any_method, ..Policy::default() };
        let again = |policy: &Policy, method, kind, retry| {
            is_worth_another(policy, Error::upstream(kind, retry), false, &request(method))
        };
        let (reset, late) = ((Kind::Reset(2), Retry::Idempotent), (Kind::Timeout(Phase::Try), Retry::Never));
        let both = policy(&[RetryOn::Reset, RetryOn::Timeout], false);
        assert!(again(&both, Method::GET, reset.0, reset.1) && again(&both, Method::PUT, late.0, late.1));
        assert!(!again(&both, Method::POST, reset.0, reset.1) && !again(&both, Method::PATCH, late.0, late.1));
        // No connection was made, and that is not asked for.
        assert!(!again(&both, Method::GET, Kind::Connect, Retry::Safe));
        // A stream that was refused was not seen by anybody.
        assert!(again(&both, Method::POST, Kind::Reset(7), Retry::Safe));
        let any = policy(&[RetryOn::Reset], true);
        assert!(again(&any, Method::POST, reset.0, reset.1) && !again(&any, Method::POST, late.0, late.1));
        let mut upgrade = request(Method::GET);
        upgrade.upgrade = Some("websocket".into());
        assert!(!is_worth_another(&both, Error::upstream(reset.0, reset.1), false, &upgrade));
        // The client's fault is nobody else's.
        assert!(!is_worth_another(&any, Error::client(Kind::Closed), false, &request(Method::GET)));
    }

    #[test]
    fn pauses_double_up_to_their_bound_and_differ() {
        let ms = Duration::from_millis;
        let pause = |retries, draw| pause(ms(20), ms(100), retries, draw);
        assert_eq!((pause(0, 0), pause(0, u32::MAX)), (ms(10), ms(20)));
        assert_eq!((pause(1, u32::MAX), pause(2, u32::MAX), pause(3, u32::MAX)), (ms(40), ms(80), ms(100)));
        assert_eq!(pause(u32::MAX, 0), ms(50));
    }
}
