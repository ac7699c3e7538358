//! `[pool.NAME.hedge]`: a second endpoint for requests that take long.

use std::time::Duration;

/// `hedge = { after, at_least, at_most }`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hedge {
    /// `after = "p95"`
    pub after: HedgeAfter,
    /// `at_least = "10ms"`: a lower bound of the percentile; 0 when `after` is a time.
    pub at_least: Duration,
    /// `at_most = "5%"`: of ten thousand requests.
    pub at_most: u32,
}

/// When a second endpoint gets the request too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeAfter {
    /// `"p95"`: 950; when so many of a thousand answers would have come.
    Percentile(u32),
    /// `"50ms"`
    Time(Duration),
}

impl Hedge {
    /// `after`
    pub const AFTER: HedgeAfter = HedgeAfter::Percentile(950);
    /// `at_least`
    pub const AT_LEAST: Duration = Duration::from_millis(10);
    /// `at_most`
    pub const AT_MOST: u32 = 500;
}
