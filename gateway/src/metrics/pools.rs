//! What is told of pools as they are now, as plain rows.

use super::families as family;
use super::render::Text;

/// What an endpoint can be.
pub const ENDPOINT_STATES: [&str; 7] =
    ["healthy", "warming", "overloaded", "spare", "draining", "ejected", "unhealthy"];

/// One pool.
#[derive(Clone, Debug, Default)]
pub struct PoolRow {
    /// Its name.
    pub name: String,
    /// How many of its endpoints are so; each is in one of these states.
    pub endpoints: [(&'static str, u64); ENDPOINT_STATES.len()],
    /// How many have told their load.
    pub reporting: u64,
    /// Reports of load, by what became of them.
    pub reports: [(&'static str, u64); 3],
    /// How many requests it may have at endpoints, where it finds that out by itself, and how many it has.
    pub concurrency: Option<(u32, u32)>,
    /// Whether what is known of its endpoints is not believed.
    pub distrusts: bool,
    /// How often that came about.
    pub distrusted: u64,
    /// The share of requests that each priority has; nothing where there is one.
    pub shares: Vec<(u8, f64)>,
    /// The share that each zone has; nothing where zones make no difference.
    pub zones: Vec<(String, f64)>,
}

pub(super) fn render(text: &mut Text, pools: &[PoolRow]) {
    text.family(&family::ENDPOINTS);
    for pool in pools {
        for (state, count) in pool.endpoints {
            text.line(family::ENDPOINTS.name, &[("pool", &pool.name), ("state", state)], count);
        }
    }
    text.family(&family::POOL_REPORTING);
    for pool in pools.iter().filter(|pool| pool.reports.iter().any(|(_, count)| *count > 0)) {
        text.line(family::POOL_REPORTING.name, &[("pool", &pool.name)], pool.reporting);
    }
    text.family(&family::POOL_REPORTS);
    for pool in pools {
        for (result, count) in pool.reports.iter().filter(|(_, count)| *count > 0) {
            text.line(family::POOL_REPORTS.name, &[("pool", &pool.name), ("result", result)], *count);
        }
    }
    text.family(&family::POOL_LIMIT);
    for (pool, (limit, _)) in pools.iter().filter_map(|pool| Some((pool, pool.concurrency?))) {
        text.line(family::POOL_LIMIT.name, &[("pool", &pool.name)], limit.into());
    }
    text.family(&family::POOL_CONCURRENCY);
    for (pool, (_, there)) in pools.iter().filter_map(|pool| Some((pool, pool.concurrency?))) {
        text.line(family::POOL_CONCURRENCY.name, &[("pool", &pool.name)], there.into());
    }
    text.family(&family::POOL_DISTRUSTED);
    for pool in pools {
        text.line(family::POOL_DISTRUSTED.name, &[("pool", &pool.name)], u64::from(pool.distrusts));
    }
    text.family(&family::POOL_DISTRUSTS);
    for pool in pools {
        text.line(family::POOL_DISTRUSTS.name, &[("pool", &pool.name)], pool.distrusted);
    }
    text.family(&family::POOL_SHARE);
    for pool in pools {
        for (priority, share) in &pool.shares {
            let labels = [("pool", &*pool.name), ("priority", &*priority.to_string())];
            text.number(family::POOL_SHARE.name, &labels, None, *share);
        }
    }
    text.family(&family::POOL_ZONE);
    for pool in pools {
        for (zone, share) in &pool.zones {
            text.number(family::POOL_ZONE.name, &[("pool", &pool.name), ("zone", zone)], None, *share);
        }
    }
}
