//! The gateway's functions as a WebAssembly module imports them, and what its exports need: statics, text that outlives a
//! call, the table's head.
//!
//! One thread, and the gateway never enters an instance that is at work; so statics are not locked.

use std::alloc::{Layout, alloc, dealloc};
use std::borrow::Cow;
use std::cell::{Cell, UnsafeCell};
use std::ptr::null_mut;
use std::{ptr, slice};

use gatewright_abi::{COLUMNS as PLACES, Header, bound, decision};

use super::{Arena, COLUMNS, Columns};
use crate::decide::{Answer, Redirect, Route, Verdict};
use crate::endpoints::Endpoints;
use crate::kinds::{Balancer, Filter, Router};
use crate::micros::Micros;
use crate::outcome::Outcome;
use crate::pick::Pick;
use crate::runtime::Runtime;

#[cfg(target_feature = "atomics")]
compile_error!("a plugin has one thread; build it without the target feature `atomics`");

mod import {
    #[link(wasm_import_module = "gatewright")]
    unsafe extern "C" {
        pub(crate) fn request_text(what: u32, buffer: *mut u8, room: usize) -> i32;
        pub(crate) fn cookie(name: *const u8, size: usize, buffer: *mut u8, room: usize) -> i32;
        pub(crate) fn query_value(name: *const u8, size: usize, buffer: *mut u8, room: usize) -> i32;
        pub(crate) fn header(side: u32, name: *const u8, size: usize, buffer: *mut u8, room: usize) -> i32;
        pub(crate) fn headers(side: u32, buffer: *mut u8, room: usize) -> i32;
        pub(crate) fn hash(what: u32, name: *const u8, size: usize, seed: u64) -> u64;
        pub(crate) fn edit_header(
            how: u32,
            side: u32,
            name: *const u8,
            name_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> i32;
        pub(crate) fn set_path(path: *const u8, size: usize) -> i32;
        pub(crate) safe fn status() -> i32;
        pub(crate) safe fn set_status(status: u32) -> i32;
        pub(crate) fn tag(name: *const u8, size: usize, buffer: *mut u8, room: usize) -> i32;
        pub(crate) fn set_tag(name: *const u8, name_size: usize, value: *const u8, value_size: usize) -> i32;
        pub(crate) fn log(level: u32, text: *const u8, size: usize);
        pub(crate) safe fn clock() -> u64;
        pub(crate) safe fn unix_time() -> u64;
        pub(crate) safe fn random() -> u64;
        pub(crate) fn metric(
            kind: u32,
            name: *const u8,
            name_size: usize,
            label: *const u8,
            label_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> i32;
        pub(crate) safe fn metric_add(metric: i32, by: f64);
        pub(crate) safe fn metric_set(metric: i32, value: f64);
        pub(crate) safe fn metric_record(metric: i32, value: f64);
        pub(crate) safe fn slot_load(slot: u32) -> i64;
        pub(crate) safe fn slot_store(slot: u32, value: i64);
        pub(crate) safe fn slot_add(slot: u32, by: i64) -> i64;
        pub(crate) safe fn slot_swap(slot: u32, expected: i64, value: i64) -> i64;
        pub(crate) fn shared_get(key: *const u8, size: usize, buffer: *mut u8, room: usize) -> i32;
        pub(crate) fn shared_set(key: *const u8, key_size: usize, value: *const u8, value_size: usize, ms: u64) -> i32;
        pub(crate) fn shared_remove(key: *const u8, size: usize) -> i32;
        pub(crate) fn secret(buffer: *mut u8, room: usize) -> i32;
        pub(crate) fn cache(what: u32, text: *const u8, size: usize, seconds: u64) -> i32;
    }
}

/// Imports of columns. Each is linked only where it is named.
#[allow(non_snake_case)]
pub(crate) mod column {
    macro_rules! columns {
        ($($name:ident $import:ident;)*) => {
            mod import {
                #[link(wasm_import_module = "gatewright")]
                unsafe extern "C" {
                    $(pub(super) safe fn $import() -> *const u8;)*
                }
            }

            $(
                #[inline(always)]
                pub(crate) fn $name() -> *const u8 {
                    import::$import()
                }
            )*
        };
    }

    columns! {
        Flags column_flags;
        Active column_active;
        Latency column_latency;
        PeakLatency column_peak_latency;
        Errors column_errors;
        Rate column_rate;
        Load column_load;
        Warmth column_warmth;
        Weight column_weight;
        Priority column_priority;
        Id column_id;
        Address column_address;
        Zone column_zone;
        Metadata column_metadata;
    }
}

/// The element of a text column.
///
/// # Safety
/// At `base` there are more than `index` pairs of address and size, and what they lead to lives as long as the table.
pub(crate) unsafe fn text_element<'a>(base: *const u8, index: usize) -> &'a [u8] {
    // SAFETY: promised by the caller.
    let [address, size] = unsafe { *base.cast::<[u32; 2]>().add(index) };
    if size == 0 {
        return &[];
    }
    // SAFETY: promised by the caller.
    unsafe { slice::from_raw_parts(address as *const u8, size as usize) }
}

pub(crate) fn request_text(arena: &Arena, what: u32) -> Option<&[u8]> {
    // SAFETY: the arena gives memory that may be written.
    arena.read(|buffer, room| unsafe { import::request_text(what, buffer, room) })
}

pub(crate) fn cookie<'a>(arena: &'a Arena, name: &[u8]) -> Option<&'a [u8]> {
    // SAFETY: the arena gives memory that may be written.
    arena.read(|buffer, room| unsafe { import::cookie(name.as_ptr(), name.len(), buffer, room) })
}

pub(crate) fn query_value<'a>(arena: &'a Arena, name: &[u8]) -> Option<&'a [u8]> {
    // SAFETY: the arena gives memory that may be written.
    arena.read(|buffer, room| unsafe { import::query_value(name.as_ptr(), name.len(), buffer, room) })
}

pub(crate) fn header<'a>(arena: &'a Arena, side: u32, name: &[u8]) -> Option<&'a [u8]> {
    // SAFETY: the arena gives memory that may be written.
    arena.read(|buffer, room| unsafe { import::header(side, name.as_ptr(), name.len(), buffer, room) })
}

pub(crate) fn headers(arena: &Arena, side: u32) -> Option<&[u8]> {
    // SAFETY: the arena gives memory that may be written.
    arena.read(|buffer, room| unsafe { import::headers(side, buffer, room) })
}

pub(crate) fn tag<'a>(arena: &'a Arena, name: &[u8]) -> Option<&'a [u8]> {
    // SAFETY: the arena gives memory that may be written.
    arena.read(|buffer, room| unsafe { import::tag(name.as_ptr(), name.len(), buffer, room) })
}

pub(crate) fn shared_get<'a>(arena: &'a Arena, key: &[u8]) -> Option<&'a [u8]> {
    // SAFETY: the arena gives memory that may be written.
    arena.read(|buffer, room| unsafe { import::shared_get(key.as_ptr(), key.len(), buffer, room) })
}

#[inline]
pub(crate) fn hash(what: u32, name: &[u8], seed: u64) -> u64 {
    // SAFETY: the gateway only reads these bytes.
    unsafe { import::hash(what, name.as_ptr(), name.len(), seed) }
}

pub(crate) fn edit_header(how: u32, side: u32, name: &[u8], value: &[u8]) -> i32 {
    // SAFETY: the gateway only reads these bytes.
    unsafe { import::edit_header(how, side, name.as_ptr(), name.len(), value.as_ptr(), value.len()) }
}

pub(crate) fn set_path(path: &[u8]) -> i32 {
    // SAFETY: the gateway only reads these bytes.
    unsafe { import::set_path(path.as_ptr(), path.len()) }
}

pub(crate) fn set_tag(name: &[u8], value: &[u8]) -> i32 {
    // SAFETY: the gateway only reads these bytes.
    unsafe { import::set_tag(name.as_ptr(), name.len(), value.as_ptr(), value.len()) }
}

pub(crate) fn cache(what: u32, text: &[u8], seconds: u64) -> i32 {
    // SAFETY: the gateway only reads these bytes.
    unsafe { import::cache(what, text.as_ptr(), text.len(), seconds) }
}

pub(crate) fn log(level: u32, text: &[u8]) {
    // SAFETY: the gateway only reads these bytes.
    unsafe { import::log(level, text.as_ptr(), text.len()) }
}

pub(crate) fn metric(kind: u32, name: &[u8], label: &[u8], value: &[u8]) -> i32 {
    // SAFETY: the gateway only reads these bytes.
    unsafe { import::metric(kind, name.as_ptr(), name.len(), label.as_ptr(), label.len(), value.as_ptr(), value.len()) }
}

pub(crate) fn shared_set(key: &[u8], value: &[u8], ms: u64) -> i32 {
    // SAFETY: the gateway only reads these bytes.
    unsafe { import::shared_set(key.as_ptr(), key.len(), value.as_ptr(), value.len(), ms) }
}

pub(crate) fn shared_remove(key: &[u8]) -> i32 {
    // SAFETY: the gateway only reads these bytes.
    unsafe { import::shared_remove(key.as_ptr(), key.len()) }
}

pub(crate) fn secret() -> [u8; 32] {
    let mut secret = [0; 32];
    // SAFETY: the gateway writes no more than there is room for.
    unsafe { import::secret(secret.as_mut_ptr(), secret.len()) };
    secret
}

/// The gateway sees from a module's code whether it does anything with outcomes: there is to be none.
#[inline(always)]
pub(crate) fn is_deaf() {}

pub(crate) use import::{
    clock, metric_add, metric_record, metric_set, random, set_status, slot_add, slot_load, slot_store, slot_swap,
    status, unix_time,
};

static GENERATOR: Static<Cell<u64>> = Static::new(Cell::new(0));

/// The state of the generator of random numbers; 0 before it has been seeded.
#[inline(always)]
pub(crate) fn with_generator<T>(work: impl FnOnce(&Cell<u64>) -> T) -> T {
    GENERATOR.with(|state| work(state))
}

/// What a module keeps between calls.
#[derive(Debug)]
pub struct Static<T>(UnsafeCell<T>);

// SAFETY: a module has one thread.
unsafe impl<T> Sync for Static<T> {}

impl<T> Static<T> {
    /// Begins like this.
    pub const fn new(value: T) -> Static<T> {
        Static(UnsafeCell::new(value))
    }

    /// Works on the value. The work must not come here again for the same value: it is either an export, which the gateway
    /// does not enter twice, or a few lines in this file.
    #[inline(always)]
    fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: one thread, and not entered twice as said above.
        work(unsafe { &mut *self.0.get() })
    }
}

/// The head of the endpoint table, which the gateway writes between calls.
static TABLE: Static<Table> = Static::new(Table {
    endpoints: Endpoints::of(Columns { count: 0, generation: 0, bases: [ptr::null(); COLUMNS] }),
    _more: [0; PLACES - COLUMNS],
});

/// A [`Header`] whose addresses are pointers.
#[repr(C)]
struct Table {
    endpoints: Endpoints,
    /// Places of columns that this crate does not know.
    _more: [u32; PLACES - COLUMNS],
}

const _: () = assert!(size_of::<Table>() == size_of::<Header>() && align_of::<Table>() == align_of::<Header>());

/// Text and state that the gateway reads after a call.
static KEPT_BYTES: Static<Vec<u8>> = Static::new(Vec::new());

/// What a decision leads to.
static KEPT: Static<Kept> = Static::new(Kept { words: [0; WORDS], name: Cow::Borrowed(""), answer: None });

/// A count and the indices of a list are the longest.
const WORDS: usize = 1 + bound::LIST as usize;

struct Kept {
    words: [u32; WORDS],
    name: Cow<'static, str>,
    answer: Option<Answer>,
}

/// `gw_table`.
pub fn table() -> *const Header {
    TABLE.0.get().cast()
}

/// Works on the endpoints as the gateway has written them before the call.
#[inline(always)]
fn with_endpoints<T>(work: impl FnOnce(&Endpoints) -> T) -> T {
    TABLE.with(|table| work(&table.endpoints))
}

/// `gw_alloc`; null when there is no more.
pub fn allocate(size: usize) -> *mut u8 {
    match Layout::from_size_align(size.max(1), ALIGNMENT) {
        // SAFETY: the size is not 0.
        Ok(layout) => unsafe { alloc(layout) },
        Err(_) => null_mut(),
    }
}

/// `gw_free`.
///
/// # Safety
/// The gateway gives back what it got from `allocate`, with the same size, once.
pub unsafe fn free(address: *mut u8, size: usize) {
    if let (false, Ok(layout)) = (address.is_null(), Layout::from_size_align(size.max(1), ALIGNMENT)) {
        // SAFETY: promised by the caller.
        unsafe { dealloc(address, layout) }
    }
}

/// Columns of any type can lie there.
const ALIGNMENT: usize = 8;

/// # Safety
/// There are so many bytes.
unsafe fn given<'a>(address: *const u8, size: usize) -> &'a [u8] {
    if size == 0 {
        return &[];
    }
    // SAFETY: promised by the caller.
    unsafe { slice::from_raw_parts(address, size) }
}

/// Keeps bytes until the next call; where they are.
fn keep_bytes(bytes: Vec<u8>) -> u64 {
    KEPT_BYTES.with(|kept| {
        *kept = bytes;
        ((kept.as_ptr() as u64) << 32) | kept.len() as u64
    })
}

/// The state behind the exports of one module.
pub type State<B, R, F> = Static<Option<Runtime<B, R, F>>>;

/// `gw_configure`.
///
/// # Safety
/// There are so many bytes.
pub unsafe fn configure<B: Balancer, R: Router, F: Filter>(
    state: &State<B, R, F>,
    kinds: u32,
    address: *const u8,
    size: usize,
) -> u64 {
    std::panic::set_hook(Box::new(|panic| crate::log::write(gatewright_abi::level::ERROR, format_args!("{panic}"))));
    // SAFETY: promised by the caller.
    let config = unsafe { given(address, size) };
    match with_endpoints(|endpoints| Runtime::configure(kinds, config, endpoints)) {
        Ok(runtime) => {
            state.with(|state| *state = Some(runtime));
            0
        }
        Err(error) => keep_bytes(error.into_bytes()),
    }
}

/// `gw_pick`.
#[inline(always)]
pub fn pick<B: Balancer, R: Router, F: Filter>(state: &State<B, R, F>, attempt: u32) -> i64 {
    let pick = state.with(|state| match state {
        Some(runtime) => with_endpoints(|endpoints| runtime.pick(endpoints, attempt)),
        None => Pick::Fallback,
    });
    match pick {
        Pick::Endpoint(index) => decision::pack(decision::TAKE, index),
        Pick::Fallback => decision::pack(decision::FALLBACK, 0),
        Pick::Refuse(status) => decision::pack(decision::REFUSE, status.into()),
        Pick::List(_) | Pick::Hedge { .. } => several(&pick),
    }
}

/// More than one endpoint. Apart, so that the usual pick is short.
#[cold]
#[inline(never)]
fn several(pick: &Pick) -> i64 {
    KEPT.with(|kept| match pick {
        Pick::List(list) => {
            for (word, index) in kept.words.iter_mut().skip(1).zip(list.iter()) {
                *word = index;
            }
            kept.leads(decision::LIST, [list.len() as u32])
        }
        Pick::Hedge { first, second, after } => kept.leads(decision::HEDGE, [*first, *second, after.as_micros_u32()]),
        _ => decision::pack(decision::FALLBACK, 0),
    })
}

/// `gw_outcome`.
#[inline(always)]
pub fn outcome<B: Balancer, R: Router, F: Filter>(
    state: &State<B, R, F>,
    endpoint: u32,
    status: u32,
    attempt: u32,
    latency_us: u64,
    bytes: u64,
) {
    let outcome = Outcome {
        endpoint: endpoint as usize,
        status: u16::try_from(status).ok().filter(|status| *status != 0),
        attempt,
        latency: Micros::new(latency_us),
        bytes,
    };
    state.with(|state| {
        if let Some(runtime) = state {
            with_endpoints(|endpoints| runtime.outcome(endpoints, &outcome));
        }
    });
}

/// `gw_endpoints_changed`.
#[inline(always)]
pub fn endpoints_changed<B: Balancer, R: Router, F: Filter>(state: &State<B, R, F>) {
    state.with(|state| {
        if let Some(runtime) = state {
            with_endpoints(|endpoints| runtime.endpoints_changed(endpoints));
        }
    });
}

/// `gw_route`.
#[inline(always)]
pub fn route<B: Balancer, R: Router, F: Filter>(state: &State<B, R, F>) -> i64 {
    let route = state.with(|state| match state {
        Some(runtime) => runtime.route(),
        None => Route::CarryOn,
    });
    match route {
        Route::CarryOn => decision::pack(decision::TAKE, 0),
        Route::Refuse(status) => decision::pack(decision::REFUSE, status.into()),
        Route::Named(name) => KEPT.with(|kept| kept.named(decision::ROUTE, name)),
        Route::Pool(name) => KEPT.with(|kept| kept.named(decision::POOL, name)),
        Route::Redirect(redirect) => KEPT.with(|kept| kept.redirect(redirect)),
        Route::Answer(answer) => KEPT.with(|kept| kept.answer(answer)),
    }
}

/// `gw_on_request`.
#[inline(always)]
pub fn on_request<B: Balancer, R: Router, F: Filter>(state: &State<B, R, F>) -> i64 {
    heard(state, Runtime::on_request)
}

/// `gw_on_response`.
#[inline(always)]
pub fn on_response<B: Balancer, R: Router, F: Filter>(state: &State<B, R, F>) -> i64 {
    heard(state, Runtime::on_response)
}

/// `gw_on_fetch`.
#[inline(always)]
pub fn on_fetch<B: Balancer, R: Router, F: Filter>(state: &State<B, R, F>) -> i64 {
    heard(state, |runtime| {
        runtime.on_fetch();
        Verdict::CarryOn
    })
}

#[inline(always)]
fn heard<B: Balancer, R: Router, F: Filter>(
    state: &State<B, R, F>,
    call: impl FnOnce(&mut Runtime<B, R, F>) -> Verdict,
) -> i64 {
    state.with(|state| {
        let Some(runtime) = state else { return decision::pack(decision::TAKE, 0) };
        let said = call(runtime);
        if runtime.is_indifferent() {
            return decision::pack(decision::TAKE, gatewright_abi::INDIFFERENT);
        }
        verdict(said)
    })
}

#[inline]
fn verdict(verdict: Verdict) -> i64 {
    match verdict {
        Verdict::CarryOn => decision::pack(decision::TAKE, 0),
        Verdict::Refuse(status) => decision::pack(decision::REFUSE, status.into()),
        Verdict::Redirect(redirect) => KEPT.with(|kept| kept.redirect(redirect)),
        Verdict::Answer(answer) => KEPT.with(|kept| kept.answer(answer)),
    }
}

impl Kept {
    /// The decision that leads to the words, which begin like this.
    fn leads<const N: usize>(&mut self, kind: u32, words: [u32; N]) -> i64 {
        for (place, word) in self.words.iter_mut().zip(words) {
            *place = word;
        }
        decision::pack(kind, self.words.as_ptr() as u32)
    }

    fn named(&mut self, kind: u32, name: Cow<'static, str>) -> i64 {
        self.name = name;
        self.leads(kind, [self.name.as_ptr() as u32, self.name.len() as u32])
    }

    fn redirect(&mut self, redirect: Redirect) -> i64 {
        self.name = redirect.location;
        self.leads(decision::REDIRECT, [redirect.status.into(), self.name.as_ptr() as u32, self.name.len() as u32])
    }

    fn answer(&mut self, answer: Answer) -> i64 {
        let answer = self.answer.insert(answer);
        let (fields, body) = (answer.encoded_fields(), answer.body_bytes());
        let words = [
            answer.status().into(),
            fields.as_ptr() as u32,
            fields.len() as u32,
            body.as_ptr() as u32,
            body.len() as u32,
        ];
        self.leads(decision::ANSWER, words)
    }
}

/// `gw_tick`.
pub fn tick<B: Balancer, R: Router, F: Filter>(state: &State<B, R, F>) -> u64 {
    let next = state.with(|state| with_endpoints(|endpoints| state.as_mut()?.tick(endpoints)));
    // What is due at once is due in a millisecond; 0 would end it.
    next.map_or(0, |next| u64::try_from(next.as_millis()).unwrap_or(u64::MAX).max(1))
}

/// `gw_snapshot`.
pub fn snapshot<B: Balancer, R: Router, F: Filter>(state: &State<B, R, F>) -> u64 {
    match state.with(|state| state.as_mut().and_then(Runtime::snapshot)) {
        Some(bytes) => keep_bytes(bytes),
        None => 0,
    }
}

/// `gw_restore`.
///
/// # Safety
/// There are so many bytes.
pub unsafe fn restore<B: Balancer, R: Router, F: Filter>(
    state: &State<B, R, F>,
    address: *const u8,
    size: usize,
) -> i32 {
    // SAFETY: promised by the caller.
    let bytes = unsafe { given(address, size) };
    let restored = state.with(|state| with_endpoints(|endpoints| Some(state.as_mut()?.restore(bytes, endpoints))));
    match restored {
        Some(Ok(())) => 0,
        Some(Err(error)) => {
            crate::log::write(gatewright_abi::level::WARN, format_args!("{error}"));
            1
        }
        None => 1,
    }
}
