//! The cells that counts are kept in.
//!
//! In: additions by the one worker that owns a cell. Out: values that any thread may read at any time. A cell is an
//! atomic with a single writer, so adding is a plain load and a plain store. Tables grow on first use, without locks
//! for the reader or the writer, and never shrink: a count that was printed once is never taken back.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of a histogram's buckets in nanoseconds, and as they are printed in seconds.
pub(super) const BUCKETS: [(u64, &str); 16] = [
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5"),
    (10_000_000_000, "10"),
    (30_000_000_000, "30"),
    (60_000_000_000, "60"),
];

const CHUNK: usize = 256;

/// A count that one thread writes and any thread reads.
#[derive(Default, Debug)]
pub(super) struct Counter(AtomicU64);

/// How long things took.
#[derive(Default, Debug)]
pub(super) struct Histogram {
    buckets: [Counter; BUCKETS.len()],
    beyond: Counter,
    sum_ns: Counter,
}

/// Histograms of several workers added together.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Distribution {
    /// How many fell into each bucket of [`BUCKETS`], not cumulated.
    pub(super) buckets: [u64; BUCKETS.len()],
    /// How many lasted longer than the last bound.
    pub(super) beyond: u64,
    /// All times together.
    pub(super) sum_ns: u64,
}

/// Counts by a word that stands in the code. At most `N` words; further ones are counted as `other`.
#[derive(Debug)]
pub(super) struct Labelled<const N: usize> {
    slots: OnceLock<Box<[Slot; N]>>,
    other: Counter,
}

/// Cells by number, made when they are first asked for.
pub(super) struct Table<T> {
    chunks: Box<[OnceLock<Chunk<T>>]>,
    other: Box<T>,
}

type Slot = OnceLock<(&'static str, Counter)>;
type Chunk<T> = Box<[OnceLock<Box<T>>]>;

impl Counter {
    /// Adds; only the owning thread may.
    pub(super) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Puts a value in place of the one before; only the owning thread may.
    pub(super) fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// Adds from any of several threads; for counts that are not on the request path.
    pub(super) fn add_shared(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The value now.
    pub(super) fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Histogram {
    /// Counts one time.
    pub(super) fn record(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // Most requests fall into the first buckets, so looking one after another is the quick way.
        let place = BUCKETS.iter().zip(&self.buckets).find(|((bound, _), _)| ns <= *bound);
        place.map_or(&self.beyond, |(_, cell)| cell).add(1);
        self.sum_ns.add(ns);
    }

    /// Adds what was counted here to `total`.
    pub(super) fn add_to(&self, total: &mut Distribution) {
        for (sum, cell) in total.buckets.iter_mut().zip(&self.buckets) {
            *sum += cell.value();
        }
        total.beyond += self.beyond.value();
        total.sum_ns = total.sum_ns.wrapping_add(self.sum_ns.value());
    }
}

impl<const N: usize> Labelled<N> {
    /// Counts one under this word.
    pub(super) fn add(&self, label: &'static str) {
        let slots = self.slots.get_or_init(|| Box::new(std::array::from_fn(|_| OnceLock::new())));
        for slot in slots.iter() {
            let (word, count) = slot.get_or_init(|| (label, Counter::default()));
            if *word == label {
                return count.add(1);
            }
        }
        self.other.add(1);
    }

    /// The words that were counted so far.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let slots = self.slots.get().map_or(&[][..], |slots| &slots[..]);
        let other = Some(("other", self.other.value())).filter(|(_, n)| *n > 0);
        slots.iter().map_while(OnceLock::get).map(|(word, count)| (*word, count.value())).chain(other)
    }
}

impl<const N: usize> Default for Labelled<N> {
    fn default() -> Self {
        Labelled { slots: OnceLock::new(), other: Counter::default() }
    }
}

impl<T: Default> Table<T> {
    /// A table for numbers below `capacity`, of which none has a cell yet.
    pub(super) fn new(capacity: usize) -> Table<T> {
        let chunks = (0..capacity.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect();
        Table { chunks, other: Box::default() }
    }

    /// The cell of this number. Number 0, and whatever lies beyond the capacity, share one.
    pub(super) fn cell(&self, number: u32) -> &T {
        let number = number as usize;
        if number == 0 {
            return &self.other;
        }
        let Some(lock) = self.chunks.get(number / CHUNK) else { return &self.other };
        let cells = lock.get_or_init(|| (0..CHUNK).map(|_| OnceLock::new()).collect());
        match cells.get(number % CHUNK) {
            Some(cell) => cell.get_or_init(Box::default),
            None => &self.other,
        }
    }

    /// The cell of this number, when it has been asked for before.
    pub(super) fn existing(&self, number: u32) -> Option<&T> {
        let number = number as usize;
        if number == 0 {
            return Some(&self.other);
        }
        self.chunks.get(number / CHUNK)?.get()?.get(number % CHUNK)?.get().map(|cell| &**cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        histogram.record(Duration::ZERO);
        histogram.record(Duration::from_micros(500));
        histogram.record(Duration::from_nanos(500_001));
        histogram.record(Duration::from_secs(60));
        histogram.record(Duration::from_secs(61));
        let mut total = Distribution::default();
        histogram.add_to(&mut total);
        assert_eq!((total.buckets[0], total.buckets[1], total.buckets[15], total.beyond), (2, 1, 1, 1));
        assert_eq!(total.sum_ns, 121_001_000_001);
    }

    #[test]
    fn bounds_rise_and_are_printed_as_they_are() {
        assert!(BUCKETS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (ns, text) in BUCKETS {
            assert_eq!((text.parse::<f64>().unwrap() * 1e9).round() as u64, ns);
        }
    }

    #[test]
    fn words_beyond_the_room_are_counted_together() {
        let counts = Labelled::<2>::default();
        for word in ["a", "b", "a", "c", "d"] {
            counts.add(word);
        }
        assert_eq!(counts.iter().collect::<Vec<_>>(), [("a", 2), ("b", 1), ("other", 2)]);
    }

    #[test]
    fn a_table_makes_only_the_cells_that_are_asked_for() {
        let table = Table::<Counter>::new(1000);
        table.cell(700).add(3);
        assert!(table.existing(699).is_none());
        assert_eq!(table.existing(700).map(Counter::value), Some(3));
        table.cell(5000).add(1);
        assert_eq!(table.existing(0).map(Counter::value), Some(1));
    }
}
