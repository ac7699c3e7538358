//! Members of pools that were found come into force, and those of subsets in the place of those that have failed.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::balance::flag_changes;
use crate::config::model::Config;
use crate::reload::Force;
use crate::worker::Shared;

/// How often subsets are looked at, when endpoints have changed.
const LOOK: Duration = Duration::from_millis(100);

/// Looks whether other members of subsets are to be used.
pub(super) struct Subsets {
    looked: Instant,
    /// What [`flag_changes`] said then.
    seen: Option<u64>,
}

impl Subsets {
    pub(super) fn new() -> Subsets {
        Subsets { looked: Instant::now(), seen: None }
    }

    /// When it is to be looked next; never where there is no subset.
    pub(super) fn pause(&self, force: &RefCell<Force>) -> Duration {
        let snapshot = force.borrow().shared().snapshot();
        let any = snapshot.pools.iter().any(|pool| pool.state.model.selection.subset.is_some());
        if any { LOOK.saturating_sub(self.looked.elapsed()) } else { Duration::MAX }
    }

    /// Puts those into force that are to be used now.
    pub(super) async fn look(&mut self, force: &Rc<RefCell<Force>>) {
        if self.pause(force) > Duration::ZERO {
            return;
        }
        self.looked = Instant::now();
        let changes = flag_changes();
        if self.seen.replace(changes) != Some(changes) {
            renew(force).await;
        }
    }
}

/// Begins to look for the members of a configuration that is to come, and waits for the first answers.
pub(super) async fn look(shared: &Shared, config: &Config) {
    if shared.discovery.begin(config) {
        shared.discovery.answered(config, config.limits.discovery_time).await;
    }
}

/// Looks for the members of what is in force, and for no others; what was found while it was compiled comes into force.
pub(super) async fn follow(force: &Rc<RefCell<Force>>) {
    let shared = force.borrow().shared().clone();
    shared.discovery.follow(&shared.snapshot().config);
    renew(force).await;
}

/// Puts what was found last into force, if it is not.
pub(super) async fn renew(force: &Rc<RefCell<Force>>) {
    let shared = force.borrow().shared().clone();
    shared.discovery.heard();
    let making = tokio::task::spawn_blocking(move || {
        let found = |pool: &_| shared.discovery.found(pool);
        shared.snapshot().with_found(found, &shared.house)
    });
    // It fails only when the gateway ends.
    let Ok((snapshot, problems)) = making.await else { return };
    for (pool, problem) in problems {
        tracing::error!(pool, problem = problem.message, "the endpoints that were found cannot be used");
    }
    if let Some(snapshot) = snapshot {
        force.borrow_mut().put_members(snapshot);
    }
}
