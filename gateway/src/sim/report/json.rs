//! The comparison for programs. Times are nanoseconds.

use serde_json::{Value, json};

use super::Comparison;
use crate::sim::Round;
use crate::sim::tally::{End, Tally};

/// The whole comparison.
pub fn json(comparison: &Comparison<'_>) -> Value {
    let contenders = comparison.contenders.iter().map(|[name, version, config]| {
        let config = serde_json::from_str(config).unwrap_or(Value::Null);
        json!({ "name": name, "version": version, "config": config })
    });
    let scenarios = comparison.rounds.iter().map(|round| scenario(comparison, round));
    json!({
        "seed": comparison.seed,
        "plugins": contenders.collect::<Vec<_>>(),
        "scenarios": scenarios.collect::<Vec<_>>(),
    })
}

fn scenario(comparison: &Comparison<'_>, round: &Round) -> Value {
    let results = comparison.contenders.iter().zip(&round.results).zip(round.best());
    let results = results.map(|(([name, ..], result), best)| match result {
        Ok(tally) => of_tally(name, tally, best),
        Err(why) => json!({ "plugin": name, "not_started": why }),
    });
    json!({
        "name": round.scenario.name,
        "about": round.scenario.about,
        "requests": round.plan.requests,
        "requests_per_second": round.plan.rate,
        "endpoints": round.scenario.endpoints(),
        "gateways": round.plan.gateways,
        "results": results.collect::<Vec<_>>(),
    })
}

fn of_tally(name: &str, tally: &Tally, best: bool) -> Value {
    let quantile = |share: f64| tally.waited.quantile(share);
    let errors = End::ERRORS.iter().map(|end| (end.word().to_owned(), json!(tally.ended(*end))));
    let faults = tally.faults.iter().map(|(fault, count)| ((*fault).to_owned(), json!(count)));
    let endpoints = tally.backends.iter().map(|backend| {
        json!({
            "address": backend.address,
            "group": backend.group,
            "weight": backend.weight,
            "servers": backend.servers,
            "requests": backend.sent,
            "share": tally.share(backend),
            "peak": backend.peak,
        })
    });
    json!({
        "plugin": name,
        "best": best,
        "p50": quantile(0.5),
        "p90": quantile(0.9),
        "p99": quantile(0.99),
        "p99_9": quantile(0.999),
        "mean": tally.waited.mean(),
        "longest": tally.waited.most(),
        "error_rate": tally.error_rate(),
        "errors": errors.collect::<serde_json::Map<_, _>>(),
        "retries": tally.retries,
        "hedges": tally.hedges,
        "faults": faults.collect::<serde_json::Map<_, _>>(),
        "quarantined_gateways": tally.quarantined.map_or(0, |(gateways, _)| gateways),
        "fallbacks": tally.fallbacks,
        "without_plugin": tally.without_plugin,
        "length": u64::try_from(tally.length.as_nanos()).unwrap_or(u64::MAX),
        "p99_over_time": tally.pieces.iter().map(|piece| piece.quantile(0.99)).collect::<Vec<_>>(),
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}
