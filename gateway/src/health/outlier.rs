//! Which endpoints of a pool are to be left out for a while. Pure.
//!
//! In: what each did in a row, and since the last look. Out: who is to be ejected, the worst first, and why; at most as many as
//! may be, and never the last that could be used. Success rates and latencies are held against the median of the others:
//! so it works for two endpoints as for a hundred, and one that is very bad does not hide the next.

use std::fmt;
use std::time::Duration;

use crate::balance::{Row, Sample};
use crate::config::model::Eject;

/// What one endpoint did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conduct {
    /// Whether it may be picked now.
    pub(super) usable: bool,
    /// Whether it is ejected now.
    pub(super) ejected: bool,
    /// Failures in a row.
    pub(super) failures: Row,
    /// Connections in a row that did not come about.
    pub(super) refusals: Row,
    /// What it did in this interval; `None` when that is not looked at now.
    pub(super) sample: Option<Sample>,
}

/// Why an endpoint is ejected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cause {
    /// So many requests failed in a row.
    Failures(Row),
    /// So many connections did not come about in a row.
    Connects(Row),
    /// Its success rate, and the median of the others'.
    Success(f64, f64),
    /// Its mean latency, and the median of the others'.
    Latency(Duration, Duration),
}

impl Cause {
    /// As metrics spell it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Cause::Failures(_) => "failures",
            Cause::Connects(_) => "connects",
            Cause::Success(..) => "success",
            Cause::Latency(..) => "latency",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Failures(Row { on_probation: true, .. }) => {
                f.write_str("it failed again as soon as it was let back")
            }
            Cause::Connects(Row { on_probation: true, .. }) => {
                f.write_str("it took no connection as soon as it was let back")
            }
            Cause::Failures(row) => write!(f, "{} requests failed in a row", row.count),
            Cause::Connects(row) => write!(f, "{} connections failed in a row", row.count),
            Cause::Success(ours, others) => {
                write!(f, "success rate {:.1}%, that of the others {:.1}%", ours * 100.0, others * 100.0)
            }
            Cause::Latency(ours, others) => write!(
                f,
                "mean latency {:.1} ms, that of the others {:.1} ms",
                ours.as_secs_f64() * 1000.0,
                others.as_secs_f64() * 1000.0
            ),
        }
    }
}

/// Who is to be ejected, by index, and why.
pub(super) fn ejections(pool: &[Conduct], eject: &Eject) -> Vec<(usize, Cause)> {
    let mut found = in_a_row(pool, eject);
    for (index, cause) in by_success(pool, eject).into_iter().chain(by_latency(pool, eject)) {
        if !found.iter().any(|(known, _)| *known == index) {
            found.push((index, cause));
        }
    }
    let most = (pool.len() as u64 * u64::from(eject.share) / 10_000).max(1) as usize;
    let room = most.saturating_sub(pool.iter().filter(|one| one.ejected).count());
    let usable = pool.iter().filter(|one| one.usable).count();
    found.truncate(room.min(usable.saturating_sub(1)));
    found
}

fn in_a_row(pool: &[Conduct], eject: &Eject) -> Vec<(usize, Cause)> {
    let reached = |row: Row, most: Option<u32>| most.is_some_and(|most| row.is_too_long(most));
    let mut found: Vec<(usize, Cause, u32)> = Vec::new();
    for (index, one) in pool.iter().enumerate().filter(|(_, one)| one.usable) {
        if reached(one.refusals, eject.connects) {
            found.push((index, Cause::Connects(one.refusals), one.refusals.count));
        } else if reached(one.failures, eject.failures) {
            found.push((index, Cause::Failures(one.failures), one.failures.count));
        }
    }
    found.sort_by_key(|(_, _, count)| std::cmp::Reverse(*count));
    found.into_iter().map(|(index, cause, _)| (index, cause)).collect()
}

fn by_success(pool: &[Conduct], eject: &Eject) -> Vec<(usize, Cause)> {
    let Some(below) = eject.success else { return Vec::new() };
    let margin = f64::from(below) / 10_000.0;
    let rate = |sample: &Sample| 1.0 - f64::from(sample.failures) / f64::from(sample.requests.max(1));
    let rates = measured(pool, |sample| (sample.requests >= eject.requests).then(|| rate(sample)));
    let outlying = beside_median(&rates, |ours, others| others - ours - margin);
    outlying.into_iter().map(|(index, ours, others)| (index, Cause::Success(ours, others))).collect()
}

fn by_latency(pool: &[Conduct], eject: &Eject) -> Vec<(usize, Cause)> {
    let Some(factor) = eject.latency else { return Vec::new() };
    let mean = |sample: &Sample| sample.latencies.as_secs_f64() / f64::from(sample.answered.max(1));
    let means = measured(pool, |sample| (sample.answered >= eject.requests).then(|| mean(sample)));
    let outlying = beside_median(&means, |ours, others| ours - others * f64::from(factor));
    let cause = |ours, others| Cause::Latency(Duration::from_secs_f64(ours), Duration::from_secs_f64(others));
    outlying.into_iter().map(|(index, ours, others)| (index, cause(ours, others))).collect()
}

/// The measures of those that may be compared, sorted.
fn measured(pool: &[Conduct], measure: impl Fn(&Sample) -> Option<f64>) -> Vec<(usize, f64)> {
    let usable = pool.iter().enumerate().filter(|(_, one)| one.usable);
    let mut all: Vec<(usize, f64)> =
        usable.filter_map(|(index, one)| Some((index, measure(one.sample.as_ref()?)?))).collect();
    all.sort_by(|one, other| one.1.total_cmp(&other.1));
    all
}

/// Those of the sorted measures that are too far from the median of the others, the farthest first: the index, its measure,
/// that median. `excess` is above 0 for them.
fn beside_median(sorted: &[(usize, f64)], excess: impl Fn(f64, f64) -> f64) -> Vec<(usize, f64, f64)> {
    let others = sorted.len().saturating_sub(1);
    if others == 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (place, (index, ours)) in sorted.iter().enumerate() {
        // The element at this place of the list without this one.
        let without = |at: usize| sorted.get(if at >= place { at + 1 } else { at }).map_or(0.0, |(_, value)| *value);
        let median = (without((others - 1) / 2) + without(others / 2)) / 2.0;
        let excess = excess(*ours, median);
        if excess > 0.0 {
            found.push((*index, *ours, median, excess));
        }
    }
    found.sort_by(|one, other| other.3.total_cmp(&one.3));
    found.into_iter().map(|(index, ours, median, _)| (index, ours, median)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(count: u32) -> Row {
        Row { count, on_probation: false }
    }

    fn fine() -> Conduct {
        Conduct { usable: true, ..Conduct::default() }
    }

    fn sample(requests: u32, failures: u32, mean_ms: u32) -> Conduct {
        let answered = requests - failures;
        let latencies = Duration::from_millis(u64::from(mean_ms * answered));
        Conduct { sample: Some(Sample { requests, failures, answered, latencies }), ..fine() }
    }

    fn who(pool: &[Conduct], eject: &Eject) -> Vec<usize> {
        ejections(pool, eject).into_iter().map(|(index, _)| index).collect()
    }

    #[test]
    fn rows_count_from_their_thresholds_on_and_the_longest_goes_first() {
        let eject = Eject { share: 10_000, ..Eject::default() };
        let with = |failures, refusals| Conduct { failures: row(failures), refusals: row(refusals), ..fine() };
        let pool = [with(4, 2), with(5, 0), with(9, 3), with(7, 0), with(0, 0)];
        let found = ejections(&pool, &eject);
        assert_eq!(found, [(3, Cause::Failures(row(7))), (1, Cause::Failures(row(5))), (2, Cause::Connects(row(3)))]);
        let none = Eject { failures: None, connects: None, ..eject };
        assert_eq!(who(&pool, &none), [0usize; 0]);
    }

    #[test]
    fn on_probation_one_failure_is_enough() {
        let tried = |count| Row { count, on_probation: true };
        let pool = [
            Conduct { failures: tried(0), refusals: tried(0), ..fine() },
            Conduct { failures: tried(1), ..fine() },
            Conduct { failures: row(1), ..fine() },
            Conduct { failures: tried(1), refusals: tried(1), ..fine() },
        ];
        let found = ejections(&pool, &Eject { share: 10_000, ..Eject::default() });
        assert_eq!(found, [(1, Cause::Failures(tried(1))), (3, Cause::Connects(tried(1)))]);
        assert_eq!(found[0].1.to_string(), "it failed again as soon as it was let back");
        let never = Eject { failures: None, connects: None, ..Eject::default() };
        assert_eq!(who(&pool, &never), [0usize; 0]);
    }

    #[test]
    fn the_last_one_and_more_than_the_share_stay() {
        let bad = Conduct { failures: row(99), ..fine() };
        let down = Conduct { usable: false, ..bad };
        let gone = Conduct { usable: false, ejected: true, ..bad };
        let eject = Eject::default();
        assert_eq!(who(&[bad], &eject), [0usize; 0]);
        assert_eq!(who(&[bad, down], &eject), [0usize; 0]);
        assert_eq!(who(&[bad, bad], &eject), [0]);
        assert_eq!(who(&[bad, fine(), gone], &eject), [0usize; 0]);
        assert_eq!(who(&[bad, fine(), bad, gone], &eject), [0]);
        assert_eq!(who(&[bad; 10], &eject).len(), 5);
        assert_eq!(who(&[bad; 10], &Eject { share: 1, ..eject.clone() }).len(), 1);
        assert_eq!(who(&[bad; 10], &Eject { share: 10_000, ..eject }).len(), 9);
    }

    #[test]
    fn success_rates_are_held_against_the_others() {
        let eject = Eject { success: Some(2000), ..Eject::default() };
        assert_eq!(who(&[sample(100, 90, 1), sample(100, 0, 1)], &eject), [0]);
        assert_eq!(who(&[sample(100, 21, 1), sample(100, 0, 1), sample(100, 0, 1)], &eject), [0]);
        // Too near, too few requests, or all alike: nobody is the outlier.
        assert_eq!(who(&[sample(100, 20, 1), sample(100, 0, 1)], &eject), [0usize; 0]);
        assert_eq!(who(&[sample(49, 49, 1), sample(100, 0, 1)], &eject), [0usize; 0]);
        assert_eq!(who(&[sample(100, 90, 1); 5], &eject), [0usize; 0]);
        assert_eq!(who(&[sample(100, 90, 1)], &eject), [0usize; 0]);
        let pool = [sample(100, 50, 1), sample(100, 0, 1), sample(100, 80, 1), sample(100, 1, 1), sample(100, 2, 1)];
        assert_eq!(who(&pool, &eject), [2, 0]);
        assert_eq!(ejections(&pool, &eject)[0].1.to_string(), "success rate 20.0%, that of the others 98.5%");
    }

    #[test]
    fn latencies_are_held_against_the_others() {
        let eject = Eject { latency: Some(3), requests: 10, ..Eject::default() };
        assert_eq!(who(&[sample(10, 0, 31), sample(10, 0, 10)], &eject), [0]);
        assert_eq!(who(&[sample(10, 0, 30), sample(10, 0, 10)], &eject), [0usize; 0]);
        let pool = [sample(10, 0, 90), sample(10, 0, 10), sample(10, 0, 20), sample(10, 0, 12), sample(10, 1, 900)];
        assert_eq!(who(&pool, &eject), [0]);
        assert_eq!(ejections(&pool, &eject)[0].1.to_string(), "mean latency 90.0 ms, that of the others 12.0 ms");
    }
}
