//! Which endpoints are well: checks that ask them, and judgements by what they do to requests of clients.
//!
//! In: the snapshot in force, and what requests have noted of endpoints. Out: the flags by which endpoints are picked (`HEALTHY`,
//! `EJECTED`), which nobody else writes; why and since when, for people; a line in the log for each change, and counts.
//! Invariant: endpoints that live on over a reload keep what is known of them; settings that changed take effect at once. Limits:
//! so many checks at a time (`limits.health_checks`); one check of an endpoint at a time; so many endpoints ejected.
//!
//! All of it runs on a thread of its own, so that ten thousand endpoints that hang hold up neither operators nor reloads,
//! nor requests.

mod check;
mod judge;
mod outlier;
mod term;
mod verdict;
mod watch;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use gatewright_abi::flag;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::AbortHandle;

use crate::balance::{Endpoint, UNCHECKED};
use crate::metrics::PoolId;
use crate::snapshot::{CompiledPool, Snapshot};
use crate::upstream::PoolState;
use crate::worker::Shared;
use term::Term;
use verdict::Verdict;

/// Checks and judges until the other end of `over` is gone.
pub fn run(shared: &Arc<Shared>, over: oneshot::Receiver<()>) {
    match tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()) {
        Ok(runtime) => {
            runtime.block_on(async {
                tokio::select! {
                    _ = over => {}
                    () = follow(shared) => {}
                }
            });
            // A name that is still being looked up is waited for by nobody.
            runtime.shutdown_background();
        }
        Err(error) => tracing::error!(%error, "no endpoint is checked"),
    }
}

/// Keeps to the snapshot in force.
async fn follow(shared: &Arc<Shared>) {
    let mut replaced = shared.replaced();
    let desk = Rc::new(Desk { shared: shared.clone(), turns: RefCell::new((0, Arc::new(Semaphore::new(0)))) });
    let mut pools: HashMap<String, Rc<Kept>> = HashMap::new();
    loop {
        // Seen before it is looked at, so that none is missed.
        replaced.mark_unchanged();
        desk.take(&shared.snapshot(), &mut pools);
        if replaced.changed().await.is_err() {
            return;
        }
    }
}

/// What all checks share.
struct Desk {
    shared: Arc<Shared>,
    /// How many checks may run, and the right to.
    turns: RefCell<(u32, Arc<Semaphore>)>,
}

/// A pool whose endpoints are looked after.
struct Kept {
    state: RefCell<Arc<PoolState>>,
    id: RefCell<PoolId>,
    endpoints: RefCell<HashMap<String, Rc<Watched>>>,
    /// The one who judges them.
    judge: Task,
    /// Told when how they are judged has changed.
    changed: Notify,
}

/// An endpoint that is looked after.
struct Watched {
    endpoint: RefCell<Arc<Endpoint>>,
    verdict: RefCell<Verdict>,
    term: RefCell<Term>,
    /// What it is until its first check, as flags: one that was there before goes on as it was.
    start: Cell<u32>,
    /// The one who checks it.
    checks: Task,
    /// Told when it is to be checked now.
    changed: Notify,
}

/// A task that ends with its owner.
#[derive(Default)]
struct Task(RefCell<Option<AbortHandle>>);

impl Task {
    fn ensure(&self, begin: impl FnOnce() -> AbortHandle) {
        self.0.borrow_mut().get_or_insert_with(begin);
    }

    fn end(&self) -> bool {
        self.0.borrow_mut().take().inspect(AbortHandle::abort).is_some()
    }
}

impl Desk {
    /// Goes by this snapshot from now on.
    fn take(self: &Rc<Desk>, snapshot: &Snapshot, pools: &mut HashMap<String, Rc<Kept>>) {
        let most = snapshot.limits.health_checks;
        if self.turns.borrow().0 != most {
            // Those who wait at the old gate pass it as it empties.
            *self.turns.borrow_mut() = (most, Arc::new(Semaphore::new(most as usize)));
        }
        let mut gone = std::mem::take(pools);
        for compiled in &snapshot.pools {
            let name = &compiled.state.model.name;
            let kept = gone.remove(name).unwrap_or_else(|| Kept::new(compiled));
            kept.take(self, compiled);
            pools.insert(name.clone(), kept);
        }
        gone.values().for_each(|kept| kept.leave());
    }

    /// The right to make a check.
    fn turns(&self) -> Arc<Semaphore> {
        self.turns.borrow().1.clone()
    }
}

impl Kept {
    fn new(compiled: &CompiledPool) -> Rc<Kept> {
        Rc::new(Kept {
            state: RefCell::new(compiled.state.clone()),
            id: RefCell::new(compiled.id),
            endpoints: RefCell::default(),
            judge: Task::default(),
            changed: Notify::new(),
        })
    }

    fn state(&self) -> Arc<PoolState> {
        self.state.borrow().clone()
    }

    /// Goes by this state of the pool from now on.
    fn take(self: &Rc<Kept>, desk: &Rc<Desk>, compiled: &CompiledPool) {
        let before = self.state.replace(compiled.state.clone());
        let (old, new) = (&before.model, &compiled.state.model);
        *self.id.borrow_mut() = compiled.id;
        let mut gone = std::mem::take(&mut *self.endpoints.borrow_mut());
        for candidate in compiled.state.everyone.iter() {
            let address = &candidate.endpoint.address;
            let watched = gone.remove(address).unwrap_or_else(|| Rc::new(Watched::new(&candidate.endpoint)));
            *watched.endpoint.borrow_mut() = candidate.endpoint.clone();
            if new.health.is_some() {
                watched.checks.ensure(|| watch::begin(desk, self, &watched));
                if old.health != new.health {
                    watched.verdict.borrow_mut().restart();
                    watched.changed.notify_one();
                }
            } else if watched.checks.end() {
                *watched.verdict.borrow_mut() = Verdict::default();
                watched.start.set(flag::HEALTHY);
                candidate.endpoint.standing().checked = None;
            }
            if new.eject.is_none() && watched.term.replace(Term::default()).until().is_some() {
                candidate.endpoint.standing().ejected = None;
            }
            watched.mark(&compiled.state, Instant::now());
            self.endpoints.borrow_mut().insert(address.clone(), watched);
        }
        gone.values().for_each(|watched| watched.leave());
        match &new.eject {
            Some(_) => {
                self.judge.ensure(|| judge::begin(desk, self));
                if old.eject != new.eject {
                    self.changed.notify_one();
                }
            }
            None => {
                self.judge.end();
            }
        }
    }

    /// The pool is gone.
    fn leave(&self) {
        self.judge.end();
        self.endpoints.borrow().values().for_each(|watched| watched.leave());
    }

    /// Its endpoints, in the order of the configuration.
    fn in_order(&self) -> Vec<Rc<Watched>> {
        let endpoints = self.endpoints.borrow();
        let state = self.state.borrow();
        state.everyone.iter().filter_map(|one| endpoints.get(&one.endpoint.address).cloned()).collect()
    }
}

impl Watched {
    fn new(endpoint: &Arc<Endpoint>) -> Watched {
        Watched {
            endpoint: RefCell::new(endpoint.clone()),
            verdict: RefCell::default(),
            term: RefCell::default(),
            start: Cell::new(endpoint.stats.flags() & (flag::HEALTHY | UNCHECKED)),
            checks: Task::default(),
            changed: Notify::new(),
        }
    }

    fn endpoint(&self) -> Arc<Endpoint> {
        self.endpoint.borrow().clone()
    }

    /// It is gone, or its pool is.
    fn leave(&self) {
        self.checks.end();
    }

    /// Writes the flags, and notes how long it is up.
    fn mark(&self, pool: &PoolState, now: Instant) {
        let endpoint = self.endpoint.borrow();
        let verdict = self.verdict.borrow().healthy();
        let ejected = self.term.borrow().until().is_some();
        let of_checks = verdict.map_or(self.start.get(), |healthy| if healthy { flag::HEALTHY } else { 0 });
        let wanted = of_checks | if ejected { flag::EJECTED } else { 0 };
        let all = flag::HEALTHY | flag::EJECTED | UNCHECKED;
        if endpoint.stats.flags() & all != wanted {
            endpoint.stats.change_flags(wanted, all & !wanted);
        }
        if verdict.is_some() || pool.model.eject.is_some() {
            endpoint.standing().uptime.observe(of_checks & flag::HEALTHY != 0 && !ejected, now);
        }
    }
}

/// The clock for people, so far from now.
fn at(then: Instant) -> SystemTime {
    let (now, clock) = (Instant::now(), SystemTime::now());
    clock + then.saturating_duration_since(now)
}
