//! `gatewright plugin bench`: what a module costs by the call, beside the built-in of the same name if there is one.
//!
//! Each call is timed by itself, less what reading the clock takes, for the percentiles; and many in a row for the mean, which
//! knows nothing of the clock. Both forms are called in the same way as workers call them, on one thread.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatewright_abi::kind;
use gatewright_sdk::native;
use serde_json::{Value, json};

use super::check::{budget, compile, is_object};
use super::sample::{self, Sample};
use crate::cli::{Failure, print};
use crate::config::model;
use crate::plugin::{Decision, Fault, Instance, Mould, Native, Runner, Services};
use crate::stock;

/// Endpoints that a balancer picks from.
const SIZES: [u16; 3] = [3, 30, 300];

/// What was called, and what it cost.
struct Row {
    call: &'static str,
    endpoints: Option<u16>,
    form: &'static str,
    cost: Cost,
}

/// Nanoseconds of one call.
struct Cost {
    mean: f64,
    /// Of single calls, in order.
    single: Vec<u64>,
}

/// Measures so many calls of each kind.
pub(super) fn bench(file: &Path, config: &str, most: Duration, calls: usize, json: bool) -> Result<(), Failure> {
    is_object(config)?;
    let _ = crate::cli::log::start(&model::Log { level: "error".into(), json: false });
    let (engine, compiled) = compile(file, most)?;
    let built_in = beside(file);
    let clock = clock();
    let kinds = compiled.interface.kinds;
    let mut rows = Vec::new();
    let runners = |kinds: u32, endpoints: &[_]| -> Result<Vec<(&'static str, Runner)>, Failure> {
        let services = Arc::new(Services::new("bench"));
        let mould = Mould { services: &services, budget: budget(), kinds, config, endpoints, seed: 1 };
        let mut runners = vec![("wasm", Runner::Wasm(Box::new(Instance::new(&compiled, &engine, &mould)?)))];
        if let Some(plugin) = built_in.filter(|plugin| plugin.kinds() & kinds != 0) {
            runners.push(("native", Runner::Native(Box::new(Native::new(&plugin, &mould)?))));
        }
        Ok(runners)
    };
    let mut add = |call, endpoints, form, cost: Result<Cost, Fault>| match cost {
        Ok(cost) => {
            rows.push(Row { call, endpoints, form, cost });
            Ok(())
        }
        Err(fault) => Err(Failure(format!("{call}: {fault}"))),
    };
    let (request, response) = (Sample { answered: false }, Sample { answered: true });
    for size in SIZES.into_iter().filter(|_| kinds & kind::BALANCER != 0) {
        let endpoints = sample::endpoints(size);
        for (form, mut runner) in runners(kind::BALANCER, &endpoints)? {
            add("pick", Some(size), form, measure(calls, clock, || runner.pick(&request, &endpoints, &[], 0)))?;
        }
    }
    let heads = kinds & (kind::ROUTER | kind::FILTER);
    for (form, mut runner) in if heads == 0 { Vec::new() } else { runners(heads, &[])? } {
        if kinds & kind::ROUTER != 0 {
            add("route", None, form, measure(calls, clock, || runner.route(&request)))?;
        }
        if kinds & kind::FILTER != 0 {
            add("on_request", None, form, measure(calls, clock, || runner.on_request(&request)))?;
            add("on_response", None, form, measure(calls, clock, || runner.on_response(&response)))?;
        }
    }
    if json {
        let results: Vec<Value> = rows.iter().map(Row::json).collect();
        return print(format_args!(
            "{:#}",
            json!({
                "file": file.display().to_string(),
                "sha256": compiled.digest.to_string(),
                "calls": calls,
                "clock_ns": clock,
                "optimised": !cfg!(debug_assertions),
                "results": results,
            })
        ));
    }
    print(format_args!("{}: nanoseconds of a call, of {calls} each; sha256 {}", file.display(), compiled.digest))?;
    if cfg!(debug_assertions) {
        print("This gateway was built without optimisation, so the figures are far too high.")?;
    }
    let head = ["call", "endpoints", "form", "mean", "p50", "p90", "p99", "most"];
    print(line(head.map(str::to_owned)))?;
    rows.iter().try_for_each(|row| print(line(row.cells())))
}

/// The built-in that bears the name of a file.
fn beside(file: &Path) -> Option<native::Plugin> {
    let stem = file.file_stem()?.to_str()?.replace('_', "-");
    let name = stem.strip_prefix("gatewright-plugin-").unwrap_or(&stem);
    stock::all().find(|(known, _)| *known == name).map(|(_, plugin)| plugin())
}

/// What it takes to read the clock.
fn clock() -> u64 {
    let mut times: Vec<u64> = (0..1000).map(|_| nanoseconds(Instant::now())).collect();
    times.sort_unstable();
    percentile(&times, 50)
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn measure(calls: usize, clock: u64, mut call: impl FnMut() -> Result<Decision, Fault>) -> Result<Cost, Fault> {
    for _ in 0..calls.div_ceil(10) {
        black_box(call()?);
    }
    let began = Instant::now();
    for _ in 0..calls {
        black_box(call()?);
    }
    let mean = nanoseconds(began) as f64 / calls as f64;
    let mut single = Vec::with_capacity(calls);
    for _ in 0..calls {
        let began = Instant::now();
        black_box(call()?);
        single.push(nanoseconds(began).saturating_sub(clock));
    }
    single.sort_unstable();
    Ok(Cost { mean, single })
}

/// Of numbers in order.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

/// How many lie up to each power of two, and above the one before.
fn histogram(sorted: &[u64]) -> Vec<(u64, usize)> {
    let most = sorted.last().copied().unwrap_or_default();
    let mut below = 0;
    let mut buckets = Vec::new();
    for bound in (0..64).map(|power| 1u64 << power) {
        let up_to = sorted.partition_point(|value| *value <= bound);
        if up_to > below {
            buckets.push((bound, up_to - below));
        }
        below = up_to;
        if bound >= most {
            break;
        }
    }
    buckets
}

impl Row {
    fn cells(&self) -> [String; 8] {
        let of = |percent| percentile(&self.cost.single, percent).to_string();
        [
            self.call.to_owned(),
            self.endpoints.map_or_else(String::new, |count| count.to_string()),
            self.form.to_owned(),
            format!("{:.1}", self.cost.mean),
            of(50),
            of(90),
            of(99),
            of(100),
        ]
    }

    fn json(&self) -> Value {
        let of = |percent| percentile(&self.cost.single, percent);
        let histogram = histogram(&self.cost.single);
        let buckets: Vec<Value> =
            histogram.iter().map(|(bound, count)| json!({"up_to_ns": bound, "calls": count})).collect();
        json!({
            "call": self.call,
            "endpoints": self.endpoints,
            "form": self.form,
            "mean_ns": self.cost.mean,
            "p50_ns": of(50),
            "p90_ns": of(90),
            "p99_ns": of(99),
            "most_ns": of(100),
            "histogram": buckets,
        })
    }
}

fn line([call, endpoints, form, mean, p50, p90, p99, most]: [String; 8]) -> String {
    format!("{call:12} {endpoints:>9}  {form:6} {mean:>10} {p50:>8} {p90:>8} {p99:>8} {most:>8}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_buckets_are_of_what_was_measured() {
        let sorted: Vec<u64> = (1..=100).collect();
        assert_eq!([50, 90, 99, 100].map(|percent| percentile(&sorted, percent)), [50, 90, 99, 100]);
        assert_eq!(percentile(&[7], 1), 7);
        assert_eq!(percentile(&[], 50), 0);
        assert_eq!(histogram(&[0, 1, 3, 4, 5, 100]), [(1, 2), (4, 2), (8, 1), (128, 1)]);
        assert_eq!(histogram(&[]), []);
    }

    #[test]
    fn the_built_in_beside_a_module_is_found_by_the_name_of_its_file() {
        for (file, is_there) in
            [("a/p2c.wasm", true), ("gatewright_plugin_round_robin.wasm", true), ("other.wasm", false)]
        {
            assert_eq!(beside(Path::new(file)).is_some(), is_there, "{file}");
        }
    }
}
