//! A run, event by event.
//!
//! In: a plan, a contender and a seed. Out: a tally. The clock jumps from one event to the next; nothing in here asks what time
//! it really is, and nothing draws a number that does not come from the seed. What chance decides about a request is drawn when
//! it comes, so that all contenders are given the very same requests.

mod attempt;

use std::collections::VecDeque;
use std::time::Duration;

use slab::Slab;
use smallvec::SmallVec;

use super::backend::{Backend, Begun};
use super::chance::Chance;
use super::contender::{Arena, Contender};
use super::events::Events;
use super::gateway::{Gateway, Need};
use super::plan::Plan;
use super::request::Request;
use super::scenario::Distribution;
use super::tally::{End, Tally, Worked};
use crate::balance::Active;
use crate::plugin::LoadError;

/// Attempts of one request at the most, as in the gateway.
const MOST_ATTEMPTS: u32 = 3;
/// How long it takes to be told that nobody is there, or that the queue is full.
const REFUSAL: u64 = 1_000_000;
/// How long it takes to make another instance of a plugin.
const REPLACEMENT: u64 = 1_000_000;
/// How often a worker lets time pass for plugins.
const TICK: u64 = 100_000_000;
/// Bytes of each response.
const BYTES: u64 = 4096;

/// Runs the plan.
pub(super) fn run(plan: &Plan, contender: &Contender, arena: &Arena, seed: u64) -> Result<Tally, LoadError> {
    let gateways: Result<Vec<Gateway>, LoadError> =
        (0..plan.gateways).map(|number| Gateway::new(plan, contender, arena, seed, number)).collect();
    let mut run = Run::new(plan, gateways?, seed);
    while run.step() {}
    Ok(run.into_tally())
}

/// An attempt that is under way: where its request is kept; which one that is, since its place is taken by others after it; and which
/// of its attempts, also of those side by side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Key {
    slot: usize,
    number: u64,
    leg: u32,
}

/// A request under way.
struct Flight {
    number: u64,
    gateway: usize,
    request: Request,
    came: u64,
    work: f64,
    luck: f64,
    tried: SmallVec<[usize; 4]>,
    /// Those that refused it twice.
    spent: SmallVec<[usize; 4]>,
    /// What the plugin has listed and was not tried yet.
    listed: SmallVec<[usize; 4]>,
    /// How often it was sent before; what is sent beside another counts with that.
    attempt: u32,
    /// Where it is, with one endpoint or two.
    legs: SmallVec<[Leg; 2]>,
    /// How many there were.
    begun: u32,
    /// Who gets it too, when the first does not answer in time or at all.
    second: Option<usize>,
    /// It was sent to a second one.
    hedged: bool,
    /// On a connection that was kept, so that it may go again when that is found closed.
    reused: bool,
}

/// A request at one endpoint.
struct Leg {
    number: u32,
    endpoint: usize,
    sent: u64,
    /// Counts it there.
    _active: Option<Active>,
}

enum Event {
    /// A backend is done with a request. It may have gone since.
    Done { backend: usize, life: u32, key: Key, failed: bool },
    /// The gateway learns that nobody took the connection.
    Unconnected(Key),
    /// The gateway learns that the backend's queue is full.
    Full(Key),
    /// A second endpoint is to have the request too.
    Second(Key),
    /// A backend leaves or returns.
    Turn(usize),
    /// Gateways look which backends are there.
    Check,
    /// A gateway's plugin is given an instance.
    Replace(usize),
    /// Time passes for all plugins.
    Tick,
}

struct Run<'p> {
    plan: &'p Plan,
    gateways: Vec<Gateway>,
    backends: Vec<Backend<Key>>,
    flights: Slab<Flight>,
    events: Events<Event>,
    /// Who waits how long: all wait equally long, so the first one to come is the first one to leave.
    clients: VecDeque<(u64, Key)>,
    attempts: VecDeque<(u64, Key)>,
    now: u64,
    /// When the next request comes, while there are some to come.
    next: Option<u64>,
    came: u64,
    arrivals: Chance,
    chance: Chance,
    tally: Tally,
}

/// What comes next.
#[derive(Clone, Copy)]
enum Next {
    Event,
    ClientLeaves,
    AttemptEnds,
    Arrival,
}

impl<'p> Run<'p> {
    fn new(plan: &'p Plan, gateways: Vec<Gateway>, seed: u64) -> Run<'p> {
        let worked = plan.backends.iter().map(|place| {
            let group = plan.rules.get(place.group).map(|rules| &rules.group);
            Worked {
                address: place.address.clone(),
                group: group.map(|group| group.name.clone()).unwrap_or_default(),
                weight: group.map_or(1, |group| group.weight),
                servers: group.map_or(1, |group| group.servers),
                ..Worked::default()
            }
        });
        let rules = |group: usize| plan.rules.get(group);
        let backends = plan.backends.iter().filter_map(|place| rules(place.group)).map(Backend::new).collect();
        let mut events = Events::default();
        events.plan(TICK, Event::Tick);
        for (number, place) in plan.backends.iter().enumerate() {
            if let Some(at) = rules(place.group).and_then(|rules| rules.next_turn(0)) {
                events.plan(at, Event::Turn(number));
            }
        }
        if let Some(every) = plan.checks {
            events.plan(every, Event::Check);
        }
        let mut arrivals = Chance::new(seed, "arrivals");
        let first = plan.arrival(0, arrivals.exponential());
        Run {
            plan,
            gateways,
            backends,
            flights: Slab::new(),
            events,
            clients: VecDeque::new(),
            attempts: VecDeque::new(),
            now: 0,
            next: Some(first).filter(|_| plan.requests > 0),
            came: 0,
            arrivals,
            chance: Chance::new(seed, "requests"),
            tally: Tally::new(worked.collect()),
        }
    }

    /// Does what comes next. Whether there was anything left to do.
    fn step(&mut self) -> bool {
        if self.next.is_none() && self.flights.is_empty() {
            return false;
        }
        let front = |queue: &VecDeque<(u64, Key)>| queue.front().map(|(at, _)| *at);
        let all = [
            (self.events.next_at(), Next::Event),
            (front(&self.clients), Next::ClientLeaves),
            (front(&self.attempts), Next::AttemptEnds),
            (self.next, Next::Arrival),
        ];
        // Of those at the same moment the first in this order.
        let next = all.into_iter().filter_map(|(at, what)| at.map(|at| (at, what))).min_by_key(|(at, _)| *at);
        let Some((at, what)) = next else { return false };
        self.now = at;
        match what {
            Next::Event => self.happens(),
            Next::ClientLeaves => self.client_leaves(),
            Next::AttemptEnds => self.attempt_ends(),
            Next::Arrival => self.arrive(),
        }
        true
    }

    fn happens(&mut self) {
        match self.events.take() {
            Some(Event::Done { backend, life, key, failed }) => self.done(backend, life, key, failed),
            Some(Event::Unconnected(key)) => self.unconnected(key),
            Some(Event::Full(key)) => self.answered(key, 503, End::Full),
            Some(Event::Second(key)) => self.second(key),
            Some(Event::Turn(backend)) => self.turn(backend),
            Some(Event::Check) => self.check(),
            Some(Event::Replace(gateway)) => {
                if let Some(gateway) = self.gateways.get_mut(gateway) {
                    gateway.replace();
                }
            }
            Some(Event::Tick) => {
                for gateway in 0..self.gateways.len() {
                    let now = self.now;
                    self.with_gateway(gateway, |gateway| gateway.tick(now));
                }
                self.events.plan(self.now + TICK, Event::Tick);
            }
            None => {}
        }
    }

    /// Calls a gateway at the current time, and gives its plugin what it needs then.
    fn with_gateway<T>(&mut self, number: usize, call: impl FnOnce(&mut Gateway) -> T) -> Option<T> {
        let gateway = self.gateways.get_mut(number)?;
        gateway.at(self.now);
        let result = call(gateway);
        while let Some(need) = gateway.need() {
            match need {
                Need::Instance => self.events.plan(self.now + REPLACEMENT, Event::Replace(number)),
                Need::Quarantine => {
                    let first = (0, Duration::from_nanos(self.now));
                    self.tally.quarantined.get_or_insert(first).0 += 1;
                }
            }
        }
        Some(result)
    }

    fn arrive(&mut self) {
        let number = self.came;
        self.came += 1;
        let more = self.came < self.plan.requests;
        self.next = more.then(|| self.plan.arrival(self.now, self.arrivals.exponential()));
        let request = Request::drawn(number, &mut self.chance);
        let gateway = self.chance.below(self.plan.gateways) as usize;
        let (work, luck) = (self.work(), self.chance.fraction());
        let entry = self.flights.vacant_entry();
        let key = Key { slot: entry.key(), number, leg: 0 };
        entry.insert(Flight {
            number,
            gateway,
            request,
            came: self.now,
            work,
            luck,
            tried: SmallVec::new(),
            spent: SmallVec::new(),
            listed: SmallVec::new(),
            attempt: 0,
            legs: SmallVec::new(),
            begun: 0,
            second: None,
            hedged: false,
            reused: true,
        });
        self.forget();
        self.clients.push_back((self.now.saturating_add(self.plan.client_timeout), key));
        self.send(key);
    }

    /// Forgets who waited longest when they have been answered, so that these lists are not longer than what is under way.
    fn forget(&mut self) {
        let is_over =
            |flights: &Slab<Flight>, key: &Key| flights.get(key.slot).is_none_or(|flight| flight.number != key.number);
        while self.clients.front().is_some_and(|(_, key)| is_over(&self.flights, key)) {
            self.clients.pop_front();
        }
        while self.attempts.front().is_some_and(|(_, key)| is_over(&self.flights, key)) {
            self.attempts.pop_front();
        }
    }

    /// How long the next request takes, in nanoseconds.
    fn work(&mut self) -> f64 {
        let service = &self.plan.service;
        let share = match service.distribution {
            Distribution::Constant => 1.0,
            Distribution::Exponential => self.chance.exponential(),
            // Its mean is 1, whatever sigma is.
            Distribution::Lognormal => {
                (service.sigma * self.chance.normal() - service.sigma * service.sigma / 2.0).exp()
            }
        };
        share * service.mean.0.as_nanos() as f64
    }

    /// The flight, if this attempt is still under way.
    fn flight(&mut self, key: Key) -> Option<&mut Flight> {
        let flight = self.flights.get_mut(key.slot)?;
        (flight.number == key.number && flight.legs.iter().any(|leg| leg.number == key.leg)).then_some(flight)
    }

    fn begun(&mut self, backend: usize, life: u32, key: Key, begun: Begun) {
        self.events.plan(begun.done, Event::Done { backend, life, key, failed: begun.failed });
    }

    fn done(&mut self, number: usize, life: u32, key: Key, failed: bool) {
        let rules = self.plan.backends.get(number).and_then(|place| self.plan.rules.get(place.group));
        let (Some(backend), Some(rules)) = (self.backends.get_mut(number), rules) else { return };
        // What it was doing when it went is lost.
        if backend.lives != life {
            return;
        }
        if let Some((next, begun)) = backend.done(key, self.now, rules) {
            self.begun(number, life, next, begun);
        }
        match failed {
            false => self.answered(key, 200, End::Answered),
            true => self.answered(key, 500, End::Failed),
        }
    }

    /// The client that waited longest waits no longer. Nobody is told then, and the backend goes on.
    fn client_leaves(&mut self) {
        let Some((_, first)) = self.clients.pop_front() else { return };
        if self.flights.get(first.slot).is_some_and(|flight| flight.number == first.number) {
            self.end(first, End::ClientTimeout);
        }
    }

    /// The gateway waits no longer for what it sent first.
    fn attempt_ends(&mut self) {
        let Some((_, key)) = self.attempts.pop_front() else { return };
        if self.fails(key).is_some() {
            self.end(key, End::FirstByte);
        }
    }

    /// All gateways look at all backends.
    fn check(&mut self) {
        let (now, up) = (self.now, self.backends.iter().map(Backend::is_up).collect::<Vec<bool>>());
        for gateway in 0..self.gateways.len() {
            self.with_gateway(gateway, |gateway| gateway.checked(&up, now));
        }
        if let Some(every) = self.plan.checks {
            self.events.plan(self.now + every, Event::Check);
        }
    }

    fn turn(&mut self, number: usize) {
        let rules = self.plan.backends.get(number).and_then(|place| self.plan.rules.get(place.group));
        let (Some(backend), Some(rules)) = (self.backends.get_mut(number), rules) else { return };
        let lost = backend.turn(self.now, rules);
        if let Some(at) = rules.next_turn(self.now) {
            self.events.plan(at, Event::Turn(number));
        }
        for key in lost {
            self.broken(key);
        }
    }

    fn into_tally(mut self) -> Tally {
        for (worked, backend) in self.tally.backends.iter_mut().zip(&self.backends) {
            worked.peak = backend.peak;
        }
        let mut faults: Vec<(&'static str, u64)> = Vec::new();
        for gateway in &self.gateways {
            self.tally.fallbacks += gateway.fallbacks;
            self.tally.without_plugin += gateway.without_plugin;
            for (fault, count) in gateway.faults().filter(|(_, count)| *count > 0) {
                match faults.iter_mut().find(|(known, _)| *known == fault) {
                    Some((_, sum)) => *sum += count,
                    None => faults.push((fault, count)),
                }
            }
        }
        self.tally.faults = faults;
        self.tally.length = Duration::from_nanos(self.now);
        self.tally
    }
}
