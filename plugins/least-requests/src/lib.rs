//! Fewest requests under way, for its weight, of all endpoints; of equals any.
//!
//! The fairest to endpoints that a gateway is alone with, and right for requests that last (streams, downloads, WebSockets). It looks at
//! all of them for each request: with thousands, or with many gateways that see the same one idle, take `p2c`.

use gatewright_sdk::prelude::*;

/// Remembers nothing.
pub struct LeastRequests;

impl Balancer for LeastRequests {
    type Config = NoConfig;

    fn configure(_: NoConfig, _: &Endpoints) -> Result<Self> {
        Ok(LeastRequests)
    }

    #[inline]
    fn pick(&mut self, _: &Request, endpoints: &Endpoints) -> Pick {
        let load =
            |endpoint: Endpoint<'_>| (f64::from(endpoint.active()) + 1.0) / f64::from(endpoint.effective_weight());
        random::least(endpoints.available(), load).into()
    }
}

export!(balancer: LeastRequests);

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_sdk::mock::{Mock, MockEndpoint, endpoint, get};

    fn pool(weights: &[u32]) -> Vec<MockEndpoint> {
        weights.iter().enumerate().map(|(n, weight)| endpoint(&format!("10.0.0.{n}:80")).weight(*weight)).collect()
    }

    /// Sends so many requests that never end: how many each has.
    fn filled(gateway: &mut Mock, requests: u32) -> [u32; 3] {
        let mut active = [0; 3];
        for _ in 0..requests {
            let picked = gateway.pick(&get("http://a/")).first().unwrap();
            active[picked] += 1;
            gateway.endpoint(picked).active(active[picked]);
        }
        active
    }

    #[test]
    fn requests_that_last_are_spread_by_weight() {
        let mut gateway = Mock::balancer::<LeastRequests>("{}", pool(&[1, 2, 5])).unwrap();
        assert_eq!(filled(&mut gateway, 800), [100, 200, 500]);
        gateway.change_endpoints(pool(&[1, 1, 1]));
        gateway.endpoint(0).warmth(0.5);
        let [warming, others @ ..] = filled(&mut gateway, 500);
        assert!(
            warming.abs_diff(100) <= 1 && others.iter().all(|other| other.abs_diff(200) <= 1),
            "{warming} {others:?}"
        );
    }

    #[test]
    fn equals_have_equal_chances_and_who_is_out_of_order_has_none() {
        let mut gateway = Mock::balancer::<LeastRequests>("{}", pool(&[1, 1, 1])).unwrap();
        gateway.endpoint(1).healthy(false);
        let first = (0..1000).filter(|_| gateway.pick(&get("http://a/")) == Pick::Endpoint(0)).count();
        assert!((400..600).contains(&first), "{first}");
        gateway.endpoint(0).draining(true);
        assert_eq!(gateway.pick(&get("http://a/")), Pick::Endpoint(2));
        gateway.endpoint(2).tried(true);
        assert_eq!(gateway.pick(&get("http://a/")), Pick::Fallback);
    }
}
