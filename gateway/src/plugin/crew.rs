//! The instances of one version for one task, and how each worker comes to its own.
//!
//! In: a version, and what it is for: the balancer of one pool, or routing and filtering. Out: instances, made off the request
//! path, one for each worker. Invariant: a worker that has lost its instance takes the next one without waiting, or does
//! without until one is there. Beside the instance of the version in force a worker may have one of a version on trial. Where one that is linked in is
//! missing, the worker makes it.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Decision;
use super::effort::took_long;
use super::engine::Engine;
use super::fault::{Fault, LoadError};
use super::instance::{Instance, Mould, Outcome};
use super::native::Native;
use super::request::{Edits, Head};
use super::runner::Runner;
use super::shortage::{self, Missing, Shortage};
use super::trial::{Part, Stage, Trial};
use super::version::{Code, Version};
use crate::balance::{Candidate, FEW, Turn};

/// The instances of one version for one task.
pub struct Crew {
    /// What they run.
    pub version: Arc<Version>,
    kinds: u32,
    endpoints: Vec<Candidate>,
    engine: Arc<Engine>,
    /// How many there are to be.
    count: usize,
    spare: Mutex<Vec<Runner>>,
    ready: AtomicUsize,
    seed: u64,
    made: AtomicU64,
    requests: Requests,
    pub(super) shortage: Shortage,
}

/// Where missing instances are asked for.
pub type Requests = mpsc::UnboundedSender<Want>;

/// What whoever makes instances is told.
pub enum Want {
    /// One more for a crew.
    Instance(Missing),
    /// This version was found unfit.
    Quarantined(Arc<Version>),
    /// No more of this instance: its memory is given back where nobody waits for that.
    Nothing(Runner),
}

/// One worker's instance of a crew.
pub struct Seat {
    crew: Arc<Crew>,
    instance: Option<Runner>,
    tick: Option<Instant>,
    turn: Turn,
    rival: Option<Box<Rival>>,
}

/// The place of a version on trial, beside that of the one in force.
struct Rival {
    trial: Arc<Trial>,
    seat: Seat,
    /// Whether it was the one that was heard last.
    heard: bool,
}

/// A version on trial, with its instances.
#[derive(Clone)]
pub struct Trying {
    /// The trial.
    pub trial: Arc<Trial>,
    /// Those of the version on trial.
    pub crew: Arc<Crew>,
}

/// When a plugin's time first passes.
const FIRST_TICK: Duration = Duration::from_secs(1);
/// The shortest time between two ticks.
const SHORTEST_TICK: Duration = Duration::from_millis(10);

impl Crew {
    /// Makes so many instances. Their random numbers begin with the seed, each instance's with others.
    pub fn assemble(
        version: Arc<Version>,
        kinds: u32,
        endpoints: Vec<Candidate>,
        count: usize,
        engine: &Arc<Engine>,
        requests: &Requests,
        seed: u64,
    ) -> Result<Arc<Crew>, LoadError> {
        let crew = Crew {
            version,
            kinds,
            endpoints,
            engine: engine.clone(),
            count,
            spare: Mutex::default(),
            ready: AtomicUsize::new(0),
            seed,
            made: AtomicU64::new(0),
            requests: requests.clone(),
            shortage: Shortage::default(),
        };
        (0..count).try_for_each(|_| crew.make())?;
        Ok(Arc::new(crew))
    }

    /// Makes one more. Off the request path.
    pub fn make(&self) -> Result<(), LoadError> {
        let made = self.mould(self.next_seed(), |mould| match &self.version.code {
            Code::Wasm(compiled) => Instance::new(compiled, &self.engine, mould).map(Box::new).map(Runner::Wasm),
            Code::BuiltIn(_, plugin) => {
                // Nothing bounds the time of what is linked in, so it is seen here first.
                let (made, is_long) = took_long(|| Native::new(plugin, mould));
                if is_long {
                    self.version.was_found_heavy();
                }
                made.map(Box::new).map(Runner::Native)
            }
        })?;
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        // A worker that could not wait for one that is linked in has made its own.
        if spare.len() < self.count {
            spare.push(made);
        }
        self.ready.store(spare.len(), Ordering::Release);
        Ok(())
    }

    /// What they are used as, bits of [`gatewright_abi::kind`].
    pub fn kinds(&self) -> u32 {
        self.kinds
    }

    /// Whether these are the endpoints that it picks from.
    pub fn serves(&self, endpoints: &[Candidate]) -> bool {
        self.endpoints == endpoints
    }

    /// Tells whoever makes instances. Without anybody who makes them, the fallback stays.
    pub(super) fn tell(&self, want: Want) {
        let _ = self.requests.send(want);
    }

    fn next_seed(&self) -> u64 {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        gatewright_abi::hash64(&number.to_le_bytes(), self.seed)
    }

    fn mould<T>(&self, seed: u64, make: impl FnOnce(&Mould<'_>) -> T) -> T {
        make(&Mould {
            services: &self.version.services,
            budget: self.version.budget,
            kinds: self.kinds,
            config: &self.version.config,
            endpoints: &self.endpoints,
            seed,
        })
    }

    fn take(&self) -> Option<Runner> {
        if self.ready.load(Ordering::Acquire) > 0 {
            let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
            let taken = spare.pop();
            self.ready.store(spare.len(), Ordering::Release);
            return taken;
        }
        let Code::BuiltIn(_, plugin) = &self.version.code else { return None };
        self.mould(self.next_seed(), |mould| Native::new(plugin, mould)).ok().map(Box::new).map(Runner::Native)
    }
}

impl Seat {
    /// A worker's place in a crew.
    pub fn new(crew: Arc<Crew>, now: Instant) -> Seat {
        let instance = crew.take();
        Seat { crew, instance, tick: now.checked_add(FIRST_TICK), turn: Turn::default(), rival: None }
    }

    /// A worker's places in the crews of a new configuration: those that it had, where the crews are the same; else new ones, to
    /// which the old hand their state.
    pub fn taken(
        crew: Option<&Arc<Crew>>,
        trying: Option<&Trying>,
        before: Option<&RefCell<Option<Seat>>>,
        now: Instant,
    ) -> Option<Seat> {
        let crew = crew?;
        let old = before.and_then(|before| before.try_borrow_mut().ok()?.take());
        let Some(mut old) = old else {
            let mut seat = Seat::new(crew.clone(), now);
            seat.rival = trying.map(|trying| Rival::new(trying, now));
            return Some(seat);
        };
        let mut rival = old.rival.take();
        let rival_is = |rival: &Option<Box<Rival>>, crew: &Arc<Crew>| {
            rival.as_ref().is_some_and(|rival| Arc::ptr_eq(&rival.seat.crew, crew))
        };
        let mut seat = if Arc::ptr_eq(&old.crew, crew) {
            old
        } else if rival_is(&rival, crew) {
            // It was promoted, and goes on with what it has learned meanwhile.
            rival.take().map_or_else(|| Seat::new(crew.clone(), now), |rival| rival.seat)
        } else if old.moves_to(crew) {
            old
        } else {
            let mut seat = Seat::new(crew.clone(), now);
            // A fault shows in the counts, and the version begins anew.
            let _ = seat.inherit(&mut old);
            seat
        };
        seat.rival = match trying {
            Some(trying) if rival_is(&rival, &trying.crew) => rival,
            Some(trying) => {
                let mut rival = Rival::new(trying, now);
                let inherited = rival.seat.inherit(&mut seat);
                rival.trial.told(true, inherited);
                Some(rival)
            }
            None => None,
        };
        Some(seat)
    }

    /// Goes on with other endpoints, if it is of the same version and its instance takes them in time.
    fn moves_to(&mut self, crew: &Arc<Crew>) -> bool {
        // Tables of many endpoints take longer than a worker is to be held up, and so do large ones. One that has made its own stands ready.
        let is_long = crew.endpoints.len() > FEW || crew.version.is_heavy();
        if is_long && crew.ready.load(Ordering::Acquire) > 0 {
            return false;
        }
        let same = Arc::ptr_eq(&self.crew.version, &crew.version) && self.crew.kinds == crew.kinds;
        let moving = self.instance.as_mut().filter(|_| same).map(|instance| {
            let (changed, is_long) = took_long(|| instance.change_endpoints(&crew.endpoints));
            if is_long {
                crew.version.was_found_heavy();
            }
            changed
        });
        match moving {
            Some(Ok(true)) => self.crew = crew.clone(),
            // Whoever takes longer begins anew, which is no fault.
            Some(Err(fault)) if fault != Fault::Deadline => self.fell(fault),
            _ => {}
        }
        moving == Some(Ok(true))
    }

    /// Takes the state over of the instance that was here, where both know how. State that is not taken is none.
    fn inherit(&mut self, old: &mut Seat) -> Result<(), Fault> {
        let same = old.crew.version.plugin.name() == self.crew.version.plugin.name();
        match old.instance.as_mut().filter(|_| same).map(Runner::snapshot) {
            Some(Ok(Some(state))) => self.call(|instance, crew| instance.restore(&state, &crew.endpoints)).map(drop),
            Some(Err(fault)) => {
                old.fell(fault);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// It failed in a call that all workers make at the same moment, once: that is counted, and does not quarantine the version.
    #[cold]
    fn fell(&mut self, fault: Fault) {
        self.crew.version.plugin.count(fault);
        self.replace(fault);
    }

    /// The crew.
    pub fn crew(&self) -> &Arc<Crew> {
        &self.crew
    }

    /// Whose turn it is at the next picks.
    #[inline]
    pub fn set_turn(&mut self, turn: Turn) {
        self.turn = turn;
        if let Some(rival) = &mut self.rival {
            rival.seat.turn = turn;
        }
    }

    /// Picks endpoints for a request.
    #[inline]
    pub fn pick(
        &mut self,
        head: &dyn Head,
        candidates: &[Candidate],
        tried: &[usize],
        attempt: u32,
    ) -> Result<Decision, Fault> {
        if self.rival.is_some() {
            return self.compare(head, |seat| seat.pick_alone(head, candidates, tried, attempt));
        }
        self.pick_alone(head, candidates, tried, attempt)
    }

    #[inline]
    fn pick_alone(
        &mut self,
        head: &dyn Head,
        candidates: &[Candidate],
        tried: &[usize],
        attempt: u32,
    ) -> Result<Decision, Fault> {
        let turn = self.turn;
        self.call(|instance, _| {
            instance.set_turn(turn);
            instance.pick(head, candidates, tried, attempt)
        })
    }

    /// Picks a route or a pool. A decision for one that is not there is a fault.
    pub fn route(&mut self, head: &dyn Head, is_there: impl Fn(&Decision) -> bool) -> Result<Decision, Fault> {
        self.compare(head, |seat| {
            seat.call(|instance, _| {
                instance.route(head).and_then(|it| if is_there(&it) { Ok(it) } else { Err(Fault::Name) })
            })
        })
    }

    /// Looks at a request.
    pub fn on_request(&mut self, head: &dyn Head) -> Result<Decision, Fault> {
        self.compare(head, |seat| seat.call(|instance, _| instance.on_request(head)))
    }

    /// Looks at a response.
    pub fn on_response(&mut self, head: &dyn Head) -> Result<Decision, Fault> {
        self.compare(head, |seat| seat.call(|instance, _| instance.on_response(head)))
    }

    /// Looks at a response that may be kept.
    pub fn on_fetch(&mut self, head: &dyn Head) -> Result<Decision, Fault> {
        self.compare(head, |seat| seat.call(|instance, _| instance.on_fetch(head)))
    }

    /// Whether what it does may concern the cache, so that without it an answer may be another's.
    pub fn keys_cache(&self) -> bool {
        let keys = |seat: &Seat| seat.crew.version.code.keys_cache();
        keys(self) || self.rival.as_ref().is_some_and(|rival| keys(&rival.seat))
    }

    /// Asks, beside the version in force, the one on trial.
    fn compare(
        &mut self,
        head: &dyn Head,
        ask: impl Fn(&mut Seat) -> Result<Decision, Fault>,
    ) -> Result<Decision, Fault> {
        let Some(mut rival) = self.rival.take() else { return ask(self) };
        let (heard, decision) = rival.trial.decide(head.draw(), || ask(self), || ask(&mut rival.seat));
        rival.heard = heard;
        self.rival = Some(rival);
        decision
    }

    /// What the last decision was in the trial that there is.
    pub fn part(&self) -> Option<Part> {
        let rival = self.rival.as_ref()?;
        Some(Part { trial: rival.trial.clone(), by_candidate: rival.heard })
    }

    /// Tells what became of a request, of which these were the parts in trials. A fault shows in the counts and in nothing else.
    #[inline]
    pub fn outcome(&mut self, outcome: &Outcome, parts: &[Part]) {
        if self.rival.is_some() {
            return self.outcome_of_trial(outcome, parts);
        }
        let _ = self.tell(outcome);
    }

    #[inline]
    fn tell(&mut self, outcome: &Outcome) -> Result<(), Fault> {
        self.call(|instance, crew| instance.outcome(outcome, &crew.endpoints))
    }

    /// A version hears of what it decided; one that only watches, of everything.
    #[cold]
    fn outcome_of_trial(&mut self, outcome: &Outcome, parts: &[Part]) {
        let Some(mut rival) = self.rival.take() else { return };
        let watches = matches!(rival.trial.stage, Stage::Shadow { .. });
        let part = parts.iter().find(|part| Arc::ptr_eq(&part.trial, &rival.trial));
        let by_candidate = part.is_some_and(|part| part.by_candidate);
        if watches || by_candidate {
            rival.trial.told(true, rival.seat.tell(outcome));
        }
        if !by_candidate {
            rival.trial.told(false, self.tell(outcome));
        }
        self.rival = Some(rival);
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Instant) {
        let own = self.tick_alone(now);
        if let Some(rival) = &mut self.rival {
            rival.trial.told(false, own);
            rival.trial.told(true, rival.seat.tick_alone(now));
        }
    }

    fn tick_alone(&mut self, now: Instant) -> Result<(), Fault> {
        if self.instance.is_none() {
            self.ask_again(now);
        }
        if self.tick.is_none_or(|at| now < at) {
            return Ok(());
        }
        let next = self.call(|instance, crew| instance.tick(&crew.endpoints));
        self.tick = match next {
            Ok(next) => next.and_then(|next| now.checked_add(next.max(SHORTEST_TICK))),
            Err(_) => now.checked_add(FIRST_TICK),
        };
        next.map(drop)
    }

    /// Takes what the last call wants changed, if anything; the other, which is empty, stays in its place.
    pub fn take_edits(&mut self, into: &mut Edits) {
        let heard = match self.rival.as_mut().filter(|rival| rival.heard) {
            Some(rival) => &mut rival.seat.instance,
            None => &mut self.instance,
        };
        if let Some(instance) = heard {
            instance.take_edits(into);
        }
    }

    #[inline]
    fn call<T>(&mut self, call: impl FnOnce(&mut Runner, &Crew) -> Result<T, Fault>) -> Result<T, Fault> {
        let result = match &mut self.instance {
            // Also when an instance is there that was asked for before.
            _ if self.crew.version.is_quarantined() => return Err(Fault::Absent),
            Some(instance) => call(instance, &self.crew),
            None => match self.crew.take() {
                None => Err(Fault::Absent),
                Some(fresh) => call(self.instance.insert(fresh), &self.crew),
            },
        };
        if let Err(fault) = &result {
            self.failed(*fault);
        }
        result
    }

    /// Does without its instance, and has it taken apart elsewhere.
    fn discard(&mut self) {
        if let Some(instance) = self.instance.take() {
            self.crew.tell(Want::Nothing(instance));
        }
    }

    #[cold]
    fn failed(&mut self, fault: Fault) {
        let version = &self.crew.version;
        if version.note(fault, version.plugin.services.time().now()) {
            tracing::error!(
                plugin = version.plugin.name(),
                version = version.name(),
                fault = fault.label(),
                "the plugin failed too often and is not called any more"
            );
            self.crew.tell(Want::Quarantined(version.clone()));
        }
        self.replace(fault);
    }

    /// Has another instance made when this one must not be called again.
    fn replace(&mut self, fault: Fault) {
        if self.instance.as_ref().is_some_and(Runner::is_faulted) {
            tracing::debug!(plugin = self.crew.version.plugin.name(), %fault, "an instance is replaced");
            self.discard();
            self.crew.tell(Want::Instance(Missing::of(&self.crew)));
        }
    }

    /// Asks once more for the instance that it has not got.
    #[cold]
    fn ask_again(&self, now: Instant) {
        let (crew, is_module) = (&self.crew, matches!(self.crew.version.code, Code::Wasm(_)));
        let is_short = is_module && crew.ready.load(Ordering::Acquire) == 0 && !crew.version.is_quarantined();
        if is_short && crew.shortage.is_due(shortage::since(crew, now)) {
            crew.tell(Want::Instance(Missing::of(crew)));
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.discard();
    }
}

impl Rival {
    fn new(trying: &Trying, now: Instant) -> Box<Rival> {
        let seat = Seat::new(trying.crew.clone(), now);
        Box::new(Rival { trial: trying.trial.clone(), seat, heard: false })
    }
}
