//! Endpoints at random, by weight.

use crate::endpoints::{Endpoint, Endpoints};
use crate::random;

/// Draws endpoints at random, each by its share. Made in `configure` and `endpoints_changed`; a draw costs one random number when
/// all weights are equal, and a search among their sums when they are not.
#[derive(Clone, Debug, Default)]
pub struct Draw {
    count: usize,
    /// Running sums of weights; empty when all are equal.
    sums: Vec<u64>,
}

/// Draws before all are looked at: as long as half of them can be sent to, one of sixteen requests comes so far.
const TRIES: usize = 4;

impl Draw {
    /// By the weights of these endpoints.
    pub fn of(endpoints: &Endpoints) -> Draw {
        Draw::by(endpoints.all().map(|endpoint| u64::from(endpoint.weight())))
    }

    /// By these weights, one for each endpoint.
    pub fn by(weights: impl Iterator<Item = u64>) -> Draw {
        let (mut sums, mut total, mut first, mut equal) = (Vec::new(), 0u64, None, true);
        for weight in weights {
            equal &= *first.get_or_insert(weight) == weight;
            total = total.saturating_add(weight);
            sums.push(total);
        }
        let count = sums.len();
        if equal || total == 0 {
            sums = Vec::new();
        }
        Draw { count, sums }
    }

    /// An index.
    #[inline]
    pub fn index(&self) -> usize {
        if self.sums.is_empty() { random::below(self.count) } else { self.weighted() }
    }

    /// Two indices: different ones, if weights are equal.
    #[inline]
    pub fn two(&self) -> Option<(usize, usize)> {
        if self.sums.is_empty() { random::two_below(self.count) } else { Some((self.weighted(), self.weighted())) }
    }

    fn weighted(&self) -> usize {
        let total = self.sums.last().copied().unwrap_or(0);
        let at = (random::fraction() * total as f64) as u64;
        self.sums.partition_point(|sum| *sum <= at)
    }

    fn weight(&self, index: usize) -> u64 {
        let Some(sum) = self.sums.get(index) else { return 1 };
        sum - index.checked_sub(1).and_then(|before| self.sums.get(before)).copied().unwrap_or(0)
    }

    /// An endpoint that a request can be sent to; one that is warming is drawn as seldom as it should be.
    #[inline]
    pub fn available<'e>(&self, endpoints: &'e Endpoints) -> Option<Endpoint<'e>> {
        let drawn = (0..TRIES).filter_map(|_| endpoints.get(self.index())).find(|endpoint| endpoint.admits());
        drawn.or_else(|| self.of_all(endpoints))
    }

    /// The same when luck did not find one: a share of what all that are available have together.
    #[cold]
    fn of_all<'e>(&self, endpoints: &'e Endpoints) -> Option<Endpoint<'e>> {
        let share = |endpoint: &Endpoint<'_>| {
            let warmth = if endpoint.is_warming() { f64::from(endpoint.warmth().max(0.001)) } else { 1.0 };
            self.weight(endpoint.index()) as f64 * warmth
        };
        let total: f64 = endpoints.available().map(|endpoint| share(&endpoint)).sum();
        let mut left = random::fraction() * total;
        let mut last = None;
        for endpoint in endpoints.available() {
            left -= share(&endpoint);
            last = Some(endpoint);
            if left < 0.0 {
                break;
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::{Mock, MockEndpoint, endpoint, get};
    use crate::prelude::*;

    struct Drawn(Draw);

    impl Balancer for Drawn {
        type Config = NoConfig;

        fn configure(_: NoConfig, endpoints: &Endpoints) -> Result<Self> {
            Ok(Drawn(Draw::of(endpoints)))
        }

        fn pick(&mut self, _: &Request, endpoints: &Endpoints) -> Pick {
            self.0.available(endpoints).into()
        }
    }

    fn shares(pool: impl IntoIterator<Item = MockEndpoint>) -> [f64; 4] {
        let mut gateway = Mock::balancer::<Drawn>("{}", pool).unwrap();
        let mut counts = [0.0; 4];
        for _ in 0..20_000 {
            if let Some(index) = gateway.pick(&get("/")).first() {
                counts[index] += 1.0 / 20_000.0;
            }
        }
        counts
    }

    fn near(found: [f64; 4], right: [f64; 4]) {
        assert!(
            found.iter().zip(right).all(|(found, right)| (found - right).abs() < 0.015),
            "{found:?}, not {right:?}"
        );
    }

    #[test]
    fn each_is_drawn_by_weight_and_warmth_if_it_can_be_sent_to() {
        let one = || endpoint("10.0.0.1:80");
        near(shares([one(), one(), one(), one()]), [0.25; 4]);
        near(shares([one().weight(3), one(), one().weight(4), one().weight(2)]), [0.3, 0.1, 0.4, 0.2]);
        near(shares([one(), one().warmth(0.25), one().healthy(false)]), [0.8, 0.2, 0.0, 0.0]);
        near(shares([one().warmth(0.01), one().weight(3).warmth(0.01), one().tried(true)]), [0.25, 0.75, 0.0, 0.0]);
        near(shares([one().draining(true), one().ejected(true)]), [0.0; 4]);
        near(shares([]), [0.0; 4]);
    }
}
