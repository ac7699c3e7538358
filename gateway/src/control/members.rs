//! Members of pools that were found come into force.

use std::cell::RefCell;
use std::rc::Rc;

use crate::config::model::Config;
use crate::reload::Force;
use crate::worker::Shared;

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
