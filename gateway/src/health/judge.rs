//! Judges the endpoints of one pool by what they do to requests: ejects those that do badly, and lets them back.
//!
//! Woken by requests that have failed so often in a row that it matters, at the end of each interval, and when an ejection is over.

use std::rc::Rc;
use std::time::{Instant, SystemTime};

use gatewright_abi::flag;
use tokio::task::AbortHandle;

use super::outlier::{self, Cause, Conduct};
use super::{Desk, Kept, Watched, at};
use crate::balance::Ejected;
use crate::config::model::Eject;
use crate::notice;
use crate::upstream::PoolState;

/// Begins to judge the endpoints of a pool.
pub(super) fn begin(desk: &Rc<Desk>, kept: &Rc<Kept>) -> AbortHandle {
    let (desk, kept) = (desk.clone(), kept.clone());
    tokio::task::spawn_local(async move { go_on(&desk, &kept).await }).abort_handle()
}

async fn go_on(desk: &Desk, kept: &Kept) {
    let mut looked = Instant::now();
    loop {
        let state = kept.state();
        let Some(eject) = &state.model.eject else { return };
        let endpoints = kept.in_order();
        let ends = endpoints.iter().filter_map(|watched| watched.term.borrow().until());
        let wake = ends.chain([looked + eject.interval]).min().unwrap_or(looked);
        tokio::select! {
            () = tokio::time::sleep_until(wake.into()) => {}
            () = state.alarm.notified() => {}
            () = kept.changed.notified() => continue,
        }
        let now = Instant::now();
        let is_interval = now.saturating_duration_since(looked) >= eject.interval;
        if is_interval {
            looked = now;
        }
        let state = kept.state();
        let Some(eject) = &state.model.eject else { return };
        let endpoints = kept.in_order();
        endpoints.iter().for_each(|watched| watched.let_back(&state, now));
        let conduct: Vec<Conduct> = endpoints.iter().map(|watched| watched.conduct(is_interval)).collect();
        for (index, cause) in outlier::ejections(&conduct, eject) {
            if let Some(watched) = endpoints.get(index) {
                desk.shared.metrics.ejection(*kept.id.borrow(), cause.label());
                watched.eject(&state, eject, cause, now);
            }
        }
    }
}

impl Watched {
    fn conduct(&self, is_interval: bool) -> Conduct {
        let endpoint = self.endpoint.borrow();
        let flags = endpoint.stats.flags();
        Conduct {
            usable: flags & (flag::HEALTHY | flag::EJECTED | flag::DRAINING) == flag::HEALTHY,
            ejected: flags & flag::EJECTED != 0,
            failures: endpoint.outcomes.failures_in_a_row(),
            refusals: endpoint.outcomes.refusals_in_a_row(),
            sample: is_interval.then(|| endpoint.outcomes.take()),
        }
    }

    fn eject(&self, state: &PoolState, eject: &Eject, cause: Cause, now: Instant) {
        let time = self.term.borrow_mut().begin(eject, now);
        let endpoint = self.endpoint();
        {
            let mut standing = endpoint.standing();
            let (since, until) = (SystemTime::now(), at(now + time));
            standing.ejected = Some(Ejected { since, until, reason: cause.to_string() });
            standing.ejections += 1;
        }
        self.mark(state, now);
        endpoint.outcomes.forget();
        let (pool, endpoint) = (&*state.model.name, &*endpoint.address);
        if let Some(suppressed) = notice::due((pool, endpoint, "ejected")) {
            tracing::warn!(pool, endpoint, reason = %cause, ?time, suppressed, "the endpoint is ejected");
        }
    }

    /// Ends its ejection when it is over.
    fn let_back(&self, state: &PoolState, now: Instant) {
        if !self.term.borrow_mut().ends(now) {
            return;
        }
        let endpoint = self.endpoint();
        endpoint.standing().ejected = None;
        // What ended late belongs to the time before.
        endpoint.outcomes.is_let_back();
        self.mark(state, now);
        let (pool, endpoint) = (&*state.model.name, &*endpoint.address);
        if let Some(suppressed) = notice::due((pool, endpoint, "let back")) {
            tracing::info!(pool, endpoint, suppressed, "the endpoint is no longer ejected");
        }
    }
}
