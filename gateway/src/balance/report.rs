//! What an endpoint says of its own load.
//!
//! In: JSON, or the text of ORCA (<https://github.com/cncf/xds/blob/main/xds/data/orca/v3/orca_load_report.proto>), as a body or a
//! header field. Out: the load, where 1 is all that it can do, and which part of its share it gets: less with every report that it
//! has too much, and more again with every one that it has not. What is too old is forgotten.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use gatewright_abi::flag;
use serde_json::Value;

use super::Stats;

/// What an endpoint said.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Report {
    /// 1 is all that it can do.
    pub load: f32,
    /// It has too much.
    pub overloaded: bool,
}

/// What was reported of one endpoint.
#[derive(Debug)]
pub(super) struct Reported {
    /// Milliseconds of the last report, and one more; 0 when nothing is known.
    seen: AtomicU64,
    /// The same of the last change of the share.
    changed: AtomicU64,
    /// Bits of the share.
    share: AtomicU32,
}

/// Names that tell the load, the first that is there, where none is configured.
const LOADS: [&str; 3] = ["load", "application_utilization", "cpu_utilization"];
/// What is more than this many times all that it can do is no number that anybody meant.
const MOST: f64 = 1000.0;
/// Between two changes of a share, whatever is reported.
const PAUSE: u64 = 1000;
/// By which a share becomes smaller, and what it is at the least.
const LESS: (f32, f32) = (0.7, 0.1);
/// By which it grows.
const MORE: f32 = 0.1;

impl Report {
    /// Reads a report; `metric`: which of its numbers is the load. `None`: it tells none.
    pub fn read(text: &[u8], metric: Option<&str>) -> Option<Report> {
        let text = str::from_utf8(text).ok()?.trim();
        let after = |word: &str| text.strip_prefix(word).filter(|rest| rest.starts_with([' ', '\t', '{']));
        let json = after("JSON").map(str::trim).or_else(|| text.starts_with('{').then_some(text));
        match json {
            Some(json) => {
                let value: Value = serde_json::from_str(json).ok()?;
                let number = |name: &str| find(&value, name)?.as_f64();
                let overloaded = value.get("overloaded").and_then(Value::as_bool).unwrap_or(false);
                Report::of(metric, number, overloaded)
            }
            None => {
                let pairs = after("TEXT").unwrap_or(text).split(',').filter_map(|pair| pair.split_once(['=', ':']));
                let pairs = pairs.map(|(name, value)| (name.trim(), value.trim()));
                let number = |name: &str| {
                    let (_, value) = pairs.clone().find(|(known, _)| *known == name)?;
                    value.parse::<f64>().ok()
                };
                let overloaded = pairs.clone().any(|pair| matches!(pair, ("overloaded", "true" | "1")));
                Report::of(metric, number, overloaded)
            }
        }
    }

    fn of(metric: Option<&str>, number: impl Fn(&str) -> Option<f64>, overloaded: bool) -> Option<Report> {
        let load = match metric {
            Some(metric) => number(metric),
            None => LOADS.iter().find_map(|name| number(name)),
        };
        let load = load.filter(|load| (0.0..=MOST).contains(load))?;
        Some(Report { load: load as f32, overloaded: overloaded || load >= 1.0 })
    }
}

/// A member of an object, also `named_metrics.NAME`.
fn find<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    value.get(name).or_else(|| {
        let (outer, inner) = name.split_once('.')?;
        value.get(outer)?.get(inner)
    })
}

impl Default for Reported {
    fn default() -> Reported {
        Reported { seen: AtomicU64::new(0), changed: AtomicU64::new(0), share: AtomicU32::new(1f32.to_bits()) }
    }
}

impl Reported {
    /// Takes a report in.
    pub(super) fn take(&self, report: Report, stats: &Stats, now: Duration) {
        let now = millis(now) + 1;
        self.seen.store(now, Ordering::Relaxed);
        stats.set_load(report.load);
        let changed = self.changed.load(Ordering::Relaxed);
        if now < changed.saturating_add(PAUSE) && changed > 0 {
            return;
        }
        // Of several at the same time one counts.
        let first = self.changed.compare_exchange(changed, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if first {
            let share = next_share(self.share(), report.overloaded);
            self.share.store(share.to_bits(), Ordering::Relaxed);
            note(stats, flag::DEGRADED, report.overloaded);
        }
    }

    /// Forgets what is older than this. Whether anything is known.
    pub(super) fn forget(&self, age: Duration, stats: &Stats, now: Duration) -> bool {
        let seen = self.seen.load(Ordering::Relaxed);
        if seen == 0 {
            return false;
        }
        if millis(now).saturating_sub(seen) <= millis(age) {
            return true;
        }
        // What is reported in this moment is not forgotten.
        if self.seen.compare_exchange(seen, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.share.store(1f32.to_bits(), Ordering::Relaxed);
            stats.set_load(f32::NAN);
            note(stats, flag::DEGRADED, false);
        }
        false
    }

    /// Which part of its share it gets.
    pub(super) fn share(&self) -> f32 {
        f32::from_bits(self.share.load(Ordering::Relaxed))
    }
}

/// Sets or clears a flag where it is not so already: others look again when flags change.
fn note(stats: &Stats, flag: u32, wanted: bool) {
    if (stats.flags() & flag != 0) != wanted {
        let (set, clear) = if wanted { (flag, 0) } else { (0, flag) };
        stats.change_flags(set, clear);
    }
}

fn next_share(share: f32, overloaded: bool) -> f32 {
    let (factor, least) = LESS;
    if overloaded { (share * factor).max(least) } else { (share + MORE).min(1.0) }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<(f32, bool)> {
        Report::read(text.as_bytes(), None).map(|report| (report.load, report.overloaded))
    }

    #[test]
    fn all_forms_are_read() {
        assert_eq!(read(r#"{"load": 0.7}"#), Some((0.7, false)));
        assert_eq!(read(r#" {"load": 0.7, "overloaded": true} "#), Some((0.7, true)));
        assert_eq!(read(r#"JSON {"cpu_utilization": 0.3, "application_utilization": 0.5}"#), Some((0.5, false)));
        assert_eq!(read("TEXT cpu_utilization=0.3, rps_fractional=10.0, eps=1"), Some((0.3, false)));
        assert_eq!(read("application_utilization=1.5,cpu_utilization=0.2"), Some((1.5, true)));
        assert_eq!(read("TEXT cpu_utilization:0.25"), Some((0.25, false)));
        assert_eq!(read("load=0.2, overloaded=1"), Some((0.2, true)));
        assert_eq!(read("load=1"), Some((1.0, true)));
    }

    #[test]
    fn a_metric_may_be_named() {
        let read = |text: &str, metric| Report::read(text.as_bytes(), Some(metric)).map(|report| report.load);
        assert_eq!(read("TEXT cpu_utilization=0.3, mem_utilization=0.9", "mem_utilization"), Some(0.9));
        assert_eq!(read("TEXT named_metrics.queue=0.4", "named_metrics.queue"), Some(0.4));
        assert_eq!(read(r#"{"named_metrics": {"queue": 0.4}}"#, "named_metrics.queue"), Some(0.4));
        assert_eq!(read("load=0.3", "queue"), None);
    }

    #[test]
    fn what_tells_no_load_is_none() {
        for text in [
            "",
            "TEXT",
            "JSON",
            "BIN CgA=",
            "hello",
            "{",
            "{}",
            "[1]",
            "load",
            "load=",
            "load=x",
            "load=nan",
            "load=inf",
            "load=-1",
            "load=1e9",
            r#"{"load": "0.5"}"#,
            r#"{"load": -0.1}"#,
            "TEXTload=1",
            "rps=5",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(Report::read(b"load=\xff0.5", None), None);
    }

    #[test]
    fn whoever_has_too_much_gets_less_and_then_more_again() {
        let (reported, stats) = (Reported::default(), Stats::default());
        let take = |load, seconds| {
            let report = Report { load, overloaded: load >= 1.0 };
            reported.take(report, &stats, Duration::from_secs_f32(seconds));
            reported.share()
        };
        assert_eq!(take(0.5, 1.0), 1.0);
        // More reports than one in a second change nothing but the load.
        assert_eq!((take(1.2, 1.5), stats.load()), (1.0, 1.2));
        assert!((take(1.2, 2.0) - 0.7).abs() < 1e-6);
        assert!(stats.flags() & flag::DEGRADED != 0);
        (3..30).for_each(|seconds| {
            take(1.2, seconds as f32);
        });
        assert_eq!(reported.share(), 0.1);
        assert!((take(0.5, 31.0) - 0.2).abs() < 1e-6);
        assert!(stats.flags() & flag::DEGRADED == 0);
        (32..60).for_each(|seconds| {
            take(0.5, seconds as f32);
        });
        assert_eq!(reported.share(), 1.0);
    }

    #[test]
    fn what_is_too_old_is_forgotten() {
        let (reported, stats, at) = (Reported::default(), Stats::default(), Duration::from_secs);
        assert!(!reported.forget(at(10), &stats, at(100)));
        reported.take(Report { load: 2.0, overloaded: true }, &stats, at(100));
        assert!(reported.forget(at(10), &stats, at(110)));
        assert_eq!((stats.load(), reported.share()), (2.0, 0.7));
        assert!(!reported.forget(at(10), &stats, at(111)));
        assert!(stats.load().is_nan() && reported.share() == 1.0 && stats.flags() == flag::HEALTHY);
    }

    proptest! {
        #[test]
        fn nothing_that_is_said_is_believed_beyond_reason(text in ".{0,80}", metric in proptest::option::of("[a-z._]{0,8}")) {
            if let Some(report) = Report::read(text.as_bytes(), metric.as_deref()) {
                prop_assert!(report.load.is_finite() && report.load >= 0.0);
            }
        }
    }
}
