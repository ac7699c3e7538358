//! By what backends report of their load: each gets so much that all report the same.
//!
//! Once a second (`every`) an endpoint's weight is reckoned anew: the requests that it gets in a second for each unit of the load that it
//! reports (and of requests that fail), times its configured weight. So the unit does not matter, as long as all report the same:
//! the share of the processor that is busy does well. Two endpoints are drawn by these weights, and the one with fewer
//! requests under way for its weight is taken. One that reports nothing, or is new, counts as the one in the middle; nobody gets less than a tenth of that or
//! more than ten times as much, so that news of everybody keeps coming.
//!
//! Right where backends differ in size or share machines, and know their load better than a gateway can: several
//! gateways, or work that does not come through them.

use gatewright_sdk::prelude::*;

/// How it is configured.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How often weights are reckoned.
    #[serde(deserialize_with = "gatewright_sdk::config::duration")]
    every: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config { every: Duration::from_secs(1) }
    }
}

/// The weights of one worker.
pub struct ReportedLoad {
    every: Duration,
    /// For each endpoint; 1000 for the one in the middle.
    weights: Vec<u32>,
    draw: Draw,
}

/// The weight of the endpoint in the middle, and how far others may be from it.
const MIDDLE: f64 = 1000.0;
const FARTHEST: f64 = 10.0;
/// Below this a report is as good as nothing to do.
const IDLE: f32 = 0.001;

impl Balancer for ReportedLoad {
    type Config = Config;

    fn configure(config: Config, endpoints: &Endpoints) -> Result<Self> {
        let mut balancer = ReportedLoad { every: config.every, weights: Vec::new(), draw: Draw::default() };
        balancer.reckon(endpoints);
        Ok(balancer)
    }

    fn endpoints_changed(&mut self, endpoints: &Endpoints) {
        self.reckon(endpoints);
    }

    fn pick(&mut self, _: &Request, endpoints: &Endpoints) -> Pick {
        let fit = |index| endpoints.get(index).filter(|endpoint| endpoint.admits());
        let picked = match self.draw.two().map(|(one, other)| (fit(one), fit(other))) {
            Some((Some(one), Some(other))) => Some(if self.load(other) < self.load(one) { other } else { one }),
            Some((one, other)) => one.or(other),
            None => None,
        };
        picked.or_else(|| self.draw.available(endpoints)).into()
    }

    fn tick(&mut self, endpoints: &Endpoints) -> Option<Duration> {
        self.reckon(endpoints);
        Some(self.every)
    }
}

impl ReportedLoad {
    fn load(&self, endpoint: Endpoint<'_>) -> f64 {
        let weight = self.weights.get(endpoint.index()).copied().unwrap_or(1);
        (f64::from(endpoint.active()) + 1.0) / f64::from(weight)
    }

    fn reckon(&mut self, endpoints: &Endpoints) {
        let mut known: Vec<f64> = endpoints.all().filter_map(power).collect();
        known.sort_unstable_by(f64::total_cmp);
        let middle = known.get(known.len() / 2).copied().unwrap_or(1.0);
        let relative = |endpoint: Endpoint<'_>| {
            power(endpoint).map_or(1.0, |power| power / middle).clamp(1.0 / FARTHEST, FARTHEST)
        };
        let weight = |endpoint: Endpoint<'_>| (relative(endpoint) * MIDDLE) as u32 * endpoint.weight();
        self.weights.clear();
        self.weights.extend(endpoints.all().map(weight));
        self.draw = Draw::by(self.weights.iter().map(|weight| u64::from(*weight)));
    }
}

/// Requests a second for each unit of load; none when it reported nothing or gets nothing.
fn power(endpoint: Endpoint<'_>) -> Option<f64> {
    let load = endpoint.load().filter(|load| *load >= 0.0)?;
    let rate = endpoint.request_rate();
    (rate > 0.0).then(|| f64::from(rate) / f64::from((load + endpoint.error_rate() * load.max(1.0)).max(IDLE)))
}

export!(balancer: ReportedLoad);

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_sdk::mock::{Mock, MockEndpoint, endpoint, get};

    fn reporting(weight: u32, rate: f32, load: f32) -> MockEndpoint {
        endpoint("10.0.0.1:80").weight(weight).request_rate(rate).load(load)
    }

    /// Sends so many requests that never end: how many each has.
    fn filled(pool: impl IntoIterator<Item = MockEndpoint>, requests: u32) -> [u32; 4] {
        let mut gateway = Mock::balancer::<ReportedLoad>("{}", pool).unwrap();
        assert_eq!(gateway.tick(), Some(Duration::from_secs(1)));
        let mut active = [0; 4];
        for _ in 0..requests {
            let Some(picked) = gateway.pick(&get("http://a/")).first() else { continue };
            active[picked] += 1;
            gateway.endpoint(picked).active(active[picked]);
        }
        active
    }

    fn near(found: [u32; 4], right: [u32; 4]) {
        assert!(found.iter().zip(right).all(|(found, right)| found.abs_diff(right) <= 20), "{found:?}, not {right:?}");
    }

    #[test]
    fn who_does_as_much_with_half_the_load_gets_twice_as_much() {
        near(filled([reporting(1, 100.0, 0.8), reporting(1, 100.0, 0.4)], 900), [300, 600, 0, 0]);
        // They report the same by now: it stays so.
        near(filled([reporting(1, 100.0, 0.6), reporting(1, 200.0, 0.6)], 900), [300, 600, 0, 0]);
        // The configured weight is a factor beside.
        near(filled([reporting(2, 100.0, 0.8), reporting(1, 100.0, 0.4)], 900), [450, 450, 0, 0]);
    }

    #[test]
    fn who_reports_nothing_counts_as_the_one_in_the_middle_and_nobody_is_left_without() {
        let silent = || endpoint("10.0.0.9:80");
        near(filled([silent(), silent()], 800), [400, 400, 0, 0]);
        near(filled([reporting(1, 100.0, 0.5), silent(), reporting(1, 100.0, 0.5)], 900), [300, 300, 300, 0]);
        let idle = [reporting(1, 100.0, 0.5), reporting(1, 100.0, 0.5), reporting(1, 100.0, 0.0)];
        near(filled(idle, 1200), [100, 100, 1000, 0]);
        let [.., overwhelmed, _] =
            filled([reporting(1, 9.0, 0.1), reporting(1, 9.0, 0.1), reporting(1, 1.0, 90.0)], 2100);
        assert!((80..120).contains(&overwhelmed), "{overwhelmed}");
        near(filled([reporting(1, 9.0, f32::NAN), reporting(1, 9.0, -1.0)], 100), [50, 50, 0, 0]);
    }

    #[test]
    fn failures_are_load_and_who_is_out_of_order_gets_nothing() {
        let failing = [reporting(1, 100.0, 0.5), reporting(1, 100.0, 0.5).error_rate(0.5)];
        near(filled(failing, 900), [600, 300, 0, 0]);
        let out = [reporting(1, 1.0, 1.0).ejected(true), reporting(1, 1.0, 1.0), reporting(1, 1.0, 1.0).tried(true)];
        near(filled(out, 100), [0, 100, 0, 0]);
        near(filled([], 10), [0; 4]);
        let [warming, ..] = filled([silent_warm(), reporting(1, 1.0, 1.0), reporting(1, 1.0, 1.0)], 900);
        assert!(warming < 200, "{warming}");
    }

    fn silent_warm() -> MockEndpoint {
        endpoint("10.0.0.9:80").warmth(0.1)
    }
}
