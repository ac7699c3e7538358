//! A simulator of balancers: the very same plugin as in the gateway, without a network, in simulated time.
//!
//! In: balancers, scenarios, a seed. Out: how long clients would have waited, what would have failed, and who would have had
//! how much to do. Invariant: the same seed gives the same result, to the byte, and what takes hours takes seconds.
//!
//! **What is real.** The plugin is run by the gateway's own host ([`crate::plugin`]): the same table of endpoints in its memory,
//! the same requests shown, the same checks of what it says. Endpoints are those of [`crate::balance`], with their counts and
//! averages. A plugin that fails is treated as the gateway treats it: the built-in `p2c` decides instead, its instance is
//! replaced, and after twenty faults in ten seconds it is not called any more. Its clock, its `tick`, its random numbers and
//! the averages that it sees follow simulated time and the seed. Only its deadline is told by the real clock.
//!
//! **What is a model.** Requests come at random (Poisson), at a rate that does not depend on how they fare, each to one of the
//! gateways. A gateway asks its plugin and sends the request to a backend, which has so many servers and a queue before them.
//! A server takes a time that is drawn (exponential, lognormal or constant), times how slow the backend is at that moment. Where
//! the queue is full the answer is 503. A backend that is down refuses connections: the request is sent again, three times at
//! the most, with the attempt's number and the endpoints that were tried shown to the plugin. What a backend has when it goes is
//! lost; as all requests are GETs on kept connections, it goes again once. An answer of 500 or 503 is an answer, and is passed
//! on. Where a plugin hedges, a second backend gets the request too when the first takes longer; the first answer counts, and the other does the work
//! nonetheless. Clients give up after a while, which the backend does not notice either. Each gateway has an instance,
//! and statistics, of its own, and knows of backends only what came of its own requests. The network takes no time, but
//! a refusal takes a millisecond; bodies are nothing. Where the scenario has `checks`, gateways look so often which backends are there, and go by priorities, zones and
//! distrust as a gateway does; otherwise all count as healthy.
//!
//! **What is equal for all.** What chance decides about a request (when it comes, where, how much work it is) is drawn when it
//! comes, from streams of its own. So every balancer is given the very same requests, and what differs is what it did.

pub mod backend;
pub mod chance;
mod contender;
mod engine;
pub mod events;
mod gateway;
pub mod histogram;
mod known;
pub mod plan;
pub mod report;
mod request;
pub mod scenario;
pub mod tally;
#[cfg(test)]
mod tests;

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use contender::{Arena, Contender, built_ins, is_built_in, tell_apart};
pub use known::{KNOWN, known};
use plan::Plan;
pub use scenario::Scenario;
use tally::Tally;

/// One scenario, and what came of it with each contender.
pub struct Round {
    /// The scenario.
    pub scenario: Scenario,
    /// The scenario, laid out.
    pub plan: Plan,
    /// By contender; the words say why one could not be started.
    pub results: Vec<Result<Tally, String>>,
}

/// Runs all scenarios with all contenders, as many at a time as there are processors.
pub fn compare(
    scenarios: Vec<Scenario>,
    contenders: &[Contender],
    arena: &Arena,
    requests: u64,
    seed: u64,
) -> Result<Vec<Round>, String> {
    let laid_out = |scenario: Scenario| {
        let plan = Plan::new(&scenario, requests).map_err(|wrong| format!("{}: {wrong}", scenario.name))?;
        Ok(Round { scenario, plan, results: Vec::new() })
    };
    let mut rounds = scenarios.into_iter().map(laid_out).collect::<Result<Vec<Round>, String>>()?;
    let pairs: Vec<(&Round, &Contender)> =
        rounds.iter().flat_map(|round| contenders.iter().map(move |contender| (round, contender))).collect();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(pairs.len())));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some((round, contender)) = pairs.get(number) else { return };
            let result = engine::run(&round.plan, contender, arena, seed).map_err(|error| error.to_string());
            done.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(pairs.len());
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    let mut results = done.into_iter().map(|(_, result)| result);
    for round in &mut rounds {
        round.results = results.by_ref().take(contenders.len()).collect();
    }
    Ok(rounds)
}
