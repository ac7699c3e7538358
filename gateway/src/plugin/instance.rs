//! One instance of a compiled plugin, on one thread.
//!
//! In: calls, each with what it may see. Out: decisions that were checked, or the fault. Invariant: every call has a deadline;
//! nothing that the plugin says is used before it was looked at; after a fault that leaves its state unknown the instance is
//! not called again.

use std::sync::Arc;
use std::time::Duration;

use gatewright_abi::{bound, export, kind};
use wasmtime::{Memory, Store, Trap, TypedFunc, UpdateDeadline};

use super::check::Interface;
use super::compile::Compiled;
use super::decision::{self, Decision};
use super::engine::{Called, Engine};
use super::fault::{Fault, LoadError};
use super::guest::{Bounds, Guest, Patience, show};
use super::imports::slice;
use super::request::{Edits, Head};
use super::services::Services;
use super::table::{Plan, Table};
use crate::balance::{Candidate, Turn};

/// Times and sizes of one plugin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// For a decision, an outcome or a tick.
    pub decision: Duration,
    /// For starting, configuring, handing state over.
    pub configure: Duration,
    /// Bytes of memory.
    pub memory: u64,
}

/// What became of a request, as its balancer is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Which endpoint.
    pub endpoint: u32,
    /// 0: no response.
    pub status: u16,
    /// 0: the first.
    pub attempt: u32,
    /// To the first byte.
    pub latency: Duration,
    /// Of the response's body.
    pub bytes: u64,
}

/// One instance.
pub struct Instance {
    core: Core,
    calls: Calls,
    table: Option<Table>,
    interface: Arc<Interface>,
}

/// What every call needs.
struct Core {
    store: Store<Guest>,
    memory: Memory,
    called: Called,
    /// The time of a decision.
    decision: Duration,
    /// That of everything that is done off the path.
    configure: Duration,
    faulted: bool,
}

/// A filter does not want to be asked that again.
const INDIFFERENT: i64 = gatewright_abi::decision::pack(gatewright_abi::decision::TAKE, gatewright_abi::INDIFFERENT);

/// A call asks at each beat of the clock whether it may go on.
const BEAT: u64 = 1;

/// Endpoint, status, attempt, microseconds, bytes.
type ToldOutcome = (u32, u32, u32, u64, u64);

/// The functions that it exports.
struct Calls {
    alloc: TypedFunc<u32, u32>,
    free: TypedFunc<(u32, u32), ()>,
    configure: TypedFunc<(u32, u32, u32), i64>,
    table: Option<TypedFunc<(), u32>>,
    pick: Option<TypedFunc<u32, i64>>,
    outcome: Option<TypedFunc<ToldOutcome, ()>>,
    endpoints_changed: Option<TypedFunc<(), ()>>,
    route: Option<TypedFunc<(), i64>>,
    on_request: Option<TypedFunc<(), i64>>,
    on_response: Option<TypedFunc<(), i64>>,
    on_fetch: Option<TypedFunc<(), i64>>,
    tick: Option<TypedFunc<(), i64>>,
    snapshot: Option<TypedFunc<(), i64>>,
    restore: Option<TypedFunc<(u32, u32), i32>>,
}

/// What an instance is made for.
#[derive(Clone, Copy)]
pub struct Mould<'a> {
    /// What it shares with the other instances of its plugin.
    pub services: &'a Arc<Services>,
    /// Its times and sizes.
    pub budget: Budget,
    /// The kinds that it is used as, bits of [`gatewright_abi::kind`].
    pub kinds: u32,
    /// Its configuration, JSON.
    pub config: &'a str,
    /// The endpoints that a balancer picks from.
    pub endpoints: &'a [Candidate],
    /// What its random numbers begin with.
    pub seed: u64,
}

impl Instance {
    /// Instantiates, configures and fills the table. Off the request path.
    pub fn new(compiled: &Compiled, engine: &Engine, mould: &Mould<'_>) -> Result<Instance, LoadError> {
        let memory = usize::try_from(mould.budget.memory).unwrap_or(usize::MAX);
        let bounds = Bounds { memory, wanted_more: false };
        let called = engine.clock();
        let mut store = Store::new(engine.wasm(), Guest::new(mould.services.clone(), bounds, mould.seed));
        store.limiter(|guest| &mut guest.bounds);
        store.data_mut().patience = Patience::new(mould.budget.configure);
        let clock = called.clone();
        store.epoch_deadline_callback(move |mut store| match store.data_mut().patience.more() {
            Some(left) => {
                clock.hurry(left);
                Ok(UpdateDeadline::Continue(BEAT))
            }
            None => {
                clock.be_wary();
                Err(Fault::Deadline.into())
            }
        });
        store.set_epoch_deadline(BEAT);
        called.now();
        let starting = |fault| LoadError::Fault { stage: "start", fault };
        let instance = match compiled.pre.instantiate(&mut store) {
            Ok(instance) => instance,
            Err(error) => return Err(starting(fault_of(&error, &store))),
        };
        // All of these were looked at by `check`; what is not there is left out.
        let memory = instance.get_memory(&mut store, export::MEMORY).ok_or(starting(Fault::Pointer))?;
        store.data_mut().memory = Some(memory);
        let mut calls = Calls::of(&instance, &mut store).ok_or(starting(Fault::Pointer))?;
        if !compiled.listens {
            calls.outcome = None;
        }
        let Budget { decision, configure, .. } = mould.budget;
        let core = Core { store, memory, called, decision, configure, faulted: false };
        let mut instance = Instance { core, calls, table: None, interface: compiled.interface.clone() };
        instance.begin(mould)?;
        // From now on it is called by a worker, who waits for nothing longer than for a decision.
        instance.core.configure = instance.core.decision;
        Ok(instance)
    }

    fn begin(&mut self, mould: &Mould<'_>) -> Result<(), LoadError> {
        let stage = |stage| move |fault| LoadError::Fault { stage, fault };
        if let (true, Some(call)) = (mould.kinds & kind::BALANCER != 0, &self.calls.table) {
            let header = self.core.run_long(|store| call.call(store, ())).map_err(stage("gw_table"))?;
            self.table = Some(Table::new(header));
            self.place(mould.endpoints).map_err(stage("gw_alloc"))?;
        }
        let (at, size) = self.lend(mould.config.as_bytes()).map_err(stage("gw_alloc"))?;
        let result = self.core.run_long(|store| self.calls.configure.call(store, (mould.kinds, at, size)));
        let packed = result.map_err(stage("gw_configure"))?;
        self.take_back(at, size).map_err(stage("gw_free"))?;
        match self.core.text(packed).map_err(stage("gw_configure"))? {
            None => Ok(()),
            Some(text) => Err(LoadError::Config(String::from_utf8_lossy(&text).into_owned())),
        }
    }

    /// What it offers and wants.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// Whether it must not be called again.
    pub fn is_faulted(&self) -> bool {
        self.core.faulted
    }

    /// Whose turn it is at the next picks.
    #[inline]
    pub fn set_turn(&mut self, turn: Turn) {
        if let Some(table) = &mut self.table {
            table.set_turn(turn);
        }
    }

    /// Picks endpoints for a request. `tried`: those that it was sent to before.
    #[inline]
    pub fn pick(
        &mut self,
        head: &dyn Head,
        endpoints: &[Candidate],
        tried: &[usize],
        attempt: u32,
    ) -> Result<Decision, Fault> {
        let (Some(call), Some(table)) = (&self.calls.pick, &self.table) else { return Err(Fault::Absent) };
        if endpoints.len() != table.count() {
            return Err(Fault::Absent);
        }
        let core = &mut self.core;
        table.refresh(core.memory.data_mut(&mut core.store), endpoints)?;
        if !tried.is_empty() {
            table.show_tried(core.memory.data_mut(&mut core.store), endpoints, tried, true)?;
        }
        let packed = core.decide(head, |store| call.call(store, attempt));
        if !tried.is_empty() {
            table.show_tried(core.memory.data_mut(&mut core.store), endpoints, tried, false)?;
        }
        let packed = packed?;
        // The usual answer, for which its memory is not looked at.
        if let Some(index) = decision::endpoint(packed, endpoints.len()) {
            return Ok(Decision::Endpoint(index));
        }
        core.checked(|memory| decision::of_pick(packed, memory, endpoints.len()))
    }

    /// Tells it what became of a request.
    #[inline]
    pub fn outcome(&mut self, outcome: &Outcome) -> Result<(), Fault> {
        let Some(call) = &self.calls.outcome else { return Ok(()) };
        let latency = u64::try_from(outcome.latency.as_micros()).unwrap_or(u64::MAX);
        let told = (outcome.endpoint, outcome.status.into(), outcome.attempt, latency, outcome.bytes);
        self.core.run_short(|store| call.call(store, told))
    }

    /// Picks a route or a pool, or answers.
    pub fn route(&mut self, head: &dyn Head) -> Result<Decision, Fault> {
        let call = self.calls.route.as_ref().ok_or(Fault::Absent)?;
        let packed = self.core.decide(head, |store| call.call(store, ()))?;
        self.core.checked(|memory| decision::sayable(decision::of_route(packed, memory)?, head))
    }

    /// Looks at a request's head.
    pub fn on_request(&mut self, head: &dyn Head) -> Result<Decision, Fault> {
        let Some(call) = &self.calls.on_request else { return Ok(Decision::Continue) };
        let packed = self.core.decide(head, |store| call.call(store, ()))?;
        if packed == INDIFFERENT {
            self.calls.on_request = None;
        }
        self.core.checked(|memory| decision::sayable(decision::of_filter(packed, memory)?, head))
    }

    /// Looks at a response's head.
    pub fn on_response(&mut self, head: &dyn Head) -> Result<Decision, Fault> {
        let Some(call) = &self.calls.on_response else { return Ok(Decision::Continue) };
        let packed = self.core.decide(head, |store| call.call(store, ()))?;
        if packed == INDIFFERENT {
            self.calls.on_response = None;
        }
        self.core.checked(|memory| decision::sayable(decision::of_filter(packed, memory)?, head))
    }

    /// Looks at a response that may be kept.
    pub fn on_fetch(&mut self, head: &dyn Head) -> Result<Decision, Fault> {
        let Some(call) = &self.calls.on_fetch else { return Ok(Decision::Continue) };
        let packed = self.core.decide(head, |store| call.call(store, ()))?;
        if packed == INDIFFERENT {
            self.calls.on_fetch = None;
        }
        self.core.checked(|_| decision::of_fetch(packed))
    }

    /// Whether it has not said of this call that it does nothing there.
    pub fn cares(&self, name: &str) -> bool {
        match name {
            export::ON_REQUEST => self.calls.on_request.is_some(),
            export::ON_RESPONSE => self.calls.on_response.is_some(),
            export::ON_FETCH => self.calls.on_fetch.is_some(),
            _ => true,
        }
    }

    /// The changes that the last call wants. Nothing is left of them after a fault.
    pub fn edits(&mut self) -> &mut Edits {
        &mut self.core.store.data_mut().offer.edits
    }

    /// Lets time pass; when it wants to be called again.
    pub fn tick(&mut self) -> Result<Option<Duration>, Fault> {
        let Some(call) = &self.calls.tick else { return Ok(None) };
        let next = self.core.run_short(|store| call.call(store, ()))?;
        Ok(u64::try_from(next).ok().filter(|next| *next > 0).map(Duration::from_millis))
    }

    /// Other endpoints than before. It has the time of a decision. Whether it wants to know.
    pub fn change_endpoints(&mut self, endpoints: &[Candidate]) -> Result<bool, Fault> {
        if self.calls.endpoints_changed.is_none() {
            return Ok(false);
        }
        self.place(endpoints)?;
        let Some(call) = &self.calls.endpoints_changed else { return Ok(false) };
        self.core.run_long(|store| call.call(store, ()))?;
        Ok(true)
    }

    /// State for the next version. It has the time of a decision.
    pub fn snapshot(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let Some(call) = &self.calls.snapshot else { return Ok(None) };
        let packed = self.core.run_long(|store| call.call(store, ()))?;
        let (at, size) = gatewright_abi::decision::unpack(packed);
        self.core.checked(|memory| {
            if size as usize > bound::SNAPSHOT_BYTES {
                return Err(Fault::Output("a snapshot that is too large"));
            }
            slice(memory, at, size).map(|state| (size > 0).then(|| state.to_vec()))
        })
    }

    /// State of the version before. Whether it was taken. It has the time of a decision.
    pub fn restore(&mut self, state: &[u8]) -> Result<bool, Fault> {
        if self.calls.restore.is_none() {
            return Ok(false);
        }
        let (at, size) = self.lend(state)?;
        let Some(call) = &self.calls.restore else { return Ok(false) };
        let taken = self.core.run_long(|store| call.call(store, (at, size)))?;
        self.take_back(at, size)?;
        Ok(taken == 0)
    }

    /// Writes bytes to a place that the plugin gives for them.
    fn lend(&mut self, bytes: &[u8]) -> Result<(u32, u32), Fault> {
        let size = u32::try_from(bytes.len()).map_err(|_| Fault::Memory)?;
        let at = self.core.run_long(|store| self.calls.alloc.call(store, size))?;
        if at == 0 && size > 0 {
            return Err(self.core.failed(Fault::Memory));
        }
        // Where nothing is to be written any address is right.
        if size > 0 {
            self.core.write(at, bytes)?;
        }
        Ok((at, size))
    }

    fn take_back(&mut self, at: u32, size: u32) -> Result<(), Fault> {
        self.core.run_long(|store| self.calls.free.call(store, (at, size)))
    }

    fn place(&mut self, endpoints: &[Candidate]) -> Result<(), Fault> {
        let Some(mut table) = self.table.take() else { return Ok(()) };
        let mut plan = Plan::new(&self.interface.columns, endpoints);
        let size = plan.size(endpoints);
        // Lent first with nothing in it, since texts are told by their addresses.
        let (at, size) = self.lend(&vec![0; size])?;
        if size > 0 {
            let bytes = plan.fill(at, endpoints).to_vec();
            self.core.write(at, &bytes)?;
        }
        let columns = table.place(&plan, at, endpoints, self.core.memory.data_mut(&mut self.core.store));
        self.core.store.data_mut().columns = columns.map_err(|fault| self.core.failed(fault))?;
        let before = table.owned.replace((at, size));
        self.table = Some(table);
        before.map_or(Ok(()), |(at, size)| self.take_back(at, size))
    }
}

impl Core {
    /// A call that decides about a request.
    #[inline]
    fn decide(
        &mut self,
        head: &dyn Head,
        call: impl FnOnce(&mut Store<Guest>) -> wasmtime::Result<i64>,
    ) -> Result<i64, Fault> {
        if !self.store.data().offer.edits.is_empty() {
            self.store.data_mut().offer.edits.clear();
        }
        self.run_short(|store| show(store, Store::data_mut, head, call))
    }

    #[inline]
    fn run_short<T>(&mut self, call: impl FnOnce(&mut Store<Guest>) -> wasmtime::Result<T>) -> Result<T, Fault> {
        self.run(self.decision, call)
    }

    fn run_long<T>(&mut self, call: impl FnOnce(&mut Store<Guest>) -> wasmtime::Result<T>) -> Result<T, Fault> {
        self.run(self.configure, call)
    }

    #[inline]
    fn run<T>(
        &mut self,
        time: Duration,
        call: impl FnOnce(&mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        if self.faulted {
            return Err(Fault::Absent);
        }
        self.called.now();
        self.store.data_mut().patience = Patience::new(time);
        self.store.set_epoch_deadline(BEAT);
        match call(&mut self.store) {
            Ok(value) => Ok(value),
            Err(error) => {
                let fault = fault_of(&error, &self.store);
                Err(self.failed(fault))
            }
        }
    }

    #[cold]
    fn failed(&mut self, fault: Fault) -> Fault {
        self.faulted |= !fault.leaves_instance_usable();
        self.store.data_mut().offer.edits.clear();
        fault
    }

    /// Reads what a call left in memory.
    #[inline]
    fn checked<T>(&mut self, read: impl FnOnce(&[u8]) -> Result<T, Fault>) -> Result<T, Fault> {
        let found = read(self.memory.data(&self.store));
        found.map_err(|fault| self.failed(fault))
    }

    fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Fault> {
        let memory = self.memory.data_mut(&mut self.store);
        let room = (at as usize).checked_add(bytes.len()).and_then(|end| memory.get_mut(at as usize..end));
        match room {
            Some(room) => {
                room.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(self.failed(Fault::Pointer)),
        }
    }

    /// A text that a call returned.
    fn text(&mut self, packed: i64) -> Result<Option<Vec<u8>>, Fault> {
        let (at, size) = gatewright_abi::decision::unpack(packed);
        if packed == 0 {
            return Ok(None);
        }
        let size = size.min(u32::try_from(bound::TEXT_BYTES).unwrap_or(u32::MAX));
        self.checked(|memory| slice(memory, at, size).map(|text| Some(text.to_vec())))
    }
}

impl Calls {
    fn of(instance: &wasmtime::Instance, store: &mut Store<Guest>) -> Option<Calls> {
        macro_rules! get {
            ($name:expr) => {
                instance.get_typed_func(&mut *store, $name).ok()
            };
        }
        Some(Calls {
            alloc: get!(export::ALLOC)?,
            free: get!(export::FREE)?,
            configure: get!(export::CONFIGURE)?,
            table: get!(export::TABLE),
            pick: get!(export::PICK),
            outcome: get!(export::OUTCOME),
            endpoints_changed: get!(export::ENDPOINTS_CHANGED),
            route: get!(export::ROUTE),
            on_request: get!(export::ON_REQUEST),
            on_response: get!(export::ON_RESPONSE),
            on_fetch: get!(export::ON_FETCH),
            tick: get!(export::TICK),
            snapshot: get!(export::SNAPSHOT),
            restore: get!(export::RESTORE),
        })
    }
}

/// What an error of the engine means.
#[cold]
fn fault_of(error: &wasmtime::Error, store: &Store<Guest>) -> Fault {
    if let Some(fault) = error.downcast_ref::<Fault>() {
        return *fault;
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Fault::Deadline,
        Some(Trap::StackOverflow) => Fault::Stack,
        _ if store.data().bounds.wanted_more => Fault::Memory,
        _ => Fault::Trap,
    }
}
