//! One worker's connections to the endpoints of a pool.
//!
//! A [`Site`] is made when a request first goes to its endpoint, so that ten thousand endpoints cost a worker nothing that it does not send to. When members come or go, the
//! sites of those that stay are the same as before; of those that are gone they are let go of, at once where endpoints are few, else when connections are looked at next.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::pool::Manner;
use super::site::Site;
use crate::balance::{Candidate, Endpoint, FEW};
use crate::metrics;

/// Those of one configuration's endpoints.
#[derive(Clone)]
pub(super) struct Sites {
    by_index: Rc<[OnceCell<Rc<Site>>]>,
    kept: Rc<Kept>,
    generation: u64,
}

/// Those of all that share their connections.
struct Kept {
    manner: Arc<Manner>,
    metrics: Rc<metrics::Worker>,
    by_endpoint: RefCell<HashMap<*const Endpoint, Rc<Site>>>,
    /// Which endpoints there were last.
    generation: Cell<u64>,
    /// There may be some of endpoints that are gone.
    is_stale: Cell<bool>,
}

impl Sites {
    /// For these endpoints, to whom nobody has connected yet.
    pub(super) fn new(candidates: &[Candidate], manner: Arc<Manner>, metrics: Rc<metrics::Worker>) -> Sites {
        let kept = Kept {
            manner,
            metrics,
            by_endpoint: RefCell::default(),
            generation: Cell::new(0),
            is_stale: Cell::new(false),
        };
        Sites { by_index: empty(candidates), kept: Rc::new(kept), generation: 0 }
    }

    /// For others of the same pool, connected to in the same way.
    pub(super) fn with(&self, candidates: &[Candidate]) -> Sites {
        let generation = self.kept.generation.get() + 1;
        self.kept.generation.set(generation);
        self.kept.is_stale.set(true);
        if candidates.len() <= FEW {
            self.kept.forget(candidates);
        }
        Sites { by_index: empty(candidates), kept: self.kept.clone(), generation }
    }

    /// Takes idle connections over, which those had who make them in another manner.
    pub(super) fn take_over(&self, old: &Sites, candidates: &[Candidate]) {
        let members = pointers(candidates);
        for (endpoint, before) in old.kept.by_endpoint.borrow().iter().filter(|(known, _)| members.contains(*known)) {
            let site = Site::new(before.endpoint.clone(), self.kept.manner.clone(), self.kept.metrics.clone());
            site.take_over(before);
            self.kept.by_endpoint.borrow_mut().insert(*endpoint, Rc::new(site));
        }
    }

    /// That of the endpoint with this index.
    pub(super) fn get(&self, index: usize, candidates: &[Candidate]) -> Option<Rc<Site>> {
        let (place, candidate) = (self.by_index.get(index)?, candidates.get(index)?);
        Some(place.get_or_init(|| self.kept.site(&candidate.endpoint, self.generation)).clone())
    }

    /// Closes what was idle for too long, was closed by the other side, or leads to an endpoint that is gone.
    pub(super) fn sweep(&self, now: Instant, candidates: &[Candidate]) {
        if self.kept.is_stale.get() && self.generation == self.kept.generation.get() {
            self.kept.forget(candidates);
        }
        self.kept.by_endpoint.borrow().values().for_each(|site| site.sweep(now));
    }

    /// Closes what is idle to endpoints where others wait for a connection.
    pub(super) fn trim(&self) {
        self.kept.by_endpoint.borrow().values().for_each(|site| site.trim());
    }
}

impl Kept {
    fn site(&self, endpoint: &Arc<Endpoint>, generation: u64) -> Rc<Site> {
        if generation != self.generation.get() {
            // A request that began before has brought it back.
            self.is_stale.set(true);
        }
        let make = || Rc::new(Site::new(endpoint.clone(), self.manner.clone(), self.metrics.clone()));
        self.by_endpoint.borrow_mut().entry(Arc::as_ptr(endpoint)).or_insert_with(make).clone()
    }

    /// Lets go of those whose endpoints are none of these.
    fn forget(&self, candidates: &[Candidate]) {
        let members = pointers(candidates);
        self.by_endpoint.borrow_mut().retain(|endpoint, _| members.contains(endpoint));
        self.is_stale.set(false);
    }
}

fn empty(candidates: &[Candidate]) -> Rc<[OnceCell<Rc<Site>>]> {
    candidates.iter().map(|_| OnceCell::new()).collect()
}

fn pointers(candidates: &[Candidate]) -> HashSet<*const Endpoint> {
    candidates.iter().map(|candidate| Arc::as_ptr(&candidate.endpoint)).collect()
}
