//! The engine that all plugins share, and the clock that stops those which do not end.
//!
//! Compiled code looks at a number, the epoch, at the begin of each function and loop. The clock's thread counts it up; a call
//! that goes on meanwhile asks whether it may still, which [`super::guest::Patience`] answers by a clock that is worth reading.
//!
//! A thread that wakes takes the processor from a worker, and a thousand times in a second that costs requests more than their
//! plugins do. So the clock beats slowly while calls are short: each [`PULSE`], and not at all while there are none. A call
//! that is met by a beat makes it quick for as long as the call may last, and one that did not end in time for as long as it
//! takes to see whether others do the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::fault::LoadError;

/// Between two beats of the clock that is hurried.
const TICK: Duration = Duration::from_millis(1);
/// Between two beats of the clock that is not.
const PULSE: Duration = Duration::from_millis(10);
/// After so many pulses without a call the clock begins to doubt, after as many again it sleeps.
const ROUND: u32 = 8;
/// How long it sleeps at the most, which bounds what a missed wake-up can cost.
const NAP: Duration = Duration::from_millis(50);
/// How long it is hurried after a call that did not end.
const WARY: Duration = Duration::from_secs(10);
/// How many beats are quick at the most when nobody asks again.
const LONGEST: u32 = 10_000;
/// The stack of a plugin.
const STACK: usize = 256 * 1024;

/// The engine.
pub struct Engine {
    wasm: wasmtime::Engine,
    clock: Arc<Clock>,
    thread: Option<JoinHandle<()>>,
}

/// Whether plugins are called.
pub(super) struct Clock {
    state: AtomicU8,
    /// So many more beats are quick.
    hurried: AtomicU32,
}

const SLEEPING: u8 = 0;
const DOUBTING: u8 = 1;
const CALLED: u8 = 2;
const LEAVING: u8 = 3;

impl Engine {
    /// Starts the engine and its clock.
    pub fn new() -> Result<Engine, LoadError> {
        let wasm = wasmtime::Engine::new(&settings()).map_err(|error| LoadError::Engine(error.to_string()))?;
        let clock = Arc::new(Clock { state: AtomicU8::new(SLEEPING), hurried: AtomicU32::new(0) });
        let (ticking, engine) = (clock.clone(), wasm.clone());
        let thread = std::thread::Builder::new().name("plugin-clock".into()).spawn(move || ticking.run(&engine));
        let thread = thread.map_err(|error| LoadError::Engine(error.to_string()))?;
        Ok(Engine { wasm, clock, thread: Some(thread) })
    }

    /// The engine as wasmtime knows it.
    pub(super) fn wasm(&self) -> &wasmtime::Engine {
        &self.wasm
    }

    /// The clock, to be told of calls.
    pub(super) fn clock(&self) -> Called {
        let thread = self.thread.as_ref().map(|thread| thread.thread().clone());
        Called { clock: self.clock.clone(), thread }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.clock.state.store(LEAVING, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

fn settings() -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config.epoch_interruption(true);
    config.max_wasm_stack(STACK);
    config.wasm_multi_memory(false);
    config.wasm_memory64(false);
    config.wasm_relaxed_simd(false);
    config.wasm_tail_call(false);
    // A module takes one thread, which its caller counts: threads that all share would leave a small one waiting for a large one.
    config.parallel_compilation(false);
    config.cranelift_opt_level(wasmtime::OptLevel::Speed);
    config
}

/// The way to tell the clock that a plugin is about to be called.
#[derive(Clone)]
pub(super) struct Called {
    clock: Arc<Clock>,
    thread: Option<std::thread::Thread>,
}

impl Called {
    /// Makes sure that the clock runs: one load, but for the first call after a pause.
    #[inline]
    pub(super) fn now(&self) {
        if self.clock.state.load(Ordering::Relaxed) != CALLED {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        let doubting = [SLEEPING, DOUBTING].into_iter().find(|&before| {
            self.clock.state.compare_exchange(before, CALLED, Ordering::AcqRel, Ordering::Acquire).is_ok()
        });
        if doubting == Some(SLEEPING)
            && let Some(thread) = &self.thread
        {
            thread.unpark();
        }
    }

    /// A call was met that may last so long.
    #[cold]
    pub(super) fn hurry(&self, time: Duration) {
        let beats = time.as_micros().div_ceil(TICK.as_micros()).saturating_add(1);
        let beats = u32::try_from(beats).unwrap_or(u32::MAX).min(LONGEST);
        if self.clock.hurried.fetch_max(beats, Ordering::AcqRel) == 0
            && let Some(thread) = &self.thread
        {
            thread.unpark();
        }
    }

    /// A call did not end in time.
    #[cold]
    pub(super) fn be_wary(&self) {
        self.hurry(WARY);
    }
}

impl Clock {
    fn run(&self, engine: &wasmtime::Engine) {
        let mut pulses = 0;
        loop {
            if self.hurried.load(Ordering::Acquire) > 0 {
                std::thread::sleep(TICK);
                self.hurried.fetch_sub(1, Ordering::AcqRel);
            } else {
                std::thread::park_timeout(PULSE);
                pulses += 1;
            }
            engine.increment_epoch();
            if self.state.load(Ordering::Acquire) == LEAVING {
                return;
            }
            if pulses < ROUND {
                continue;
            }
            pulses = 0;
            let turn = |from, to| self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok();
            if turn(CALLED, DOUBTING) {
                continue;
            }
            turn(DOUBTING, SLEEPING);
            while self.state.load(Ordering::Acquire) == SLEEPING && self.hurried.load(Ordering::Acquire) == 0 {
                std::thread::park_timeout(NAP);
                // A call that lasts is none that begins: nobody has woken this clock, and the call is to be met all the same.
                engine.increment_epoch();
            }
        }
    }
}
