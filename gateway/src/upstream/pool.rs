//! A pool as all workers see it, and as one does: its balancer, and its connections to each endpoint.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use tokio::sync::Notify;

use gatewright_abi::kind;

use super::Tried;
use super::site::Site;
use crate::balance::{Candidate, Changes, Endpoint};
use crate::clock;
use crate::config::model;
use crate::limits::Limits;
use crate::metrics;
use crate::plugin::request::{Edits, Head};
use crate::plugin::{self, Budget, Code, Crew, Decision, Mould, Native, Outcome, Part, Seat, Services, Trying};
use crate::tls::UpstreamTls;

/// A pool as all workers see it.
pub struct PoolState {
    /// Its configuration.
    pub model: model::Pool,
    /// Its members, in the order of the configuration.
    pub candidates: Vec<Candidate>,
    /// What changes of them, over all configurations.
    changes: Arc<Changes>,
    /// The plugin that picks one of them.
    pub crew: Option<Arc<Crew>>,
    /// The one that is on trial beside it.
    pub trying: Option<Trying>,
    /// What the pool's own balancers share.
    services: Arc<Services>,
    /// How TLS is spoken to them.
    pub tls: Option<UpstreamTls>,
    /// The gateway's bounds.
    pub limits: Arc<Limits>,
    /// Told when a request waits for a connection that some worker may have lying idle.
    pub wanted: Notify,
}

/// A pool as one worker sees it.
pub struct Pool {
    /// What all workers share of it.
    pub state: Arc<PoolState>,
    /// The plugin's, when there is one.
    seat: RefCell<Option<Seat>>,
    /// The pool's own, or what it falls back to.
    own: RefCell<Option<Native>>,
    sites: Vec<Rc<Site>>,
}

/// Where a request is to go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Picked {
    /// To the endpoint with this index.
    Endpoint(usize),
    /// To these, one after the other.
    List(SmallVec<[usize; 4]>),
    /// To the first; and to the second too when there is no answer after this time.
    Hedge(usize, usize, Duration),
    /// Nowhere: the plugin refuses it with this status.
    Refused(u16),
    /// There is no endpoint.
    Nowhere,
}

impl PoolState {
    /// From its configuration. Endpoints that were there before, with the same limit, go on with their counts.
    pub fn new(
        model: model::Pool,
        tls: Option<UpstreamTls>,
        limits: Arc<Limits>,
        before: Option<&PoolState>,
    ) -> PoolState {
        let changes = before.map(|before| before.changes.clone()).unwrap_or_default();
        let alike = before.filter(|before| before.model.max_connections == model.max_connections);
        let known: HashMap<&str, &Arc<Endpoint>> = alike
            .iter()
            .flat_map(|before| &before.candidates)
            .map(|candidate| (&*candidate.endpoint.address, &candidate.endpoint))
            .collect();
        let made =
            |member: &model::Member| Arc::new(Endpoint::followed(&member.endpoint, model.max_connections, &changes));
        let candidate = |member: &model::Member| Candidate {
            endpoint: known.get(&*member.endpoint.address).map_or_else(|| made(member), |known| Arc::clone(known)),
            weight: member.endpoint.weight,
            priority: member.priority,
            zone: member.zone.clone(),
            metadata: member.metadata.clone(),
        };
        let candidates = model.endpoints.iter().map(candidate).collect();
        PoolState {
            services: Arc::new(Services::new(&model.name)),
            model,
            candidates,
            changes,
            crew: None,
            trying: None,
            tls,
            limits,
            wanted: Notify::new(),
        }
    }

    /// Whether connections of the other are what this one would make.
    fn connects_like(&self, other: &PoolState) -> bool {
        let (ours, theirs) = (&self.model, &other.model);
        ours.tls == theirs.tls && ours.protocol == theirs.protocol && ours.proxy_protocol == theirs.proxy_protocol
    }
}

impl Pool {
    /// With the connections of the pool that it takes the place of, where they still fit.
    pub fn new(state: Arc<PoolState>, before: Option<&Pool>, metrics: &Rc<metrics::Worker>) -> Rc<Pool> {
        let own = RefCell::new(own_balancer(&state));
        let old = before.map(|before| &before.seat);
        let seat = Seat::taken(state.crew.as_ref(), state.trying.as_ref(), old, Instant::now());
        let before = before.filter(|before| state.connects_like(&before.state));
        let known: HashMap<*const Endpoint, &Rc<Site>> =
            before.iter().flat_map(|b| &b.sites).map(|old| (Arc::as_ptr(&old.endpoint), old)).collect();
        let site = |candidate: &Candidate| {
            let site = Site::new(candidate.endpoint.clone(), state.clone(), metrics.clone());
            if let Some(old) = known.get(&Arc::as_ptr(&candidate.endpoint)) {
                site.take_over(old);
            }
            Rc::new(site)
        };
        let sites = state.candidates.iter().map(site).collect();
        let pool = Rc::new(Pool { state, seat: RefCell::new(seat), own, sites });
        if pool.state.model.max_connections.is_some() {
            tokio::task::spawn_local(trim_when_wanted(Rc::downgrade(&pool)));
        }
        pool
    }

    /// Where a request goes: as the plugin says, or the pool's own balancer when there is none, it does not say, or the
    /// request need not be sent there again.
    pub fn pick(&self, head: &dyn Head, tried: &Tried, attempt: u32) -> Picked {
        let fallback = || self.pick_own(head, tried, attempt);
        let Ok(mut seat) = self.seat.try_borrow_mut() else { return fallback() };
        let Some(seat) = seat.as_mut() else { return fallback() };
        match seat.pick(head, &self.state.candidates, tried.all(), attempt) {
            Ok(Decision::Endpoint(index)) if tried.spent().contains(&index) => fallback(),
            Ok(Decision::Endpoint(index)) => Picked::Endpoint(index),
            Ok(Decision::List(list)) => Picked::List(list),
            Ok(Decision::Hedge(first, second, after)) => Picked::Hedge(first, second, after),
            Ok(Decision::Refuse(status)) => Picked::Refused(status),
            Ok(_) | Err(_) => fallback(),
        }
    }

    /// As the pool's own balancer says: none of those tried, unless all were, and never one that is spent.
    fn pick_own(&self, head: &dyn Head, tried: &Tried, attempt: u32) -> Picked {
        let candidates = &self.state.candidates;
        if let [_] = &candidates[..] {
            return if tried.spent().is_empty() { Picked::Endpoint(0) } else { Picked::Nowhere };
        }
        let mut own = self.own.borrow_mut();
        let Some(own) = own.as_mut() else { return Picked::Nowhere };
        for passed in [tried.all(), tried.spent()] {
            if let Ok(Decision::Endpoint(index)) = own.pick(head, candidates, passed, attempt) {
                return Picked::Endpoint(index);
            }
        }
        Picked::Nowhere
    }

    /// Our connections to the endpoint with this index.
    pub fn site(&self, index: usize) -> Option<Rc<Site>> {
        self.sites.get(index).cloned()
    }

    /// Takes what the last pick's plugin wants noted of the request.
    pub fn take_edits(&self, into: &mut Edits) {
        if let Ok(mut seat) = self.seat.try_borrow_mut()
            && let Some(seat) = seat.as_mut()
        {
            seat.take_edits(into);
        }
    }

    /// What the last pick was in a trial, when there is one.
    pub fn part(&self) -> Option<Part> {
        self.seat.borrow().as_ref()?.part()
    }

    /// Takes in what became of a request, and tells the plugin.
    pub fn outcome(&self, outcome: &Outcome, parts: &[Part]) {
        if let Some(candidate) = self.state.candidates.get(outcome.endpoint as usize) {
            let latency = (outcome.status > 0).then_some(outcome.latency);
            let failed = outcome.status == 0 || outcome.status >= 500;
            candidate.endpoint.stats.record(latency, failed, clock::coarse_uptime());
        }
        if let Ok(mut seat) = self.seat.try_borrow_mut()
            && let Some(seat) = seat.as_mut()
        {
            seat.outcome(outcome, parts);
        }
    }

    /// Takes in that an attempt was given up after so long, since another endpoint had answered; tells the plugin.
    pub fn cancelled(&self, endpoint: usize, attempt: u32, waited: Duration, parts: &[Part]) {
        if let Some(candidate) = self.state.candidates.get(endpoint) {
            candidate.endpoint.stats.record_cancelled(waited, clock::coarse_uptime());
        }
        if let Ok(mut seat) = self.seat.try_borrow_mut()
            && let Some(seat) = seat.as_mut()
        {
            let endpoint = u32::try_from(endpoint).unwrap_or(u32::MAX);
            let outcome = Outcome { endpoint, status: gatewright_abi::CANCELLED, attempt, latency: waited, bytes: 0 };
            seat.outcome(&outcome, parts);
        }
    }

    /// Lets time pass for the plugin.
    pub fn tick(&self, now: Instant) {
        if let Some(seat) = self.seat.borrow_mut().as_mut() {
            seat.tick(now);
        }
    }

    /// Closes what was idle for too long or was closed by the other side.
    pub fn sweep(&self, now: Instant) {
        for site in &self.sites {
            site.sweep(now);
        }
    }

    /// Closes what is idle to endpoints where others wait for a connection.
    fn trim(&self) {
        self.sites.iter().for_each(|site| site.trim());
    }
}

/// The built-in that a pool names: its balancer, or what it falls back to.
fn own_balancer(state: &PoolState) -> Option<Native> {
    let (name, _) = model::Balance::WORDS.iter().find(|(_, balance)| *balance == state.model.balance)?;
    let Some(Code::BuiltIn(_, plugin)) = plugin::built_in(name) else { return None };
    let budget = Budget { decision: Duration::MAX, configure: Duration::MAX, memory: 0 };
    let (services, endpoints) = (&state.services, &state.candidates[..]);
    let mould = Mould { services, budget, kinds: kind::BALANCER, config: "{}", endpoints, seed: fastrand::u64(..) };
    Native::new(&plugin, &mould).ok()
}

/// Gives up idle connections whenever another worker wants one, as long as the pool is in use.
async fn trim_when_wanted(pool: Weak<Pool>) {
    while let Some(state) = pool.upgrade().map(|pool| pool.state.clone()) {
        // Looked at again now and then, so that a pool that is gone does not leave this task behind.
        let _ = tokio::time::timeout(Duration::from_secs(60), state.wanted.notified()).await;
        if let Some(pool) = pool.upgrade() {
            pool.trim();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn candidates_are_told_what_is_said_of_endpoints() {
        let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n[pool.a]\nendpoints = [\"a:80\", { address = \"b:80\", weight = 3, \
                    priority = 2, zone = \"west\", metadata = { rack = \"7\" } }]\n";
        let mut config = config::parse(text, std::path::Path::new("g.toml")).unwrap();
        let state = PoolState::new(config.pools.remove(0), None, Arc::default(), None);
        let [plain, full] = state.candidates.as_slice() else { panic!("{:?}", state.candidates) };
        assert_eq!((plain.weight, plain.priority, &*plain.zone, plain.metadata.len()), (1, 0, "", 0));
        assert_eq!((&*full.endpoint.address, full.weight, full.priority, &*full.zone), ("b:80", 3, 2, "west"));
        assert_eq!(full.metadata, [("rack".to_owned(), "7".to_owned())]);
    }
}
