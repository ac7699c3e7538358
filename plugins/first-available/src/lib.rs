//! Fills one endpoint up to a number of requests under way, then the next.
//!
//! The order is that of priorities, then that of the configuration. An endpoint is full at `most` requests, times its weight, and less
//! while it is warming; when all are full, the one with the fewest for its weight is taken. Right where few busy endpoints are better than
//! many idle ones: the rest can be switched off, or costs by the request elsewhere.

use gatewright_sdk::prelude::*;

/// How it is configured.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Requests under way that fill an endpoint of weight 1.
    most: u32,
}

impl Default for Config {
    fn default() -> Config {
        Config { most: 100 }
    }
}

/// The order of endpoints.
pub struct FirstAvailable {
    most: f64,
    /// Indices; none when they are in order as they are.
    order: Vec<u32>,
}

impl Balancer for FirstAvailable {
    type Config = Config;

    fn configure(config: Config, endpoints: &Endpoints) -> Result<Self> {
        if config.most == 0 {
            return Err(Error::new("most: takes 1 or more"));
        }
        Ok(FirstAvailable { most: config.most.into(), order: order(endpoints) })
    }

    fn endpoints_changed(&mut self, endpoints: &Endpoints) {
        self.order = order(endpoints);
    }

    fn pick(&mut self, _: &Request, endpoints: &Endpoints) -> Pick {
        let has_room = |endpoint: &Endpoint<'_>| {
            endpoint.is_available()
                && f64::from(endpoint.active()) < (self.most * f64::from(endpoint.effective_weight())).max(1.0)
        };
        let first = self.order.iter().filter_map(|index| endpoints.get(*index as usize)).find(has_room);
        let load = |one: Endpoint<'_>| (f64::from(one.active()) + 1.0) / f64::from(one.effective_weight());
        first.or_else(|| random::least(endpoints.available(), load)).into()
    }
}

fn order(endpoints: &Endpoints) -> Vec<u32> {
    let mut order: Vec<(u32, u32)> = (0..).zip(endpoints.all()).map(|(n, one)| (one.priority(), n)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, index)| index).collect()
}

export!(balancer: FirstAvailable);

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_sdk::mock::{Mock, MockEndpoint, endpoint, get};

    fn pool(count: usize) -> Vec<MockEndpoint> {
        (0..count).map(|n| endpoint(&format!("10.0.0.{n}:80"))).collect()
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
    fn one_is_filled_before_the_next_and_all_are_filled_evenly_beyond() {
        let gateway = || Mock::balancer::<FirstAvailable>(r#"{"most": 10}"#, pool(3)).unwrap();
        assert_eq!(filled(&mut gateway(), 8), [8, 0, 0]);
        assert_eq!(filled(&mut gateway(), 25), [10, 10, 5]);
        assert_eq!(filled(&mut gateway(), 60), [20, 20, 20]);
    }

    #[test]
    fn priorities_weights_and_warmth_count() {
        let [one, two, three] = [0, 1, 2].map(|n| pool(3).swap_remove(n));
        let pool = [one.priority(2), two.weight(2), three.warmth(0.5)];
        let mut gateway = Mock::balancer::<FirstAvailable>(r#"{"most": 10}"#, pool).unwrap();
        assert_eq!(filled(&mut gateway, 27), [2, 20, 5]);
    }

    #[test]
    fn who_comes_or_goes_changes_nothing_for_those_before_it() {
        let mut gateway = Mock::balancer::<FirstAvailable>("{}", pool(3)).unwrap();
        gateway.endpoint(0).ejected(true);
        assert_eq!(filled(&mut gateway, 150), [0, 100, 50]);
        gateway.change_endpoints(pool(2));
        assert_eq!(filled(&mut gateway, 150), [100, 50, 0]);
        gateway.change_endpoints([]);
        assert_eq!(gateway.pick(&get("http://a/")), Pick::Fallback);
        assert!(Mock::balancer::<FirstAvailable>(r#"{"most": 0}"#, []).is_err());
    }
}
