//! `retry = { … }` of a pool or route: when a request is sent again.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

/// `retry = { … }`; [`Retry::default`] where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// `on = ["connect"]`
    pub on: Vec<RetryOn>,
    /// `status = [503]`
    pub statuses: Vec<u16>,
    /// `grpc_status = [14]`
    pub grpc_statuses: Vec<u8>,
    /// `tries = 3`
    pub tries: u32,
    /// `try_time = "2s"`
    pub try_time: Option<Duration>,
    /// `pause` and `pause_most`; none: at once.
    pub pause: Option<(Duration, Duration)>,
    /// `budget` and `budget_least`; none: no bound.
    pub budget: Option<RetryBudget>,
    /// `buffer = "64KiB"`: bytes; 0: none.
    pub buffer: u64,
    /// `any_method = true`
    pub any_method: bool,
}

/// How many tries after the first may be under way in a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// `budget = "20%"`: of ten thousand requests under way.
    pub share: u32,
    /// `budget_least = 3`
    pub least: u32,
}

/// After what a request is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RetryOn {
    /// No connection came about.
    Connect,
    /// The connection or stream ended before a response.
    Reset,
    /// There was no response in time.
    Timeout,
}

impl Retry {
    /// `tries`
    pub const TRIES: u32 = 3;
    /// `pause`
    pub const PAUSE: Duration = Duration::from_millis(25);
    /// `pause_most`
    pub const PAUSE_MOST: Duration = Duration::from_millis(250);
    /// `budget` and `budget_least`
    pub const BUDGET: RetryBudget = RetryBudget { share: 2000, least: 3 };
    /// The largest `buffer`.
    pub const BUFFER_MOST: u64 = 64 << 20;
}

/// What happens where nothing is said.
impl Default for Retry {
    fn default() -> Retry {
        Retry {
            on: vec![RetryOn::Connect],
            statuses: Vec::new(),
            grpc_statuses: Vec::new(),
            tries: Retry::TRIES,
            try_time: None,
            pause: None,
            budget: None,
            buffer: 0,
            any_method: false,
        }
    }
}
