//! `[pool.NAME]`: endpoints, and how they are spoken to.

mod adaptive;
mod discover;
mod health;
mod hedge;
mod retry;
mod selection;

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::*;
pub use adaptive::*;
pub use hedge::*;
pub use retry::*;
pub use selection::*;

pub use discover::*;
pub use health::{Check, CheckKind, CheckTls, Eject, Health, HttpCheck, StartAs};

/// `[pool.NAME]`
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// The key of its table.
    pub name: String,
    /// `endpoints = ["127.0.0.1:9001", { address = "…", weight = 2 }]`
    pub endpoints: Vec<Member>,
    /// `discover = { … }`: where more of them are looked for.
    pub discover: Option<Discover>,
    /// `balance = "p2c"`; when that names a plugin, `fallback`.
    pub balance: Balance,
    /// The plugin that `balance` names: an index into the plugins.
    pub balancer: Option<usize>,
    /// `protocol = "h1" | "h2" | "auto"`; auto: by ALPN over TLS, else HTTP/1.1.
    pub protocol: UpstreamProtocol,
    /// `tls = true | { … }`
    pub tls: Option<UpstreamTls>,
    /// `proxy_protocol = "v1" | "v2"`: each upstream connection opens with it and then serves that one client only.
    pub proxy_protocol: Option<ProxyVersion>,
    /// `host = "preserve" | "endpoint" | "NAME"`: the Host that endpoints see.
    pub host: HostHeader,
    /// `max_connections`: to one endpoint, from all workers.
    pub max_connections: Option<u32>,
    /// `max_requests`: at one endpoint, from all workers.
    pub max_requests: Option<u32>,
    /// `max_pool_requests`: from all workers.
    pub max_pool_requests: Option<u32>,
    /// `max_waiting`: requests that wait for each of these bounds (default 1024).
    pub max_waiting: u32,
    /// `adaptive = true | { … }`
    pub adaptive: Option<Adaptive>,
    /// `hedge = { … }`
    pub hedge: Option<Hedge>,
    /// `retry = { … }`
    pub retry: Retry,
    /// `timeouts = { … }`
    pub timeouts: Timeouts,
    /// `health = "/PATH" | { … }`
    pub health: Option<Health>,
    /// `eject = true | { … }`
    pub eject: Option<Eject>,
    /// `distrust_below`, `spill_factor`, …
    pub selection: Selection,
}

/// A member of a pool: an endpoint, and what plugins are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// `address` and `weight`
    pub endpoint: Endpoint,
    /// `priority`: 0 to 100, default 0.
    pub priority: u32,
    /// `zone`, default empty.
    pub zone: String,
    /// `drain`: it gets no new requests. Default false.
    pub drain: bool,
    /// `metadata = { rack = "7" }`, by key.
    pub metadata: Vec<(String, String)>,
}

/// Where requests go, and how many of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host (name or address) and port, as written.
    pub address: String,
    /// 1 to 65535, default 1.
    pub weight: u16,
}

/// A balancer that is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance(&'static str);

impl Balance {
    /// The one of this name.
    pub fn named(name: &str) -> Option<Balance> {
        crate::stock::balancer(name).map(Balance)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0
    }
}

impl Default for Balance {
    /// The less busy of two at random.
    fn default() -> Balance {
        Balance("p2c")
    }
}

/// What is spoken to endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    H1,
    /// HTTP/2: by ALPN over TLS, by prior knowledge in cleartext.
    H2,
    /// By ALPN over TLS, else HTTP/1.1.
    Auto,
}

/// `tls = …` of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// `ca`: PEM; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// `name`: for SNI and verification; `None`: the host of the endpoint.
    pub name: Option<String>,
    /// `certificate` and `key`: our own.
    pub certificate: Option<CertificateFiles>,
    /// `dangerously_accept_any_certificate`
    pub accept_any: bool,
}

/// PROXY protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyVersion {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// The Host that endpoints see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostHeader {
    /// The client's.
    Preserve,
    /// The endpoint's address as written.
    Endpoint,
    /// This one.
    Fixed(String),
}

/// `timeouts = { connect, first_byte, idle_body, request, queue }` of a pool or route. A route's go before its pool's,
/// in which `load` has put the defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection stands, TLS included. Default [`Timeouts::CONNECT`].
    pub connect: Option<Duration>,
    /// From the request sent to the response's first byte. Default [`Timeouts::FIRST_BYTE`].
    pub first_byte: Option<Duration>,
    /// Without progress of a body. Default: `limits.body_idle_time`.
    pub idle_body: Option<Duration>,
    /// The whole exchange. Default: none.
    pub request: Option<Duration>,
    /// Waiting for a connection under `max_connections`. Default [`Timeouts::QUEUE`].
    pub queue: Option<Duration>,
}

impl Timeouts {
    /// A pool's when it gives none: until a connection stands.
    pub const CONNECT: Duration = Duration::from_secs(5);
    /// To the response's first byte.
    pub const FIRST_BYTE: Duration = Duration::from_secs(60);
    /// Waiting for a connection.
    pub const QUEUE: Duration = Duration::from_secs(5);
}
