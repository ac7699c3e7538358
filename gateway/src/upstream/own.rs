//! The built-in balancer of a pool: what it names, or what stands behind its plugin.
//!
//! Each worker has one. Where it is made at once the worker makes it when it needs one; where tables are large, or endpoints many, those take long to make and to take
//! apart, so they are made on the thread that prepares a change, and go back there when they are not used any more.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gatewright_abi::kind;

use super::PoolState;
use crate::balance::FEW;
use crate::plugin::{self, Budget, Code, Mould, Native, took_long};

/// Those of one pool with certain members.
#[derive(Default)]
pub(super) struct OwnBalancers {
    ready: Mutex<Vec<Native>>,
}

impl PoolState {
    /// Makes one for each of so many workers, where they would take long for it: that is seen at the first.
    pub fn prepare_own(&self, workers: usize) {
        let (first, is_long) = took_long(|| self.own_balancer());
        let others = if is_long || self.candidates.len() > FEW { workers.saturating_sub(1) } else { 0 };
        let others = (0..others).map_while(|_| self.own_balancer());
        let made = first.into_iter().chain(others).collect();
        *self.own.ready() = made;
    }

    /// One for a worker.
    pub(super) fn take_own(&self) -> Option<Native> {
        let ready = self.own.ready().pop();
        ready.or_else(|| self.own_balancer())
    }

    /// Takes one back that a worker does not use any more: it goes when all that is left of this configuration goes.
    pub(super) fn give_back(&self, native: Native) {
        // One that is not to be called any more is not for others either.
        if self.candidates.len() > FEW && !native.is_faulted() {
            self.own.ready().push(native);
        }
    }

    fn own_balancer(&self) -> Option<Native> {
        let Some(Code::BuiltIn(_, plugin)) = plugin::built_in(self.model.balance.name()) else { return None };
        let budget = Budget { decision: Duration::MAX, configure: Duration::MAX, memory: 0 };
        let (services, endpoints) = (&self.services, &self.candidates[..]);
        let mould = Mould { services, budget, kinds: kind::BALANCER, config: "{}", endpoints, seed: fastrand::u64(..) };
        Native::new(&plugin, &mould).ok()
    }
}

impl OwnBalancers {
    fn ready(&self) -> MutexGuard<'_, Vec<Native>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
