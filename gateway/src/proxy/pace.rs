//! How fast a body must come while its sender is waited for. Pure: time is given.
//!
//! In: when we begin and cease to wait for the sender, and how much came. Out: whether the pace was kept. Waiting is paid
//! from a patience that every byte restores, up to its measure; so a body at the demanded rate or above it never runs out,
//! and one far below it lasts little longer than that time. Each byte is a chance to find out: when none comes, other times
//! run out.

use std::time::{Duration, Instant};

/// The pace of one body; none is demanded by default.
#[derive(Clone, Copy, Default)]
pub(super) struct Pace {
    bytes_per_second: u64,
    /// Nanoseconds of waiting that are left, and what they are at the most.
    left: i64,
    most: i64,
    /// Whether anything has come: before that, the sender may be waiting for a word of ours.
    begun: bool,
    waiting_since: Option<Instant>,
}

impl Pace {
    /// A demand of so many bytes a second; 0: none.
    pub(super) fn new(bytes_per_second: u64, patience: Duration) -> Pace {
        let most = i64::try_from(patience.as_nanos()).unwrap_or(i64::MAX);
        Pace { bytes_per_second, left: most, most, begun: false, waiting_since: None }
    }

    pub(super) fn is_demanded(&self) -> bool {
        self.bytes_per_second > 0
    }

    /// The sender is waited for.
    pub(super) fn waits(&mut self, now: Instant) -> bool {
        if self.begun && self.waiting_since.is_none() {
            self.waiting_since = Some(now);
        }
        true
    }

    /// Somebody else is waited for.
    pub(super) fn rests(&mut self, now: Instant) -> bool {
        if let Some(since) = self.waiting_since.take() {
            let waited = now.saturating_duration_since(since);
            self.left = self.left.saturating_sub(i64::try_from(waited.as_nanos()).unwrap_or(i64::MAX));
        }
        true
    }

    /// So much came; false when that took too long.
    pub(super) fn came(&mut self, bytes: u64, now: Instant) -> bool {
        self.rests(now);
        self.begun = true;
        let earned = bytes.saturating_mul(1_000_000_000).checked_div(self.bytes_per_second).unwrap_or_default();
        self.left = self.left.saturating_add(i64::try_from(earned).unwrap_or(i64::MAX)).min(self.most);
        self.left >= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many pieces of this size come, one each so many seconds, until it is too slow; none: a thousand did.
    fn lasts(pace: &mut Pace, bytes: u64, seconds: u64) -> Option<u32> {
        let mut now = Instant::now();
        (0..1000).find(|_| {
            pace.waits(now);
            now += Duration::from_secs(seconds);
            !pace.came(bytes, now)
        })
    }

    #[test]
    fn what_trickles_in_ends_and_what_keeps_the_pace_does_not() {
        let pace = || Pace::new(100, Duration::from_secs(60));
        // The first byte is not waited for at this cost.
        assert_eq!(lasts(&mut pace(), 1, 59), Some(2));
        assert_eq!(lasts(&mut pace(), 1, 1), Some(61));
        assert_eq!(lasts(&mut pace(), 99, 1), None);
        assert_eq!(lasts(&mut pace(), 100, 1), None);
        assert_eq!(lasts(&mut pace(), 5900, 59), None);
        assert!(!Pace::default().is_demanded());
    }

    #[test]
    fn haste_at_the_beginning_is_not_saved_up_for_ever() {
        let mut pace = Pace::new(100, Duration::from_secs(60));
        assert!(pace.came(1 << 40, Instant::now()));
        assert_eq!(lasts(&mut pace, 1, 10), Some(6));
    }

    #[test]
    fn waiting_for_somebody_else_costs_nothing() {
        let mut pace = Pace::new(100, Duration::from_secs(60));
        let mut now = Instant::now();
        assert!(pace.came(1, now));
        for _ in 0..1000 {
            pace.waits(now);
            pace.rests(now);
            now += Duration::from_secs(59);
            assert!(pace.came(1, now));
        }
    }
}
