//! `[pool.NAME.hedge]`: a second endpoint for requests that take long.

use schemars::JsonSchema;
use serde::Deserialize;

use super::*;

/// Sends idempotent requests without a body to a second endpoint too when they take long; the first answer wins.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hedge {
    /// When: a percentile of the time that answers of the pool take, from "p50" to "p99.9", or a time.
    #[schemars(extend("default" = "p95", "examples" = ["p95", "p99", "50ms"]))]
    pub after: Option<At<String>>,
    /// Never earlier than this, whatever the percentile is.
    #[schemars(extend("default" = "10ms"))]
    pub at_least: Option<At<Time>>,
    /// Of the pool's requests, those that may get to a second endpoint.
    #[schemars(extend("default" = "5%"))]
    pub at_most: Option<At<String>>,
}
