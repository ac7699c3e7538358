//! The configuration as people write it: the shape of the TOML, key by key.
//!
//! From these types come the JSON Schema, and with it the check for unknown keys and wrong types; the comments on the
//! fields are what editors show. Nothing is checked here beyond the shape: texts are still texts. Whatever a later
//! check may have to point at is an [`At`].
//!
//! A new key needs its field here, its place in `model`, its conversion in `load`, and its lines in
//! `config/gateway.toml`, for which a test asks.

mod cache;
mod listener;
mod plugin;
mod pool;
mod route;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::model::AccessLogFormat;
pub use super::shape::{At, Dev, Either, Json, Limits, Size, Strings, Time};
pub use cache::*;
pub use listener::*;
pub use plugin::*;
pub use pool::*;
pub use route::*;

/// The configuration of a Gatewright gateway.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Worker threads, each with its own connections. When not given: one per core.
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<At<u32>>,
    /// Where the gateway stands: pools prefer endpoints of the same zone. When not given, what the environment says in
    /// GATEWRIGHT_ZONE.
    pub zone: Option<At<String>>,
    /// What this gateway is called among those that share pools: subsets are chosen by it. When not given, what the environment
    /// says in GATEWRIGHT_NAME, or the name of the host.
    pub name: Option<At<String>>,
    /// Where clients connect.
    pub listener: Option<Vec<At<Listener>>>,
    /// WebAssembly modules that balance, route and filter, by name.
    pub plugin: Option<BTreeMap<String, At<Plugin>>>,
    /// Groups of endpoints that do the same, by name.
    pub pool: Option<BTreeMap<String, At<Pool>>>,
    /// What is done with a request. The most specific match wins, then the first in the file.
    pub route: Option<Vec<At<Route>>>,
    /// The address for operators: metrics, status, reload. When not given there is none.
    pub admin: Option<At<Admin>>,
    /// What is said of clients and of the gateway in forwarded requests, and whom it believes.
    pub forwarded: Option<Forwarded>,
    /// One line for each request. When not given there is none.
    pub access_log: Option<AccessLog>,
    /// What the gateway says of itself, on standard error.
    pub log: Option<Log>,
    /// Where responses are kept beside memory, for routes with a cache.
    pub cache: Option<CacheTable>,
    /// Bounds of time, size and number.
    pub limits: Option<Limits>,
}

/// The address for operators.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Address and port. Whoever reaches it can reload the gateway: keep it local.
    #[schemars(extend("examples" = ["127.0.0.1:9901"]))]
    pub address: At<String>,
}

/// What is said of clients and of the gateway.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Forwarded {
    /// Networks of proxies in front of the gateway, whose forwarding headers and request id are believed.
    #[schemars(extend("default" = []))]
    pub trusted: Option<Vec<At<String>>>,
    /// Whether X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host are sent.
    #[schemars(extend("default" = true))]
    pub x_forwarded: Option<bool>,
    /// Whether Forwarded (RFC 7239) is sent.
    #[schemars(extend("default" = false))]
    pub forwarded: Option<bool>,
    /// The gateway's name in Via; "" sends none.
    #[schemars(extend("default" = "gatewright"))]
    pub via: Option<At<String>>,
    /// The header that carries the request id; "" sends none.
    #[schemars(extend("default" = "x-request-id"))]
    pub request_id: Option<At<String>>,
}

/// One line for each request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessLog {
    /// "stdout" or a file.
    #[schemars(extend("default" = "stdout", "examples" = ["stdout"]))]
    pub output: Option<At<String>>,
    /// How lines look.
    #[schemars(extend("default" = "json"))]
    pub format: Option<AccessLogFormat>,
}

/// What the gateway says of itself.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// off, error, warn, info, debug or trace; also for a part of it, as in "info,gatewright::tls=debug".
    #[schemars(extend("default" = "info", "examples" = ["error", "warn", "info", "debug", "trace"]))]
    pub level: Option<At<String>>,
    /// How lines look.
    #[schemars(extend("default" = "text"))]
    pub format: Option<LogFormat>,
}

/// How the gateway's own lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object a line.
    Json,
}
