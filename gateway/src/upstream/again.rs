//! How many of a pool's requests may be tries after the first.
//!
//! In: the requests under way, and a budget. Out: the right to try again, until it is dropped. A pool that fails every request would
//! otherwise get several times as many. Shared by all workers; two that ask at once may go one beyond it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::PoolState;
use crate::config::model::RetryBudget;

/// The right to send a request once more.
pub struct Again(Arc<AtomicU32>);

impl PoolState {
    /// Asks for the right to send a request once more.
    pub fn again(&self, budget: Option<RetryBudget>) -> Option<Again> {
        let under_way = &self.tries_again;
        let may = budget.is_none_or(|budget| {
            let active = self.candidates.iter().map(|candidate| u64::from(candidate.endpoint.active())).sum();
            under_way.load(Ordering::Relaxed) < allowed(active, budget)
        });
        may.then(|| {
            under_way.fetch_add(1, Ordering::Relaxed);
            Again(under_way.clone())
        })
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
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

    #[test]
    fn it_is_a_share_but_not_below_the_least() {
        let allowed = |active, share, least| allowed(active, RetryBudget { share, least });
        assert_eq!((allowed(0, 2000, 3), allowed(99, 2000, 3), allowed(9, 2000, 3)), (3, 20, 3));
        assert_eq!((allowed(0, 10_000, 0), allowed(8, 1000, 0), allowed(9, 1000, 0)), (1, 0, 1));
    }
}
