//! What the gateway keeps beside one instance: its bounds, what it may use, and the request of the current call.

use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatewright_abi::COLUMNS;
use wasmtime::{Memory, ResourceLimiter};

use super::effort::thread_time;
use super::offer::{Now, Offer};
use super::request::Head;
use super::services::Services;

/// The data of a store.
pub(super) struct Guest {
    pub(super) offer: Offer,
    /// Found after instantiation; until then no import may be given addresses.
    pub(super) memory: Option<Memory>,
    /// Addresses of columns, 0 when they are not there.
    pub(super) columns: [u32; COLUMNS],
    pub(super) bounds: Bounds,
    /// What the current call may take, and since when it is over that.
    pub(super) patience: Patience,
    head: Option<Shown>,
}

/// A request that is lent for the time of one call.
struct Shown(NonNull<dyn Head>);

// SAFETY: a `Shown` exists only while `Guest::show` runs, on the thread that runs it; between calls there is none to be sent.
#[allow(unsafe_code)]
unsafe impl Send for Shown {}

impl Guest {
    pub(super) fn new(services: Arc<Services>, bounds: Bounds, seed: u64) -> Guest {
        Guest {
            offer: Offer::new(services, seed),
            memory: None,
            columns: [0; COLUMNS],
            bounds,
            patience: Patience::default(),
            head: None,
        }
    }

    /// The request of the current call.
    pub(super) fn head(&self) -> Now<'_> {
        // SAFETY: `show` keeps the request borrowed for as long as the pointer is here.
        #[allow(unsafe_code)]
        self.head.as_ref().map(|shown| unsafe { shown.0.as_ref() })
    }

    /// The same, with what may be noted about it.
    pub(super) fn desk(&mut self) -> (Now<'_>, &mut Offer) {
        // SAFETY: as in `head`.
        #[allow(unsafe_code)]
        let head = self.head.as_ref().map(|shown| unsafe { shown.0.as_ref() });
        (head, &mut self.offer)
    }
}

/// Lends the request to the instance while `call` runs.
pub(super) fn show<S, R>(
    store: &mut S,
    guest: impl Fn(&mut S) -> &mut Guest,
    head: &dyn Head,
    call: impl FnOnce(&mut S) -> R,
) -> R {
    struct Hide<'a, S, G: Fn(&mut S) -> &mut Guest>(&'a mut S, G);
    impl<S, G: Fn(&mut S) -> &mut Guest> Drop for Hide<'_, S, G> {
        fn drop(&mut self) {
            (self.1)(self.0).head = None;
        }
    }
    let pointer: NonNull<dyn Head + '_> = NonNull::from(head);
    // SAFETY: only the lifetime changes. `Hide` takes the pointer away before `head` ends, also when `call` panics, and nothing
    // but `Guest::head` reads it, whose result borrows the guest.
    #[allow(unsafe_code)]
    let pointer: NonNull<dyn Head> = unsafe { std::mem::transmute(pointer) };
    guest(store).head = Some(Shown(pointer));
    let hide = Hide(store, guest);
    call(hide.0)
}

/// How long a call may go on. It is asked at the first beat of the clock that meets a call, and at each one after. What a call
/// took before nobody knows, so it has its time from there, by the clock of the processor: a thread that others keep from
/// running must not be taken for a plugin that does not end.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Patience {
    /// The call's time.
    pub(super) time: Duration,
    /// What the thread had used when the call was met, and when that was.
    met: Option<(Duration, Instant)>,
}

impl Patience {
    /// So long is a call borne with, beyond its time, whose thread others keep from running.
    const HELD_UP: Duration = Duration::from_millis(200);

    /// For a call that may take so long.
    pub(super) fn new(time: Duration) -> Patience {
        Patience { time, met: None }
    }

    /// What is left of its time, if anything is.
    pub(super) fn more(&mut self) -> Option<Duration> {
        let (used, now) = (thread_time(), Instant::now());
        let (since, met) = *self.met.get_or_insert((used, now));
        let held_up = now.saturating_duration_since(met) >= self.time + Self::HELD_UP;
        let left = self.time.checked_sub(used.saturating_sub(since)).filter(|left| !left.is_zero());
        left.filter(|_| !held_up)
    }
}

/// What an instance may take up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of memory.
    pub(super) memory: usize,
    /// Whether it was refused more.
    pub(super) wanted_more: bool,
}

/// Elements of all tables.
pub(super) const TABLE_ELEMENTS: usize = 100_000;

impl ResourceLimiter for Bounds {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let fits = desired <= self.memory;
        self.wanted_more |= !fits;
        Ok(fits)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let fits = desired <= TABLE_ELEMENTS;
        self.wanted_more |= !fits;
        Ok(fits)
    }

    fn instances(&self) -> usize {
        1
    }

    fn memories(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        8
    }
}
