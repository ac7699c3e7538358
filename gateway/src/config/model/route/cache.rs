//! `cache = true | { … }` of a route: what is kept of its responses.

use std::time::Duration;

use super::*;

/// `cache = { … }`; [`Cache::default`] for `cache = true`.
#[derive(Clone, Debug, PartialEq)]
pub struct Cache {
    /// `ttl = "5m"`: for responses that say nothing; `None`: a guess, where HTTP allows one.
    pub ttl: Option<Duration>,
    /// `ttl_most = "1h"`: the longest that anything is fresh.
    pub ttl_most: Option<Duration>,
    /// `statuses = [200, 404]`; empty: all that HTTP allows.
    pub statuses: Vec<StatusCode>,
    /// `size_most = "16MiB"`: the largest body that is kept.
    pub size_most: u64,
    /// `stale_while_revalidate = "30s"`, where the response does not say.
    pub stale_while_revalidate: Duration,
    /// `stale_if_error = "1h"`, where the response does not say.
    pub stale_if_error: Duration,
    /// `stale_if_unreachable = "24h"`
    pub stale_if_unreachable: Duration,
    /// `set_cookie = true`: responses that set cookies are kept, with them.
    pub set_cookie: bool,
    /// `authorization = true`: responses to requests with Authorization are kept as if they had none.
    pub authorization: bool,
    /// `obey_clients = false`: what requests say in Cache-Control and Pragma is passed over.
    pub obey_clients: bool,
    /// `query = { keep, drop, sort }`
    pub query: CacheQuery,
    /// `headers = ["x-region"]`: by which responses differ whatever they say.
    pub headers: Vec<FieldName>,
    /// `cookies = ["currency"]`: the same.
    pub cookies: Vec<String>,
    /// `bypass = { header = {…}, cookie = {…} }`: a request that has any of these goes past the cache.
    pub bypass: CacheBypass,
}

/// Which parameters of a query tell one response from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheQuery {
    /// `keep = ["page"]`: only these.
    pub keep: Option<Vec<String>>,
    /// `drop = ["utm_*"]`: all but these.
    pub drop: Vec<String>,
    /// `sort = true`: in any order.
    pub sort: bool,
}

/// What goes past a cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheBypass {
    /// Any of these.
    pub headers: Vec<(FieldName, ValuePattern)>,
    /// Any of these.
    pub cookies: Vec<(String, ValuePattern)>,
}

impl Cache {
    /// `size_most`
    pub const SIZE_MOST: u64 = 16 << 20;
    /// `stale_if_unreachable`
    pub const STALE_IF_UNREACHABLE: Duration = Duration::from_secs(24 * 3600);
}

/// What `cache = true` means.
impl Default for Cache {
    fn default() -> Cache {
        Cache {
            ttl: None,
            ttl_most: None,
            statuses: Vec::new(),
            size_most: Cache::SIZE_MOST,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            stale_if_unreachable: Cache::STALE_IF_UNREACHABLE,
            set_cookie: false,
            authorization: false,
            obey_clients: true,
            query: CacheQuery::default(),
            headers: Vec::new(),
            cookies: Vec::new(),
            bypass: CacheBypass::default(),
        }
    }
}
