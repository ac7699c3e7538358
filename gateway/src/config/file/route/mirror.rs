//! `mirror = { … }` of a route: copies of its requests for another pool.

use schemars::JsonSchema;
use serde::Deserialize;

use super::*;

/// Sends copies of requests to another pool and throws its answers away.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// The pool that gets them.
    pub pool: At<String>,
    /// Of the route's requests, those that are copied.
    #[schemars(extend("default" = "100%", "examples" = ["10%"]))]
    pub share: Option<At<String>>,
    /// Copies under way at the same time, from all workers; beyond it none are made.
    #[schemars(range(min = 1), extend("default" = 100))]
    pub max_requests: Option<At<u32>>,
    /// How far a copy's body may fall behind; beyond it the copy is given up.
    #[schemars(extend("default" = "1MiB"))]
    pub buffer: Option<At<Size>>,
}
