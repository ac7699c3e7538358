//! What requests tell in a window of time: how many answers came, how long they took, how many requests there were at once.
//!
//! Atomics only. Latencies are taken in as logarithms, relative to the window before and no farther from it than [`FAR`]: so
//! what is slow now and then counts for little, however slow it is. Their number and sum are one word, so that they fit together.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::controller::Window;

/// Eight times as slow or as quick.
const FAR: f64 = 2.079_441_541_679_835_7;
/// Parts of one, in which sums are kept.
const PARTS: f64 = 4096.0;
/// Where the number of answers stands; below it is the sum.
const COUNT: u32 = 40;

/// What is told in the current window.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Samples {
    /// What latencies are relative to: the bits of an `f32`; no number when nothing is known.
    usual: AtomicU32,
    /// The number of answers, and the sum of their deviations, moved so that none is negative.
    sum: AtomicU64,
    squares: AtomicU64,
    /// Microseconds.
    slowest: AtomicU32,
    most: AtomicU32,
    shed: AtomicBool,
}

impl Default for Samples {
    fn default() -> Samples {
        Samples {
            usual: AtomicU32::new(f32::NAN.to_bits()),
            sum: AtomicU64::new(0),
            squares: AtomicU64::new(0),
            slowest: AtomicU32::new(0),
            most: AtomicU32::new(0),
            shed: AtomicBool::new(false),
        }
    }
}

impl Samples {
    /// An answer came after this time.
    pub(super) fn note(&self, latency: Duration) {
        let micros = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX).max(1);
        let log = f64::from(micros).ln();
        let mut usual = self.usual();
        if usual.is_nan() {
            // Of several first ones any will do.
            self.usual.store((log as f32).to_bits(), Ordering::Relaxed);
            usual = log;
        }
        let far = (log - usual).clamp(-FAR, FAR);
        self.squares.fetch_add((far * far * PARTS) as u64, Ordering::Relaxed);
        self.sum.fetch_add((1 << COUNT) + ((far + FAR) * PARTS) as u64, Ordering::Relaxed);
        raise(&self.slowest, micros);
    }

    /// So many requests are at endpoints.
    pub(super) fn there(&self, count: u32) {
        raise(&self.most, count);
    }

    /// A request was refused.
    pub(super) fn shed(&self) {
        if !self.shed.load(Ordering::Relaxed) {
            self.shed.store(true, Ordering::Relaxed);
        }
    }

    /// Whether this is longer than usual.
    pub(super) fn is_slow(&self, latency: Duration) -> bool {
        (latency.as_micros() as f64).ln() > self.usual()
    }

    /// How many answers came so far.
    pub(super) fn answers(&self) -> u32 {
        (self.sum.load(Ordering::Relaxed) >> COUNT) as u32
    }

    /// Ends the window; `there`: requests at endpoints now.
    pub(super) fn take(&self, there: u32) -> Window {
        let sum = self.sum.swap(0, Ordering::Relaxed);
        let squares = self.squares.swap(0, Ordering::Relaxed) as f64 / PARTS;
        let slowest = Duration::from_micros(self.slowest.swap(0, Ordering::Relaxed).into());
        let most = self.most.swap(there, Ordering::Relaxed).max(there);
        let shed = self.shed.swap(false, Ordering::Relaxed);
        let answers = (sum >> COUNT) as u32;
        if answers == 0 {
            return Window { slowest, most, shed, ..Window::default() };
        }
        let count = f64::from(answers);
        let far = (sum & ((1 << COUNT) - 1)) as f64 / PARTS / count - FAR;
        let mean = self.usual() + far;
        self.usual.store((mean as f32).to_bits(), Ordering::Relaxed);
        Window { answers, mean, variance: squares / count - far * far, slowest, most, shed }
    }

    fn usual(&self) -> f64 {
        f32::from_bits(self.usual.load(Ordering::Relaxed)).into()
    }
}

/// Mostly there is nothing to write.
fn raise(most: &AtomicU32, to: u32) {
    if most.load(Ordering::Relaxed) < to {
        most.fetch_max(to, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_the_mean_and_spread_of_what_came() {
        let (samples, ms) = (Samples::default(), Duration::from_millis);
        (0..100).for_each(|_| samples.note(ms(10)));
        samples.there(7);
        samples.there(3);
        samples.shed();
        let window = samples.take(3);
        assert_eq!((window.answers, window.most, window.shed, window.slowest), (100, 7, true, ms(10)));
        assert!((window.mean - 10_000f64.ln()).abs() < 1e-3 && window.variance < 1e-3, "{window:?}");
        (0..50).for_each(|_| samples.note(ms(5)));
        (0..50).for_each(|_| samples.note(ms(20)));
        let window = samples.take(0);
        let ln2 = std::f64::consts::LN_2;
        assert_eq!((window.most, window.shed), (3, false));
        assert!((window.mean - 10_000f64.ln()).abs() < 1e-3, "{window:?}");
        assert!((window.variance - ln2 * ln2).abs() < 1e-2, "{window:?}");
    }

    #[test]
    fn what_is_far_off_counts_for_little() {
        let (samples, ms) = (Samples::default(), Duration::from_millis);
        samples.note(ms(10));
        samples.take(0);
        (0..95).for_each(|_| samples.note(ms(10)));
        (0..5).for_each(|_| samples.note(Duration::from_secs(3600)));
        let window = samples.take(0);
        assert!(window.mean < 11_200f64.ln(), "{}", window.mean.exp());
        assert!(samples.is_slow(ms(12)) && !samples.is_slow(ms(10)));
    }

    #[test]
    fn a_window_without_answers_tells_of_who_waits() {
        let samples = Samples::default();
        samples.there(12);
        let window = samples.take(9);
        assert_eq!((window.answers, window.most), (0, 12));
        assert_eq!(samples.take(9).most, 9);
        assert!(!samples.is_slow(Duration::from_secs(1)), "nothing is known");
    }
}
