//! A scenario laid out over a run of so many requests: shares become moments, groups become backends.
//!
//! All times are nanoseconds since the begin of the run.

use super::scenario::{Group, Moment, Scenario, Service};

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Requests.
    pub requests: u64,
    /// Requests a second, bursts apart.
    pub rate: f64,
    /// When the last request is expected.
    pub length: u64,
    /// Gateways.
    pub gateways: u32,
    /// Their zones, in turns.
    pub zones: Vec<String>,
    /// How often they look which backends are there.
    pub checks: Option<u64>,
    /// How long requests take.
    pub service: Service,
    /// When clients give up.
    pub client_timeout: u64,
    /// When the gateway gives an endpoint up.
    pub first_byte: u64,
    /// The rules of each group.
    pub rules: Vec<Rules>,
    /// All backends.
    pub backends: Vec<Place>,
    bursts: Vec<(Span, f64)>,
}

/// A backend: its group, and how it is called.
#[derive(Clone, Debug)]
pub struct Place {
    /// Index of its group's rules.
    pub group: usize,
    /// Its address.
    pub address: String,
}

/// From a moment up to, but not including, another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The begin.
    pub from: u64,
    /// The end.
    pub to: u64,
}

/// How the backends of one group behave.
#[derive(Clone, Debug)]
pub struct Rules {
    /// As it was written.
    pub group: Group,
    warm_up: Option<(u64, f64)>,
    errors: Vec<(Span, f64, Option<u64>)>,
    down: Vec<Span>,
    /// The period, and how much of its end is without the backend.
    flapping: Option<(u64, u64)>,
}

/// A request that fails, and how long that takes when it takes another time than others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failing(pub Option<u64>);

const SECOND: f64 = 1e9;
/// Seconds that a run may take, so that no sum of times is too large.
const LONGEST: f64 = 365.0 * 86_400.0;

impl Plan {
    /// For so many requests, unless that takes too long.
    pub fn new(scenario: &Scenario, requests: u64) -> Result<Plan, String> {
        let rate = scenario.rate();
        let seconds = requests as f64 / rate;
        if seconds > LONGEST {
            return Err(format!("{requests} requests at {rate:.2} a second would take more than a year"));
        }
        let length = length(scenario, seconds);
        let nanos = |time: super::scenario::Time| u64::try_from(time.0.as_nanos()).unwrap_or(u64::MAX);
        let mut backends = Vec::new();
        for (group, of) in scenario.backend.iter().enumerate() {
            for _ in 0..of.count {
                let number = backends.len();
                let address = format!("10.0.{}.{}:80", number / 250, number % 250 + 1);
                backends.push(Place { group, address });
            }
        }
        Ok(Plan {
            requests,
            rate,
            length,
            gateways: scenario.gateways,
            zones: scenario.zones.clone(),
            checks: scenario.checks.map(nanos),
            service: scenario.service.clone(),
            client_timeout: nanos(scenario.client_timeout),
            first_byte: nanos(scenario.first_byte),
            rules: scenario.backend.iter().map(|group| Rules::new(group, length)).collect(),
            backends,
            bursts: scenario.burst.iter().map(|burst| (Span::of(burst.from, burst.to, length), burst.times)).collect(),
        })
    }

    /// When the next request comes that has so much of the mean time between two to wait for. Exact at the edges of bursts.
    pub fn arrival(&self, after: u64, mut wait: f64) -> u64 {
        let mut now = after;
        loop {
            let times: f64 = self.bursts.iter().filter(|(span, _)| span.has(now)).map(|(_, times)| times).product();
            let rate = self.rate * times / SECOND;
            let edges = self.bursts.iter().flat_map(|(span, _)| [span.from, span.to]);
            let edge = edges.filter(|edge| *edge > now).min();
            let at = now as f64 + wait / rate;
            match edge {
                Some(edge) if at >= edge as f64 => {
                    wait -= (edge - now) as f64 * rate;
                    now = edge;
                }
                _ => return at as u64,
            }
        }
    }
}

/// The time that so many requests take, of which the bursts have more than usual.
fn length(scenario: &Scenario, seconds: f64) -> u64 {
    let (mut fixed, mut share) = (0.0, 1.0);
    for burst in &scenario.burst {
        fixed += (burst.times - 1.0) * (burst.to.fixed.as_secs_f64() - burst.from.fixed.as_secs_f64());
        share += (burst.times - 1.0) * (burst.to.share - burst.from.share);
    }
    // Bursts that are longer than the run, or that leave nothing of it, are not made up for.
    let length = (seconds - fixed) / share.max(0.01);
    (length.max(seconds * 0.01) * SECOND) as u64
}

impl Span {
    fn of(from: Moment, to: Moment, length: u64) -> Span {
        Span { from: nanos(from, length), to: nanos(to, length) }
    }

    fn has(&self, now: u64) -> bool {
        (self.from..self.to).contains(&now)
    }
}

fn nanos(moment: Moment, length: u64) -> u64 {
    let fixed = u64::try_from(moment.fixed.as_nanos()).unwrap_or(u64::MAX);
    fixed.saturating_add((moment.share * length as f64) as u64)
}

impl Rules {
    fn new(group: &Group, length: u64) -> Rules {
        let time = |time: super::scenario::Time| u64::try_from(time.0.as_nanos()).unwrap_or(u64::MAX);
        // What lasts to the end lasts beyond it too, for those who are late.
        let span = |from, to: Moment| {
            let span = Span::of(from, to, length);
            if to.share >= 1.0 { Span { to: u64::MAX, ..span } } else { span }
        };
        let errors = group.errors.iter().map(|one| (span(one.from, one.to), one.rate, one.time.map(time)));
        let flapping = group.flapping.as_ref().map(|flapping| {
            // Not shorter than what anybody would notice.
            let every = nanos(flapping.every, length).max(1_000_000);
            (every, nanos(flapping.down, length).min(every))
        });
        Rules {
            group: group.clone(),
            warm_up: group.warm_up.as_ref().map(|warm| (nanos(warm.time, length), warm.slow)),
            errors: errors.collect(),
            down: group.down.iter().map(|outage| span(outage.from, outage.to)).collect(),
            flapping,
        }
    }

    /// Whether the backend is gone.
    pub fn is_down(&self, now: u64) -> bool {
        let flaps = self.flapping.is_some_and(|(every, down)| now % every >= every - down);
        flaps || self.down.iter().any(|span| span.has(now))
    }

    /// When that may change next.
    pub fn next_turn(&self, now: u64) -> Option<u64> {
        let flaps = self.flapping.filter(|(_, down)| *down > 0).map(|(every, down)| {
            let begin = now - now % every;
            let leaves = begin + (every - down);
            if leaves > now { leaves } else { begin.saturating_add(every) }
        });
        let edges = self.down.iter().flat_map(|span| [span.from, span.to]).filter(|edge| *edge > now);
        edges.chain(flaps).filter(|edge| *edge < u64::MAX).min()
    }

    /// How many times as long a request takes now, on a backend that started then.
    pub fn slowness(&self, now: u64, started: u64) -> f64 {
        let slow = self.group.slow;
        match self.warm_up {
            Some((time, first)) if now - started < time => {
                let left = 1.0 - (now - started) as f64 / time as f64;
                slow * (1.0 + (first - 1.0) * left)
            }
            _ => slow,
        }
    }

    /// Whether a request with this luck, from 0 to 1, fails now.
    pub fn failing(&self, now: u64, luck: f64) -> Option<Failing> {
        let (_, _, time) = self.errors.iter().find(|(span, rate, _)| span.has(now) && luck < *rate)?;
        Some(Failing(*time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str, requests: u64) -> Plan {
        Plan::new(&Scenario::parse(text).unwrap(), requests).unwrap()
    }

    const S: u64 = 1_000_000_000;

    #[test]
    fn a_run_is_as_long_as_its_requests_take_with_their_bursts() {
        assert_eq!(plan("rate = 100\n[[backend]]", 1000).length, 10 * S);
        let burst = "rate = 100\nburst = [{ from = '40%', to = '60%', times = 6 }]\n[[backend]]";
        assert_eq!(plan(burst, 1000).length, 5 * S);
        let fixed = "rate = 100\nburst = [{ from = '1s', to = '2s', times = 6 }]\n[[backend]]";
        assert_eq!(plan(fixed, 1000).length, 5 * S);
    }

    #[test]
    fn a_run_of_more_than_a_year_is_refused() {
        let scenario = Scenario::parse("rate = 1\n[[backend]]").unwrap();
        assert!(Plan::new(&scenario, 1_000_000_000).unwrap_err().contains("more than a year"));
    }

    #[test]
    fn arrivals_are_exact_at_the_edges_of_a_burst() {
        let plan = plan("rate = 10\nburst = [{ from = '1s', to = '2s', times = 10 }]\n[[backend]]", 100);
        let arrivals = |from, wait| plan.arrival(from, wait) as f64 / S as f64;
        assert!((arrivals(0, 5.0) - 0.5).abs() < 1e-6);
        // Ten in the first second, a hundred in the next.
        assert!((arrivals(0, 60.0) - 1.5).abs() < 1e-6);
        assert!((arrivals(0, 120.0) - 3.0).abs() < 1e-6);
    }

    #[test]
    fn backends_leave_and_return_by_spans_and_by_flapping() {
        let text = "rate = 10\n[[backend]]\ndown = [{ from = '2s', to = '3s' }]\n[[backend]]\nflapping = { every = '4s', down = '1s' }\n[[backend]]\ndown = [{ from = '50%', to = '100%' }]";
        let plan = plan(text, 100);
        let [once, often, end] = &plan.rules[..] else { panic!() };
        assert_eq!([0, 2 * S, 3 * S].map(|now| once.is_down(now)), [false, true, false]);
        assert_eq!([0, 2 * S, 3 * S].map(|now| once.next_turn(now)), [Some(2 * S), Some(3 * S), None]);
        assert_eq!([0, 3 * S, 4 * S, 7 * S].map(|now| often.is_down(now)), [false, true, false, true]);
        assert_eq!([0, 3 * S, 4 * S].map(|now| often.next_turn(now)), [Some(3 * S), Some(4 * S), Some(7 * S)]);
        assert!(end.is_down(1000 * S) && end.next_turn(6 * S).is_none());
    }

    #[test]
    fn backends_warm_up_and_fail_for_a_while() {
        let text = "rate = 10\n[[backend]]\nslow = 2\nwarm_up = { time = '1s', slow = 9 }\nerrors = [{ rate = 0.5, from = '50%', time = '1ms' }]";
        let plan = plan(text, 100);
        let rules = &plan.rules[0];
        assert_eq!([0, S / 2, S, 9 * S].map(|now| rules.slowness(now, 0)), [18.0, 10.0, 2.0, 2.0]);
        assert_eq!(rules.slowness(9 * S, 9 * S), 18.0);
        assert_eq!(rules.failing(S, 0.1), None);
        assert_eq!((rules.failing(5 * S, 0.1), rules.failing(5 * S, 0.6)), (Some(Failing(Some(1_000_000))), None));
    }
}
