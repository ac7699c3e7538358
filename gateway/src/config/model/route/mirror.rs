//! `mirror = { … }` of a route: copies of its requests for another pool.

/// `mirror = { pool, share, max_requests, buffer }`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// `pool = "shadow"`: an index into the pools.
    pub pool: usize,
    /// `share = "10%"`: of ten thousand requests.
    pub share: u32,
    /// `max_requests = 100`
    pub max_requests: u32,
    /// `buffer = "1MiB"`: bytes.
    pub buffer: u64,
}

impl Mirror {
    /// `share`
    pub const SHARE: u32 = 10_000;
    /// `max_requests`
    pub const MAX_REQUESTS: u32 = 100;
    /// `buffer`
    pub const BUFFER: u64 = 1 << 20;
}
