//! The less busy of two: draws two endpoints by weight and takes the one with fewer requests for its weight.
//!
//! Nearly as even as looking at all of them, at a cost that does not grow with their number, and without the herd that
//! follows when everybody picks the one that looked best. The right choice when nothing speaks for another.

use gatewright_sdk::prelude::*;

/// One worker's draw.
pub struct P2c {
    draw: Draw,
}

impl Balancer for P2c {
    type Config = NoConfig;

    fn configure(_: NoConfig, endpoints: &Endpoints) -> Result<Self> {
        Ok(P2c { draw: Draw::of(endpoints) })
    }

    fn endpoints_changed(&mut self, endpoints: &Endpoints) {
        self.draw = Draw::of(endpoints);
    }

    #[inline]
    fn pick(&mut self, _: &Request, endpoints: &Endpoints) -> Pick {
        // One that is warming is drawn less often; of two that are drawn their loads decide.
        let fit = |index| endpoints.get(index).filter(|endpoint| endpoint.admits());
        let better = match self.draw.two().map(|(first, second)| (fit(first), fit(second))) {
            Some((Some(one), Some(other))) => Some(if by_load(&other, &one).is_lt() { other } else { one }),
            Some((one, other)) => one.or(other),
            None => None,
        };
        // Both are out of order, or were tried: whoever is not.
        better.or_else(|| self.draw.available(endpoints)).into()
    }
}

/// Fewer requests for its weight first.
fn by_load(one: &Endpoint<'_>, other: &Endpoint<'_>) -> std::cmp::Ordering {
    let load = |of: &Endpoint<'_>, by: &Endpoint<'_>| (u64::from(of.active()) + 1) * u64::from(by.weight().max(1));
    load(one, other).cmp(&load(other, one))
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
    fn one_that_warms_is_drawn_less_and_a_single_one_is_taken() {
        let mut gateway = Mock::balancer::<P2c>("{}", pool(&[1, 1, 1, 1])).unwrap();
        gateway.endpoint(2).warmth(0.2);
        let warming = picks(&mut gateway, 1000).iter().filter(|picked| **picked == 2).count();
        assert!((30..130).contains(&warming), "{warming}");
        gateway.change_endpoints(pool(&[1]));
        assert_eq!(picks(&mut gateway, 1), [0]);
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
