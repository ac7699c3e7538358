//! An endpoint that is new, or well again, gets its share step by step.
//!
//! In: whether it can be used, and the time. Out: which part of its share it gets. Only those begin slowly of which it was seen
//! that they were not there: what is well when the gateway starts is taken as it is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::config::model::SlowStart;

/// Shares change in such steps, at the same times for all workers.
const STEP: u64 = 100;

/// Since when an endpoint has been there.
#[derive(Debug, Default)]
pub(super) struct Start(AtomicU64);

/// The same as one value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Begun {
    /// It has not been seen yet, or not as one that can be used.
    Unknown,
    /// For long enough.
    Well,
    /// It is new, or cannot be used.
    Away,
    /// Since so many milliseconds.
    At(u64),
}

impl Start {
    /// Notes that it has just come.
    pub(super) fn is_new(&self) {
        self.0.store(Begun::Away.encode(), Ordering::Relaxed);
    }

    /// Goes on as this one.
    pub(super) fn follow(&self, before: &Start) {
        self.0.store(before.0.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Which part of its share it gets now, 1 for all of it.
    pub(super) fn share(&self, slow: &SlowStart, usable: bool, now: Duration) -> f32 {
        let (now, time) = (millis(now) / STEP * STEP, millis(slow.time));
        let before = self.0.load(Ordering::Relaxed);
        let next = Begun::decode(before).next(usable, now, time);
        if next.encode() != before {
            // Of workers that see it come in the same moment the first says when that was; both mean the same step.
            let _ = self.0.compare_exchange(before, next.encode(), Ordering::Relaxed, Ordering::Relaxed);
        }
        match next {
            Begun::At(since) => part(now.saturating_sub(since) as f64 / time as f64, slow),
            Begun::Unknown | Begun::Well | Begun::Away => 1.0,
        }
    }
}

impl Begun {
    fn next(self, usable: bool, now: u64, time: u64) -> Begun {
        match (self, usable) {
            (Begun::Unknown, false) => Begun::Unknown,
            (_, false) => Begun::Away,
            (Begun::Unknown | Begun::Well, true) => Begun::Well,
            (Begun::Away, true) => Begun::At(now),
            (Begun::At(since), true) if now.saturating_sub(since) >= time => Begun::Well,
            (Begun::At(since), true) => Begun::At(since),
        }
    }

    fn encode(self) -> u64 {
        match self {
            Begun::Unknown => 0,
            Begun::Well => 1,
            Begun::Away => 2,
            Begun::At(since) => since.saturating_add(3),
        }
    }

    fn decode(number: u64) -> Begun {
        match number {
            0 => Begun::Unknown,
            1 => Begun::Well,
            2 => Begun::Away,
            since => Begun::At(since - 3),
        }
    }
}

/// The part of its share after this part of the time.
fn part(age: f64, slow: &SlowStart) -> f32 {
    let least = f64::from(slow.least) / 10_000.0;
    (least + (1.0 - least) * age.clamp(0.0, 1.0).powf(slow.curve)) as f32
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SLOW: SlowStart = SlowStart { time: Duration::from_secs(10), curve: 1.0, least: 1000 };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn who_is_there_at_the_start_has_its_whole_share_and_who_comes_back_has_it_later() {
        let start = Start::default();
        assert_eq!(start.share(&SLOW, false, at(0)), 1.0);
        assert_eq!(start.share(&SLOW, true, at(1)), 1.0);
        start.share(&SLOW, false, at(2));
        assert_eq!(start.share(&SLOW, true, at(20)), 0.1);
        assert_eq!(start.share(&SLOW, true, at(25)), 0.55);
        assert_eq!(start.share(&SLOW, true, at(30)), 1.0);
        assert_eq!(start.share(&SLOW, true, at(31)), 1.0);
        // Away once more in the midst of it: it begins again.
        start.share(&SLOW, false, at(40));
        assert_eq!(start.share(&SLOW, true, at(41)), 0.1);
        assert_eq!(start.share(&SLOW, true, at(46)), 0.55);
        start.share(&SLOW, false, at(47));
        assert_eq!(start.share(&SLOW, true, at(48)), 0.1);
    }

    #[test]
    fn who_is_new_begins_when_it_can_be_used() {
        let start = Start::default();
        start.is_new();
        start.share(&SLOW, false, at(5));
        assert_eq!(start.share(&SLOW, true, at(10)), 0.1);
        let other = Start::default();
        other.follow(&start);
        assert_eq!(other.share(&SLOW, true, at(15)), 0.55);
    }

    #[test]
    fn curves_are_steep_at_the_begin_or_at_the_end() {
        let half = |curve| part(0.5, &SlowStart { curve, ..SLOW });
        assert!(half(0.5) > half(1.0) && half(1.0) > half(2.0), "{} {} {}", half(0.5), half(1.0), half(2.0));
    }

    proptest! {
        #[test]
        fn shares_only_grow_from_the_least_to_all(
            time in 100u64..100_000,
            curve in 0.1f64..10.0,
            least in 1u32..=10_000,
            mut moments in prop::collection::vec(0u64..200_000, 1..50),
        ) {
            let slow = SlowStart { time: Duration::from_millis(time), curve, least };
            let start = Start::default();
            start.is_new();
            moments.sort_unstable();
            let mut before = 0.0;
            for now in moments {
                let share = start.share(&slow, true, Duration::from_millis(now));
                prop_assert!(share >= before && share >= least as f32 / 10_000.0 - 1e-6 && share <= 1.0);
                before = share;
            }
            prop_assert_eq!(start.share(&slow, true, Duration::from_millis(400_000)), 1.0);
        }
    }
}
