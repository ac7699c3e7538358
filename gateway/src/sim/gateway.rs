//! One gateway of a simulation: its own instance of the plugin, its own statistics, and what it falls back to.
//!
//! What is called here is what the gateway calls: a crew and a seat in it, endpoints with their counts and averages, the
//! built-in behind the plugin, the [`Question`] that is put to both, and the [`Watch`] that says which endpoints a request is for.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use gatewright_abi::{CANCELLED, flag, kind};
use tokio::sync::mpsc;

use super::chance::derived;
use super::contender::{Arena, BUDGET, Contender};
use super::plan::Plan;
use crate::balance::{self, Active, Candidate, Endpoint, HOME, Turn, Watch, places};
use crate::config::model;
use crate::plugin::request::Head;
use crate::plugin::{
    By, Code, Crew, LoadError, Missing, Mould, Native, Outcome, Picked, Plugin, Question, Seat, Services, Time,
    Version, Want, built_in,
};

/// The built-in that takes over where the plugin does not decide: what a pool names that names none.
const FALLBACK: &str = "p2c";

/// One gateway.
pub(super) struct Gateway {
    candidates: Vec<Candidate>,
    plugin: Arc<Plugin>,
    seat: Seat,
    own: RefCell<Option<Native>>,
    /// Which endpoints requests are for.
    watch: Watch,
    turns: balance::Plan,
    random: fastrand::Rng,
    time: Time,
    wants: mpsc::UnboundedReceiver<Want>,
    /// Instances that are to be made.
    missing: VecDeque<Missing>,
    /// Picks that the plugin left to the fallback.
    pub(super) fallbacks: u64,
    /// Picks without the plugin's word.
    pub(super) without_plugin: u64,
}

/// What a plugin needs after a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    /// Another instance.
    Instance,
    /// Nothing: it is not called any more.
    Quarantine,
}

impl Gateway {
    /// The gateway with this number, at the begin of the run.
    pub(super) fn new(
        plan: &Plan,
        contender: &Contender,
        arena: &Arena,
        seed: u64,
        number: u32,
    ) -> Result<Gateway, LoadError> {
        let time = Time::told();
        let mut candidates: Vec<Candidate> = plan.backends.iter().map(|place| candidate(plan, place)).collect();
        let home = plan.zones.get(number as usize % plan.zones.len().max(1));
        let zone = home.map(|home| model::Zone { home: home.clone(), share: None, spill_factor: 1.0 });
        let placed = places(candidates.iter().map(|one| &*one.zone), home.map(String::as_str));
        candidates.iter_mut().zip(placed).for_each(|(one, place)| one.place = place);
        let selection = model::Selection { zone, ..model::Selection::default() };
        let watch = Watch::new(&contender.name, &selection, None);
        let plugin = Arc::new(Plugin::timed(&contender.name, time.clone()));
        let version = Version::new(plugin.clone(), contender.code.clone(), contender.config.clone(), BUDGET);
        let (requests, wants) = mpsc::unbounded_channel();
        let seed = derived(seed, &format!("gateway {number}"));
        let (version, endpoints) = (Arc::new(version), candidates.clone());
        let crew = Crew::assemble(version, kind::BALANCER, endpoints, 1, &arena.engine, &requests, seed)?;
        let seat = Seat::new(crew, time.now());
        let own = RefCell::new(Some(fallback(&candidates, &time, seed)?));
        let random = fastrand::Rng::with_seed(derived(seed, "turns"));
        let (turns, fallbacks, without_plugin) = (balance::Plan::default(), 0, 0);
        let mut gateway = Gateway {
            candidates,
            plugin,
            seat,
            own,
            watch,
            turns,
            random,
            time,
            wants,
            missing: VecDeque::new(),
            fallbacks,
            without_plugin,
        };
        gateway.look(0);
        Ok(gateway)
    }

    /// Lets time pass up to this.
    #[inline]
    pub(super) fn at(&self, now: u64) {
        self.time.set(Duration::from_nanos(now));
    }

    /// Counts a request on an endpoint, as long as the guard lives.
    pub(super) fn begin(&self, endpoint: usize) -> Option<Active> {
        self.candidates.get(endpoint).map(|candidate| candidate.endpoint.begin())
    }

    /// Looks at the endpoints anew. Only now and then, as nothing else changes them: so runs do not depend on what others do meanwhile.
    fn look(&mut self, now: u64) {
        self.turns = self.watch.plan(&self.candidates, &self.candidates, Duration::from_nanos(now));
    }

    /// Takes in which endpoints are there, by a check of all of them.
    pub(super) fn checked(&mut self, up: &[bool], now: u64) {
        for (candidate, up) in self.candidates.iter().zip(up) {
            let (stats, is_up) = (&candidate.endpoint.stats, candidate.endpoint.stats.flags() & flag::HEALTHY != 0);
            if is_up != *up {
                let (set, clear) = if *up { (flag::HEALTHY, 0) } else { (0, flag::HEALTHY) };
                stats.change_flags(set, clear);
            }
        }
        self.look(now);
    }

    /// Where a request goes that was sent to some in vain, and would be to some of them again.
    pub(super) fn pick(&mut self, head: &dyn Head, tried: &[usize], spent: &[usize], attempt: u32) -> Picked {
        let random = &mut self.random;
        let drawn = self.turns.draw(|| random.f64());
        let turn: Turn = if tried.is_empty() { drawn } else { self.turns.again(drawn, &self.candidates, tried) };
        let question = Question { head, endpoints: &self.candidates, tried, spent, attempt, turn };
        let (picked, by) = question.ask(Some(&mut self.seat), &self.own);
        match by {
            By::Plugin => {}
            By::Fallback => self.fallbacks += 1,
            By::BuiltIn => self.without_plugin += 1,
        }
        picked
    }

    /// Takes in what became of an attempt, and tells those who decide.
    pub(super) fn outcome(&mut self, outcome: &Outcome, now: u64) {
        if let Some(candidate) = self.candidates.get(outcome.endpoint as usize) {
            let (stats, now) = (&candidate.endpoint.stats, Duration::from_nanos(now));
            if outcome.status == CANCELLED {
                stats.record_cancelled(outcome.latency, now);
            } else {
                let latency = (outcome.status > 0).then_some(outcome.latency);
                stats.record(latency, outcome.status == 0 || outcome.status >= 500, now);
            }
        }
        self.seat.outcome(outcome, &[]);
        if let Some(own) = self.own.get_mut() {
            // A fault shows in that it is not called any more.
            let _ = own.outcome(outcome, &self.candidates);
        }
    }

    /// Lets time pass for the plugin, and for those who decide whom requests are for.
    pub(super) fn tick(&mut self, now: u64) {
        self.look(now);
        self.seat.tick(self.time.now());
    }

    /// What the plugin needs after the last call.
    #[inline]
    pub(super) fn need(&mut self) -> Option<Need> {
        loop {
            match self.wants.try_recv() {
                Ok(Want::Instance(missing)) => {
                    self.missing.push_back(missing);
                    return Some(Need::Instance);
                }
                Ok(Want::Quarantined(_)) => return Some(Need::Quarantine),
                Ok(Want::Nothing(_)) => {}
                Err(_) => return None,
            }
        }
    }

    /// Makes the instance that was asked for first. One that cannot be made is asked for again, as it is in a gateway.
    pub(super) fn replace(&mut self) {
        if let Some(missing) = self.missing.pop_front() {
            missing.make();
        }
    }

    /// Faults of the plugin, by kind.
    pub(super) fn faults(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.plugin.faults()
    }
}

fn candidate(plan: &Plan, place: &super::plan::Place) -> Candidate {
    let group = plan.rules.get(place.group).map(|rules| &rules.group);
    let weight = group.map_or(1, |group| group.weight);
    let endpoint = model::Endpoint { address: place.address.clone(), weight };
    Candidate {
        endpoint: Arc::new(Endpoint::new(&endpoint, None)),
        weight,
        priority: group.map_or(0, |group| group.priority),
        drain: false,
        place: HOME,
        zone: group.map(|group| group.zone.clone()).unwrap_or_default(),
        metadata: group.map(|group| group.metadata.clone().into_iter().collect()).unwrap_or_default(),
    }
}

fn fallback(endpoints: &[Candidate], time: &Time, seed: u64) -> Result<Native, LoadError> {
    let Some(Code::BuiltIn(_, plugin)) = built_in(FALLBACK) else {
        return Err(LoadError::Engine(format!("there is no built-in {FALLBACK}")));
    };
    let services = Arc::new(Services::timed(FALLBACK, time.clone()));
    let (config, seed) = ("{}", derived(seed, "fallback"));
    let mould = Mould { services: &services, budget: BUDGET, kinds: kind::BALANCER, config, endpoints, seed };
    Native::new(&plugin, &mould)
}
