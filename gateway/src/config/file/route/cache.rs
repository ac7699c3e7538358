//! `[route.cache]`: which responses are kept, for how long, and under what.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::*;

/// Keeps responses of the pool and gives them again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// How long a response is fresh that does not say. When not given, a tenth of the time since it was last changed.
    pub ttl: Option<At<Time>>,
    /// The longest that any response is fresh. When not given, as long as it says.
    pub ttl_most: Option<At<Time>>,
    /// Only responses with these statuses are kept. When not given, with all that HTTP allows.
    #[schemars(length(min = 1), inner(range(min = 200, max = 599)))]
    pub status: Option<Vec<u16>>,
    /// The largest body that is kept.
    #[schemars(extend("default" = "16MiB"))]
    pub size_most: Option<At<Size>>,
    /// How long a stale response is given while it is asked for again, where it does not say. When not given, not at all.
    pub stale_while_revalidate: Option<At<Time>>,
    /// How long a stale response is given when the pool answers with 500, 502, 503 or 504, where it does not say. When not given,
    /// not at all.
    pub stale_if_error: Option<At<Time>>,
    /// The same when the pool cannot be reached or drops the connection.
    #[schemars(extend("default" = "24h"))]
    pub stale_if_unreachable: Option<At<Time>>,
    /// Keeps responses that set cookies, with the cookies: all clients get the same ones.
    #[schemars(extend("default" = false))]
    pub set_cookie: Option<bool>,
    /// Keeps responses to requests with Authorization as if they had none: all clients get them, authorised or not.
    #[schemars(extend("default" = false))]
    pub authorization: Option<bool>,
    /// Whether clients may demand new responses, by Cache-Control and Pragma.
    #[schemars(extend("default" = true))]
    pub obey_clients: Option<bool>,
    /// Which parameters of the query tell one response from another. When not given, all, in their order.
    pub query: Option<CacheQuery>,
    /// Headers of requests that tell one response from another, whatever it says of them.
    #[schemars(extend("default" = []))]
    pub header: Option<Vec<At<String>>>,
    /// Cookies that do.
    #[schemars(extend("default" = []))]
    pub cookie: Option<Vec<At<String>>>,
    /// Requests that go past the cache.
    pub bypass: Option<CacheBypass>,
}

/// Which parameters count.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheQuery {
    /// Only these; "a*" is all that begin so. When not given, all.
    pub keep: Option<Vec<String>>,
    /// All but these; "utm_*" is all that begin so.
    #[schemars(extend("default" = []))]
    pub drop: Option<Vec<String>>,
    /// In any order.
    #[schemars(extend("default" = false))]
    pub sort: Option<bool>,
}

/// What goes past the cache: what has any of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheBypass {
    /// Headers; values as in match.
    pub header: Option<BTreeMap<String, At<Either<bool, String>>>>,
    /// Cookies; values as in match.
    pub cookie: Option<BTreeMap<String, At<Either<bool, String>>>>,
}
