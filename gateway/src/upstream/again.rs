//! How many of a pool's requests may be tries after the first.
//!
//! In: the requests under way, and a budget. Out: the right to try again, until it is dropped. A pool that fails every request would
//! otherwise get several times as many. Shared by all workers, and never more than the budget, however many ask at once. Of very many endpoints the
//! requests under way are counted now and then: in an outage all ask all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::PoolState;
use crate::balance::{Candidate, FEW};
use crate::clock;
use crate::config::model::RetryBudget;

/// The right to send a request once more.
pub struct Again(Arc<Tries>);

/// A pool's tries after the first.
#[derive(Debug, Default)]
pub(super) struct Tries {
    under_way: AtomicU32,
    /// How many requests the pool had under way, in the lower half; when they were counted, in milliseconds, in the upper.
    counted: AtomicU64,
}

/// How long a count of very many endpoints holds.
const HOLDS: Duration = Duration::from_millis(20);

impl PoolState {
    /// Asks for the right to send a request once more.
    pub fn again(&self, budget: Option<RetryBudget>) -> Option<Again> {
        let tries = &self.tries_again;
        let most =
            budget.map_or(u32::MAX, |budget| allowed(tries.active(&self.candidates, clock::coarse_uptime()), budget));
        tries.begin(most).then(|| Again(tries.clone()))
    }
}

impl Tries {
    /// How many requests these have under way.
    fn active(&self, candidates: &[Candidate], now: Duration) -> u64 {
        let count = || candidates.iter().map(|candidate| u64::from(candidate.endpoint.active())).sum();
        if candidates.len() <= FEW {
            return count();
        }
        let (counted, now) = (self.counted.load(Ordering::Relaxed), now.as_millis() as u32);
        // 0 is no count: the first is made at once.
        if counted != 0 && u128::from(now.wrapping_sub((counted >> 32) as u32)) < HOLDS.as_millis() {
            return counted & u64::from(u32::MAX);
        }
        let count: u64 = count();
        self.counted.store(u64::from(now) << 32 | count.min(u32::MAX.into()), Ordering::Relaxed);
        count
    }

    /// One more, if there are not so many.
    fn begin(&self, most: u32) -> bool {
        let more = |under_way: u32| (under_way < most).then(|| under_way.saturating_add(1));
        self.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many, when so many others are under way.
fn allowed(active: u64, budget: RetryBudget) -> u32 {
    let share = (active + 1) * u64::from(budget.share) / 10_000;
    budget.least.max(u32::try_from(share).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::Endpoint;
    use crate::config::model;

    #[test]
    fn it_is_a_share_but_not_below_the_least() {
        let allowed = |active, share, least| allowed(active, RetryBudget { share, least });
        assert_eq!((allowed(0, 2000, 3), allowed(99, 2000, 3), allowed(9, 2000, 3)), (3, 20, 3));
        assert_eq!((allowed(0, 10_000, 0), allowed(8, 1000, 0), allowed(9, 1000, 0)), (1, 0, 1));
    }

    #[test]
    fn however_many_ask_at_once_it_is_kept_to() {
        let (tries, begun) = (Tries::default(), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    (0..1000).filter(|_| tries.begin(100)).for_each(|_| {
                        begun.fetch_add(1, Ordering::Relaxed);
                    })
                });
            }
        });
        assert_eq!(begun.into_inner(), 100);
    }

    #[test]
    fn very_many_are_counted_now_and_then_and_few_each_time() {
        for (count, later) in [(FEW, 1), (FEW + 1, 0)] {
            let address = |index| model::Endpoint { address: format!("10.0.0.1:{index}"), weight: 1 };
            let all: Vec<Candidate> =
                (0..count).map(|index| Candidate::of(Arc::new(Endpoint::new(&address(index), None)))).collect();
            let (tries, ms) = (Tries::default(), Duration::from_millis);
            assert_eq!(tries.active(&all, ms(50)), 0);
            let _active = all[0].endpoint.begin();
            assert_eq!(tries.active(&all, ms(69)), later);
            assert_eq!(tries.active(&all, ms(70)), 1);
        }
    }
}
