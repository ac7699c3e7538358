//! One gateway of a simulation: its own instance of the plugin, its own statistics, and what it falls back to.
//!
//! What is called here is what the gateway calls: a crew and a seat in it, endpoints with their counts and averages, the
//! built-in behind the plugin. What decides between them is [`crate::upstream::Pool::pick`], said again without connections.

use std::sync::Arc;
use std::time::Duration;

use gatewright_abi::kind;
use smallvec::SmallVec;
use tokio::sync::mpsc;

use super::chance::derived;
use super::contender::{Arena, BUDGET, Contender};
use super::plan::Plan;
use crate::balance::{Active, Candidate, Endpoint, HOME};
use crate::config::model;
use crate::plugin::request::Head;
use crate::plugin::{
    Code, Crew, Decision, LoadError, Mould, Native, Outcome, Plugin, Seat, Services, Time, Version, Want, built_in,
};

/// The built-in that takes over where the plugin does not decide: what a pool names that names none.
const FALLBACK: &str = "p2c";

/// One gateway.
pub(super) struct Gateway {
    candidates: Vec<Candidate>,
    plugin: Arc<Plugin>,
    crew: Arc<Crew>,
    seat: Seat,
    own: Native,
    time: Time,
    wants: mpsc::UnboundedReceiver<Want>,
    /// Picks that the plugin left to the fallback.
    pub(super) fallbacks: u64,
    /// Picks without the plugin's word.
    pub(super) without_plugin: u64,
}

/// Where a request is to go.
pub(super) enum Picked {
    /// To this endpoint.
    One(usize),
    /// To these, one after the other.
    List(SmallVec<[usize; 4]>),
    /// Nowhere: the plugin says so.
    Refused,
    /// Nowhere: there is nobody.
    Nowhere,
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
        let candidates: Vec<Candidate> = plan.backends.iter().map(|place| candidate(plan, place)).collect();
        let plugin = Arc::new(Plugin::timed(&contender.name, time.clone()));
        let version = Version::new(plugin.clone(), contender.code.clone(), contender.config.clone(), BUDGET);
        let (requests, wants) = mpsc::unbounded_channel();
        let seed = derived(seed, &format!("gateway {number}"));
        let (version, endpoints) = (Arc::new(version), candidates.clone());
        let crew = Crew::assemble(version, kind::BALANCER, endpoints, 1, &arena.engine, &requests, seed)?;
        let seat = Seat::new(crew.clone(), time.now());
        let own = fallback(&candidates, &time, seed)?;
        Ok(Gateway { candidates, plugin, crew, seat, own, time, wants, fallbacks: 0, without_plugin: 0 })
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

    /// Where a request goes.
    pub(super) fn pick(&mut self, head: &dyn Head, tried: &[usize], attempt: u32) -> Picked {
        match self.seat.pick(head, &self.candidates, tried, attempt) {
            Ok(Decision::Endpoint(index)) => return Picked::One(index),
            Ok(Decision::List(list)) => return Picked::List(list),
            Ok(Decision::Hedge(first, second, _)) => return Picked::List([first, second].into_iter().collect()),
            Ok(Decision::Refuse(_)) => return Picked::Refused,
            Ok(_) => self.fallbacks += 1,
            Err(_) => self.without_plugin += 1,
        }
        if let [_] = &self.candidates[..] {
            return Picked::One(0);
        }
        for tried in [tried, &[]] {
            if let Ok(Decision::Endpoint(index)) = self.own.pick(head, &self.candidates, tried, attempt) {
                return Picked::One(index);
            }
        }
        Picked::Nowhere
    }

    /// Takes in what became of an attempt, and tells the plugin.
    pub(super) fn outcome(&mut self, outcome: &Outcome, now: u64) {
        if let Some(candidate) = self.candidates.get(outcome.endpoint as usize) {
            let latency = (outcome.status > 0).then_some(outcome.latency);
            let failed = outcome.status == 0 || outcome.status >= 500;
            candidate.endpoint.stats.record(latency, failed, Duration::from_nanos(now));
        }
        self.seat.outcome(outcome, &[]);
    }

    /// Lets the plugin's time pass.
    pub(super) fn tick(&mut self) {
        self.seat.tick(self.time.now());
    }

    /// What the plugin needs after the last call.
    #[inline]
    pub(super) fn need(&mut self) -> Option<Need> {
        loop {
            match self.wants.try_recv() {
                Ok(Want::Instance(_)) => return Some(Need::Instance),
                Ok(Want::Quarantined(_)) => return Some(Need::Quarantine),
                Ok(Want::Nothing(_)) => {}
                Err(_) => return None,
            }
        }
    }

    /// Makes the instance that was asked for. One that cannot be made stays away, as it does in a gateway.
    pub(super) fn replace(&self) {
        if let Err(error) = self.crew.make() {
            tracing::error!(plugin = self.plugin.name(), %error, "an instance cannot be replaced");
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
