//! A plugin by its name, its versions, and when a version is no longer trusted.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

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
    made: AtomicU64,
    history: Mutex<Vec<Entry>>,
    swaps: [AtomicU64; Swap::LABELS.len()],
}

/// A version that was in force.
#[derive(Clone)]
pub struct Entry {
    /// Which one.
    pub version: Arc<Version>,
    /// Since when, the last time.
    pub entered: SystemTime,
    /// How it came into force, the last time.
    pub reason: Reason,
}

/// How a version came into force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// It is what the configuration names.
    Source,
    /// An operator pushed it.
    Pushed,
    /// An operator, or a trial that went wrong, went back to it.
    RolledBack,
    /// The one after it failed too often.
    Recovered,
}

/// How the attempt to bring another version into force ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Swap {
    /// It is in force.
    Done,
    /// It cannot be used.
    Refused,
    /// It was tried and is not in force.
    RolledBack,
    /// Something else came before it was known how it does.
    Superseded,
}

/// One version of a plugin, with its configuration.
pub struct Version {
    /// Whose it is.
    pub plugin: Arc<Plugin>,
    /// What its instances share: the plugin's, or something of its own as long as it only watches.
    pub services: Arc<Services>,
    /// Which of the plugin's versions it is; those made later have higher ones.
    pub number: u64,
    /// Its code.
    pub code: Code,
    /// Its configuration, JSON.
    pub config: String,
    /// Its times and sizes.
    pub budget: Budget,
    /// When it was made.
    pub since: Instant,
    faults: Window,
    quarantined: AtomicBool,
    left: AtomicBool,
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

impl Reason {
    /// The word for it.
    pub const fn text(self) -> &'static str {
        match self {
            Reason::Source => "source",
            Reason::Pushed => "pushed",
            Reason::RolledBack => "rolled-back",
            Reason::Recovered => "recovered",
        }
    }
}

impl Swap {
    /// All words, in the order of the variants.
    pub const LABELS: &[&str] = &["done", "refused", "rolled-back", "superseded"];

    /// The word for it.
    pub const fn text(self) -> &'static str {
        match self {
            Swap::Done => "done",
            Swap::Refused => "refused",
            Swap::RolledBack => "rolled-back",
            Swap::Superseded => "superseded",
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
        let swaps = [const { AtomicU64::new(0) }; Swap::LABELS.len()];
        let services = Arc::new(Services::timed(name, time));
        Plugin { services, faults, made: AtomicU64::new(0), history: Mutex::default(), swaps }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.services.name()
    }

    /// How often each fault has happened.
    pub fn faults(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Fault::LABELS.iter().zip(&self.faults).map(|(label, count)| (*label, count.load(Ordering::Relaxed)))
    }

    /// How often attempts to bring another version into force ended so.
    pub fn swaps(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Swap::LABELS.iter().zip(&self.swaps).map(|(label, count)| (*label, count.load(Ordering::Relaxed)))
    }

    /// Counts the end of such an attempt.
    pub fn swapped(&self, swap: Swap) {
        if let Some(count) = self.swaps.get(swap as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Versions that were in force, in the order in which they were made.
    pub fn history(&self) -> Vec<Entry> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that a version is in force.
    pub fn enters(&self, version: &Arc<Version>, reason: Reason) {
        version.left.store(false, Ordering::Relaxed);
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = Entry { version: version.clone(), entered: SystemTime::now(), reason };
        let at = history.partition_point(|old| old.version.number < version.number);
        match history.get_mut(at).filter(|old| Arc::ptr_eq(&old.version, version)) {
            Some(old) => *old = entry,
            None => history.insert(at, entry),
        }
        while history.len() > REMEMBERED {
            // Never the one that is in force.
            let oldest = if at == 0 { 1 } else { 0 };
            history.remove(oldest);
        }
    }

    /// The version to go back to from this one: the newest of those before it that did not fail and that nobody went back from.
    pub fn before(&self, version: &Version) -> Option<Arc<Version>> {
        let older = |old: &&Entry| old.version.number < version.number && old.version.may_replace(version);
        self.history().iter().rev().find(older).map(|entry| entry.version.clone())
    }

    /// The latest version that was in force and did not fail, other than this one.
    pub fn last_good(&self, unfit: &Version) -> Option<Arc<Version>> {
        let latest = || self.history().into_iter().rev().find(|old| old.version.may_replace(unfit));
        self.before(unfit).or_else(|| latest().map(|entry| entry.version))
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
        let services = plugin.services.clone();
        Version::with(plugin, services, code, config, budget)
    }

    /// The same, with nothing that the plugin's other versions could see of it: no metric, no shared state.
    pub fn apart(&self) -> Version {
        let services = Arc::new(Services::timed(self.plugin.name(), self.services.time().clone()));
        Version::with(self.plugin.clone(), services, self.code.clone(), self.config.clone(), self.budget)
    }

    /// The same once more, which has not failed yet and shares what the plugin's versions share.
    pub fn anew(&self, budget: Budget) -> Version {
        Version::new(self.plugin.clone(), self.code.clone(), self.config.clone(), budget)
    }

    fn with(plugin: Arc<Plugin>, services: Arc<Services>, code: Code, config: String, budget: Budget) -> Version {
        Version {
            since: services.time().now(),
            services,
            number: plugin.made.fetch_add(1, Ordering::Relaxed),
            plugin,
            code,
            config,
            budget,
            faults: Window::default(),
            quarantined: AtomicBool::new(false),
            left: AtomicBool::new(false),
        }
    }

    /// Notes that somebody went back from it: nobody goes back to it without naming it.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    fn may_replace(&self, other: &Version) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        !self.is_quarantined() && !left && !self.is_like(&other.code, &other.config)
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
