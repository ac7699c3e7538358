//! What is told of a comparison: as text, as JSON, and as a page with charts.
//!
//! In: rounds and the names of those who competed in them. Out: text that depends on nothing else.

mod chart;
mod html;
mod json;
mod text;

use std::fmt::Write;

pub use html::html;
pub use json::json;
pub use text::text;

use super::Round;
use super::tally::{End, Tally, best};

/// A comparison.
pub struct Comparison<'a> {
    /// Those who competed: name, version, configuration.
    pub contenders: Vec<[&'a str; 3]>,
    /// What came of it, by scenario.
    pub rounds: &'a [Round],
    /// What chance began with.
    pub seed: u64,
}

/// The percentiles that are told: the share, and its name.
const QUANTILES: [(f64, &str); 4] = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9")];
/// More endpoints than these are summed up.
const SHOWN_ENDPOINTS: usize = 16;

impl Round {
    /// Which contenders did best.
    fn best(&self) -> Vec<bool> {
        best(self.results.iter().map(|result| result.as_ref().ok()))
    }

    /// The frame of the round in one line.
    fn frame(&self) -> String {
        let (scenario, plan) = (&self.scenario, &self.plan);
        let load = scenario.rate() / scenario.capacity() * 100.0;
        format!(
            "{}, {}, {} requests, {:.0}/s for {} ({load:.0}% of capacity)",
            counted(scenario.endpoints(), "endpoint"),
            counted(scenario.gateways as usize, "gateway"),
            plan.requests,
            plan.rate,
            time(plan.length),
        )
    }
}

/// Nanoseconds with three digits that count.
fn time(nanos: u64) -> String {
    let (value, unit) = match nanos {
        0..1_000_000_000 => (nanos as f64 / 1e6, "ms"),
        _ => (nanos as f64 / 1e9, "s"),
    };
    let digits = match value {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// A share as a percentage.
fn percent(share: f64) -> String {
    let digits = if share > 0.0 && share < 0.1 { 2 } else { 1 };
    format!("{:.digits$}%", share * 100.0)
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The part of all work that the busiest backend had, and the most that any had at once.
fn busiest(tally: &Tally) -> (f64, u32) {
    let share = tally.backends.iter().map(|backend| tally.share(backend)).fold(0.0, f64::max);
    (share, tally.backends.iter().map(|backend| backend.peak).max().unwrap_or(0))
}

/// What went wrong with requests and with the plugin, in words; empty when nothing did.
fn remarks(tally: &Tally) -> Vec<String> {
    let mut remarks = Vec::new();
    let errors = End::ERRORS.iter().map(|end| (end.word(), tally.ended(*end))).filter(|(_, count)| *count > 0);
    let errors = list(errors);
    if !errors.is_empty() {
        remarks.push(format!("errors: {errors}"));
    }
    let faults = list(tally.faults.iter().copied());
    if !faults.is_empty() {
        remarks.push(format!("faults of the plugin: {faults}"));
    }
    if let Some((gateways, at)) = tally.quarantined {
        let at = time(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX));
        remarks.push(format!("{} stopped calling it, the first after {at}", counted(gateways as usize, "gateway")));
    }
    if tally.without_plugin > 0 {
        remarks.push(format!("the fallback took {} without its word", counted_picks(tally.without_plugin)));
    }
    if tally.fallbacks > 0 {
        remarks.push(format!("it left {} to the fallback", counted_picks(tally.fallbacks)));
    }
    remarks
}

fn counted_picks(picks: u64) -> String {
    format!("{picks} pick{}", if picks == 1 { "" } else { "s" })
}

fn list<'a>(counts: impl Iterator<Item = (&'a str, u64)>) -> String {
    let mut text = String::new();
    for (word, count) in counts {
        // A text takes everything.
        let _ = write!(text, "{}{word} {count}", if text.is_empty() { "" } else { ", " });
    }
    text
}

/// Endpoints that are shown as one: what they are called, and where they stand.
struct Row {
    name: String,
    weight: u16,
    members: Vec<usize>,
}

/// The endpoints of a round: each by itself, or those of one group together when there are too many.
fn rows(round: &Round) -> Vec<Row> {
    let groups = &round.scenario.backend;
    let together = round.plan.backends.len() > SHOWN_ENDPOINTS;
    let mut rows: Vec<Row> = Vec::new();
    for (number, place) in round.plan.backends.iter().enumerate() {
        let Some(group) = groups.get(place.group) else { continue };
        let before = place.group.checked_sub(1).map_or(0, |last| groups.iter().take(last + 1).map(|g| g.count).sum());
        if together && number > before {
            rows.iter_mut().last().into_iter().for_each(|row| row.members.push(number));
            continue;
        }
        let name = match (together, group.name.as_str()) {
            (true, "") => format!("{} others", group.count),
            (true, name) => format!("{} {name}", group.count),
            (false, "") => place.address.clone(),
            (false, name) => format!("{} {name}", place.address),
        };
        rows.push(Row { name, weight: group.weight, members: vec![number] });
    }
    rows
}

/// What the members of a row have done: their shares summed, and the highest of their peaks.
fn work(tally: &Tally, row: &Row) -> (f64, u32) {
    let members = || row.members.iter().filter_map(|member| tally.backends.get(*member));
    let share = members().map(|backend| tally.share(backend)).sum();
    (share, members().map(|backend| backend.peak).max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_count() {
        let times = [0, 850_000, 12_345_678, 999_000_000, 1_234_000_000, 123_000_000_000].map(time);
        assert_eq!(times, ["0.00 ms", "0.85 ms", "12.3 ms", "999 ms", "1.23 s", "123 s"]);
        assert_eq!([0.0, 0.0123, 0.5].map(percent), ["0.0%", "1.23%", "50.0%"]);
        assert_eq!((counted(1, "gateway"), counted(2, "gateway")), ("1 gateway".into(), "2 gateways".into()));
    }
}
