//! `retry = { … }` of a pool or route: when a request is sent again.

use schemars::JsonSchema;
use serde::Deserialize;

use super::*;
use crate::config::model::RetryOn;

/// When a request is sent again. A route's table takes the place of its pool's.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// After what: "connect" (no connection came about), "reset" (the connection or stream ended before a response),
    /// "timeout" (no response in time).
    #[schemars(extend("default" = ["connect"], "uniqueItems" = true))]
    pub on: Option<Vec<RetryOn>>,
    /// After which statuses, from 500 to 599.
    #[schemars(inner(range(min = 500, max = 599)), extend("default" = []))]
    pub status: Option<Vec<u16>>,
    /// After which statuses of gRPC, from 1 to 16, when the response has nothing else.
    #[schemars(inner(range(min = 1, max = 16)), extend("default" = []))]
    pub grpc_status: Option<Vec<u8>>,
    /// How often a request is sent at the most.
    #[schemars(range(min = 1, max = 10), extend("default" = 3))]
    pub tries: Option<At<u32>>,
    /// How long each of them may take to the first byte of the response. When not given, timeouts.first_byte.
    pub try_time: Option<At<Time>>,
    /// Before the second try; twice as long before each further one. A random part of it, at least half, is waited.
    #[schemars(extend("default" = "25ms"))]
    pub pause: Option<At<Time>>,
    /// The longest pause.
    #[schemars(extend("default" = "250ms"))]
    pub pause_most: Option<At<Time>>,
    /// Of the requests under way in the pool, those that may be tries after the first.
    #[schemars(extend("default" = "20%"))]
    pub budget: Option<At<String>>,
    /// So many may be, however few requests are under way.
    #[schemars(extend("default" = 3))]
    pub budget_least: Option<u32>,
    /// The largest request body that is kept, so that it can be sent again. When not given, none is.
    pub buffer: Option<At<Size>>,
    /// Sends requests with any method again, also those that may have had an effect: POST, PATCH.
    #[schemars(extend("default" = false))]
    pub any_method: Option<bool>,
}
