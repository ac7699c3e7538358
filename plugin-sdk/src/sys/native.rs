//! The gateway's functions for a plugin that is linked into it: those of the [`Host`] that the call was made with, which is
//! known to the thread for the time of the call. Outside of calls nothing is there, and time stands still.

use std::cell::Cell;
use std::ptr::{self, NonNull};

use gatewright_abi::{Column, answer};

use super::{Arena, COLUMNS, Columns};
use crate::endpoints::Endpoints;
use crate::native::{Host, Table};

/// What surrounds a call.
struct Scope<'a> {
    host: &'a dyn Host,
    table: Option<&'a Table>,
    /// The state of the instance's generator of random numbers.
    generator: &'a Cell<u64>,
}

thread_local! {
    /// The scope of the call that runs on this thread. Null outside of calls.
    static SCOPE: Cell<*const Scope<'static>> = const { Cell::new(ptr::null()) };
}

/// Does some work with this host around it.
pub(crate) fn enter<T>(host: &dyn Host, table: Option<&Table>, generator: &Cell<u64>, work: impl FnOnce() -> T) -> T {
    /// Puts the scope before back, however the work ends.
    struct Restore(*const Scope<'static>);

    impl Drop for Restore {
        fn drop(&mut self) {
            SCOPE.set(self.0);
        }
    }

    let scope = Scope { host, table, generator };
    let _restore = Restore(SCOPE.replace(NonNull::from(&scope).cast::<Scope<'static>>().as_ptr()));
    work()
}

/// Asks the scope of the call that runs.
#[inline]
fn scoped<T>(ask: impl FnOnce(&Scope<'_>) -> T) -> Option<T> {
    // SAFETY: `enter` puts a pointer to a scope there that outlives its work, and takes it away before the scope ends.
    // It is seen here under a shorter lifetime only.
    unsafe { SCOPE.get().as_ref() }.map(ask)
}

#[inline]
fn host<T>(ask: impl FnOnce(&dyn Host) -> T) -> Option<T> {
    scoped(|scope| ask(scope.host))
}

/// Columns that the gateway has not been writing so far: from now on it does.
#[allow(non_snake_case)]
pub(crate) mod column {
    use super::Column;

    macro_rules! columns {
        ($($name:ident)*) => {
            $(
                pub(crate) fn $name() -> *const u8 {
                    super::want(Column::$name)
                }
            )*
        };
    }

    columns! { Flags Active Latency PeakLatency Errors Rate Load Warmth Weight Priority Id Address Zone Metadata }
}

fn want(column: Column) -> *const u8 {
    let base = scoped(|scope| {
        let table = scope.table?;
        if table.want(column) {
            scope.host.column(table, column);
        }
        Some(table.base(column))
    });
    base.flatten().unwrap_or(ptr::null())
}

/// The element of a text column.
///
/// # Safety
/// `base` is that of a text column of a [`Table`] with more than `index` elements, which is not changed during `'a`.
pub(crate) unsafe fn text_element<'a>(base: *const u8, index: usize) -> &'a [u8] {
    // SAFETY: promised by the caller; `Table::base` tells where a slice of these begins.
    unsafe { &*base.cast::<Box<[u8]>>().add(index) }
}

impl Table {
    /// Shows the table to a call as it is now.
    #[inline(always)]
    pub(crate) fn show<T>(&self, work: impl FnOnce(&Endpoints) -> T) -> T {
        let mut bases = [ptr::null(); COLUMNS];
        for column in Column::ALL {
            if self.wants(*column) {
                bases[column.number()] = self.base(*column);
            }
        }
        // Invariant of `Columns`: every column of a table has `count` elements, and none is moved while it is borrowed.
        work(&Endpoints::of(Columns { count: self.count(), generation: self.generation(), bases }))
    }
}

fn copied(arena: &Arena, ask: impl FnOnce(&dyn Host, &mut dyn FnMut(&[u8])) -> bool) -> Option<&[u8]> {
    let mut found = None;
    let is_there = host(|host| ask(host, &mut |bytes| found = Some(arena.copy(bytes))));
    found.filter(|_| is_there == Some(true))
}

pub(crate) fn request_text(arena: &Arena, what: u32) -> Option<&[u8]> {
    copied(arena, |host, read| host.request_text(what, read))
}

pub(crate) fn cookie<'a>(arena: &'a Arena, name: &[u8]) -> Option<&'a [u8]> {
    copied(arena, |host, read| host.cookie(name, read))
}

pub(crate) fn query_value<'a>(arena: &'a Arena, name: &[u8]) -> Option<&'a [u8]> {
    copied(arena, |host, read| host.query_value(name, read))
}

pub(crate) fn header<'a>(arena: &'a Arena, side: u32, name: &[u8]) -> Option<&'a [u8]> {
    copied(arena, |host, read| host.header(side, name, read))
}

pub(crate) fn headers(arena: &Arena, side: u32) -> Option<&[u8]> {
    let mut list = Vec::new();
    let there = host(|host| {
        host.headers(side, &mut |name, value| {
            crate::encoded::push(&mut list, name, value);
        })
    });
    (there == Some(true)).then(|| arena.copy(&list))
}

pub(crate) fn tag<'a>(arena: &'a Arena, name: &[u8]) -> Option<&'a [u8]> {
    copied(arena, |host, read| host.tag(name, read))
}

pub(crate) fn shared_get<'a>(arena: &'a Arena, key: &[u8]) -> Option<&'a [u8]> {
    copied(arena, |host, read| host.shared_get(key, read))
}

pub(crate) fn hash(what: u32, name: &[u8], seed: u64) -> u64 {
    host(|host| host.hash(what, name, seed)).unwrap_or(0)
}

pub(crate) fn edit_header(how: u32, side: u32, name: &[u8], value: &[u8]) -> i32 {
    host(|host| host.edit_header(how, side, name, value)).unwrap_or(answer::NOT_NOW)
}

pub(crate) fn set_path(path: &[u8]) -> i32 {
    host(|host| host.set_path(path)).unwrap_or(answer::NOT_NOW)
}

pub(crate) fn status() -> i32 {
    host(|host| host.status()).unwrap_or(answer::NOT_NOW)
}

pub(crate) fn set_status(status: u32) -> i32 {
    host(|host| host.set_status(status)).unwrap_or(answer::NOT_NOW)
}

pub(crate) fn set_tag(name: &[u8], value: &[u8]) -> i32 {
    host(|host| host.set_tag(name, value)).unwrap_or(answer::NOT_NOW)
}

pub(crate) fn log(level: u32, text: &[u8]) {
    host(|host| host.log(level, text));
}

pub(crate) fn clock() -> u64 {
    host(|host| host.clock()).unwrap_or(0)
}

pub(crate) fn unix_time() -> u64 {
    host(|host| host.unix_time()).unwrap_or(0)
}

pub(crate) fn random() -> u64 {
    host(|host| host.random()).unwrap_or(0)
}

pub(crate) fn metric(kind: u32, name: &[u8], label: &[u8], value: &[u8]) -> i32 {
    host(|host| host.metric(kind, name, label, value)).unwrap_or(answer::NOT_NOW)
}

pub(crate) fn metric_add(metric: i32, by: f64) {
    host(|host| host.metric_add(metric, by));
}

pub(crate) fn metric_set(metric: i32, value: f64) {
    host(|host| host.metric_set(metric, value));
}

pub(crate) fn metric_record(metric: i32, value: f64) {
    host(|host| host.metric_record(metric, value));
}

pub(crate) fn slot_load(slot: u32) -> i64 {
    host(|host| host.slot_load(slot)).unwrap_or(0)
}

pub(crate) fn slot_store(slot: u32, value: i64) {
    host(|host| host.slot_store(slot, value));
}

pub(crate) fn slot_add(slot: u32, by: i64) -> i64 {
    host(|host| host.slot_add(slot, by)).unwrap_or(0)
}

pub(crate) fn slot_swap(slot: u32, expected: i64, value: i64) -> i64 {
    host(|host| host.slot_swap(slot, expected, value)).unwrap_or(0)
}

pub(crate) fn shared_set(key: &[u8], value: &[u8], ms: u64) -> i32 {
    host(|host| host.shared_set(key, value, ms)).unwrap_or(answer::NOT_NOW)
}

pub(crate) fn shared_remove(key: &[u8]) -> i32 {
    host(|host| host.shared_remove(key)).unwrap_or(answer::NOT_NOW)
}

pub(crate) fn secret() -> [u8; 32] {
    host(|host| host.secret()).unwrap_or_default()
}

pub(crate) fn cache(what: u32, text: &[u8], seconds: u64) -> i32 {
    host(|host| host.cache(what, text, seconds)).unwrap_or(answer::NOT_NOW)
}

/// The plugin does nothing with outcomes.
pub(crate) fn is_deaf() {
    host(|host| host.is_deaf());
}

/// The state of the generator of random numbers; 0 before it has been seeded.
#[inline]
pub(crate) fn with_generator<T>(work: impl FnOnce(&Cell<u64>) -> T) -> T {
    // SAFETY: as in `scoped`.
    match unsafe { SCOPE.get().as_ref() } {
        Some(scope) => work(scope.generator),
        None => work(&Cell::new(0)),
    }
}
