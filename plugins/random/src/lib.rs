//! At random, by weight.
//!
//! It knows nothing of load, and so nothing can mislead it. Right where requests are many and small, or where many gateways that
//! know little of each other share endpoints; with few requests, chance is uneven.

use gatewright_sdk::prelude::*;

/// One worker's draw.
pub struct Random {
    draw: Draw,
}

impl Balancer for Random {
    type Config = NoConfig;

    fn configure(_: NoConfig, endpoints: &Endpoints) -> Result<Self> {
        Ok(Random { draw: Draw::of(endpoints) })
    }

    fn endpoints_changed(&mut self, endpoints: &Endpoints) {
        self.draw = Draw::of(endpoints);
    }

    #[inline]
    fn pick(&mut self, _: &Request, endpoints: &Endpoints) -> Pick {
        self.draw.available(endpoints).into()
    }
}

export!(balancer: Random);

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_sdk::mock::{Mock, MockEndpoint, endpoint, get};

    fn pool(weights: &[u32]) -> Vec<MockEndpoint> {
        weights.iter().enumerate().map(|(n, weight)| endpoint(&format!("10.0.0.{n}:80")).weight(*weight)).collect()
    }

    fn counts(gateway: &mut Mock, picks: usize) -> [usize; 4] {
        let mut counts = [0; 4];
        let picked = (0..picks).filter_map(|_| gateway.pick(&get("http://a/")).first());
        picked.for_each(|index| counts[index] += 1);
        counts
    }

    #[test]
    fn each_has_its_share_by_weight() {
        let mut gateway = Mock::balancer::<Random>("{}", pool(&[1, 2, 3, 4])).unwrap();
        let counts = counts(&mut gateway, 10_000);
        let near = |index: usize, share: usize| counts[index].abs_diff(share) < 200;
        assert!(near(0, 1000) && near(1, 2000) && near(2, 3000) && near(3, 4000), "{counts:?}");
    }

    #[test]
    fn who_is_out_of_order_has_no_share_and_who_warms_a_smaller_one() {
        let mut gateway = Mock::balancer::<Random>("{}", pool(&[1, 1, 1])).unwrap();
        gateway.endpoint(0).ejected(true);
        gateway.endpoint(1).warmth(0.25);
        let found = counts(&mut gateway, 10_000);
        assert!(found[0] == 0 && found[1].abs_diff(2000) < 200, "{found:?}");
        gateway.change_endpoints(pool(&[9, 1]));
        let found = counts(&mut gateway, 10_000);
        assert!(found[0].abs_diff(9000) < 200, "{found:?}");
        gateway.change_endpoints([]);
        assert_eq!(gateway.pick(&get("http://a/")), Pick::Fallback);
    }
}
