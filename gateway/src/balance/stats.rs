//! What is known of an endpoint from the requests that it served: how fast, how often it failed, how many came.
//!
//! In: outcomes, from all workers. Out: moving averages, which forget with a time constant. Everything is an atomic that may
//! miss an update when two workers write at once: an average of many does not notice. Whatever is written here is told to
//! those who follow what changes in the pool: values change when somebody writes them, never by time alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use gatewright_abi::{Column, flag};

use super::{Changes, Mark};

/// What changes of one endpoint from request to request, on a cache line of its own: all workers write here.
#[derive(Debug)]
#[repr(align(64))]
pub struct Stats {
    /// Requests that it works on, from all workers.
    active: AtomicU32,
    flags: AtomicU32,
    /// Microseconds.
    latency: AtomicU32,
    /// Microseconds; rises at once and falls slowly.
    peak: AtomicU32,
    /// Bits of an `f32`, like those that follow: the share of failures.
    errors: AtomicU32,
    /// Requests a second.
    rate: AtomicU32,
    /// What the endpoint reports of itself; no number when it reports nothing.
    load: AtomicU32,
    /// Its share while it is new.
    warmth: AtomicU32,
    /// Milliseconds of the last update.
    seen: AtomicU32,
    /// Where changes are told.
    mark: Option<Mark>,
}

/// How fast averages forget: after this time a value has a third of its weight left.
const MEMORY: f32 = 10.0;

/// How often flags of any endpoint have changed.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// A number that is another one after the flags of any endpoint, or its warmth, have changed.
#[inline]
pub fn flag_changes() -> u64 {
    CHANGES.load(Ordering::Acquire)
}

/// Has everybody look again who goes by [`flag_changes`].
pub(super) fn tell_flags() {
    CHANGES.fetch_add(1, Ordering::Release);
}

impl Default for Stats {
    fn default() -> Stats {
        let bits = |value: f32| AtomicU32::new(value.to_bits());
        Stats {
            active: AtomicU32::new(0),
            flags: AtomicU32::new(flag::HEALTHY),
            latency: AtomicU32::new(0),
            peak: AtomicU32::new(0),
            errors: bits(0.0),
            rate: bits(0.0),
            load: bits(f32::NAN),
            warmth: bits(1.0),
            seen: AtomicU32::new(0),
            mark: None,
        }
    }
}

impl Stats {
    /// Those of an endpoint of which nothing is known yet, in a pool where others follow what changes.
    pub fn followed(changes: &Arc<Changes>) -> Stats {
        Stats { mark: Some(changes.mark()), ..Stats::default() }
    }

    /// Its number, for those who follow.
    pub(super) fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    /// Comes after everything that is written here.
    #[inline]
    fn changed(&self) {
        if let Some(mark) = &self.mark {
            mark.changed();
        }
    }

    /// One more request.
    #[inline]
    pub(super) fn begin(&self) {
        self.active.fetch_add(1, Ordering::Relaxed);
        self.changed();
    }

    /// One request less.
    #[inline]
    pub(super) fn end(&self) {
        self.active.fetch_sub(1, Ordering::Relaxed);
        self.changed();
    }

    /// Takes an outcome in: `latency` to the first byte of a response, `None` when there was none; `now` since any fixed time.
    pub fn record(&self, latency: Option<Duration>, failed: bool, now: Duration) {
        let share = self.count(now);
        let errors = self.errors() + (f32::from(u8::from(failed)) - self.errors()) * share;
        self.errors.store(errors.to_bits(), Ordering::Relaxed);
        if let Some(latency) = latency {
            self.took(latency, share);
        }
        self.changed();
    }

    /// Takes in that an attempt was given up after so long: no failure, and no answer that would have been quicker than that. Whether
    /// that is longer than its answers take.
    pub fn record_cancelled(&self, waited: Duration, now: Duration) -> bool {
        let share = self.count(now);
        let is_slow = waited.as_micros() > self.latency().into();
        if is_slow {
            self.took(waited, share);
        }
        self.changed();
        is_slow
    }

    /// Counts a request; gives the share that it has in the averages.
    fn count(&self, now: Duration) -> f32 {
        let now = now.as_millis() as u32;
        let passed = now.wrapping_sub(self.seen.swap(now, Ordering::Relaxed)) as f32 / 1000.0;
        // Close to e^(-passed / MEMORY), without its price.
        let keep = MEMORY / (MEMORY + passed);
        let rate = self.rate() * keep + 1.0 / MEMORY;
        self.rate.store(rate.to_bits(), Ordering::Relaxed);
        // Of many in the same moment each counts a little.
        (1.0 - keep).max(0.02)
    }

    fn took(&self, latency: Duration, share: f32) {
        let sample = latency.as_micros().clamp(1, u32::MAX.into()) as f32;
        let (average, peak) = (self.latency() as f32, self.peak() as f32);
        let average = if average == 0.0 { sample } else { average + (sample - average) * share };
        let peak = if sample >= peak { sample } else { peak + (sample - peak) * share };
        self.latency.store(average as u32, Ordering::Relaxed);
        self.peak.store(peak as u32, Ordering::Relaxed);
    }

    /// Requests that it works on, from all workers.
    #[inline]
    pub fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// Sets and clears bits of [`flag`].
    pub fn change_flags(&self, set: u32, clear: u32) {
        let change = |flags| Some((flags | set) & !clear);
        // The function always gives a value.
        let _ = self.flags.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
        self.changed();
        tell_flags();
    }

    /// The load that it reports; no number when it reports none.
    pub fn set_load(&self, load: f32) {
        self.load.store(load.to_bits(), Ordering::Relaxed);
        self.changed();
    }

    /// Which part of its share it gets, 1 for all of it.
    pub fn set_warmth(&self, warmth: f32) {
        // Looked at first: nearly always it is the same, and others read this line.
        if self.warmth() != warmth {
            self.warmth.store(warmth.to_bits(), Ordering::Relaxed);
            let (set, clear) = if warmth < 1.0 { (flag::WARMING, 0) } else { (0, flag::WARMING) };
            self.change_flags(set, clear);
        }
    }

    /// Sets what a live column shows, for endpoints that nobody sends to; numbers with a fraction by their bits.
    pub fn pretend(&self, column: Column, word: u32) {
        let place = match column {
            Column::Flags => &self.flags,
            Column::Active => &self.active,
            Column::Latency => &self.latency,
            Column::PeakLatency => &self.peak,
            Column::Errors => &self.errors,
            Column::Rate => &self.rate,
            Column::Load => &self.load,
            Column::Warmth => &self.warmth,
            _ => return,
        };
        place.store(word, Ordering::Relaxed);
        self.changed();
        if matches!(column, Column::Flags | Column::Warmth) {
            tell_flags();
        }
    }

    /// Bits of [`flag`].
    #[inline]
    pub fn flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }

    /// Microseconds to the first byte, on average; 0 when nothing is known.
    #[inline]
    pub fn latency(&self) -> u32 {
        self.latency.load(Ordering::Relaxed)
    }

    /// The same, but what is slow counts at once and is forgotten slowly.
    #[inline]
    pub fn peak(&self) -> u32 {
        self.peak.load(Ordering::Relaxed)
    }

    /// The share of failures, from 0 to 1.
    #[inline]
    pub fn errors(&self) -> f32 {
        f32::from_bits(self.errors.load(Ordering::Relaxed))
    }

    /// Requests a second.
    #[inline]
    pub fn rate(&self) -> f32 {
        f32::from_bits(self.rate.load(Ordering::Relaxed))
    }

    /// The same by now, also when no request came for a while; `now` as for [`Stats::record`].
    pub fn rate_at(&self, now: Duration) -> f32 {
        let passed = (now.as_millis() as u32).wrapping_sub(self.seen.load(Ordering::Relaxed)) as f32 / 1000.0;
        self.rate() * MEMORY / (MEMORY + passed)
    }

    /// The load that it reports; no number when it reports none.
    #[inline]
    pub fn load(&self) -> f32 {
        f32::from_bits(self.load.load(Ordering::Relaxed))
    }

    /// Which share of its weight it gets, from 0 to 1.
    #[inline]
    pub fn warmth(&self) -> f32 {
        f32::from_bits(self.warmth.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_follow_and_peaks_are_remembered() {
        let stats = Stats::default();
        let ms = Duration::from_millis;
        for now in 0..200 {
            stats.record(Some(ms(10)), false, ms(now * 10));
        }
        assert_eq!((stats.latency(), stats.peak(), stats.errors()), (10_000, 10_000, 0.0));
        assert!((90.0..110.0).contains(&(stats.rate() * 5.5)), "{}", stats.rate());
        stats.record(Some(ms(1000)), true, ms(2000));
        assert_eq!(stats.peak(), 1_000_000);
        assert!((20_000..50_000).contains(&stats.latency()), "{}", stats.latency());
        assert!((0.01..0.05).contains(&stats.errors()));
        for now in 0..3000 {
            stats.record(Some(ms(10)), false, ms(2000 + now * 10));
        }
        assert!(stats.peak() < 60_000 && stats.latency() < 11_000 && stats.errors() < 0.001);
    }

    #[test]
    fn what_was_given_up_is_no_failure_and_only_ever_slower() {
        let (stats, ms) = (Stats::default(), Duration::from_millis);
        (0..200).for_each(|now| stats.record(Some(ms(10)), true, ms(now * 10)));
        let errors = stats.errors();
        assert!(!stats.record_cancelled(ms(1), ms(2000)));
        assert_eq!((stats.latency(), stats.errors()), (10_000, errors));
        assert!((0..200).all(|now| stats.record_cancelled(ms(100), ms(2000 + now * 10))));
        assert!(stats.latency() > 90_000 && stats.errors() == errors, "{}", stats.latency());
    }

    #[test]
    fn failures_without_an_answer_count_and_say_nothing_of_speed() {
        let stats = Stats::default();
        (0..500).for_each(|now| stats.record(None, true, Duration::from_millis(now * 20)));
        assert_eq!(stats.latency(), 0);
        assert!(stats.errors() > 0.9);
    }
}
