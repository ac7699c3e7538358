//! Chance, all of it from one seed. Each use has a stream of its own, so that one that draws more does not change the others.

use std::f64::consts::TAU;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Chance(fastrand::Rng);

impl Chance {
    /// The stream of this name.
    pub fn new(seed: u64, stream: &str) -> Chance {
        Chance(fastrand::Rng::with_seed(derived(seed, stream)))
    }

    /// From 0 up to, but not including, 1.
    #[inline]
    pub fn fraction(&mut self) -> f64 {
        self.0.f64()
    }

    /// A number below this one.
    #[inline]
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0.u32(..bound.max(1))
    }

    /// Exponential with mean 1.
    #[inline]
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.fraction()).ln()
    }

    /// Normal with mean 0 and variance 1, after Box and Muller.
    pub fn normal(&mut self) -> f64 {
        let (radius, angle) = ((2.0 * self.exponential()).sqrt(), TAU * self.fraction());
        radius * angle.cos()
    }
}

/// A seed for one use.
pub fn derived(seed: u64, stream: &str) -> u64 {
    gatewright_abi::hash64(stream.as_bytes(), seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_its_seed_and_name() {
        let first = |seed, name| Chance::new(seed, name).fraction().to_bits();
        assert_eq!(first(1, "a"), first(1, "a"));
        assert_ne!(first(1, "a"), first(1, "b"));
        assert_ne!(first(1, "a"), first(2, "a"));
    }

    #[test]
    fn distributions_have_their_means() {
        const DRAWS: u32 = 100_000;
        let mut chance = Chance::new(7, "test");
        let mut mean = |draw: fn(&mut Chance) -> f64| (0..DRAWS).map(|_| draw(&mut chance)).sum::<f64>() / 1e5;
        assert!((mean(Chance::exponential) - 1.0).abs() < 0.02);
        assert!(mean(Chance::normal).abs() < 0.02);
        assert!((mean(|chance| chance.normal().powi(2)) - 1.0).abs() < 0.03);
        assert!((mean(Chance::fraction) - 0.5).abs() < 0.01);
    }
}
