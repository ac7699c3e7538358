//! What time it is for plugins: the machine's, or what it is told by somebody who lets time pass as it suits him.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

/// A clock.
#[derive(Clone, Debug, Default)]
pub enum Time {
    /// That of the machine.
    #[default]
    Machine,
    /// One that stands still until it is [set](Time::set).
    Told(Arc<Told>),
}

/// A clock that is set from outside.
#[derive(Debug)]
pub struct Told {
    began: Instant,
    /// Nanoseconds since then.
    passed: AtomicU64,
}

/// Midnight of 1 January 2026 in Unix time: when a told clock begins.
const TOLD_BEGIN: Duration = Duration::from_secs(1_767_225_600);

impl Time {
    /// A clock that is told what time it is, at its begin.
    pub fn told() -> Time {
        Time::Told(Arc::new(Told { began: Instant::now(), passed: AtomicU64::new(0) }))
    }

    /// Sets how much has passed since the begin. The machine's clock takes no orders.
    #[inline]
    pub fn set(&self, passed: Duration) {
        if let Time::Told(told) = self {
            told.passed.store(u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// Now.
    pub fn now(&self) -> Instant {
        match self {
            Time::Machine => Instant::now(),
            Time::Told(told) => told.began + told.passed(),
        }
    }

    /// Microseconds since some moment before the first call.
    pub fn micros(&self) -> u64 {
        static BEGAN: OnceLock<Instant> = OnceLock::new();
        let passed = match self {
            Time::Machine => BEGAN.get_or_init(Instant::now).elapsed(),
            Time::Told(told) => told.passed(),
        };
        u64::try_from(passed.as_micros()).unwrap_or(u64::MAX)
    }

    /// Milliseconds of Unix time.
    pub fn unix_millis(&self) -> u64 {
        let since = match self {
            Time::Machine => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
            Time::Told(told) => TOLD_BEGIN + told.passed(),
        };
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Told {
    fn passed(&self) -> Duration {
        Duration::from_nanos(self.passed.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_told_clock_stands_until_it_is_set() {
        let time = Time::told();
        let (began, micros, millis) = (time.now(), time.micros(), time.unix_millis());
        assert_eq!((time.now(), micros), (began, 0));
        time.clone().set(Duration::from_millis(1500));
        assert_eq!(time.now(), began + Duration::from_millis(1500));
        assert_eq!((time.micros(), time.unix_millis()), (1_500_000, millis + 1500));
    }

    #[test]
    fn the_clock_of_the_machine_takes_no_orders() {
        let time = Time::Machine;
        time.set(Duration::from_secs(1 << 40));
        assert!(time.now() <= Instant::now());
        assert!(time.micros() < 1 << 50);
    }
}
