//! Which endpoints of a pool get requests, and what share of them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::{At, Time};

/// How the share of an endpoint rises that is new or well again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlowStart {
    /// Until it has its whole share.
    pub time: At<Time>,
    /// 1 rises evenly, more is slow at first, less is quick at first.
    #[schemars(range(min = 0.1, max = 10), extend("default" = 1.0))]
    pub curve: Option<At<f64>>,
    /// What it has at first.
    #[schemars(extend("default" = "10%"))]
    pub least: Option<At<String>>,
}

/// How endpoints in the zone of the gateway go before others.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PreferZone {
    /// How many of all requests to the pool come in at gateways of this zone. When not given, as many as in every other zone
    /// that has endpoints.
    #[schemars(extend("examples" = ["50%"]))]
    pub share: Option<At<String>>,
    /// How much more than its part of the requests the zone keeps before others get some.
    #[schemars(range(min = 1, max = 100), extend("default" = 1.0))]
    pub spill_factor: Option<At<f64>>,
}

/// What endpoints say of their load.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Where they are asked for it, over HTTP/1.1. When not given they are not.
    #[schemars(extend("examples" = ["/load"]))]
    pub path: Option<At<String>>,
    /// Another port of the endpoint, at which it is asked. When not given, its own.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<At<u16>>,
    /// How often each is asked.
    #[schemars(extend("default" = "2s"))]
    pub interval: Option<At<Time>>,
    /// For one answer.
    #[schemars(extend("default" = "1s"))]
    pub timeout: Option<At<Time>>,
    /// What is older is forgotten.
    #[schemars(extend("default" = "10s"))]
    pub age: Option<At<Time>>,
    /// Whether endpoint-load-metrics (ORCA) in responses is read, and not passed on to clients.
    #[schemars(extend("default" = false))]
    pub headers: Option<bool>,
    /// Which of the numbers is the load. When not given, the first of load, application_utilization and cpu_utilization.
    #[schemars(extend("examples" = ["mem_utilization", "named_metrics.queue"]))]
    pub metric: Option<At<String>>,
}
