//! What an endpoint did to requests, for those who judge it.
//!
//! In: outcomes, from all workers; atomics only. Out: how many failures there were in a row, and what happened since this was
//! asked last. Kept only where endpoints of the pool may be ejected. Whoever is let back is on probation until something goes well.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// On a cache line of its own: all workers write here.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Outcomes {
    failures_in_a_row: AtomicU32,
    refusals_in_a_row: AtomicU32,
    requests: AtomicU32,
    failures: AtomicU32,
    answered: AtomicU32,
    /// Of those that were answered, in microseconds.
    latencies: AtomicU64,
}

/// Failures in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// How many.
    pub count: u32,
    /// Nothing has gone well since it was let back.
    pub on_probation: bool,
}

/// In a count of failures in a row: on probation.
const PROBATION: u32 = 1 << 31;

impl Row {
    fn of(count: u32) -> Row {
        Row { count: count & !PROBATION, on_probation: count & PROBATION != 0 }
    }

    /// Whether it is time to judge, when so many are too many: at each multiple, since what could not be done the first time may be
    /// possible then; on probation at each one.
    pub fn is_due(self, most: u32) -> bool {
        self.count > 0 && (self.on_probation || self.count.is_multiple_of(most))
    }

    /// Whether these are too many.
    pub fn is_too_long(self, most: u32) -> bool {
        self.count >= if self.on_probation { 1 } else { most }
    }
}

/// What happened in a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Requests that ended.
    pub requests: u32,
    /// Those that failed.
    pub failures: u32,
    /// Those of which the latency is known.
    pub answered: u32,
    /// The sum of their latencies.
    pub latencies: Duration,
}

impl Outcomes {
    /// Takes in how a request ended. How many have failed in a row with it.
    pub fn note(&self, latency: Option<Duration>, failed: bool) -> Row {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if let Some(latency) = latency {
            self.answered.fetch_add(1, Ordering::Relaxed);
            let latency = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            self.latencies.fetch_add(latency, Ordering::Relaxed);
        }
        if failed {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        row(&self.failures_in_a_row, failed)
    }

    /// Takes in that a request was waited for so long and then given up for another endpoint's answer: no failure, but an endpoint that is
    /// always slower than another must not look quick by that.
    pub fn note_given_up(&self, waited: Duration) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        let waited = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.latencies.fetch_add(waited, Ordering::Relaxed);
    }

    /// Takes in whether a connection came about. How many have not in a row with it.
    pub fn note_connection(&self, failed: bool) -> Row {
        row(&self.refusals_in_a_row, failed)
    }

    /// Requests that have failed in a row.
    pub fn failures_in_a_row(&self) -> Row {
        Row::of(self.failures_in_a_row.load(Ordering::Relaxed))
    }

    /// Connections that have not come about in a row.
    pub fn refusals_in_a_row(&self) -> Row {
        Row::of(self.refusals_in_a_row.load(Ordering::Relaxed))
    }

    /// What happened since the last call. What comes in meanwhile may be told half now and half later.
    pub fn take(&self) -> Sample {
        let take = |count: &AtomicU32| count.swap(0, Ordering::Relaxed);
        Sample {
            requests: take(&self.requests),
            failures: take(&self.failures),
            answered: take(&self.answered),
            latencies: Duration::from_micros(self.latencies.swap(0, Ordering::Relaxed)),
        }
    }

    /// Begins anew.
    pub fn forget(&self) {
        self.take();
        self.failures_in_a_row.store(0, Ordering::Relaxed);
        self.refusals_in_a_row.store(0, Ordering::Relaxed);
    }

    /// Begins anew, on probation.
    pub fn is_let_back(&self) {
        self.take();
        self.failures_in_a_row.store(PROBATION, Ordering::Relaxed);
        self.refusals_in_a_row.store(PROBATION, Ordering::Relaxed);
    }
}

fn row(count: &AtomicU32, failed: bool) -> Row {
    if failed {
        return Row::of(count.fetch_add(1, Ordering::Relaxed).saturating_add(1));
    }
    // Mostly it is 0 already, and then nothing is written.
    if count.load(Ordering::Relaxed) != 0 {
        count.store(0, Ordering::Relaxed);
    }
    Row::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_end_with_a_success_and_samples_begin_anew() {
        let outcomes = Outcomes::default();
        let ms = Duration::from_millis;
        assert_eq!([outcomes.note(None, true), outcomes.note(Some(ms(3)), true)], [1, 2].map(Row::of));
        assert_eq!(outcomes.note(Some(ms(4)), false), Row::of(0));
        assert_eq!(outcomes.note(None, true), Row::of(1));
        outcomes.note_given_up(ms(5));
        assert_eq!([outcomes.note_connection(true), outcomes.note_connection(true)], [1, 2].map(Row::of));
        assert_eq!((outcomes.failures_in_a_row(), outcomes.refusals_in_a_row()), (Row::of(1), Row::of(2)));
        let sample = Sample { requests: 4, failures: 3, answered: 3, latencies: ms(12) };
        assert_eq!((outcomes.take(), outcomes.take()), (sample, Sample::default()));
        outcomes.forget();
        assert_eq!((outcomes.failures_in_a_row(), outcomes.refusals_in_a_row()), (Row::of(0), Row::of(0)));
    }

    #[test]
    fn who_is_let_back_is_on_probation_until_something_goes_well() {
        let outcomes = Outcomes::default();
        outcomes.is_let_back();
        let row = outcomes.failures_in_a_row();
        assert!(row.on_probation && !row.is_due(5) && !row.is_too_long(5), "nothing has failed yet");
        let row = outcomes.note(None, true);
        assert!(row.is_due(5) && row.is_too_long(5) && row.count == 1);
        assert_eq!(outcomes.note(None, false), Row::default());
        let row = outcomes.note(None, true);
        assert!(!row.is_due(5) && !row.is_too_long(5));
        // Of connections it is told by connections.
        assert!(outcomes.note_connection(true).is_too_long(3));
    }
}
