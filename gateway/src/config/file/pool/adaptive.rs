//! `[pool.NAME.adaptive]`: a limit of requests that the pool finds by itself.

use schemars::JsonSchema;
use serde::Deserialize;

use super::*;

/// Bounds the requests that wait for an answer by what the pool can do; more are answered 503 at once.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Adaptive {
    /// So many requests are always let through.
    #[schemars(range(min = 1), extend("default" = 10))]
    pub least: Option<At<u32>>,
    /// Never more than this.
    #[schemars(range(min = 1), extend("default" = 10_000))]
    pub most: Option<At<u32>>,
    /// How many times as long as without a queue answers may take.
    #[schemars(range(min = 1.1, max = 10), extend("default" = 1.5))]
    pub tolerance: Option<At<f64>>,
}
