//! What is counted of endpoints' health.
//!
//! Checks and ejections are seldom beside requests, and one thread counts them: a lock does. How endpoints are now is told in
//! plain rows by whoever asks for the text.

use std::collections::BTreeMap;

use super::families as family;
use super::render::Text;
use super::{Metrics, PoolId, lock};

/// How many endpoints a pool may have for each to have a line of its own.
const EACH: usize = 100;

/// By pool and word.
#[derive(Default)]
pub(super) struct Counts {
    checks: BTreeMap<(PoolId, &'static str), u64>,
    ejections: BTreeMap<(PoolId, &'static str), u64>,
}

/// The endpoints of a pool as they are now.
#[derive(Clone, Debug, Default)]
pub struct EndpointsRow {
    /// The pool's name.
    pub pool: String,
    /// Each of them.
    pub endpoints: Vec<EachEndpoint>,
}

/// An endpoint as it is now.
#[derive(Clone, Debug, Default)]
pub struct EachEndpoint {
    /// Its address.
    pub address: String,
    /// What its checks say; true where there are none.
    pub healthy: bool,
    /// Whether it is ejected.
    pub ejected: bool,
}

impl Metrics {
    /// An endpoint of the pool was checked: `ok`, or the word for what was wrong.
    pub fn health_check(&self, pool: PoolId, result: &'static str) {
        *lock(&self.checked).checks.entry((pool, result)).or_default() += 1;
    }

    /// An endpoint of the pool was ejected.
    pub fn ejection(&self, pool: PoolId, cause: &'static str) {
        *lock(&self.checked).ejections.entry((pool, cause)).or_default() += 1;
    }

    pub(super) fn endpoints(&self, text: &mut Text, pools: &[EndpointsRow]) {
        text.family(&family::ENDPOINT_UP);
        for pool in pools.iter().filter(|pool| pool.endpoints.len() <= EACH) {
            for one in &pool.endpoints {
                let labels = [("pool", &*pool.pool), ("endpoint", &*one.address)];
                text.line(family::ENDPOINT_UP.name, &labels, u64::from(one.healthy && !one.ejected));
            }
        }
        let (names, counts) = (lock(&self.pools), lock(&self.checked));
        let name = |pool: &PoolId| names.keys.get(pool.0 as usize).map_or("", |name| &**name);
        text.family(&family::CHECKS);
        for ((pool, result), count) in &counts.checks {
            text.line(family::CHECKS.name, &[("pool", name(pool)), ("result", result)], *count);
        }
        text.family(&family::EJECTIONS);
        for ((pool, cause), count) in &counts.ejections {
            text.line(family::EJECTIONS.name, &[("pool", name(pool)), ("cause", cause)], *count);
        }
    }
}
