//! Averages that nobody renews.

use std::time::Duration;

use crate::clock::Instant;
use crate::endpoints::Endpoints;
use crate::micros::Micros;

/// What is left of averages that stay what they are: the gateway changes an endpoint's averages only when a request to it ends.
/// So one that was slow once, and is avoided for it, would be slow for ever. Here a value counts half after some time in
/// which it has not changed, a quarter after twice that, and so on, until the endpoint looks worth another try.
#[derive(Clone, Debug)]
pub struct Fading {
    half_life: u64,
    known: Vec<Known>,
}

/// A value, and when it was first seen; by index.
#[derive(Clone, Copy, Debug)]
struct Known {
    value: Micros,
    since: Option<Instant>,
}

impl Fading {
    /// For these endpoints, of which nothing was seen yet.
    pub fn new(half_life: Duration, endpoints: &Endpoints) -> Fading {
        let half_life = Micros::from(half_life).get().max(1);
        let mut fading = Fading { half_life, known: Vec::new() };
        fading.endpoints_changed(endpoints);
        fading
    }

    /// Endpoints have come or gone; times begin anew.
    pub fn endpoints_changed(&mut self, endpoints: &Endpoints) {
        self.known = vec![Known { value: Micros::ZERO, since: None }; endpoints.len()];
    }

    /// What the value of the endpoint with this index is worth now.
    #[inline]
    pub fn left(&mut self, index: usize, value: Micros, now: Instant) -> Micros {
        let Some(known) = self.known.get_mut(index) else { return value };
        match known.since {
            Some(since) if known.value == value => faded(value, (now - since).get(), self.half_life),
            _ => {
                *known = Known { value, since: Some(now) };
                value
            }
        }
    }
}

#[inline]
fn faded(value: Micros, age: u64, half_life: u64) -> Micros {
    let (halves, rest) = (age / half_life, age % half_life);
    let left = value.get().checked_shr(u32::try_from(halves).unwrap_or(u32::MAX)).unwrap_or(0);
    // Between two halves it falls evenly. No average is so large that this overflows.
    Micros::new(left - (left / 2).saturating_mul(rest) / half_life)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_halves_again_and_again_and_never_rises() {
        let at = |age| faded(Micros::new(1000), age, 100).get();
        assert_eq!((at(0), at(50), at(100), at(200), at(10_000)), (1000, 750, 500, 250, 0));
        assert!((0..2000).all(|age| at(age + 1) <= at(age)));
        assert_eq!(faded(Micros::new(u64::MAX), u64::MAX, 1).get(), 0);
    }
}
