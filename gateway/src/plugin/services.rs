//! What a plugin may use beside the request: metrics, a log, state that all workers share. One for each plugin by name; it
//! outlives versions and reloads.
//!
//! Invariant: everything has a bound. Metrics and slots are atomics; only shared entries stand behind locks, each held for
//! the time of one copy.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use aws_lc_rs::{digest, rand};
use gatewright_abi::{answer, bound, level, metric};
use gatewright_sdk::mock::record;

use super::time::Time;

/// What all instances of one plugin share.
pub struct Services {
    name: String,
    slots: [AtomicI64; bound::SLOTS as usize],
    series: RwLock<Vec<Arc<Series>>>,
    series_refused: AtomicU64,
    shared: Shared,
    lines: Lines,
    time: Time,
    /// What `random` answers in a replay.
    told: Option<AtomicU64>,
}

/// One series of a metric.
#[derive(Debug)]
pub struct Series {
    /// What it measures.
    pub name: String,
    /// A label and its value, if it has one.
    pub label: Option<(String, String)>,
    /// How it counts.
    pub value: Value,
}

/// The value of a series. Numbers are the bits of an `f64`.
#[derive(Debug)]
pub enum Value {
    /// Only grows.
    Counter(AtomicU64),
    /// Goes up and down.
    Gauge(AtomicU64),
    /// How many values lay up to each of [`BOUNDS`], above all of them, and their sum.
    Histogram(Box<[AtomicU64; BOUNDS.len() + 1]>, AtomicU64),
}

/// The upper bounds of a histogram's buckets: a quarter of a decade from a millionth to a million.
pub const BOUNDS: [f64; 25] = [
    1e-6, 3.2e-6, 1e-5, 3.2e-5, 1e-4, 3.2e-4, 1e-3, 3.2e-3, 1e-2, 3.2e-2, 0.1, 0.32, 1.0, 3.2, 10.0, 32.0, 100.0,
    320.0, 1e3, 3.2e3, 1e4, 3.2e4, 1e5, 3.2e5, 1e6,
];

/// The secret of the plugin of this name, as long as this process runs: pools and plugins may be made anew.
fn secret(name: &str) -> [u8; 32] {
    static BASE: OnceLock<[u8; 32]> = OnceLock::new();
    let base = BASE.get_or_init(|| {
        let mut base = [0; 32];
        // The system's generator does not fail once it has begun. A weak secret is worse than none that others can have.
        rand::fill(&mut base).expect("the system has random numbers");
        base
    });
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(base);
    context.update(name.as_bytes());
    let mut secret = [0; 32];
    secret.iter_mut().zip(context.finish().as_ref()).for_each(|(byte, of)| *byte = *of);
    secret
}

impl Services {
    /// For the plugin of this name.
    pub fn new(name: &str) -> Services {
        Services::timed(name, Time::Machine)
    }

    /// The same, by another clock.
    pub fn timed(name: &str, time: Time) -> Services {
        Services {
            name: name.to_owned(),
            slots: [const { AtomicI64::new(0) }; bound::SLOTS as usize],
            series: RwLock::default(),
            series_refused: AtomicU64::new(0),
            shared: Shared::default(),
            lines: Lines::default(),
            time,
            told: None,
        }
    }

    /// For a plugin that is asked once more what it was asked before: time and chance are those of [`Services::tell`].
    pub fn replaying(name: &str) -> Services {
        Services { told: Some(AtomicU64::new(0)), ..Services::timed(name, Time::told()) }
    }

    /// What `clock`, `unix_time` and `random` answer in a replay from now on.
    pub fn tell(&self, micros: u64, unix_millis: u64, random: u64) {
        self.time.set(Duration::from_micros(micros));
        self.time.set_begin(Duration::from_millis(unix_millis).saturating_sub(Duration::from_micros(micros)));
        if let Some(told) = &self.told {
            told.store(random, Ordering::Relaxed);
        }
    }

    /// Random bits that were told; none when chance decides.
    pub(super) fn told_random(&self) -> Option<u64> {
        self.told.as_ref().map(|told| told.load(Ordering::Relaxed))
    }

    /// What only this plugin knows; where time is told, that is too.
    pub fn secret(&self) -> [u8; 32] {
        if matches!(self.time, Time::Machine) { secret(&self.name) } else { record::SECRET }
    }

    /// What time it is for the plugin.
    #[inline]
    pub fn time(&self) -> &Time {
        &self.time
    }

    /// The plugin's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes a line to the log, unless there were too many in this second.
    pub fn log(&self, at: u32, text: &[u8]) {
        let Some(missed) = self.lines.admit(self.time.now()) else { return };
        let text = String::from_utf8_lossy(text.get(..bound::LOG_BYTES).unwrap_or(text));
        let plugin = &*self.name;
        match at {
            level::ERROR => tracing::error!(plugin, "{text}"),
            level::WARN => tracing::warn!(plugin, "{text}"),
            level::INFO => tracing::info!(plugin, "{text}"),
            _ => tracing::debug!(plugin, "{text}"),
        }
        if missed > 0 {
            tracing::warn!(plugin, lines = missed, "lines of this plugin were dropped: it logs too much");
        }
    }

    /// How many log lines were dropped.
    pub fn lines_dropped(&self) -> u64 {
        self.lines.dropped.load(Ordering::Relaxed)
    }

    /// The series of this kind, name and label, made when it is new.
    pub fn series(&self, kind: u32, name: &[u8], label: &[u8], value: &[u8]) -> Result<Arc<Series>, i32> {
        let text = |bytes: &[u8]| match bytes.len() <= bound::METRIC_BYTES {
            true => String::from_utf8(bytes.to_vec()).map_err(|_| answer::INVALID),
            false => Err(answer::INVALID),
        };
        let (name, label, label_value) = (text(name)?, text(label)?, text(value)?);
        let label = (!label.is_empty()).then_some((label, label_value));
        let valid = is_metric_name(&name) && label.as_ref().is_none_or(|(label, _)| is_metric_name(label));
        if !valid {
            return Err(answer::INVALID);
        }
        let value = match kind {
            metric::COUNTER => Value::Counter(AtomicU64::new(0)),
            metric::GAUGE => Value::Gauge(AtomicU64::new(0)),
            metric::HISTOGRAM => {
                Value::Histogram(Box::new([const { AtomicU64::new(0) }; BOUNDS.len() + 1]), AtomicU64::new(0))
            }
            _ => return Err(answer::INVALID),
        };
        let mut all = self.series.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = all.iter().find(|series| series.name == name) {
            // One name is one kind, with one label.
            let alike = std::mem::discriminant(&same.value) == std::mem::discriminant(&value)
                && same.label.as_ref().map(|(label, _)| label) == label.as_ref().map(|(label, _)| label);
            if !alike {
                return Err(answer::INVALID);
            }
        }
        if let Some(known) = all.iter().find(|series| series.name == name && series.label == label) {
            return Ok(known.clone());
        }
        if all.len() >= bound::METRICS {
            self.series_refused.fetch_add(1, Ordering::Relaxed);
            return Err(answer::FULL);
        }
        let series = Arc::new(Series { name, label, value });
        all.push(series.clone());
        Ok(series)
    }

    /// How often a further series was wanted than there may be.
    pub fn series_refused(&self) -> u64 {
        self.series_refused.load(Ordering::Relaxed)
    }

    /// All series, for those who read them.
    pub fn all_series(&self) -> Vec<Arc<Series>> {
        self.series.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The value of a slot; of one that is not there 0.
    pub fn slot_load(&self, number: u32) -> i64 {
        self.slot(number).map_or(0, |slot| slot.load(Ordering::Acquire))
    }

    /// Gives a slot a value.
    pub fn slot_store(&self, number: u32, value: i64) {
        if let Some(slot) = self.slot(number) {
            slot.store(value, Ordering::Release);
        }
    }

    /// Adds to a slot; the value before.
    pub fn slot_add(&self, number: u32, by: i64) -> i64 {
        self.slot(number).map_or(0, |slot| slot.fetch_add(by, Ordering::AcqRel))
    }

    /// Gives a slot a value if it has the one that is expected; the value before.
    pub fn slot_swap(&self, number: u32, expected: i64, value: i64) -> i64 {
        let swap = |slot: &AtomicI64| slot.compare_exchange(expected, value, Ordering::AcqRel, Ordering::Acquire);
        self.slot(number).map_or(0, |slot| swap(slot).unwrap_or_else(|found| found))
    }

    fn slot(&self, number: u32) -> Option<&AtomicI64> {
        self.slots.get(usize::try_from(number).ok()?)
    }

    /// State by key.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }
}

fn is_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

impl Series {
    /// Adds to a counter or a gauge. A counter takes no less than nothing.
    pub fn add(&self, by: f64) {
        match &self.value {
            Value::Counter(bits) if by >= 0.0 && by.is_finite() => add(bits, by),
            Value::Gauge(bits) if by.is_finite() => add(bits, by),
            _ => {}
        }
    }

    /// Sets a gauge.
    pub fn set(&self, to: f64) {
        if let Value::Gauge(bits) = &self.value {
            bits.store(to.to_bits(), Ordering::Relaxed);
        }
    }

    /// Records a value in a histogram.
    pub fn record(&self, value: f64) {
        if let Value::Histogram(buckets, sum) = &self.value
            && value.is_finite()
        {
            let bucket = BOUNDS.partition_point(|bound| *bound < value);
            if let Some(bucket) = buckets.get(bucket) {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
            add(sum, value);
        }
    }
}

fn add(bits: &AtomicU64, by: f64) {
    let sum = |before| Some((f64::from_bits(before) + by).to_bits());
    // The function always gives a value.
    let _ = bits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
}

/// Log lines in the current second.
#[derive(Default)]
struct Lines {
    /// Since the first line.
    second: AtomicU64,
    count: AtomicU32,
    missed: AtomicU32,
    dropped: AtomicU64,
    began: std::sync::OnceLock<Instant>,
}

impl Lines {
    /// Whether one more may be written now; how many were dropped before it.
    fn admit(&self, now: Instant) -> Option<u32> {
        let began = *self.began.get_or_init(|| now);
        let second = now.saturating_duration_since(began).as_secs();
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.count.store(0, Ordering::Relaxed);
        }
        if self.count.fetch_add(1, Ordering::Relaxed) < bound::LOG_LINES {
            return Some(self.missed.swap(0, Ordering::Relaxed));
        }
        self.missed.fetch_add(1, Ordering::Relaxed);
        self.dropped.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// Bytes by key, in shards.
#[derive(Default)]
pub struct Shared {
    shards: [Mutex<HashMap<Vec<u8>, Entry>>; 16],
    hasher: std::hash::RandomState,
    entries: AtomicU64,
    bytes: AtomicU64,
}

struct Entry {
    value: Vec<u8>,
    until: Option<Instant>,
}

impl Shared {
    fn shard(&self, key: &[u8]) -> Option<std::sync::MutexGuard<'_, HashMap<Vec<u8>, Entry>>> {
        let number = self.hasher.hash_one(key) as usize % self.shards.len();
        Some(self.shards.get(number)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hands the value of a key to the reader. Whether there is one.
    pub fn read(&self, key: &[u8], now: Instant, reader: &mut dyn FnMut(&[u8])) -> bool {
        let Some(mut shard) = self.shard(key) else { return false };
        match shard.get(key) {
            Some(entry) if entry.until.is_none_or(|until| now < until) => {
                reader(&entry.value);
                true
            }
            Some(_) => {
                self.forget(&mut shard, key);
                false
            }
            None => false,
        }
    }

    /// Keeps a value for a while, or for ever.
    pub fn write(&self, key: &[u8], value: &[u8], life: Option<Duration>, now: Instant) -> i32 {
        if key.is_empty() || key.len() > bound::SHARED_KEY_BYTES {
            return answer::INVALID;
        }
        let Some(mut shard) = self.shard(key) else { return answer::FULL };
        let size = (key.len() + value.len()) as u64;
        if !self.fits(&shard, key, size) {
            // What is over makes room before anything is refused.
            let over: Vec<Vec<u8>> =
                shard.iter().filter(|(_, e)| e.until.is_some_and(|u| u <= now)).map(|(k, _)| k.clone()).collect();
            for key in &over {
                self.forget(&mut shard, key);
            }
            if !self.fits(&shard, key, size) {
                return answer::FULL;
            }
        }
        self.forget(&mut shard, key);
        self.entries.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(size, Ordering::Relaxed);
        let until = life.and_then(|life| now.checked_add(life));
        shard.insert(key.to_vec(), Entry { value: value.to_vec(), until });
        answer::DONE
    }

    /// Forgets a key.
    pub fn remove(&self, key: &[u8]) -> i32 {
        let Some(mut shard) = self.shard(key) else { return answer::ABSENT };
        if self.forget(&mut shard, key) { answer::DONE } else { answer::ABSENT }
    }

    fn fits(&self, shard: &HashMap<Vec<u8>, Entry>, key: &[u8], size: u64) -> bool {
        let before = shard.get(key).map_or(0, |entry| (key.len() + entry.value.len()) as u64);
        let more = u64::from(!shard.contains_key(key));
        self.entries.load(Ordering::Relaxed) + more <= bound::SHARED_ENTRIES as u64
            && (self.bytes.load(Ordering::Relaxed) + size).saturating_sub(before) <= bound::SHARED_BYTES as u64
    }

    fn forget(&self, shard: &mut HashMap<Vec<u8>, Entry>, key: &[u8]) -> bool {
        let Some(entry) = shard.remove(key) else { return false };
        self.entries.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub((key.len() + entry.value.len()) as u64, Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_bounded_and_one_name_is_one_kind() {
        let services = Services::new("p");
        let counter = services.series(metric::COUNTER, b"hits", b"who", b"a").unwrap();
        counter.add(2.0);
        counter.add(-1.0);
        counter.add(f64::NAN);
        let same = services.series(metric::COUNTER, b"hits", b"who", b"a").unwrap();
        assert!(matches!(&same.value, Value::Counter(bits) if f64::from_bits(bits.load(Ordering::Relaxed)) == 2.0));
        for (kind, name, label) in [
            (metric::GAUGE, &b"hits"[..], &b"who"[..]),
            (metric::COUNTER, b"hits", b""),
            (metric::COUNTER, b"Hits", b""),
            (metric::COUNTER, b"", b""),
            (metric::COUNTER, &[b'x'; 65], b""),
            (7, b"x", b""),
        ] {
            assert_eq!(services.series(kind, name, label, b"").unwrap_err(), answer::INVALID);
        }
        let full = (0..200).map(|n| services.series(metric::GAUGE, format!("g{n}").as_bytes(), b"", b""));
        assert_eq!(full.filter(Result::is_ok).count(), bound::METRICS - 1);
    }

    #[test]
    fn a_histogram_sorts_values_into_buckets() {
        let series = Services::new("p").series(metric::HISTOGRAM, b"h", b"", b"").unwrap();
        [1e-9, 0.5, 1.0, 2e6, f64::INFINITY].into_iter().for_each(|value| series.record(value));
        let Value::Histogram(buckets, sum) = &series.value else { panic!("a histogram") };
        let counts: Vec<u64> = buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        assert_eq!((counts[0], counts[12], counts[25], counts.iter().sum::<u64>()), (1, 2, 1, 4));
        assert!((f64::from_bits(sum.load(Ordering::Relaxed)) - 2_000_001.5).abs() < 1e-6);
    }

    #[test]
    fn lines_are_counted_by_the_second() {
        let (lines, now) = (Lines::default(), Instant::now());
        let taken = (0..100).filter(|_| lines.admit(now).is_some()).count();
        assert_eq!(taken, bound::LOG_LINES as usize);
        assert_eq!(lines.admit(now + Duration::from_secs(1)), Some(100 - bound::LOG_LINES));
        assert_eq!(lines.admit(now + Duration::from_secs(1)), Some(0));
    }

    #[test]
    fn shared_entries_end_with_their_time_and_stay_within_their_bounds() {
        let (shared, now) = (Shared::default(), Instant::now());
        let value = |key: &[u8], now| {
            let mut found = None;
            shared.read(key, now, &mut |value| found = Some(value.to_vec()));
            found
        };
        assert_eq!(shared.write(b"a", b"1", Some(Duration::from_secs(1)), now), answer::DONE);
        assert_eq!(value(b"a", now), Some(b"1".to_vec()));
        assert_eq!(value(b"a", now + Duration::from_secs(1)), None);
        assert_eq!(shared.remove(b"a"), answer::ABSENT);
        assert_eq!(shared.write(b"", b"1", None, now), answer::INVALID);
        assert_eq!(shared.write(b"a", &vec![0; bound::SHARED_BYTES], None, now), answer::FULL);
        let written = (0..5000u32).filter(|n| shared.write(&n.to_be_bytes(), b"", None, now) == answer::DONE).count();
        assert_eq!(written, bound::SHARED_ENTRIES);
        assert_eq!(shared.write(&7u32.to_be_bytes(), b"new", None, now), answer::DONE);
        assert_eq!((shared.remove(&7u32.to_be_bytes()), value(&7u32.to_be_bytes(), now)), (answer::DONE, None));
    }
}
