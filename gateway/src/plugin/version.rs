//! A plugin by its name, its versions, and when a version is no longer trusted.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use gatewright_abi::import;
use gatewright_sdk::native;

use super::compile::{Compiled, Digest};
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

/// Why a name is that of no one version. Says which there are.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unclear {
    /// No version is called that.
    #[error("no such version was in force; there were {}", .0.join(", "))]
    None(Vec<String>),
    /// Versions of one module with several configurations.
    #[error("several versions of that module were in force: {}; give one of these", .0.join(", "))]
    Several(Vec<String>),
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
    name: String,
    faults: Lately,
    quarantined: AtomicBool,
    left: AtomicBool,
    heavy: AtomicBool,
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

    /// Whether it may speak to the cache. What is linked in does not say.
    pub fn keys_cache(&self) -> bool {
        match self {
            Code::Wasm(compiled) => compiled.interface.imports.iter().any(|name| name == import::CACHE),
            Code::BuiltIn(..) => true,
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

    /// What a version of it with this configuration is called: its name, and the begin of the configuration's hash.
    pub fn with(&self, config: &str) -> String {
        let config: String = Digest::of(config.as_bytes()).to_string().chars().take(6).collect();
        format!("{}.{config}", self.name())
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
const TOLERATED: usize = 20;
/// How long a fault is remembered.
const WINDOW: Duration = Duration::from_secs(10);

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

    /// Notes that a version is in force; that it still is, when it was before.
    pub fn enters(&self, version: &Arc<Version>, reason: Reason, before: Option<&Version>) {
        version.left.store(false, Ordering::Relaxed);
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let at = history.partition_point(|old| old.version.number < version.number);
        let known = history.get_mut(at).filter(|old| old.version.is(version));
        let stays = known.as_ref().filter(|_| before.is_some_and(|before| before.is(version)));
        let entered = stays.map_or_else(SystemTime::now, |old| old.entered);
        let entry = Entry { version: version.clone(), entered, reason };
        match known {
            Some(old) => *old = entry,
            None => history.insert(at, entry),
        }
        while history.len() > REMEMBERED {
            // Never the one that is in force; and first those that failed, so that there is one to go back to.
            let may_go = |old: &Entry| !old.version.is(version);
            let failed = history.iter().position(|old| may_go(old) && old.version.is_quarantined());
            let Some(place) = failed.or_else(|| history.iter().position(may_go)) else { break };
            history.remove(place);
        }
    }

    /// The version to go back to from this one: the newest of those before it that did not fail and that nobody went back from.
    pub fn before(&self, version: &Version) -> Option<Arc<Version>> {
        let older = |old: &&Entry| old.version.number < version.number && old.version.may_replace(version);
        self.history().iter().rev().find(older).map(|entry| entry.version.clone())
    }

    /// The version that somebody means by this name, or by that of its module alone; the latest, when there are several alike.
    pub fn named(&self, name: &str) -> Result<Arc<Version>, Unclear> {
        let history = self.history();
        let latest = |found: &dyn Fn(&Version) -> bool| {
            history.iter().rev().map(|entry| &entry.version).find(|version| found(version)).cloned()
        };
        if let Some(found) = latest(&|version| version.name == name) {
            return Ok(found);
        }
        let names = |found: &dyn Fn(&Version) -> bool| {
            let mut names: Vec<String> = Vec::new();
            for entry in history.iter().filter(|entry| found(&entry.version)) {
                if !names.contains(&entry.version.name) {
                    names.push(entry.version.name.clone());
                }
            }
            names
        };
        let is_module = |version: &Version| version.code.name() == name;
        match (names(&is_module), latest(&is_module)) {
            (meant, Some(found)) if meant.len() == 1 => Ok(found),
            (meant, Some(_)) => Err(Unclear::Several(meant)),
            (_, None) => Err(Unclear::None(names(&|_| true))),
        }
    }

    /// The latest version that was in force and did not fail, other than this one.
    pub fn last_good(&self, unfit: &Version) -> Option<Arc<Version>> {
        let latest = || self.history().into_iter().rev().find(|old| old.version.may_replace(unfit));
        self.before(unfit).or_else(|| latest().map(|entry| entry.version))
    }

    /// Counts a fault.
    pub(super) fn count(&self, fault: Fault) {
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

    /// The same within other bounds: no other version to whoever names it, counts or goes back.
    pub fn within(&self, budget: Budget) -> Version {
        Version { number: self.number, ..self.anew(budget) }
    }

    fn with(plugin: Arc<Plugin>, services: Arc<Services>, code: Code, config: String, budget: Budget) -> Version {
        Version {
            since: services.time().now(),
            services,
            number: plugin.made.fetch_add(1, Ordering::Relaxed),
            plugin,
            name: code.with(&config),
            code,
            config,
            budget,
            faults: Lately::default(),
            quarantined: AtomicBool::new(false),
            left: AtomicBool::new(false),
            heavy: AtomicBool::new(false),
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

    /// What it is called everywhere: `MODULE.CONFIG`, the begins of two hashes; of a built-in `builtin:NAME.CONFIG`.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// Whether it is the same version, whatever its bounds.
    pub fn is(&self, other: &Version) -> bool {
        self.number == other.number
    }

    /// Whether it is this code with this configuration.
    pub fn is_like(&self, code: &Code, config: &str) -> bool {
        self.code.is(code) && self.config == config
    }

    /// Whether an instance of it was seen to take longer over its endpoints than a worker is to be held up.
    pub fn is_heavy(&self) -> bool {
        self.heavy.load(Ordering::Relaxed)
    }

    /// One was.
    pub(super) fn was_found_heavy(&self) {
        self.heavy.store(true, Ordering::Relaxed);
    }

    /// Whether it was found unfit.
    #[inline]
    pub fn is_quarantined(&self) -> bool {
        self.quarantined.load(Ordering::Relaxed)
    }

    /// Nobody calls it any more. Whether anybody still did.
    pub(super) fn condemn(&self) -> bool {
        !self.quarantined.swap(true, Ordering::AcqRel)
    }

    /// Counts a fault. Whether this was the one too many.
    pub fn note(&self, fault: Fault, now: Instant) -> bool {
        self.plugin.count(fault);
        if !fault.counts_against_version() {
            return false;
        }
        let many = self.faults.add(now.saturating_duration_since(self.since));
        many && self.condemn()
    }
}

/// When the latest faults were: as many as are tolerated. The next one takes the place of the first of them, and sees whether that was
/// just now.
struct Lately {
    /// Nanoseconds, and one more: 0 where there was none yet.
    at: [AtomicU64; TOLERATED],
    next: AtomicUsize,
}

impl Default for Lately {
    fn default() -> Lately {
        Lately { at: [const { AtomicU64::new(0) }; TOLERATED], next: AtomicUsize::new(0) }
    }
}

impl Lately {
    /// Notes a fault. Whether there were more than are tolerated within [`WINDOW`], with this one.
    fn add(&self, since: Duration) -> bool {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let now = nanos(since).saturating_add(1);
        let place = self.next.fetch_add(1, Ordering::Relaxed) % TOLERATED;
        let before = self.at.get(place).map_or(0, |at| at.swap(now, Ordering::Relaxed));
        before > 0 && now.saturating_sub(before) < nanos(WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn faults_are_too_many_wherever_the_window_lies() {
        let (ms, nanosecond) = (Duration::from_millis, Duration::from_nanos(1));
        let spread = |first: Duration, step: Duration| (0..=TOLERATED as u32).map(move |nth| first + step * nth);
        let step = WINDOW / TOLERATED as u32;
        for (what, times, too_many) in [
            ("at once", spread(ms(0), ms(0)).collect::<Vec<_>>(), true),
            ("across a border of ten seconds", spread(ms(9_900), ms(10)).collect(), true),
            ("across the begin of a window", spread(ms(5_000), ms(499)).collect(), true),
            ("one too few", spread(ms(0), ms(0)).skip(1).collect(), false),
            ("just within", spread(ms(1), step - nanosecond).collect(), true),
            ("just not within", spread(ms(1), step).collect(), false),
        ] {
            let lately = Lately::default();
            let found: Vec<bool> = times.iter().map(|at| lately.add(*at)).collect();
            assert_eq!(found.last(), Some(&too_many), "{what}");
            assert!(!found.iter().rev().skip(1).any(|found| *found), "{what}");
        }
    }

    #[test]
    fn however_many_fail_there_is_one_to_go_back_to() {
        let plugin = Arc::new(Plugin::new("mine"));
        let budget = Budget { decision: WINDOW, configure: WINDOW, memory: 0 };
        let version = |code: &str, config: &str| {
            let code = crate::plugin::built_in(code).expect("a built-in");
            Arc::new(Version::new(plugin.clone(), code, config.to_owned(), budget))
        };
        let good = version("p2c", "{}");
        plugin.enters(&good, Reason::Source, None);
        for _ in 0..3 * REMEMBERED {
            let bad = version("round-robin", "{}");
            plugin.enters(&bad, Reason::Pushed, Some(&good));
            let now = Instant::now();
            assert!((0..=TOLERATED).any(|_| bad.note(Fault::Trap, now)));
            assert!(plugin.last_good(&bad).is_some_and(|found| found.is(&good)));
            plugin.enters(&good, Reason::Recovered, Some(&bad));
        }
        assert_eq!(plugin.history().len(), REMEMBERED);
        // Where none has failed the oldest goes.
        for number in 0..2 * REMEMBERED {
            plugin.enters(&version("p2c", &number.to_string()), Reason::Pushed, None);
        }
        assert!(!plugin.history().iter().any(|entry| entry.version.is(&good)));
    }

    proptest! {
        #[test]
        fn faults_are_too_many_when_a_list_of_all_says_so(gaps in prop::collection::vec(0u64..900, 1..200)) {
            let (lately, mut all, mut now) = (Lately::default(), Vec::new(), Duration::ZERO);
            for gap in gaps {
                now += Duration::from_millis(gap);
                all.push(now);
                let within = all.iter().filter(|at| now - **at < WINDOW).count();
                prop_assert_eq!(lately.add(now), within > TOLERATED, "{} within the window", within);
            }
        }
    }
}
