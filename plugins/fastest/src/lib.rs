//! Least expected latency, of all endpoints: average latency times requests under way, for its weight.
//!
//! An endpoint that fails is as slow as the attempts that it takes until one succeeds, so that one which fails at once does not
//! look fast. One of which nothing is known is taken to be as fast as the fastest. Averages that nobody renews fade, so one
//! that was slow is tried again. Right for few endpoints that differ, in speed or distance; it looks at all of them for each request. With
//! many gateways all run to the one that looks fastest: take `peak-ewma`.

use gatewright_sdk::prelude::*;

/// How it is configured.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// After which time without news a latency counts half.
    #[serde(deserialize_with = "gatewright_sdk::config::duration")]
    half_life: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config { half_life: Duration::from_secs(10) }
    }
}

/// What one worker has seen.
pub struct Fastest {
    fading: Fading,
    /// The lowest latency that was known at the last pick.
    lowest: Micros,
}

impl Balancer for Fastest {
    type Config = Config;

    fn configure(config: Config, endpoints: &Endpoints) -> Result<Self> {
        Ok(Fastest { fading: Fading::new(config.half_life, endpoints), lowest: Micros::new(1) })
    }

    fn endpoints_changed(&mut self, endpoints: &Endpoints) {
        self.fading.endpoints_changed(endpoints);
    }

    fn pick(&mut self, _: &Request, endpoints: &Endpoints) -> Pick {
        let (now, fastest) = (clock::now(), self.lowest);
        let mut lowest = Micros::new(u64::MAX);
        let picked = random::least(endpoints.available(), |endpoint| {
            let known = endpoint.latency();
            let latency = if known.is_zero() { fastest } else { self.fading.left(endpoint.index(), known, now) };
            if !known.is_zero() {
                lowest = lowest.min(latency);
            }
            let success = f64::from((1.0 - endpoint.error_rate()).max(0.01));
            let waits = f64::from(endpoint.active()) + 1.0;
            latency.get().max(1) as f64 * waits / success / f64::from(endpoint.effective_weight())
        });
        self.lowest = if lowest.get() == u64::MAX { Micros::new(1) } else { lowest };
        picked.into()
    }
}

export!(balancer: Fastest);

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_sdk::mock::{Mock, endpoint, get};

    fn gateway(latencies: &[u32]) -> Mock {
        let pool = latencies.iter().enumerate().map(|(n, us)| endpoint(&format!("10.0.0.{n}:80")).latency_us(*us));
        Mock::balancer::<Fastest>("{}", pool).unwrap()
    }

    fn picked(gateway: &mut Mock) -> Option<usize> {
        gateway.pick(&get("http://a/")).first()
    }

    /// Sends so many requests that never end: how many each has.
    fn filled(gateway: &mut Mock, requests: u32) -> [u32; 3] {
        let mut active = [0; 3];
        for _ in 0..requests {
            let picked = picked(gateway).unwrap();
            active[picked] += 1;
            gateway.endpoint(picked).active(active[picked]);
        }
        active
    }

    #[test]
    fn each_has_as_many_under_way_as_it_is_fast() {
        let [one, two, three] = filled(&mut gateway(&[1000, 2000, 5000]), 1700);
        assert!(one.abs_diff(1000) < 5 && two.abs_diff(500) < 5 && three.abs_diff(200) < 5, "{one} {two} {three}");
        let mut weighted = gateway(&[1000, 1000, 1000]);
        weighted.change_endpoints([3, 1].map(|weight| endpoint("10.0.0.1:80").latency_us(1000).weight(weight)));
        let [one, two, _] = filled(&mut weighted, 400);
        assert!(one.abs_diff(300) < 3 && two.abs_diff(100) < 3, "{one} {two}");
    }

    #[test]
    fn who_fails_fast_is_not_fast_and_who_is_new_is_as_fast_as_the_fastest() {
        let mut gateway = gateway(&[1000, 300, 0]);
        gateway.endpoint(1).error_rate(0.9);
        gateway.endpoint(2).active(3);
        assert_eq!((picked(&mut gateway), picked(&mut gateway)), (Some(2), Some(0)));
        gateway.endpoint(2).active(0);
        assert_eq!(picked(&mut gateway), Some(2));
    }

    #[test]
    fn who_was_slow_is_tried_again_after_a_while() {
        let mut gateway = gateway(&[1000, 6000]);
        let mut passed = 0;
        while picked(&mut gateway) == Some(0) {
            gateway.advance(Duration::from_secs(1));
            passed += 1;
            // Others do answer, so what is known of them is new.
            gateway.endpoint(0).latency_us(1000 + passed % 2);
        }
        assert!((20..40).contains(&passed), "{passed}");
        gateway.endpoint(1).latency_us(6001);
        assert_eq!(picked(&mut gateway), Some(0));
    }

    #[test]
    fn who_is_out_of_order_is_passed_over() {
        let mut gateway = gateway(&[1000, 2000]);
        gateway.endpoint(0).ejected(true);
        assert_eq!(picked(&mut gateway), Some(1));
        gateway.endpoint(1).tried(true);
        assert_eq!(picked(&mut gateway), None);
        let wrong = Mock::balancer::<Fastest>(r#"{"half_life": "soon"}"#, []).err().unwrap().to_string();
        assert!(wrong.starts_with("half_life: takes a time such as"), "{wrong}");
    }
}
