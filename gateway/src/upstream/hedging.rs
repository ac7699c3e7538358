//! When a pool's requests go to a second endpoint, and how many of them.
//!
//! In: requests as they come, and how long their answers take. Out: how long one is waited for, and whether it may go to a
//! second endpoint then. Shared by all workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::latencies::Latencies;
use crate::config::model::{Hedge, HedgeAfter};

/// What one send to a second endpoint costs; a request brings as much of it as its share of ten thousand is.
const PRICE: u32 = 10_000;
/// How many of them are saved up at the most.
const SAVED: u32 = 10;

/// A pool's hedging.
#[derive(Debug)]
pub struct Hedging {
    model: Hedge,
    latencies: Arc<Latencies>,
    saved: Arc<AtomicU32>,
}

impl Hedging {
    pub(super) fn new(model: Hedge) -> Hedging {
        Hedging { model, latencies: Arc::default(), saved: Arc::new(AtomicU32::new(PRICE)) }
    }

    /// With other settings; what is known and what is saved up stays.
    pub(super) fn with(&self, model: Hedge) -> Hedging {
        Hedging { model, latencies: self.latencies.clone(), saved: self.saved.clone() }
    }

    /// A request comes, which may go to two endpoints: how long it is waited for; none when not enough is known to say.
    pub fn begin(&self) -> Option<Duration> {
        let save = |saved: u32| Some((saved + self.model.at_most).min(SAVED * PRICE));
        // The function always gives a value.
        let _ = self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, save);
        match self.model.after {
            HedgeAfter::Time(time) => Some(time),
            HedgeAfter::Percentile(part) => Some(self.latencies.percentile(part)?.max(self.model.at_least)),
        }
    }

    /// A first endpoint answered after this time, or was given up.
    pub fn took(&self, time: Duration) {
        if matches!(self.model.after, HedgeAfter::Percentile(_)) {
            self.latencies.record(time);
        }
    }

    /// Whether the request may go to a second endpoint.
    pub fn may(&self) -> bool {
        let spend = |saved: u32| saved.checked_sub(PRICE);
        self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hedging(after: HedgeAfter, at_most: u32) -> Hedging {
        Hedging::new(Hedge { after, at_least: Duration::from_millis(20), at_most })
    }

    #[test]
    fn a_share_of_the_requests_and_no_more_goes_to_a_second_endpoint() {
        let hedging = hedging(HedgeAfter::Time(Duration::from_millis(1)), 500);
        let sent = |requests: u32| (0..requests).filter(|_| hedging.begin().is_some() && hedging.may()).count();
        // One to begin with.
        assert_eq!((sent(1), sent(18), sent(2), sent(2000)), (1, 0, 1, 100));
        (0..100_000).for_each(|_| assert!(hedging.begin().is_some()));
        assert_eq!((0..100).filter(|_| hedging.may()).count(), SAVED as usize);
    }

    #[test]
    fn the_time_is_the_percentile_but_not_below_its_bound() {
        let hedging = hedging(HedgeAfter::Percentile(900), 500);
        assert_eq!(hedging.begin(), None);
        (0..1000).for_each(|_| hedging.took(Duration::from_millis(2)));
        assert_eq!(hedging.begin(), Some(Duration::from_millis(20)));
        (0..1000).for_each(|_| hedging.took(Duration::from_millis(80)));
        let time = hedging.begin().expect("enough is known").as_millis();
        assert!((80..=90).contains(&time), "{time}");
    }
}
