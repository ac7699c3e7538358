//! How busy a worker is, and what compression does about it.
//!
//! In: how long the runtime worked in a while. Out: a share in thousandths, and the level that is to be used then. The decision is
//! pure. A worker that is busy for all of its time makes requests wait, so levels drop before: from [`EASY`] on, down to the fastest
//! one at [`BUSY`].

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Up to this share of its time a worker compresses as it was told.
pub const EASY: u16 = 600;
/// From this share on it compresses as fast as it can.
pub const BUSY: u16 = 850;
/// The fastest level of every coding.
pub const FASTEST: u8 = 1;

/// How busy a worker is.
#[derive(Debug)]
pub struct Load {
    share: Cell<u16>,
    /// When it was looked at last, and how long it had worked until then.
    last: Cell<(Instant, Duration)>,
}

impl Load {
    /// Of a worker that begins now.
    pub fn new(now: Instant) -> Load {
        Load { share: Cell::new(0), last: Cell::new((now, Duration::ZERO)) }
    }

    /// Looks again: until now it has worked for so long in all.
    pub fn look(&self, now: Instant, worked: Duration) {
        let (then, before) = self.last.replace((now, worked));
        let share = share_of(worked.saturating_sub(before), now.duration_since(then));
        self.share.set(smoothed(self.share.get(), share));
    }

    /// Of its time, in thousandths.
    pub fn share(&self) -> u16 {
        self.share.get()
    }
}

/// In thousandths.
fn share_of(worked: Duration, all: Duration) -> u16 {
    let share = worked.as_micros() * 1000 / all.as_micros().max(1);
    u16::try_from(share.min(1000)).unwrap_or(1000)
}

/// Rises at once, for requests wait by then; falls slowly, so that levels do not swing.
fn smoothed(before: u16, now: u16) -> u16 {
    if now >= before { now } else { before - (before - now).div_ceil(4) }
}

/// The level to use in place of the configured one.
pub fn level(configured: u8, share: u16) -> u8 {
    let room = BUSY.saturating_sub(share.max(EASY));
    let above = u16::from(configured.saturating_sub(FASTEST));
    let level = above * room / (BUSY - EASY);
    // Not above the configured one, which is a byte.
    FASTEST.min(configured) + u8::try_from(level).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_drop_with_load_and_never_rise_by_it() {
        for configured in 1..=12 {
            assert_eq!(level(configured, 0), configured);
            assert_eq!(level(configured, EASY), configured);
            assert_eq!(level(configured, BUSY), FASTEST);
            assert_eq!(level(configured, 1000), FASTEST);
            let levels: Vec<u8> = (0..=1000).map(|share| level(configured, share)).collect();
            assert!(levels.is_sorted_by(|before, after| before >= after), "{levels:?}");
        }
        assert_eq!(level(9, 725), 5, "half way");
    }

    #[test]
    fn load_is_seen_at_once_and_forgotten_slowly() {
        let (begin, ms) = (Instant::now(), Duration::from_millis);
        let load = Load::new(begin);
        let mut worked = Duration::ZERO;
        let mut at = begin;
        let mut next = |busy: u64| {
            worked += ms(busy);
            at += ms(100);
            load.look(at, worked);
            load.share()
        };
        assert_eq!(next(0), 0);
        assert_eq!(next(90), 900);
        assert_eq!(next(10), 700);
        assert_eq!(next(95), 950);
        assert!((0..40).map(|_| next(0)).is_sorted_by(|before, after| before > after || *after == 0));
        assert_eq!(next(0), 0);
        // A look that comes late, or twice at the same time.
        assert_eq!(next(500), 1000);
        load.look(at, worked);
    }
}
