//! A plugin by its name, its versions, and when a version is no longer trusted.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gatewright_sdk::native;

use super::compile::Compiled;
use super::fault::Fault;
use super::instance::Budget;
use super::services::Services;
use super::time::Time;

/// A plugin by its name. It lives as long as the gateway, over all its versions.
pub struct Plugin {
    /// What its instances share.
    pub services: Arc<Services>,
    faults: [AtomicU64; Fault::LABELS.len()],
    history: Mutex<Vec<Arc<Version>>>,
}

/// One version of a plugin, with its configuration.
pub struct Version {
    /// Whose it is.
    pub plugin: Arc<Plugin>,
    /// Its code.
    pub code: Code,
    /// Its configuration, JSON.
    pub config: String,
    /// Its times and sizes.
    pub budget: Budget,
    /// Since when it is in force.
    pub since: Instant,
    faults: Window,
    quarantined: AtomicBool,
}

/// What a version runs.
#[derive(Clone)]
pub enum Code {
    /// A compiled module.
    Wasm(Arc<Compiled>),
    /// A plugin that is linked in, by its name.
    BuiltIn(&'static str, native::Plugin),
}

impl Code {
    /// Bits of [`gatewright_abi::kind`].
    pub fn kinds(&self) -> u32 {
        match self {
            Code::Wasm(compiled) => compiled.interface.kinds,
            Code::BuiltIn(_, plugin) => plugin.kinds(),
        }
    }

    /// Whether the other is the same code.
    pub fn is(&self, other: &Code) -> bool {
        match (self, other) {
            (Code::Wasm(one), Code::Wasm(other)) => one.digest == other.digest,
            (Code::BuiltIn(one, _), Code::BuiltIn(other, _)) => one == other,
            _ => false,
        }
    }

    /// The begin of a module's hash, or `builtin:NAME`.
    pub fn name(&self) -> String {
        match self {
            Code::Wasm(compiled) => compiled.digest.short(),
            Code::BuiltIn(name, _) => format!("builtin:{name}"),
        }
    }
}

/// Versions that are remembered.
const REMEMBERED: usize = 8;
/// So many faults within [`WINDOW`], from all workers, and a version is not called any more.
pub(super) const TOLERATED: u32 = 20;
/// How long a fault is remembered.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

impl Plugin {
    /// One of this name.
    pub fn new(name: &str) -> Plugin {
        Plugin::timed(name, Time::Machine)
    }

    /// The same, by another clock.
    pub fn timed(name: &str, time: Time) -> Plugin {
        let faults = [const { AtomicU64::new(0) }; Fault::LABELS.len()];
        Plugin { services: Arc::new(Services::timed(name, time)), faults, history: Mutex::default() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.services.name()
    }

    /// How often each fault has happened.
    pub fn faults(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Fault::LABELS.iter().zip(&self.faults).map(|(label, count)| (*label, count.load(Ordering::Relaxed)))
    }

    /// Versions that were in force, the latest last.
    pub fn history(&self) -> Vec<Arc<Version>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that a version is in force.
    pub fn enters(&self, version: &Arc<Version>) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.retain(|old| !Arc::ptr_eq(old, version));
        history.push(version.clone());
        let surplus = history.len().saturating_sub(REMEMBERED);
        history.drain(..surplus);
    }

    /// The latest version that was in force and did not fail, other than this one.
    pub fn last_good(&self, unfit: &Version) -> Option<Arc<Version>> {
        let good = |old: &Arc<Version>| !old.is_quarantined() && !old.is_like(&unfit.code, &unfit.config);
        self.history().into_iter().rev().find(good)
    }

    fn count(&self, fault: Fault) {
        let place = Fault::LABELS.iter().position(|label| *label == fault.label());
        if let Some(count) = place.and_then(|place| self.faults.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Version {
    /// A version that was just compiled.
    pub fn new(plugin: Arc<Plugin>, code: Code, config: String, budget: Budget) -> Version {
        Version {
            since: plugin.services.time().now(),
            plugin,
            code,
            config,
            budget,
            faults: Window::default(),
            quarantined: AtomicBool::new(false),
        }
    }

    /// What it is called in logs and metrics: the begin of its module's hash, or `builtin:NAME`.
    pub fn name(&self) -> String {
        self.code.name()
    }

    /// Whether it is this code with this configuration.
    pub fn is_like(&self, code: &Code, config: &str) -> bool {
        self.code.is(code) && self.config == config
    }

    /// Whether it was found unfit.
    #[inline]
    pub fn is_quarantined(&self) -> bool {
        self.quarantined.load(Ordering::Relaxed)
    }

    /// Counts a fault. Whether this was the one too many.
    pub fn note(&self, fault: Fault, now: Instant) -> bool {
        self.plugin.count(fault);
        if !fault.counts_against_version() {
            return false;
        }
        let many = self.faults.add(now.saturating_duration_since(self.since)) > TOLERATED;
        many && !self.quarantined.swap(true, Ordering::AcqRel)
    }
}

/// Faults of late: how many in this window and in the one before, as one number each.
#[derive(Default)]
struct Window {
    number: AtomicU64,
    count: AtomicU32,
}

impl Window {
    /// Counts one; how many there are in the current window.
    fn add(&self, since: Duration) -> u32 {
        let number = since.as_secs() / WINDOW.as_secs();
        if self.number.swap(number, Ordering::AcqRel) != number {
            self.count.store(0, Ordering::Release);
        }
        self.count.fetch_add(1, Ordering::AcqRel) + 1
    }
}
