//! A pool as all workers see it, and as one does: its balancer, and its connections to each endpoint.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use gatewright_abi::flag;

use super::Tried;
use super::again::Tries;
use super::hedging::Hedging;
use super::members::{candidates, chosen};
use super::own::OwnBalancers;
use super::site::Site;
use super::sites::Sites;
use crate::balance::{Bounds, Candidate, Changes, Concurrency, Drain, Plan, Room, Turn, Watch};
use crate::clock;
use crate::config::model;
use crate::http::Scheme;
use crate::limits::Limits;
use crate::metrics;
use crate::plugin::request::{Edits, Head};
use crate::plugin::{By, Crew, Native, Outcome, Part, Picked, Question, Seat, Services, Trying};
use crate::tls::UpstreamTls;

/// A pool as all workers see it.
#[derive(Clone)]
pub struct PoolState {
    /// Its configuration.
    pub model: Arc<model::Pool>,
    /// Its members that were found, besides those of the configuration; `None` until there was an answer.
    pub found: Option<Arc<[model::Member]>>,
    /// Its members that are used here: all of them, unless there is a subset.
    pub candidates: Arc<[Candidate]>,
    /// All of its members: those of the configuration, in its order, then those that were found.
    pub everyone: Arc<[Candidate]>,
    /// What is found out about all of them together.
    pub watch: Arc<Watch>,
    /// What changes of them, over all configurations.
    changes: Arc<Changes>,
    /// The plugin that picks one of them.
    pub crew: Option<Arc<Crew>>,
    /// The one that is on trial beside it.
    pub trying: Option<Trying>,
    /// What the pool's own balancers share.
    pub(super) services: Arc<Services>,
    /// Of those, what was made beforehand for workers, and what they do not use any more.
    pub(super) own: Arc<OwnBalancers>,
    /// When requests go to a second endpoint.
    pub hedging: Option<Arc<Hedging>>,
    /// How many requests are tried again just now.
    pub(super) tries_again: Arc<Tries>,
    /// How many requests it may have at the same time.
    pub room: Arc<Room>,
    /// How many it has at endpoints, where it finds that out by itself.
    pub adaptive: Option<Arc<Concurrency>>,
    /// How TLS is spoken to them.
    pub tls: Option<UpstreamTls>,
    /// How it is spoken to those who are asked for their load.
    pub load_tls: Option<UpstreamTls>,
    /// How it is spoken to them in checks of their health.
    pub check_tls: Option<UpstreamTls>,
    /// Told when an endpoint has failed so often that it is to be judged.
    pub alarm: Arc<Notify>,
    /// The gateway's bounds.
    pub limits: Arc<Limits>,
    /// What stays when members come and go, or the plugin changes.
    manner: Arc<Manner>,
}

/// How connections to members of a pool are kept; the same one for as long as only its members or its plugin change.
pub(super) struct Manner {
    /// The gateway's bounds.
    pub(super) limits: Arc<Limits>,
    /// Requests that may wait for a connection.
    pub(super) max_waiting: u32,
    /// Told when a request waits for a connection that some worker may have lying idle.
    pub(super) wanted: Notify,
}

/// A pool as one worker sees it.
pub struct Pool {
    /// What all workers share of it.
    pub state: Arc<PoolState>,
    /// The plugin's, when there is one.
    seat: RefCell<Option<Seat>>,
    /// The pool's own, or what it falls back to.
    own: Rc<RefCell<Option<Native>>>,
    /// When its time passes next.
    own_tick: Cell<Option<Instant>>,
    /// Whether it made the last pick.
    own_picked: Cell<bool>,
    /// Which of them requests are for.
    plan: RefCell<Plan>,
    sites: Sites,
    /// For the task that gives idle connections up: the pool as it is now.
    current: Rc<RefCell<Weak<Pool>>>,
}

impl PoolState {
    /// From its configuration. Endpoints that were there before, with the same limit, go on with their counts; so do those
    /// that were found, if members are still looked for.
    pub fn new(
        model: model::Pool,
        tls: Option<UpstreamTls>,
        limits: Arc<Limits>,
        before: Option<&PoolState>,
    ) -> PoolState {
        let found = before.filter(|_| model.discover.is_some()).and_then(|before| before.found.clone());
        let watch = Watch::new(&model.name, &model.selection, before.map(|before| &*before.watch));
        let changes = before.map(|before| before.changes.clone()).unwrap_or_default();
        let everyone = candidates(&model, found.as_deref(), before, &changes);
        let manner = Manner { limits: limits.clone(), max_waiting: model.max_waiting, wanted: Notify::new() };
        PoolState {
            services: Arc::new(Services::new(&model.name)),
            own: Arc::default(),
            candidates: chosen(&watch, &everyone),
            everyone,
            watch: Arc::new(watch),
            hedging: model.hedge.map(|hedge| hedging(hedge, before)),
            tries_again: before.map(|before| before.tries_again.clone()).unwrap_or_default(),
            room: before.map(|before| before.room.clone()).unwrap_or_default(),
            adaptive: model.adaptive.map(|wanted| adaptive(wanted, before)),
            model: Arc::new(model),
            found,
            changes,
            crew: None,
            trying: None,
            tls,
            load_tls: None,
            limits,
            check_tls: None,
            // Requests under way may still hold the state before.
            alarm: before.map(|before| before.alarm.clone()).unwrap_or_default(),
            manner: Arc::new(manner),
        }
    }

    /// The same with another plugin that picks.
    pub fn with_crew(&self, crew: Option<Arc<Crew>>, trying: Option<Trying>) -> PoolState {
        PoolState { crew, trying, ..self.clone() }
    }

    /// The same with other members. The plugin that picks one of them is for the caller to put in.
    pub fn with_found(&self, found: Arc<[model::Member]>) -> PoolState {
        let everyone = candidates(&self.model, Some(&found), Some(self), &self.changes);
        let candidates = chosen(&self.watch, &everyone);
        let own = Arc::default();
        PoolState { candidates, everyone, found: Some(found), crew: None, trying: None, own, ..self.clone() }
    }

    /// The same where others are to be used, as endpoints have failed or are well again; `None` when there are none. The plugin is for the caller to put in.
    pub fn with_others_chosen(&self) -> Option<PoolState> {
        self.model.selection.subset.as_ref()?;
        let candidates = chosen(&self.watch, &self.everyone);
        let same = *candidates == *self.candidates;
        let own = Arc::default();
        (!same).then(|| PoolState { candidates, crew: None, trying: None, own, ..self.clone() })
    }

    /// Takes those out of use of which the configuration says so, and has its limit keep to other bounds. Called when it comes into force: what
    /// is only prepared has no effect.
    pub fn enters(&self) {
        for candidate in self.everyone.iter() {
            candidate.endpoint.drain(Drain::File, candidate.drain);
        }
        if let (Some(adaptive), Some(wanted)) = (&self.adaptive, self.model.adaptive) {
            adaptive.rebound(bounds(wanted));
        }
    }

    /// How it stands, for those who count.
    pub fn row(&self) -> metrics::PoolRow {
        let outlook = self.watch.outlook(&self.everyone);
        let used: HashSet<_> = self.candidates.iter().map(|one| Arc::as_ptr(&one.endpoint)).collect();
        let mut endpoints = metrics::ENDPOINT_STATES.map(|state| (state, 0));
        for candidate in self.everyone.iter() {
            let is_used = used.contains(&Arc::as_ptr(&candidate.endpoint));
            let state = state(candidate.endpoint.stats.flags(), is_used);
            endpoints.iter_mut().filter(|(known, _)| *known == state).for_each(|(_, count)| *count += 1);
        }
        let reporting = self.everyone.iter().filter(|one| !one.endpoint.stats.load().is_nan()).count();
        let concurrency = self.adaptive.as_ref().map(|adaptive| {
            let figures = adaptive.figures();
            (figures.limit, figures.there)
        });
        metrics::PoolRow {
            name: self.model.name.clone(),
            endpoints,
            reporting: reporting as u64,
            concurrency,
            reports: self.watch.reports.counts(),
            distrusts: outlook.distrusts,
            distrusted: outlook.distrusted,
            shares: outlook.shares,
            zones: outlook.zones,
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
        let old = before.map(|before| &before.seat);
        let seat = Seat::taken(state.crew.as_ref(), state.trying.as_ref(), old, Instant::now());
        let seat = RefCell::new(seat);
        let (own_tick, own_picked) = (Cell::new(Instant::now().checked_add(OWN_TICK)), Cell::new(false));
        let plan = before
            .filter(|before| Arc::ptr_eq(&before.state.watch, &state.watch))
            .map(|before| before.plan.borrow().for_others());
        let plan = RefCell::new(plan.unwrap_or_default());
        // Whoever still sends by the pool of before shares its connections with us.
        let same = before.filter(|before| Arc::ptr_eq(&before.state.manner, &state.manner));
        if let Some(same) = same.filter(|same| Arc::ptr_eq(&same.state.candidates, &state.candidates)) {
            let (own, sites, current) = (same.own.clone(), same.sites.clone(), same.current.clone());
            return Pool { state, seat, own, own_tick, own_picked, plan, sites, current }.in_place();
        }
        let sites = match same {
            Some(same) => same.sites.with(&state.candidates),
            None => Sites::new(&state.candidates, state.manner.clone(), metrics.clone()),
        };
        if let Some(before) = before.filter(|before| same.is_none() && state.connects_like(&before.state)) {
            sites.take_over(&before.sites, &state.candidates);
        }
        let own = Rc::new(RefCell::new(state.take_own()));
        let current = same.map(|same| same.current.clone()).unwrap_or_default();
        let pool = Pool { state, seat, own, own_tick, own_picked, plan, sites, current }.in_place();
        if pool.state.model.max_connections.is_some() && same.is_none() {
            tokio::task::spawn_local(trim_when_wanted(pool.current.clone(), pool.state.manner.clone()));
        }
        pool
    }

    /// The one that is used from now on.
    fn in_place(self) -> Rc<Pool> {
        let pool = Rc::new(self);
        *pool.current.borrow_mut() = Rc::downgrade(&pool);
        pool
    }

    /// Where a request goes.
    pub fn pick(&self, head: &dyn Head, tried: &Tried, attempt: u32) -> Picked {
        match self.ask(self.turn(tried), head, tried, attempt) {
            // What was known of very many may have been old.
            Picked::Nowhere if self.plan.borrow().is_old() => {
                self.look();
                self.ask(self.turn(tried), head, tried, attempt)
            }
            picked => picked,
        }
    }

    #[inline]
    fn ask(&self, turn: Turn, head: &dyn Head, tried: &Tried, attempt: u32) -> Picked {
        let endpoints = &self.state.candidates;
        let question = Question { head, endpoints, tried: tried.all(), spent: tried.spent(), attempt, turn };
        let mut seat = self.seat.try_borrow_mut().ok();
        let (picked, by) = question.ask(seat.as_mut().and_then(|seat| seat.as_mut()), &self.own);
        self.own_picked.set(by != By::Plugin);
        picked
    }

    /// Which endpoints the request is for.
    #[inline]
    fn turn(&self, tried: &Tried) -> Turn {
        if self.plan.borrow().is_too_old(clock::coarse_uptime) {
            self.look();
        }
        let plan = self.plan.borrow();
        let turn = plan.draw(fastrand::f64);
        if tried.all().is_empty() { turn } else { plan.again(turn, &self.state.candidates, tried.all()) }
    }

    /// Looks at the endpoints anew.
    fn look(&self) {
        let (used, everyone) = (&self.state.candidates, &self.state.everyone);
        *self.plan.borrow_mut() = self.state.watch.plan(used, everyone, clock::coarse_uptime());
    }

    /// What HTTP/2 names is the connection that a request goes out on.
    pub fn scheme(&self) -> Scheme {
        if self.state.tls.is_some() { Scheme::Https } else { Scheme::Http }
    }

    /// Our connections to the endpoint with this index.
    pub fn site(&self, index: usize) -> Option<Rc<Site>> {
        self.sites.get(index, &self.state.candidates)
    }

    /// Takes what the last pick's plugin wants noted of the request.
    pub fn take_edits(&self, into: &mut Edits) {
        if let Ok(mut seat) = self.seat.try_borrow_mut()
            && let Some(seat) = seat.as_mut()
        {
            seat.take_edits(into);
        }
        if self.own_picked.get()
            && let Ok(mut own) = self.own.try_borrow_mut()
            && let Some(own) = own.as_mut()
        {
            // What has no room is left out.
            for edit in own.edits().iter() {
                let _ = into.push(edit);
            }
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
            self.state.note_outcome(&candidate.endpoint, latency, failed);
        }
        if let Ok(mut seat) = self.seat.try_borrow_mut()
            && let Some(seat) = seat.as_mut()
        {
            seat.outcome(outcome, parts);
        }
        self.tell_own(outcome);
    }

    /// The built-in is told whoever decided, so that it knows all when it has to.
    fn tell_own(&self, outcome: &Outcome) {
        if let Some(own) = self.own.borrow_mut().as_mut() {
            // A fault shows in that it is not called any more.
            let _ = own.outcome(outcome, &self.state.candidates);
        }
    }

    /// Takes in that an attempt was given up after so long, since another endpoint had answered; tells the plugin.
    pub fn cancelled(&self, endpoint: usize, attempt: u32, waited: Duration, parts: &[Part]) {
        if let Some(candidate) = self.state.candidates.get(endpoint) {
            let is_slow = candidate.endpoint.stats.record_cancelled(waited, clock::coarse_uptime());
            self.state.note_given_up(&candidate.endpoint, waited, is_slow);
        }
        let endpoint = u32::try_from(endpoint).unwrap_or(u32::MAX);
        let outcome = Outcome { endpoint, status: gatewright_abi::CANCELLED, attempt, latency: waited, bytes: 0 };
        if let Ok(mut seat) = self.seat.try_borrow_mut()
            && let Some(seat) = seat.as_mut()
        {
            seat.outcome(&outcome, parts);
        }
        self.tell_own(&outcome);
    }

    /// Lets time pass for the plan and the plugin.
    pub fn tick(&self, now: Instant) {
        if self.plan.borrow().is_due(&self.state.watch) {
            self.look();
        }
        if let Some(adaptive) = &self.state.adaptive {
            adaptive.pass_time(clock::coarse_uptime());
        }
        if let Some(seat) = self.seat.borrow_mut().as_mut() {
            seat.tick(now);
        }
        if self.own_tick.get().is_some_and(|due| due <= now)
            && let Some(own) = self.own.borrow_mut().as_mut()
        {
            let next = own.tick(&self.state.candidates).ok().flatten();
            self.own_tick.set(next.and_then(|next| now.checked_add(next.max(OWN_TICK))));
        }
    }

    /// Closes what was idle for too long or was closed by the other side.
    pub fn sweep(&self, now: Instant) {
        self.sites.sweep(now, &self.state.candidates);
    }

    /// Closes what is idle to endpoints where others wait for a connection.
    fn trim(&self) {
        self.sites.trim();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if Rc::strong_count(&self.own) == 1
            && let Some(own) = self.own.take()
        {
            self.state.give_back(own);
        }
    }
}

/// Goes on with what is known, whatever the settings are now.
fn hedging(model: model::Hedge, before: Option<&PoolState>) -> Arc<Hedging> {
    let before = before.and_then(|before| before.hedging.as_ref());
    Arc::new(before.map_or_else(|| Hedging::new(model), |before| before.with(model)))
}

/// Goes on with what was found out, whatever the bounds are now: those are put in place with the pool.
fn adaptive(model: model::Adaptive, before: Option<&PoolState>) -> Arc<Concurrency> {
    let before = before.and_then(|before| before.adaptive.clone());
    before.unwrap_or_else(|| Arc::new(Concurrency::new(bounds(model), clock::coarse_uptime())))
}

fn bounds(model: model::Adaptive) -> Bounds {
    Bounds { least: model.least, most: model.most, tolerance: model.tolerance }
}

/// How often the time of a pool's own balancer passes at the most.
const OWN_TICK: Duration = Duration::from_secs(1);

/// The one state that an endpoint is counted in.
fn state(flags: u32, is_used: bool) -> &'static str {
    match flags {
        _ if flags & flag::HEALTHY == 0 => "unhealthy",
        _ if flags & flag::EJECTED != 0 => "ejected",
        _ if flags & flag::DRAINING != 0 => "draining",
        _ if !is_used => "spare",
        _ if flags & flag::DEGRADED != 0 => "overloaded",
        _ if flags & flag::WARMING != 0 => "warming",
        _ => "healthy",
    }
}

/// Gives up idle connections whenever another worker wants one, as long as the pool is in use.
async fn trim_when_wanted(pool: Rc<RefCell<Weak<Pool>>>, manner: Arc<Manner>) {
    let current = || pool.borrow().upgrade();
    while current().is_some() {
        // Looked at again now and then, so that a pool that is gone does not leave this task behind.
        let _ = tokio::time::timeout(Duration::from_secs(60), manner.wanted.notified()).await;
        if let Some(pool) = current() {
            pool.trim();
        }
    }
}

#[cfg(test)]
mod tests;
