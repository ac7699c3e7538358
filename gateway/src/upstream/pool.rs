//! A pool as one worker sees it: its balancer, and its own connections to each endpoint.
//!
//! Invariant: what lies idle here is complete and silent (the last one used goes first, so that the others can age and be
//! closed). Where connections are limited, whoever waits gets one that is given back, before it is kept.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};

use gatewright_abi::kind;

use crate::balance::{Candidate, Endpoint};
use crate::clock;
use crate::config::model;
use crate::error::{Error, Kind};
use crate::http::h1::client::{Connection, Park};
use crate::http::h2;
use crate::limits::Limits;
use crate::metrics;
use crate::plugin::request::{Edits, Head};
use crate::plugin::{self, Budget, Code, Crew, Decision, Mould, Native, Outcome, Seat, Services};
use crate::tls::UpstreamTls;

/// A pool as all workers see it.
pub struct PoolState {
    /// Its configuration.
    pub model: model::Pool,
    /// Its members, in the order of the configuration.
    pub candidates: Vec<Candidate>,
    /// The plugin that picks one of them.
    pub crew: Option<Arc<Crew>>,
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
    /// Nowhere: the plugin refuses it with this status.
    Refused(u16),
    /// There is no endpoint.
    Nowhere,
}

/// One worker's connections to one endpoint.
pub struct Site {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    pool: Arc<PoolState>,
    metrics: Rc<metrics::Worker>,
    idle: RefCell<Vec<Idle>>,
    waiting: RefCell<VecDeque<oneshot::Sender<Box<Connection>>>>,
    multiplexed: RefCell<Vec<Multiplexed>>,
    /// Held while a connection that many requests may share is being made.
    pub connecting: tokio::sync::Mutex<()>,
    /// What ALPN chose last, where that decides.
    pub speaks_h2: Cell<Option<bool>>,
}

struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

struct Multiplexed {
    handle: h2::client::Handle,
    client: Option<SocketAddr>,
    idle_since: Cell<Option<Instant>>,
    _held: Box<dyn Any>,
}

impl PoolState {
    /// From its configuration. Endpoints that were there before, with the same limit, go on with their counts.
    pub fn new(
        model: model::Pool,
        tls: Option<UpstreamTls>,
        limits: Arc<Limits>,
        before: Option<&PoolState>,
    ) -> PoolState {
        let known = |address: &str| {
            let before = before.filter(|before| before.model.max_connections == model.max_connections)?;
            before.candidates.iter().find(|candidate| candidate.endpoint.address == address)
        };
        let candidate = |member: &model::Member| Candidate {
            endpoint: known(&member.endpoint.address).map_or_else(
                || Arc::new(Endpoint::new(&member.endpoint, model.max_connections)),
                |candidate| candidate.endpoint.clone(),
            ),
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
            crew: None,
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
        let seat = Seat::taken(state.crew.as_ref(), before.map(|before| &before.seat), Instant::now());
        let before = before.filter(|before| state.connects_like(&before.state));
        let site = |candidate: &Candidate| {
            let site = Site::new(candidate.endpoint.clone(), state.clone(), metrics.clone());
            let old = before.and_then(|b| b.sites.iter().find(|old| Arc::ptr_eq(&old.endpoint, &candidate.endpoint)));
            if let Some(old) = old {
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

    /// Where a request goes: as the plugin says, or the pool's own balancer when there is none or it does not say. `tried`:
    /// where it was sent before.
    pub fn pick(&self, head: &dyn Head, tried: &[usize], attempt: u32) -> Picked {
        let fallback = || self.pick_own(head, tried, attempt);
        let Ok(mut seat) = self.seat.try_borrow_mut() else { return fallback() };
        let Some(seat) = seat.as_mut() else { return fallback() };
        match seat.pick(head, &self.state.candidates, tried, attempt) {
            Ok(Decision::Endpoint(index)) => Picked::Endpoint(index),
            Ok(Decision::List(list)) => Picked::List(list),
            Ok(Decision::Hedge(first, second, _)) => Picked::List([first, second].into_iter().collect()),
            Ok(Decision::Refuse(status)) => Picked::Refused(status),
            Ok(_) | Err(_) => fallback(),
        }
    }

    /// As the pool's own balancer says: none of those tried, unless all were.
    fn pick_own(&self, head: &dyn Head, tried: &[usize], attempt: u32) -> Picked {
        let candidates = &self.state.candidates;
        if let [_] = &candidates[..] {
            return Picked::Endpoint(0);
        }
        let mut own = self.own.borrow_mut();
        let Some(own) = own.as_mut() else { return Picked::Nowhere };
        for tried in [tried, &[]] {
            if let Ok(Decision::Endpoint(index)) = own.pick(head, candidates, tried, attempt) {
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

    /// Takes in what became of a request, and tells the plugin.
    pub fn outcome(&self, outcome: &Outcome) {
        if let Some(candidate) = self.state.candidates.get(outcome.endpoint as usize) {
            let latency = (outcome.status > 0).then_some(outcome.latency);
            let failed = outcome.status == 0 || outcome.status >= 500;
            candidate.endpoint.stats.record(latency, failed, clock::coarse_uptime());
        }
        if let Ok(mut seat) = self.seat.try_borrow_mut()
            && let Some(seat) = seat.as_mut()
        {
            seat.outcome(outcome);
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
        for site in self.sites.iter().filter(|site| site.endpoint.waiting.load(Ordering::Relaxed) > 0) {
            site.idle.borrow_mut().clear();
        }
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

impl Site {
    fn new(endpoint: Arc<Endpoint>, pool: Arc<PoolState>, metrics: Rc<metrics::Worker>) -> Site {
        Site {
            endpoint,
            pool,
            metrics,
            idle: RefCell::default(),
            waiting: RefCell::default(),
            multiplexed: RefCell::default(),
            connecting: tokio::sync::Mutex::new(()),
            speaks_h2: Cell::new(None),
        }
    }

    fn take_over(&self, old: &Site) {
        self.idle.swap(&old.idle);
        self.multiplexed.swap(&old.multiplexed);
        self.speaks_h2.set(old.speaks_h2.get());
    }

    /// A connection that waits for a request of this client.
    pub fn reuse(&self, client: Option<SocketAddr>) -> Option<Box<Connection>> {
        let mut idle = self.idle.borrow_mut();
        loop {
            let at = idle.iter().rposition(|idle| idle.connection.client == client)?;
            let mut connection = idle.remove(at).connection;
            if connection.is_alive() {
                return Some(connection);
            }
        }
    }

    /// A connection that takes one more request beside others.
    pub fn share(&self, client: Option<SocketAddr>) -> Option<h2::client::Handle> {
        let mut multiplexed = self.multiplexed.borrow_mut();
        multiplexed.retain(|one| self.is_usable(one));
        let usable = |one: &&Multiplexed| one.client == client && one.handle.can_open();
        multiplexed.iter().find(usable).map(|one| one.handle.clone())
    }

    /// Keeps a connection that requests may share.
    pub fn keep(&self, handle: h2::client::Handle, client: Option<SocketAddr>, held: Box<dyn Any>) {
        let one = Multiplexed { handle, client, idle_since: Cell::new(None), _held: held };
        self.multiplexed.borrow_mut().push(one);
    }

    /// The right to make a connection, or one that became free meanwhile.
    pub async fn wait_for_turn(&self) -> Result<Turn, Error> {
        let Some(limit) = &self.endpoint.connections else { return Ok(Turn::Connect(None)) };
        if let Ok(permit) = limit.clone().try_acquire_owned() {
            return Ok(Turn::Connect(Some(permit)));
        }
        let _waiting = Waiting::begin(&self.endpoint, self.pool.model.max_waiting)?;
        self.pool.wanted.notify_waiters();
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().push_back(sender);
        tokio::select! {
            biased;
            Ok(connection) = receiver => Ok(Turn::Reuse(connection)),
            Ok(permit) = limit.clone().acquire_owned() => Ok(Turn::Connect(Some(permit))),
            else => Err(Error::gateway(Kind::Overloaded)),
        }
    }

    /// Whether it takes requests; what bounds its server met is counted.
    fn is_usable(&self, one: &Multiplexed) -> bool {
        for (limit, count) in one.handle.take_hits().iter() {
            self.metrics.limit_hits(limit, count);
        }
        one.handle.is_usable()
    }

    fn sweep(&self, now: Instant) {
        let idle_time = self.pool.limits.upstream_idle_time;
        let old = |is_old: bool| {
            if is_old {
                self.metrics.limit_hit("upstream_idle_time");
            }
            is_old
        };
        self.idle
            .borrow_mut()
            .retain_mut(|idle| idle.connection.is_alive() && !old(now.duration_since(idle.since) >= idle_time));
        self.multiplexed.borrow_mut().retain(|one| self.is_usable(one) && !old(one.is_stale(now, idle_time)));
        self.waiting.borrow_mut().retain(|sender| !sender.is_closed());
    }
}

impl Multiplexed {
    fn is_stale(&self, now: Instant, idle_time: Duration) -> bool {
        if self.handle.open_streams() > 0 {
            self.idle_since.set(None);
            return false;
        }
        let since = self.idle_since.get().unwrap_or(now);
        self.idle_since.set(Some(since));
        now.duration_since(since) >= idle_time
    }
}

/// What a request that waited for a connection got.
pub enum Turn {
    /// It may make one.
    Connect(Option<OwnedSemaphorePermit>),
    /// It has one.
    Reuse(Box<Connection>),
}

/// Counts a request that waits, until it is dropped.
struct Waiting<'a>(&'a Endpoint);

impl Waiting<'_> {
    fn begin(endpoint: &Endpoint, most: u32) -> Result<Waiting<'_>, Error> {
        let waiting = Waiting(endpoint);
        if endpoint.waiting.fetch_add(1, Ordering::Relaxed) >= most {
            return Err(Error::gateway(Kind::Overloaded));
        }
        Ok(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Park for Site {
    fn park(&self, connection: Box<Connection>) {
        let mut connection = connection;
        while let Some(sender) = self.waiting.borrow_mut().pop_front() {
            match sender.send(connection) {
                Ok(()) => return,
                Err(back) => connection = back,
            }
        }
        // Somebody in another worker waits for the right to connect: closing this one gives it to them.
        if self.endpoint.waiting.load(Ordering::Relaxed) > 0 {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.pool.limits.upstream_idle_connections as usize {
            idle.push(Idle { connection, since: clock::coarse() });
        } else {
            self.metrics.limit_hit("upstream_idle_connections");
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
