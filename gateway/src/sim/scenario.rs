//! What is simulated: backends, how they fail, how requests come. Written in TOML, by us and by users alike.
//!
//! In: the text of a file. Out: a scenario whose numbers are within their bounds, or everything that is wrong with it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::Deserialize;

use crate::config::value;

/// Most endpoints of a scenario.
pub const MOST_ENDPOINTS: usize = 10_000;
/// Most gateways of a scenario.
pub const MOST_GATEWAYS: u32 = 100;

/// Nobody looks more often which backends are there.
const SHORTEST_CHECKS: Duration = Duration::from_millis(10);

/// A scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// What it is called; a file that says nothing is called as the file is.
    pub name: String,
    /// What happens in it, in one line.
    pub about: String,
    /// Requests that come, as a share of what the backends can do.
    pub load: f64,
    /// Requests that come in a second, in place of `load`.
    pub rate: Option<f64>,
    /// Gateways that the requests are spread over.
    pub gateways: u32,
    /// The zones that gateways stand in, in turns; none when it is empty.
    pub zones: Vec<String>,
    /// How often gateways look which backends are there; never when nothing is said.
    pub checks: Option<Time>,
    /// How long a request takes a backend.
    pub service: Service,
    /// When clients give up.
    pub client_timeout: Time,
    /// When the gateway gives an endpoint up, as `timeouts.first_byte` of a pool.
    pub first_byte: Time,
    /// When more requests come.
    pub burst: Vec<Burst>,
    /// Backends, by groups that are alike.
    pub backend: Vec<Group>,
}

/// How long requests take.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Service {
    /// On average.
    pub mean: Time,
    /// How they differ.
    pub distribution: Distribution,
    /// For `lognormal`: how much.
    pub sigma: f64,
}

/// How the times of requests differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// Not at all.
    Constant,
    /// Many short, few long.
    Exponential,
    /// A few very long.
    Lognormal,
}

/// A time with more requests than usual.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// Its begin.
    pub from: Moment,
    /// Its end.
    pub to: Moment,
    /// How many times as many.
    pub times: f64,
}

/// Backends that are alike.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Group {
    /// What they are called in reports.
    pub name: String,
    /// How many.
    pub count: usize,
    /// Of each endpoint, as in a pool.
    pub weight: u16,
    /// Of each endpoint, as in a pool.
    pub priority: u32,
    /// Of each endpoint, as in a pool.
    pub zone: String,
    /// Of each endpoint, as in a pool.
    pub metadata: BTreeMap<String, String>,
    /// Requests that each works on at the same time.
    pub servers: u32,
    /// Requests that wait at each; more are answered 503.
    pub queue: u32,
    /// How many times as long they take.
    pub slow: f64,
    /// After a start they are slower for a while.
    pub warm_up: Option<WarmUp>,
    /// When they fail requests.
    pub errors: Vec<Errors>,
    /// When they are not there.
    pub down: Vec<Outage>,
    /// They go and come back, again and again.
    pub flapping: Option<Flapping>,
}

/// Slower after a start.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmUp {
    /// Until it is as fast as it gets.
    pub time: Moment,
    /// How many times as long requests take at first.
    pub slow: f64,
}

/// Requests that fail with 500.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Errors {
    /// The share that fails.
    pub rate: f64,
    /// From when.
    #[serde(default)]
    pub from: Moment,
    /// Until when.
    #[serde(default = "Moment::end")]
    pub to: Moment,
    /// How long such a request takes; as long as others when nothing is said.
    pub time: Option<Time>,
}

/// A time without the backend.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outage {
    /// Its begin.
    pub from: Moment,
    /// Its end.
    pub to: Moment,
}

/// Gone at the end of each period.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flapping {
    /// The period.
    pub every: Moment,
    /// How much of it the backend is gone.
    pub down: Moment,
}

/// A moment of the run or a stretch of it: `"2s"`, or `"40%"` of the whole.
#[derive(Clone, Copy, PartialEq, Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct Moment {
    /// So much, whatever the run.
    pub fixed: Duration,
    /// And this share of the run.
    pub share: f64,
}

/// A time: `"250ms"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Time(pub Duration);

impl Default for Scenario {
    fn default() -> Scenario {
        Scenario {
            name: String::new(),
            about: String::new(),
            load: 0.7,
            rate: None,
            gateways: 1,
            zones: Vec::new(),
            checks: None,
            service: Service::default(),
            client_timeout: Time(Duration::from_secs(10)),
            first_byte: Time(Duration::from_secs(60)),
            burst: Vec::new(),
            backend: Vec::new(),
        }
    }
}

impl Default for Service {
    fn default() -> Service {
        Service { mean: Time(Duration::from_millis(10)), distribution: Distribution::Exponential, sigma: 1.0 }
    }
}

impl Default for Group {
    fn default() -> Group {
        Group {
            name: String::new(),
            count: 1,
            weight: 1,
            priority: 0,
            zone: String::new(),
            metadata: BTreeMap::new(),
            servers: 8,
            queue: 64,
            slow: 1.0,
            warm_up: None,
            errors: Vec::new(),
            down: Vec::new(),
            flapping: None,
        }
    }
}

impl Moment {
    fn end() -> Moment {
        Moment { fixed: Duration::ZERO, share: 1.0 }
    }
}

impl TryFrom<String> for Moment {
    type Error = String;

    fn try_from(text: String) -> Result<Moment, String> {
        let Some(percent) = text.strip_suffix('%') else {
            let fixed = value::duration(&text).map_err(|wrong| format!("{wrong}, nor a share of the run (\"40%\")"))?;
            return Ok(Moment { fixed, share: 0.0 });
        };
        let share = percent.trim().parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
        let share: f64 = share.ok_or_else(|| format!("takes 0% to 100% of the run, not {text:?}"))?;
        Ok(Moment { fixed: Duration::ZERO, share: share / 100.0 })
    }
}

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Time, String> {
        value::duration(&text).map(Time)
    }
}

impl Scenario {
    /// Reads one. What is wrong is told with its place, or its key.
    pub fn parse(text: &str) -> Result<Scenario, String> {
        let scenario: Scenario = toml::from_str(text).map_err(|error| error.to_string())?;
        scenario.checked()
    }

    /// With another number of endpoints, which the first group makes up for, and of gateways.
    pub fn resized(mut self, endpoints: Option<usize>, gateways: Option<u32>) -> Result<Scenario, String> {
        if let (Some(endpoints), [first, others @ ..]) = (endpoints, &mut self.backend[..]) {
            let others: usize = others.iter().map(|group| group.count).sum();
            let left = endpoints.checked_sub(others).filter(|left| *left > 0);
            first.count = left.ok_or_else(|| format!("it needs more than {others} endpoints"))?;
        }
        self.gateways = gateways.unwrap_or(self.gateways);
        self.checked()
    }

    /// How many endpoints it has.
    pub fn endpoints(&self) -> usize {
        self.backend.iter().map(|group| group.count).fold(0, usize::saturating_add)
    }

    /// Requests a second that the backends can do when all of them are there.
    pub fn capacity(&self) -> f64 {
        let of = |group: &Group| group.count as f64 * f64::from(group.servers) / group.slow;
        self.backend.iter().map(of).sum::<f64>() / self.service.mean.0.as_secs_f64()
    }

    /// Requests a second that come, bursts apart.
    pub fn rate(&self) -> f64 {
        self.rate.unwrap_or(self.load * self.capacity())
    }

    fn checked(self) -> Result<Scenario, String> {
        let mut wrong = String::new();
        let mut demand = |holds: bool, what: &dyn std::fmt::Display| {
            if !holds {
                // A text takes everything.
                let _ = write!(wrong, "{}{what}", if wrong.is_empty() { "" } else { "; " });
            }
        };
        let endpoints = self.endpoints();
        demand(endpoints > 0, &"there is no backend: add [[backend]]");
        demand(
            endpoints <= MOST_ENDPOINTS,
            &format_args!("{endpoints} endpoints are too many: {MOST_ENDPOINTS} at most"),
        );
        demand((1..=MOST_GATEWAYS).contains(&self.gateways), &format_args!("gateways takes 1 to {MOST_GATEWAYS}"));
        demand(self.checks.is_none_or(|checks| checks.0 >= SHORTEST_CHECKS), &"checks takes 10ms or more");
        demand((0.001..=100.0).contains(&self.load), &"load takes 0.001 to 100");
        let rate = self.rate.is_none_or(|rate| (0.01..=1e9).contains(&rate));
        demand(rate, &"rate takes 0.01 to 1e9 requests a second");
        demand(!self.service.mean.0.is_zero(), &"service.mean takes 1ms or more");
        demand((0.0..=5.0).contains(&self.service.sigma), &"service.sigma takes 0 to 5");
        demand(!self.client_timeout.0.is_zero(), &"client_timeout takes 1ms or more");
        demand(!self.first_byte.0.is_zero(), &"first_byte takes 1ms or more");
        for burst in &self.burst {
            demand((0.01..=1000.0).contains(&burst.times), &"burst.times takes 0.01 to 1000");
        }
        for group in &self.backend {
            demand(group.weight > 0, &"backend.weight takes 1 to 65535");
            demand(group.servers > 0, &"backend.servers takes 1 or more");
            demand(group.slow >= 0.001 && group.slow <= 1e6, &"backend.slow takes 0.001 to 1e6");
            let warm = group.warm_up.as_ref().is_none_or(|warm| warm.slow >= 1.0 && warm.slow <= 1e6);
            demand(warm, &"backend.warm_up.slow takes 1 to 1e6");
            let rates = group.errors.iter().all(|errors| (0.0..=1.0).contains(&errors.rate));
            demand(rates, &"backend.errors.rate takes 0 to 1");
        }
        if wrong.is_empty() { Ok(self) } else { Err(wrong) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_a_share_of_what_the_backends_can_do() {
        let text = "load = 0.5\n[service]\nmean = '10ms'\n[[backend]]\ncount = 9\nservers = 2\n[[backend]]\nservers = 2\nslow = 10";
        let scenario = Scenario::parse(text).unwrap();
        assert!((scenario.capacity() - 1820.0).abs() < 1e-6, "{}", scenario.capacity());
        assert!((scenario.rate() - 910.0).abs() < 1e-6);
        assert_eq!(Scenario::parse("rate = 5\n[[backend]]\n").unwrap().rate(), 5.0);
    }

    #[test]
    fn the_first_group_makes_up_for_another_number_of_endpoints() {
        let scenario = || Scenario::parse("[[backend]]\ncount = 9\n[[backend]]\ncount = 2").unwrap();
        let counts = |scenario: Scenario| scenario.backend.iter().map(|group| group.count).collect::<Vec<_>>();
        assert_eq!(counts(scenario().resized(Some(100), None).unwrap()), [98, 2]);
        assert_eq!(counts(scenario().resized(None, Some(3)).unwrap()), [9, 2]);
        assert_eq!(scenario().resized(Some(2), None).unwrap_err(), "it needs more than 2 endpoints");
        assert!(scenario().resized(None, Some(0)).unwrap_err().contains("gateways takes 1 to 100"));
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, words) in [
            ("", "there is no backend"),
            ("[[backend]]\ncuont = 1", "unknown field `cuont`"),
            ("[[backend]]\nslow = 0\nservers = 0", "backend.servers takes 1 or more; backend.slow takes 0.001"),
            ("load = nan\n[[backend]]", "load takes 0.001 to 100"),
            ("client_timeout = '1 week'\n[[backend]]", "takes a time such as"),
            ("[[backend]]\ndown = [{ from = '1', to = '9%' }]", "nor a share of the run (\"40%\")"),
            ("[[backend]]\ndown = [{ from = '-1%', to = '9%' }]", "takes 0% to 100% of the run, not \"-1%\""),
            (
                "[[backend]]\ncount = 9223372036854775807\n[[backend]]\ncount = 9223372036854775807\n[[backend]]\ncount = 5",
                "are too many",
            ),
            ("checks = '1ms'\n[[backend]]", "checks takes 10ms or more"),
            ("gateways = 101\n[[backend]]", "gateways takes 1 to 100"),
            ("[[backend]]\nerrors = [{ rate = 2.0 }]", "backend.errors.rate takes 0 to 1"),
        ] {
            let wrong = Scenario::parse(text).unwrap_err();
            assert!(wrong.contains(words), "{text}: {wrong}");
        }
    }
}
