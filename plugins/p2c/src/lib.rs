//! The less busy of two: draws two endpoints by weight and takes the one with fewer requests for its weight.
//!
//! Nearly as even as looking at all of them, at a cost that does not grow with their number, and without the herd that
//! follows when everybody picks the one that looked best. The right choice when nothing speaks for another.

use gatewright_sdk::prelude::*;

/// One worker's draw.
pub struct P2c {
    /// Running sums of weights; `None` when all are equal.
    sums: Option<Vec<u64>>,
}

impl Balancer for P2c {
    type Config = NoConfig;

    fn configure(_: NoConfig, endpoints: &Endpoints) -> Result<Self> {
        Ok(P2c { sums: sums(endpoints) })
    }

    fn endpoints_changed(&mut self, endpoints: &Endpoints) {
        self.sums = sums(endpoints);
    }

    #[inline]
    fn pick(&mut self, _: &Request, endpoints: &Endpoints) -> Pick {
        let drawn = match &self.sums {
            None => random::two_below(endpoints.len()),
            Some(sums) => Some((draw(sums), draw(sums))),
        };
        let fit = |index| endpoints.get(index).filter(|endpoint| endpoint.is_available());
        let better = match drawn.map(|(first, second)| (fit(first), fit(second))) {
            Some((Some(one), Some(other))) => Some(if by_load(&other, &one).is_lt() { other } else { one }),
            Some((one, other)) => one.or(other),
            None => None,
        };
        // Both are out of order, or were tried: whoever is not.
        better.or_else(|| endpoints.available().min_by(by_load)).into()
    }
}

/// An index, by its share of the running sums.
fn draw(sums: &[u64]) -> usize {
    let total = sums.last().copied().unwrap_or(0);
    let at = random::below(usize::try_from(total).unwrap_or(usize::MAX)) as u64;
    sums.partition_point(|sum| *sum <= at)
}

/// Fewer requests for its weight first; of equals the first.
fn by_load(one: &Endpoint<'_>, other: &Endpoint<'_>) -> std::cmp::Ordering {
    let load = |of: &Endpoint<'_>, by: &Endpoint<'_>| (u64::from(of.active()) + 1) * u64::from(by.weight().max(1));
    load(one, other).cmp(&load(other, one))
}

fn sums(endpoints: &Endpoints) -> Option<Vec<u64>> {
    let weights = || endpoints.all().map(|endpoint| u64::from(endpoint.weight()));
    let first = weights().next()?;
    if weights().all(|weight| weight == first) {
        return None;
    }
    let add = |sum: &mut u64, weight| {
        *sum += weight;
        Some(*sum)
    };
    Some(weights().scan(0, add).collect())
}

export!(balancer: P2c);

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_sdk::mock::{Mock, MockEndpoint, endpoint, get};

    fn pool(weights: &[u32]) -> Vec<MockEndpoint> {
        weights.iter().enumerate().map(|(n, weight)| endpoint(&format!("10.0.0.{n}:80")).weight(*weight)).collect()
    }

    fn picks(gateway: &mut Mock, count: usize) -> Vec<usize> {
        (0..count).filter_map(|_| gateway.pick(&get("http://a/")).first()).collect()
    }

    #[test]
    fn the_busy_one_is_avoided_and_the_others_share() {
        let mut gateway = Mock::balancer::<P2c>("{}", pool(&[1, 1, 1])).unwrap();
        gateway.endpoint(1).active(10);
        let picks = picks(&mut gateway, 300);
        assert_eq!(picks.len(), 300);
        assert!(!picks.contains(&1) && picks.contains(&0) && picks.contains(&2));
    }

    #[test]
    fn weights_give_shares_when_load_follows_them() {
        let mut gateway = Mock::balancer::<P2c>("{}", pool(&[3, 1])).unwrap();
        let mut active = [0u32; 2];
        for _ in 0..400 {
            let picked = gateway.pick(&get("http://a/")).first().unwrap();
            active[picked] += 1;
            gateway.endpoint(picked).active(active[picked]);
        }
        assert!((285..=315).contains(&active[0]), "{active:?}");
    }

    #[test]
    fn one_that_is_out_of_order_is_passed_over_as_long_as_there_is_another() {
        let mut gateway = Mock::balancer::<P2c>("{}", pool(&[1, 1, 5])).unwrap();
        gateway.endpoint(0).ejected(true);
        gateway.endpoint(2).healthy(false);
        assert!(picks(&mut gateway, 50).iter().all(|picked| *picked == 1));
        gateway.endpoint(1).draining(true);
        assert_eq!(gateway.pick(&get("http://a/")), Pick::Fallback);
        gateway.change_endpoints([]);
        assert_eq!(gateway.pick(&get("http://a/")), Pick::Fallback);
    }
}
