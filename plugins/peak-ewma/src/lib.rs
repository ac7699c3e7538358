//! Draws two endpoints by weight and takes the one with the lower cost: peak latency times requests under way, for its weight.
//!
//! The peak of a latency rises at once and falls slowly, so an endpoint that stalls is avoided from its first slow answer on. One that
//! fails costs the attempts that it takes until one succeeds. Peaks that nobody renews fade, so one that stalled is tried
//! again. Of one that is new nothing is known: it gets one request, and more when that is answered. Right where
//! endpoints differ or stall now and then, for any number of endpoints and gateways.

use gatewright_sdk::prelude::*;

/// How it is configured.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// After which time without news a peak counts half.
    #[serde(deserialize_with = "gatewright_sdk::config::duration")]
    half_life: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config { half_life: Duration::from_secs(10) }
    }
}

/// What one worker has seen.
pub struct PeakEwma {
    draw: Draw,
    fading: Fading,
}

impl Balancer for PeakEwma {
    type Config = Config;

    fn configure(config: Config, endpoints: &Endpoints) -> Result<Self> {
        Ok(PeakEwma { draw: Draw::of(endpoints), fading: Fading::new(config.half_life, endpoints) })
    }

    fn endpoints_changed(&mut self, endpoints: &Endpoints) {
        self.draw = Draw::of(endpoints);
        self.fading.endpoints_changed(endpoints);
    }

    #[inline]
    fn pick(&mut self, _: &Request, endpoints: &Endpoints) -> Pick {
        let fit = |index| endpoints.get(index).filter(|endpoint| endpoint.admits());
        let drawn = self.draw.two().map(|(one, other)| (fit(one), fit(other)));
        let picked = match drawn {
            Some((Some(one), Some(other))) => Some(self.cheaper(one, other)),
            Some((one, other)) => one.or(other),
            None => None,
        };
        // Both are out of order, or were tried: any that is not.
        picked.or_else(|| self.draw.available(endpoints)).into()
    }
}

impl PeakEwma {
    #[inline]
    fn cheaper<'e>(&mut self, one: Endpoint<'e>, other: Endpoint<'e>) -> Endpoint<'e> {
        let now = clock::now();
        let unknown = |endpoint: Endpoint<'_>| endpoint.peak_latency().is_zero();
        let latencies = match (unknown(one), unknown(other)) {
            (true, _) if one.active() == 0 => return one,
            (_, true) if other.active() == 0 => return other,
            // Nobody is known to be slower than the other.
            (true, _) | (_, true) => [1, 1],
            _ => [one, other].map(|e| self.fading.left(e.index(), e.peak_latency(), now).get().max(1)),
        };
        if cost(one, latencies[0]) <= cost(other, latencies[1]) { one } else { other }
    }
}

#[inline]
fn cost(endpoint: Endpoint<'_>, latency: u64) -> f64 {
    let success = f64::from((1.0 - endpoint.error_rate()).max(0.01));
    latency as f64 * (f64::from(endpoint.active()) + 1.0) / success / f64::from(endpoint.weight().max(1))
}

export!(balancer: PeakEwma);

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_sdk::mock::{Mock, MockEndpoint, endpoint, get};

    fn pool(peaks: &[u32]) -> Vec<MockEndpoint> {
        let one = |(n, us): (usize, &u32)| endpoint(&format!("10.0.0.{n}:80")).peak_latency_us(*us);
        peaks.iter().enumerate().map(one).collect()
    }

    fn counts(gateway: &mut Mock, picks: usize) -> [usize; 3] {
        let mut counts = [0; 3];
        let picked = (0..picks).filter_map(|_| gateway.pick(&get("http://a/")).first());
        picked.for_each(|index| counts[index] += 1);
        counts
    }

    #[test]
    fn who_stalled_is_avoided_and_the_others_share() {
        let mut gateway = Mock::balancer::<PeakEwma>("{}", pool(&[1000, 90_000, 1000])).unwrap();
        let [one, stalled, two] = counts(&mut gateway, 900);
        assert!(stalled == 0 && one > 250 && two > 250, "{one} {two}");
    }

    #[test]
    fn weights_give_shares_when_requests_last() {
        let pool = [3, 1].map(|weight| endpoint("10.0.0.1:80").peak_latency_us(1000).weight(weight));
        let mut gateway = Mock::balancer::<PeakEwma>("{}", pool).unwrap();
        let mut active = [0u32; 2];
        for _ in 0..400 {
            let picked = gateway.pick(&get("http://a/")).first().unwrap();
            active[picked] += 1;
            gateway.endpoint(picked).active(active[picked]);
        }
        assert!((285..=315).contains(&active[0]), "{active:?}");
    }

    #[test]
    fn a_stall_is_forgotten_when_nobody_renews_it() {
        let mut gateway = Mock::balancer::<PeakEwma>(r#"{"half_life": "1s"}"#, pool(&[1000, 90_000])).unwrap();
        assert_eq!(counts(&mut gateway, 100), [100, 0, 0]);
        gateway.advance(Duration::from_secs(3));
        gateway.endpoint(0).peak_latency_us(1001);
        assert_eq!(counts(&mut gateway, 100), [100, 0, 0]);
        gateway.advance(Duration::from_secs(6));
        gateway.endpoint(0).peak_latency_us(1002);
        assert_eq!(counts(&mut gateway, 100), [0, 100, 0]);
    }

    #[test]
    fn who_is_new_gets_one_request_and_then_those_of_one_that_is_as_fast() {
        let mut gateway = Mock::balancer::<PeakEwma>("{}", pool(&[1000, 0])).unwrap();
        assert_eq!(counts(&mut gateway, 10), [0, 10, 0]);
        gateway.endpoint(1).active(1);
        assert_eq!(counts(&mut gateway, 10), [10, 0, 0]);
        gateway.endpoint(0).active(2);
        assert_eq!(counts(&mut gateway, 10), [0, 10, 0]);
    }

    #[test]
    fn who_is_out_of_order_is_passed_over_and_who_warms_is_drawn_less() {
        let mut gateway = Mock::balancer::<PeakEwma>("{}", pool(&[1000, 1000, 1])).unwrap();
        gateway.endpoint(2).ejected(true);
        gateway.endpoint(1).warmth(0.1);
        let [one, warming, out] = counts(&mut gateway, 1000);
        assert!(out == 0 && (20..220).contains(&warming), "{one} {warming}");
        gateway.endpoint(0).error_rate(1.0);
        gateway.endpoint(1).warmth(1.0);
        assert!(counts(&mut gateway, 300)[1] > 150);
        gateway.change_endpoints([]);
        assert_eq!(gateway.pick(&get("http://a/")), Pick::Fallback);
    }
}
