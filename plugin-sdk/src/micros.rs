//! Microseconds: what latencies are measured in.

use std::fmt;
use std::ops::{Add, Div, Mul, Sub};
use std::time::Duration;

/// A time in microseconds. Cheaper to compute with than a [`Duration`], and it never overflows: sums and products end at
/// the largest value, differences at zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Micros(u64);

impl Micros {
    /// No time.
    pub const ZERO: Micros = Micros(0);

    /// So many microseconds.
    pub const fn new(micros: u64) -> Micros {
        Micros(micros)
    }

    /// As a number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// In seconds, as metrics want it.
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Whether it is 0: of a latency, that nothing is known yet.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    #[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
    pub(crate) fn as_micros_u32(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl From<Micros> for Duration {
    fn from(micros: Micros) -> Duration {
        Duration::from_micros(micros.0)
    }
}

impl From<Duration> for Micros {
    fn from(duration: Duration) -> Micros {
        Micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }
}

impl Mul<u32> for Micros {
    type Output = Micros;

    #[inline(always)]
    fn mul(self, by: u32) -> Micros {
        Micros(self.0.saturating_mul(by.into()))
    }
}

impl Mul<f32> for Micros {
    type Output = Micros;

    /// What is no number, or less than nothing, gives zero.
    #[inline]
    fn mul(self, by: f32) -> Micros {
        Micros((self.0 as f64 * f64::from(by)) as u64)
    }
}

impl Div<u32> for Micros {
    type Output = Micros;

    /// By zero gives the largest value.
    #[inline]
    fn div(self, by: u32) -> Micros {
        Micros(self.0.checked_div(by.into()).unwrap_or(u64::MAX))
    }
}

impl Add for Micros {
    type Output = Micros;

    #[inline(always)]
    fn add(self, other: Micros) -> Micros {
        Micros(self.0.saturating_add(other.0))
    }
}

impl Sub for Micros {
    type Output = Micros;

    #[inline(always)]
    fn sub(self, other: Micros) -> Micros {
        Micros(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} µs", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overflows() {
        let (most, one) = (Micros::new(u64::MAX), Micros::new(1));
        assert_eq!((most * 2, most + one, one - most, one / 0), (most, most, Micros::ZERO, most));
        assert_eq!((Micros::new(10) * 0.25f32, Micros::new(10) * f32::NAN), (Micros::new(2), Micros::ZERO));
        assert_eq!(Micros::from(Duration::MAX), most);
        assert_eq!(Duration::from(Micros::new(1500)), Duration::from_micros(1500));
    }
}
