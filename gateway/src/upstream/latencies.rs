//! How long the answers of a pool took lately, as a distribution.
//!
//! In: times, from all workers. Out: percentiles, to an eighth. Old times are forgotten as new ones come: whenever [`MEMORY`]
//! are known, half of each bucket goes. Everything is an atomic that may miss an update when two workers write at once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How many times are known at the most.
const MEMORY: u32 = 8192;
/// Below so many, nothing is said.
const LEAST: u32 = 100;
/// Eight for each power of two of microseconds, up to more than an hour.
const BUCKETS: usize = 240;

/// A distribution of times.
#[derive(Debug)]
pub(super) struct Latencies {
    buckets: [AtomicU32; BUCKETS],
    known: AtomicU32,
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies { buckets: [const { AtomicU32::new(0) }; BUCKETS], known: AtomicU32::new(0) }
    }
}

impl Latencies {
    /// Takes a time in.
    pub(super) fn record(&self, time: Duration) {
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        if let Some(bucket) = self.buckets.get(bucket(micros)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        // Exactly one finds it full.
        if self.known.fetch_add(1, Ordering::Relaxed) + 1 == MEMORY {
            self.forget();
        }
    }

    /// What so many of a thousand did not exceed; none while too few are known.
    pub(super) fn percentile(&self, thousandths: u32) -> Option<Duration> {
        let known = self.known.load(Ordering::Relaxed);
        if known < LEAST {
            return None;
        }
        let rank = (u64::from(known) * u64::from(thousandths)).div_ceil(1000);
        let mut passed = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            passed += u64::from(bucket.load(Ordering::Relaxed));
            if passed >= rank {
                return Some(Duration::from_micros(end(index)));
            }
        }
        None
    }

    fn forget(&self) {
        let mut left = 0;
        for bucket in &self.buckets {
            let half = bucket.load(Ordering::Relaxed) / 2;
            bucket.store(half, Ordering::Relaxed);
            left += half;
        }
        self.known.store(left, Ordering::Relaxed);
    }
}

/// The bucket of a time in microseconds.
fn bucket(micros: u32) -> usize {
    match micros.checked_ilog2() {
        Some(power @ 3..) => ((power - 2) * 8 + ((micros >> (power - 3)) & 7)) as usize,
        _ => micros as usize,
    }
}

/// Where a bucket ends, in microseconds.
fn end(bucket: usize) -> u64 {
    match bucket {
        0..8 => bucket as u64,
        _ => ((bucket as u64 % 8 + 9) << (bucket / 8 - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_every_time_to_an_eighth() {
        for micros in (0..100_000).chain((17..32).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 5])) {
            let end = end(bucket(micros));
            assert!((u64::from(micros)..=u64::from(micros) + u64::from(micros) / 8).contains(&end), "{micros} {end}");
        }
        assert_eq!(bucket(u32::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_follow_what_comes_and_need_some_of_it() {
        let latencies = Latencies::default();
        let ms = Duration::from_millis;
        let near = |percentile, expected: u64| {
            let found = latencies.percentile(percentile).expect("enough").as_millis() as u64;
            assert!((expected..=expected + expected / 8).contains(&found), "{percentile}: {found}");
        };
        (1..LEAST).for_each(|_| latencies.record(ms(10)));
        assert_eq!(latencies.percentile(500), None);
        (0..10_000).for_each(|number| latencies.record(ms(if number % 10 == 0 { 500 } else { 10 })));
        near(500, 10);
        near(890, 10);
        near(950, 500);
        // All of it changes, and some thousands later nothing else is known.
        (0..100_000).for_each(|_| latencies.record(ms(80)));
        near(500, 80);
        near(999, 80);
    }
}
