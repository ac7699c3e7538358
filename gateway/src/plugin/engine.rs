//! The engine that all plugins share, and the clock that stops those which do not end.
//!
//! Compiled code looks at a number, the epoch, at the begin of each function and loop. The clock's thread counts it up every
//! [`TICK`] while plugins are called, and sleeps when none is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::fault::LoadError;

/// How long an epoch is.
const TICK: Duration = Duration::from_millis(1);
/// After so many ticks without a call the clock begins to doubt, after as many again it sleeps.
const ROUND: u32 = 64;
/// How long it sleeps at the most, which bounds what a missed wake-up can cost.
const NAP: Duration = Duration::from_millis(50);
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
}

const SLEEPING: u8 = 0;
const DOUBTING: u8 = 1;
const CALLED: u8 = 2;
const LEAVING: u8 = 3;

impl Engine {
    /// Starts the engine and its clock.
    pub fn new() -> Result<Engine, LoadError> {
        let wasm = wasmtime::Engine::new(&settings()).map_err(|error| LoadError::Engine(error.to_string()))?;
        let clock = Arc::new(Clock { state: AtomicU8::new(SLEEPING) });
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
}

/// How many epochs a call may last that may take so long: one more than fit, since the first may be nearly over.
pub(super) fn epochs(time: Duration) -> u64 {
    u64::try_from(time.as_micros().div_ceil(TICK.as_micros())).unwrap_or(u64::MAX / 4).saturating_add(1)
}

impl Clock {
    fn run(&self, engine: &wasmtime::Engine) {
        let mut ticks = 0;
        loop {
            std::thread::sleep(TICK);
            engine.increment_epoch();
            ticks += 1;
            if ticks < ROUND {
                continue;
            }
            ticks = 0;
            let turn = |from, to| self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok();
            if turn(CALLED, DOUBTING) {
                continue;
            }
            turn(DOUBTING, SLEEPING);
            while self.state.load(Ordering::Acquire) == SLEEPING {
                let began = Instant::now();
                std::thread::park_timeout(NAP);
                // A call that lasts is none that begins: nobody has woken this clock, and the time passes all the same.
                let slept = began.elapsed().as_micros() / TICK.as_micros();
                (0..slept.max(1)).for_each(|_| engine.increment_epoch());
            }
            if self.state.load(Ordering::Acquire) == LEAVING {
                return;
            }
        }
    }
}
