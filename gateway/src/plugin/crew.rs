//! The instances of one version for one task, and how each worker comes to its own.
//!
//! In: a version, and what it is for: the balancer of one pool, or routing and filtering. Out: instances, made off the request
//! path, one for each worker. Invariant: a worker that has lost its instance takes the next one without waiting, or does
//! without until one is there. Linked-in plugins belong to the thread that made them, so each worker makes its own when
//! it takes its seat.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Decision;
use super::engine::Engine;
use super::fault::{Fault, LoadError};
use super::instance::{Instance, Mould, Outcome};
use super::native::Native;
use super::request::{Edits, Head};
use super::runner::Runner;
use super::version::{Code, Version};
use crate::balance::Candidate;

/// The instances of one version for one task.
pub struct Crew {
    /// What they run.
    pub version: Arc<Version>,
    kinds: u32,
    endpoints: Vec<Candidate>,
    engine: Arc<Engine>,
    spare: Mutex<Vec<Instance>>,
    ready: AtomicUsize,
    made: AtomicU64,
    requests: Requests,
}

/// Where missing instances are asked for.
pub type Requests = mpsc::UnboundedSender<Want>;

/// What whoever makes instances is told.
pub enum Want {
    /// One more for this crew.
    Instance(Weak<Crew>),
    /// This version was found unfit.
    Quarantined(Arc<Version>),
}

/// One worker's instance of a crew.
pub struct Seat {
    crew: Arc<Crew>,
    instance: Option<Runner>,
    tick: Option<Instant>,
}

/// When a plugin's time first passes.
const FIRST_TICK: Duration = Duration::from_secs(1);
/// The shortest time between two ticks.
const SHORTEST_TICK: Duration = Duration::from_millis(10);

impl Crew {
    /// Makes so many instances.
    pub fn assemble(
        version: Arc<Version>,
        kinds: u32,
        endpoints: Vec<Candidate>,
        count: usize,
        engine: &Arc<Engine>,
        requests: &Requests,
    ) -> Result<Arc<Crew>, LoadError> {
        let crew = Crew {
            version,
            kinds,
            endpoints,
            engine: engine.clone(),
            spare: Mutex::default(),
            ready: AtomicUsize::new(0),
            made: AtomicU64::new(0),
            requests: requests.clone(),
        };
        (0..count).try_for_each(|_| crew.make())?;
        Ok(Arc::new(crew))
    }

    /// Makes one more. Off the request path.
    pub fn make(&self) -> Result<(), LoadError> {
        match &self.version.code {
            Code::Wasm(compiled) => {
                let instance = self.mould(|mould| Instance::new(compiled, &self.engine, mould))?;
                let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
                spare.push(instance);
                self.ready.store(spare.len(), Ordering::Release);
                Ok(())
            }
            // Whether it likes its configuration; workers make their own.
            Code::BuiltIn(_, plugin) => self.mould(|mould| Native::new(plugin, mould)).map(drop),
        }
    }

    /// What they are used as, bits of [`gatewright_abi::kind`].
    pub fn kinds(&self) -> u32 {
        self.kinds
    }

    /// Whether these are the endpoints that it picks from.
    pub fn serves(&self, endpoints: &[Candidate]) -> bool {
        self.endpoints == endpoints
    }

    fn mould<T>(&self, make: impl FnOnce(&Mould<'_>) -> T) -> T {
        make(&Mould {
            services: &self.version.plugin.services,
            budget: self.version.budget,
            kinds: self.kinds,
            config: &self.version.config,
            endpoints: &self.endpoints,
            seed: fastrand::u64(..) ^ self.made.fetch_add(1, Ordering::Relaxed),
        })
    }

    fn take(&self) -> Option<Runner> {
        if let Code::BuiltIn(_, plugin) = &self.version.code {
            return self.mould(|mould| Native::new(plugin, mould)).ok().map(Box::new).map(Runner::Native);
        }
        if self.ready.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = spare.pop();
        self.ready.store(spare.len(), Ordering::Release);
        taken.map(Box::new).map(Runner::Wasm)
    }
}

impl Seat {
    /// A worker's place in a crew.
    pub fn new(crew: Arc<Crew>, now: Instant) -> Seat {
        let instance = crew.take();
        Seat { crew, instance, tick: now.checked_add(FIRST_TICK) }
    }

    /// A worker's place in the crew of a new configuration: the one that it had, if that is the same crew; else a new one, to
    /// which the old hands its state.
    pub fn taken(crew: Option<&Arc<Crew>>, before: Option<&RefCell<Option<Seat>>>, now: Instant) -> Option<Seat> {
        let crew = crew?;
        let old = before.and_then(|before| before.try_borrow_mut().ok()?.take());
        match old {
            Some(old) if Arc::ptr_eq(&old.crew, crew) => Some(old),
            Some(mut old) => {
                let mut seat = Seat::new(crew.clone(), now);
                seat.inherit(&mut old);
                Some(seat)
            }
            None => Some(Seat::new(crew.clone(), now)),
        }
    }

    /// Takes the state over of the instance that was here, where both know how.
    fn inherit(&mut self, old: &mut Seat) {
        let same = old.crew.version.plugin.name() == self.crew.version.plugin.name();
        if let (true, Some(Ok(Some(state)))) = (same, old.instance.as_mut().map(Runner::snapshot)) {
            // State that is not taken is none: the version begins anew.
            let _ = self.call(|instance, crew| instance.restore(&state, &crew.endpoints));
        }
    }

    /// The crew.
    pub fn crew(&self) -> &Arc<Crew> {
        &self.crew
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
        self.call(|instance, _| instance.pick(head, candidates, tried, attempt))
    }

    /// Picks a route or a pool.
    pub fn route(&mut self, head: &dyn Head) -> Result<Decision, Fault> {
        self.call(|instance, _| instance.route(head))
    }

    /// Looks at a request.
    pub fn on_request(&mut self, head: &dyn Head) -> Result<Decision, Fault> {
        self.call(|instance, _| instance.on_request(head))
    }

    /// Looks at a response.
    pub fn on_response(&mut self, head: &dyn Head) -> Result<Decision, Fault> {
        self.call(|instance, _| instance.on_response(head))
    }

    /// Tells what became of a request. A fault shows in the counts and in nothing else.
    #[inline]
    pub fn outcome(&mut self, outcome: &Outcome) {
        let _ = self.call(|instance, crew| instance.outcome(outcome, &crew.endpoints));
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Instant) {
        if self.tick.is_none_or(|at| now < at) {
            return;
        }
        let next = self.call(|instance, crew| instance.tick(&crew.endpoints));
        self.tick = match next {
            Ok(next) => next.and_then(|next| now.checked_add(next.max(SHORTEST_TICK))),
            Err(_) => now.checked_add(FIRST_TICK),
        };
    }

    /// Takes what the last call wants changed, if anything; the other, which is empty, stays in its place.
    pub fn take_edits(&mut self, into: &mut Edits) {
        if let Some(instance) = &mut self.instance {
            instance.take_edits(into);
        }
    }

    /// A fault that only the caller can see, such as a name that is not there.
    pub fn note(&mut self, fault: Fault) {
        self.failed(fault);
    }

    #[inline]
    fn call<T>(&mut self, call: impl FnOnce(&mut Runner, &Crew) -> Result<T, Fault>) -> Result<T, Fault> {
        let result = match &mut self.instance {
            Some(instance) if !self.crew.version.is_quarantined() => call(instance, &self.crew),
            Some(_) => return Err(Fault::Absent),
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

    #[cold]
    fn failed(&mut self, fault: Fault) {
        let version = &self.crew.version;
        if version.note(fault, Instant::now()) {
            tracing::error!(
                plugin = version.plugin.name(),
                version = version.name(),
                fault = fault.label(),
                "the plugin failed too often and is not called any more"
            );
            let _ = self.crew.requests.send(Want::Quarantined(version.clone()));
        }
        if self.instance.as_ref().is_some_and(Runner::is_faulted) {
            tracing::debug!(plugin = version.plugin.name(), %fault, "an instance is replaced");
            self.instance = None;
            // Without anybody who makes them, the fallback stays.
            let _ = self.crew.requests.send(Want::Instance(Arc::downgrade(&self.crew)));
        }
    }
}
