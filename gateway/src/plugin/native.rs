//! One instance of a plugin that is linked in: the same source, the same calls, the same checks, without the boundary.
//!
//! It is trusted with time and memory, since it is part of the gateway; a panic of it is a fault like a trap.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use gatewright_abi::{Column, answer, bound, kind};
use gatewright_sdk::native::{self, Host, Table};
use gatewright_sdk::{Pick, Route, Verdict};
use smallvec::SmallVec;

use super::Outcome;
use super::decision::{Answer, Decision, sayable};
use super::fault::{Fault, LoadError};
use super::instance::Mould;
use super::offer::{Offer, side};
use super::request::{Edits, Head, What, in_lower_case};
use super::services::{Series, Services};
use super::upkeep::{self, Upkeep};
use crate::balance::{Candidate, Turn};

/// One instance.
pub struct Native {
    instance: Box<dyn native::Instance>,
    table: Table,
    upkeep: Upkeep,
    state: RefCell<State>,
    services: Arc<Services>,
    faulted: bool,
    /// It has said that it does nothing with outcomes.
    deaf: Cell<bool>,
}

struct State {
    /// Endpoints that the request was sent to before, during a pick.
    tried: SmallVec<[usize; 4]>,
    offer: Offer,
}

/// What the plugin may use during one call.
struct Desk<'a> {
    services: &'a Arc<Services>,
    state: &'a RefCell<State>,
    head: Option<&'a dyn Head>,
    turn: Turn,
    endpoints: &'a [Candidate],
    deaf: &'a Cell<bool>,
}

impl Native {
    /// Configures one. Off the request path.
    pub fn new(plugin: &native::Plugin, mould: &Mould<'_>) -> Result<Native, LoadError> {
        let mut table = Table::new();
        if mould.kinds & kind::BALANCER != 0 {
            fill(&mut table, mould.endpoints);
        }
        let offer = Offer::new(mould.services.clone(), mould.seed);
        let state = RefCell::new(State { tried: SmallVec::new(), offer });
        let (endpoints, turn) = (mould.endpoints, Turn::default());
        let deaf = Cell::new(false);
        let desk = Desk { services: mould.services, state: &state, head: None, turn, endpoints, deaf: &deaf };
        let configured = catch_unwind(AssertUnwindSafe(|| plugin.configure(mould.kinds, mould.config, &desk, &table)));
        let instance = match configured {
            Ok(Ok(instance)) => instance,
            Ok(Err(error)) => return Err(LoadError::Config(error.to_string())),
            Err(_) => return Err(LoadError::Fault { stage: "configure", fault: Fault::Trap }),
        };
        let upkeep = Upkeep::of(mould.endpoints);
        Ok(Native { instance, table, upkeep, state, services: mould.services.clone(), faulted: false, deaf })
    }

    /// Whether it must not be called again.
    pub fn is_faulted(&self) -> bool {
        self.faulted
    }

    /// Whether it does nothing with outcomes, as far as it was told any.
    #[cfg(test)]
    pub(super) fn is_deaf(&self) -> bool {
        self.deaf.get()
    }

    /// What the last call wants changed.
    pub fn edits(&mut self) -> &mut Edits {
        &mut self.state.get_mut().offer.edits
    }

    /// Whose turn it is at the next picks.
    #[inline]
    pub fn set_turn(&mut self, turn: Turn) {
        self.upkeep.turn = turn;
    }

    /// Picks endpoints for a request.
    #[inline]
    pub fn pick(
        &mut self,
        head: &dyn Head,
        endpoints: &[Candidate],
        tried: &[usize],
        attempt: u32,
    ) -> Result<Decision, Fault> {
        if endpoints.len() != self.table.count() as usize {
            return Err(Fault::Absent);
        }
        self.upkeep.refresh(endpoints, columns(&self.table));
        if !tried.is_empty() {
            self.state.get_mut().tried.extend_from_slice(tried);
            upkeep::show_tried(self.table.words(Column::Flags), self.upkeep.turn, endpoints, tried, true);
        }
        let pick = self.call(Some(head), endpoints, |instance, desk, table| instance.pick(desk, table, attempt));
        if !tried.is_empty() {
            self.state.get_mut().tried.clear();
            upkeep::show_tried(self.table.words(Column::Flags), self.upkeep.turn, endpoints, tried, false);
        }
        let pick = pick?;
        let index = |number: u32| Some(number as usize).filter(|index| *index < endpoints.len()).ok_or(Fault::Index);
        Ok(match pick {
            Pick::Endpoint(number) => Decision::Endpoint(index(number)?),
            Pick::Fallback => Decision::Fallback,
            Pick::Refuse(status) => refusal(status)?,
            Pick::List(list) => Decision::List(list.iter().map(index).collect::<Result<_, _>>()?),
            Pick::Hedge { first, second, after } => Decision::Hedge(index(first)?, index(second)?, after.into()),
        })
    }

    /// Other endpoints than before. Whether it wants to know.
    pub fn change_endpoints(&mut self, endpoints: &[Candidate]) -> Result<bool, Fault> {
        fill(&mut self.table, endpoints);
        self.upkeep = self.upkeep.anew(endpoints);
        self.call(None, endpoints, |instance, desk, table| instance.endpoints_changed(desk, table)).map(|()| true)
    }

    /// Tells it what became of a request.
    pub fn outcome(&mut self, outcome: &Outcome, endpoints: &[Candidate]) -> Result<(), Fault> {
        if self.deaf.get() {
            return Ok(());
        }
        let outcome = gatewright_sdk::Outcome {
            endpoint: outcome.endpoint as usize,
            status: Some(outcome.status).filter(|status| *status > 0),
            attempt: outcome.attempt,
            latency: outcome.latency.into(),
            bytes: outcome.bytes,
        };
        self.call(None, endpoints, |instance, desk, table| instance.outcome(desk, table, &outcome))
    }

    /// Picks a route or a pool, or answers.
    pub fn route(&mut self, head: &dyn Head) -> Result<Decision, Fault> {
        let decision = match self.call(Some(head), &[], |instance, desk, _| instance.route(desk))? {
            Route::CarryOn => Decision::Continue,
            Route::Named(name) => Decision::Route(name.into_owned()),
            Route::Pool(name) => Decision::Pool(name.into_owned()),
            Route::Redirect(redirect) => redirection(&redirect)?,
            Route::Answer(answer) => answered(&answer)?,
            Route::Refuse(status) => refusal(status)?,
        };
        sayable(decision, head)
    }

    /// Looks at a request's head.
    pub fn on_request(&mut self, head: &dyn Head) -> Result<Decision, Fault> {
        sayable(verdict(self.call(Some(head), &[], |instance, desk, _| instance.on_request(desk))?)?, head)
    }

    /// Looks at a response's head.
    pub fn on_response(&mut self, head: &dyn Head) -> Result<Decision, Fault> {
        sayable(verdict(self.call(Some(head), &[], |instance, desk, _| instance.on_response(desk))?)?, head)
    }

    /// Looks at a response that may be kept.
    pub fn on_fetch(&mut self, head: &dyn Head) -> Result<Decision, Fault> {
        self.call(Some(head), &[], |instance, desk, _| instance.on_fetch(desk)).map(|()| Decision::Continue)
    }

    /// Lets time pass.
    pub fn tick(&mut self, endpoints: &[Candidate]) -> Result<Option<Duration>, Fault> {
        self.call(None, endpoints, |instance, desk, table| instance.tick(desk, table))
    }

    /// State for the next version.
    pub fn snapshot(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        self.call(None, &[], |instance, desk, _| instance.snapshot(desk))
    }

    /// State of the version before. Whether it was taken.
    pub fn restore(&mut self, state: &[u8], endpoints: &[Candidate]) -> Result<bool, Fault> {
        self.call(None, endpoints, |instance, desk, table| instance.restore(desk, table, state).is_ok())
    }

    #[inline]
    fn call<T>(
        &mut self,
        head: Option<&dyn Head>,
        endpoints: &[Candidate],
        call: impl FnOnce(&mut dyn native::Instance, &dyn Host, &Table) -> T,
    ) -> Result<T, Fault> {
        if self.faulted {
            return Err(Fault::Absent);
        }
        self.state.get_mut().offer.edits.clear();
        let (services, state, deaf) = (&self.services, &self.state, &self.deaf);
        let desk = Desk { services, state, head, turn: self.upkeep.turn, endpoints, deaf };
        let (instance, table) = (&mut *self.instance, &self.table);
        // After a panic the instance is not called again, so nobody sees it half-changed.
        catch_unwind(AssertUnwindSafe(|| call(instance, &desk, table))).map_err(|_| {
            self.faulted = true;
            Fault::Trap
        })
    }
}

/// Fills the columns that only change with the endpoints.
fn fill(table: &mut Table, endpoints: &[Candidate]) {
    table.reset(u32::try_from(endpoints.len()).unwrap_or(u32::MAX));
    for (number, one) in (0..).zip(endpoints) {
        table.set_id(number, one.endpoint.id);
        table.set_text(Column::Address, number, one.endpoint.address.as_bytes());
        table.set_text(Column::Zone, number, one.zone.as_bytes());
        table.set_metadata(number, one.metadata.iter().map(|(name, value)| (&**name, &**value)));
    }
    for (column, word) in
        [(Column::Weight, (|one| one.weight.into()) as fn(&Candidate) -> u32), (Column::Priority, |one| one.priority)]
    {
        table.words(column).iter().zip(endpoints).for_each(|(cell, one)| cell.set(word(one)));
    }
    columns(table).for_each(|(column, cells)| upkeep::write(column, Turn::default(), cells, endpoints));
}

/// The live columns that the plugin reads.
#[inline]
fn columns(table: &Table) -> impl Iterator<Item = (Column, &[Cell<u32>])> + Clone {
    table.wanted().map(|column| (column, table.words(column)))
}

fn verdict(verdict: Verdict) -> Result<Decision, Fault> {
    match verdict {
        Verdict::CarryOn => Ok(Decision::Continue),
        Verdict::Refuse(status) => refusal(status),
        Verdict::Redirect(redirect) => redirection(&redirect),
        Verdict::Answer(answer) => answered(&answer),
    }
}

fn refusal(status: u16) -> Result<Decision, Fault> {
    match status {
        400..600 => Ok(Decision::Refuse(status)),
        _ => Err(Fault::Output("a refusal with a status that is none")),
    }
}

fn redirection(redirect: &gatewright_sdk::Redirect) -> Result<Decision, Fault> {
    match redirect.status {
        301 | 302 | 303 | 307 | 308 => Ok(Decision::Redirect(redirect.status, redirect.location.as_bytes().to_vec())),
        _ => Err(Fault::Output("a redirect with a status that is none")),
    }
}

fn answered(answer: &gatewright_sdk::Answer) -> Result<Decision, Fault> {
    let fields: Vec<_> = answer.fields().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect();
    if !(200..600).contains(&answer.status()) || fields.len() > bound::EDITS {
        return Err(Fault::Output("an answer that is none"));
    }
    if answer.body_bytes().len() > bound::BODY_BYTES {
        return Err(Fault::Output("an answer that is too large"));
    }
    Ok(Decision::Answer(Box::new(Answer { status: answer.status(), fields, body: answer.body_bytes().to_vec() })))
}

impl Desk<'_> {
    /// A tag as this call has set it.
    fn read(&self, what: What<'_>, read: &mut dyn FnMut(&[u8])) -> bool {
        self.state.borrow().offer.read(self.head, what, read)
    }

    fn with_series(&self, number: i32, what: impl FnOnce(&Series)) {
        let state = self.state.borrow();
        if let Some(series) = u32::try_from(number).ok().and_then(|number| state.offer.series(number)) {
            what(series);
        }
    }
}

impl Host for Desk<'_> {
    fn column(&self, table: &Table, column: Column) {
        upkeep::write(column, self.turn, table.words(column), self.endpoints);
        if column == Column::Flags {
            // They are read for the first time, in the middle of a pick.
            upkeep::show_tried(table.words(column), self.turn, self.endpoints, &self.state.borrow().tried, true);
        }
    }

    fn request_text(&self, what: u32, read: &mut dyn FnMut(&[u8])) -> bool {
        self.read(What::Text(what), read)
    }

    fn cookie(&self, name: &[u8], read: &mut dyn FnMut(&[u8])) -> bool {
        self.read(What::Cookie(name), read)
    }

    fn query_value(&self, name: &[u8], read: &mut dyn FnMut(&[u8])) -> bool {
        self.read(What::Query(name), read)
    }

    fn header(&self, of: u32, name: &[u8], read: &mut dyn FnMut(&[u8])) -> bool {
        side(of).is_some_and(|of| self.read(What::Header(of, &in_lower_case(name)), read))
    }

    fn headers(&self, of: u32, each: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        side(of).is_some_and(|of| self.head.is_some_and(|head| head.each_header(of, each)))
    }

    fn hash(&self, what: u32, name: &[u8], seed: u64) -> u64 {
        self.state.borrow().offer.hash(self.head, what, name, seed)
    }

    fn edit_header(&self, how: u32, of: u32, name: &[u8], value: &[u8]) -> i32 {
        self.state.borrow_mut().offer.edit_header(self.head, how, of, name, value)
    }

    fn set_path(&self, path: &[u8]) -> i32 {
        self.state.borrow_mut().offer.set_path(self.head, path)
    }

    fn status(&self) -> i32 {
        self.head.and_then(|head| head.status()).map_or(answer::NOT_NOW, i32::from)
    }

    fn set_status(&self, status: u32) -> i32 {
        self.state.borrow_mut().offer.set_status(self.head, status)
    }

    fn tag(&self, name: &[u8], read: &mut dyn FnMut(&[u8])) -> bool {
        self.read(What::Tag(name), read)
    }

    fn set_tag(&self, name: &[u8], value: &[u8]) -> i32 {
        self.state.borrow_mut().offer.set_tag(self.head, name, value)
    }

    fn cache(&self, what: u32, text: &[u8], seconds: u64) -> i32 {
        self.state.borrow_mut().offer.cache(self.head, what, text, seconds)
    }

    fn log(&self, level: u32, text: &[u8]) {
        self.services.log(level, text);
    }

    fn clock(&self) -> u64 {
        self.services.time().micros()
    }

    fn unix_time(&self) -> u64 {
        self.services.time().unix_millis()
    }

    fn random(&self) -> u64 {
        self.state.borrow_mut().offer.random()
    }

    fn metric(&self, kind: u32, name: &[u8], label: &[u8], value: &[u8]) -> i32 {
        self.state.borrow_mut().offer.metric(kind, name, label, value)
    }

    fn metric_add(&self, metric: i32, by: f64) {
        self.with_series(metric, |series| series.add(by));
    }

    fn metric_set(&self, metric: i32, value: f64) {
        self.with_series(metric, |series| series.set(value));
    }

    fn metric_record(&self, metric: i32, value: f64) {
        self.with_series(metric, |series| series.record(value));
    }

    fn slot_load(&self, slot: u32) -> i64 {
        self.services.slot_load(slot)
    }

    fn slot_store(&self, slot: u32, value: i64) {
        self.services.slot_store(slot, value);
    }

    fn slot_add(&self, slot: u32, by: i64) -> i64 {
        self.services.slot_add(slot, by)
    }

    fn slot_swap(&self, slot: u32, expected: i64, value: i64) -> i64 {
        self.services.slot_swap(slot, expected, value)
    }

    fn shared_get(&self, key: &[u8], read: &mut dyn FnMut(&[u8])) -> bool {
        self.state.borrow().offer.shared_get(key, read)
    }

    fn shared_set(&self, key: &[u8], value: &[u8], ms: u64) -> i32 {
        self.state.borrow().offer.shared_set(key, value, ms)
    }

    fn shared_remove(&self, key: &[u8]) -> i32 {
        self.state.borrow().offer.shared_remove(key)
    }

    fn is_deaf(&self) {
        self.deaf.set(true);
    }

    fn secret(&self) -> [u8; 32] {
        self.services.secret()
    }
}
