//! Time.

use std::ops::{Add, Sub};
use std::time::Duration;

use crate::micros::Micros;
use crate::sys;

/// A point in time, which tells nothing but how far it is from another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instant(Micros);

/// Now. It never goes back, and is the same for all workers.
pub fn now() -> Instant {
    Instant(Micros::new(sys::clock()))
}

/// Now as people count it: since the beginning of 1970, in milliseconds. It can go back.
pub fn unix_time() -> Duration {
    Duration::from_millis(sys::unix_time())
}

impl Instant {
    /// How long it is ago.
    pub fn elapsed(self) -> Micros {
        now() - self
    }
}

impl Sub for Instant {
    type Output = Micros;

    /// How long from the other to this; zero if this is before it.
    fn sub(self, other: Instant) -> Micros {
        self.0 - other.0
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        Instant(self.0 + duration.into())
    }
}
