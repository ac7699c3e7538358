//! Pools and their endpoints as JSON: who is well, who is not and why, how busy they are.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gatewright_abi::flag;
use serde_json::{Value, json};

use crate::balance::{Candidate, Figures, Standing};
use crate::snapshot::{CompiledPool, Snapshot};

/// One pool, by these clocks.
pub(super) fn pool(pool: &CompiledPool, snapshot: &Snapshot, now: (Instant, Duration)) -> Value {
    let model = &pool.state.model;
    let (candidates, is_checked) = (&pool.state.everyone, model.health.is_some());
    let used: Option<HashSet<_>> = model.selection.subset.as_ref().map(|_| {
        let used = pool.state.candidates.iter();
        used.map(|one| Arc::as_ptr(&one.endpoint)).collect()
    });
    let is_spare = |one: &Candidate| used.as_ref().is_some_and(|used| !used.contains(&Arc::as_ptr(&one.endpoint)));
    let plugin = model.balancer.and_then(|at| snapshot.config.plugins.get(at)).map(|plugin| &*plugin.name);
    let shares = candidates.iter().map(|one| one.endpoint.standing().uptime.share(now.0));
    json!({
        "name": model.name,
        "balance": plugin.unwrap_or(model.balance.name()),
        "availability": availability(shares),
        "zones": zones(pool),
        "subset": used.as_ref().map(HashSet::len),
        "usable": candidates.iter().filter(|one| is_usable(one)).count(),
        "active": candidates.iter().map(|one| u64::from(one.endpoint.active())).sum::<u64>(),
        "rate": rounded(candidates.iter().map(|one| f64::from(one.endpoint.stats.rate_at(now.1))).sum()),
        "concurrency": pool.state.adaptive.as_ref().map(|adaptive| concurrency(&adaptive.figures())),
        "endpoints": candidates.iter().map(|one| endpoint(one, is_checked, is_spare(one), now)).collect::<Vec<_>>(),
    })
}

/// What a pool has found out of how many requests it can have.
fn concurrency(figures: &Figures) -> Value {
    let ms = |time: Option<Duration>| time.map(|time| rounded(time.as_secs_f64() * 1000.0));
    json!({
        "limit": figures.limit,
        "active": figures.there,
        "latency_ms": ms(figures.latency),
        "unloaded_latency_ms": ms(figures.floor),
    })
}

/// The share of requests that each zone has, the gateway's own first; `None` where zones make no difference.
fn zones(pool: &CompiledPool) -> Option<Value> {
    let zones = pool.state.watch.outlook(&pool.state.everyone).zones;
    let told = zones.iter().map(|(zone, share)| json!({ "zone": zone, "share": rounded(*share) })).collect::<Vec<_>>();
    Some(Value::from(told)).filter(|_| !zones.is_empty())
}

/// The chance that one of them at least is up, if each is up for its share of the time and they fail independently of each
/// other; `None` when one of them was not looked at.
fn availability(shares: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let all_down = shares.map(|share| share.map(|share| 1.0 - share)).product::<Option<f64>>();
    all_down.map(|down| 1.0 - down)
}

fn endpoint(candidate: &Candidate, is_checked: bool, is_spare: bool, (now, uptime): (Instant, Duration)) -> Value {
    let (endpoint, stats) = (&candidate.endpoint, &candidate.endpoint.stats);
    let standing = endpoint.standing().clone();
    let (state, why, since) = state(stats.flags(), is_checked, &standing);
    let checked = standing.checked.as_ref();
    json!({
        "address": endpoint.address,
        "weight": candidate.weight,
        "priority": candidate.priority,
        "zone": candidate.zone,
        "spare": is_spare,
        "state": state,
        "reason": why,
        "since": since.map(seconds),
        "until": standing.ejected.as_ref().map(|ejected| seconds(ejected.until)),
        "last_check": checked.map(|checked| json!({ "good": checked.last_good, "found": checked.last })),
        "ejections": standing.ejections,
        "availability": standing.uptime.share(now),
        "observed_seconds": rounded(standing.uptime.observed(now).as_secs_f64()),
        "draining": stats.flags() & flag::DRAINING != 0,
        "warmth": rounded(stats.warmth().into()),
        "load": Some(stats.load()).filter(|load| !load.is_nan()).map(|load| rounded(load.into())),
        "active": endpoint.active(),
        "rate": rounded(stats.rate_at(uptime).into()),
        "latency_ms": Some(stats.latency()).filter(|latency| *latency > 0).map(|latency| f64::from(latency) / 1000.0),
        "errors": rounded(stats.errors().into()),
    })
}

/// What it is, why, and since when.
fn state(flags: u32, is_checked: bool, standing: &Standing) -> (&'static str, Option<String>, Option<SystemTime>) {
    let checked = standing.checked.as_ref().map(|checked| (checked.reason.clone(), checked.since)).unzip();
    let ejected = standing.ejected.as_ref().map(|ejected| (ejected.reason.clone(), ejected.since)).unzip();
    match (flags & flag::HEALTHY != 0, flags & flag::EJECTED != 0) {
        (false, _) if checked.0.is_none() => ("unhealthy", Some("not checked yet".to_owned()), None),
        (false, _) => ("unhealthy", checked.0, checked.1),
        (true, false) if flags & flag::DRAINING != 0 => ("draining", None, None),
        (true, true) => ("ejected", ejected.0, ejected.1),
        (true, false) if is_checked && checked.0.is_some() => ("healthy", checked.0, checked.1),
        (true, false) => ("unchecked", None, None),
    }
}

fn is_usable(candidate: &Candidate) -> bool {
    candidate.endpoint.stats.flags() & (flag::HEALTHY | flag::EJECTED | flag::DRAINING) == flag::HEALTHY
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| rounded(since.as_secs_f64()))
}

/// To what can be read.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_up_when_one_is() {
        let of = |shares: &[Option<f64>]| availability(shares.iter().copied()).map(|share| (share * 1e6).round() / 1e6);
        assert_eq!(of(&[Some(0.9)]), Some(0.9));
        assert_eq!(of(&[Some(0.9), Some(0.9), Some(0.0)]), Some(0.99));
        assert_eq!(of(&[Some(0.9), Some(1.0)]), Some(1.0));
        assert_eq!(of(&[Some(0.9), None]), None);
    }
}
