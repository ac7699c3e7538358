//! `[pool.NAME]`: endpoints, and how they are spoken to.

mod adaptive;
mod discover;
mod health;
mod hedge;
mod retry;
mod selection;

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::*;
use crate::config::model::{ProxyVersion, UpstreamProtocol};
pub use adaptive::*;
pub use hedge::*;
pub use retry::*;
pub use selection::{Load, PreferZone, SlowStart};

pub use discover::Discover;
pub use health::{Eject, Health};

/// A group of endpoints.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// "host:port", or tables with a weight and what plugins decide by.
    #[schemars(length(min = 1))]
    pub endpoints: Option<Vec<At<Either<String, Endpoint>>>>,
    /// Where further endpoints are looked for while the gateway runs. When not given, nowhere.
    pub discover: Option<At<Discover>>,
    /// How one of them is chosen: the name of a plugin, or of a balancer that is built in.
    #[schemars(extend("default" = "p2c", "examples" = ["p2c", "round-robin"]))]
    pub balance: Option<At<String>>,
    /// What chooses where the plugin does not. Only when balance names a plugin.
    #[schemars(extend("default" = "p2c"))]
    pub fallback: Option<At<BuiltIn>>,
    /// What is spoken to them.
    #[schemars(extend("default" = "auto"))]
    pub protocol: Option<UpstreamProtocol>,
    /// TLS towards them: true (verified by the system's authorities), or a table.
    #[schemars(extend("default" = false))]
    pub tls: Option<At<Either<bool, UpstreamTls>>>,
    /// Opens each connection to an endpoint with a PROXY protocol header; the connection then serves one client only.
    /// When not given, none.
    pub proxy_protocol: Option<ProxyVersion>,
    /// The Host that endpoints see: "preserve" (the client's), "endpoint" (their own address), or any other as it is.
    #[schemars(extend("default" = "preserve", "examples" = ["preserve", "endpoint"]))]
    pub host: Option<At<String>>,
    /// Connections to one endpoint, from all workers. When not given there is no limit.
    #[schemars(range(min = 1))]
    pub max_connections: Option<At<u32>>,
    /// Requests at one endpoint at the same time, from all workers. When not given there is no limit.
    #[schemars(range(min = 1))]
    pub max_requests: Option<At<u32>>,
    /// Requests in the pool at the same time, from all workers. When not given there is no limit.
    #[schemars(range(min = 1))]
    pub max_pool_requests: Option<At<u32>>,
    /// Requests that wait for each of these bounds; more are answered 503.
    #[schemars(extend("default" = 1024))]
    pub max_waiting: Option<At<u32>>,
    /// Bounds the requests in the pool by what it turns out to do without a queue: true, or a table.
    #[schemars(extend("default" = false))]
    pub adaptive: Option<At<Either<bool, Adaptive>>>,
    /// Sends requests that take long to a second endpoint too. When not given, only as a plugin says.
    pub hedge: Option<At<Hedge>>,
    /// When a request is sent again. When not given, only where no connection came about or a kept one was closed.
    pub retry: Option<At<Retry>>,
    /// Time-outs of requests to this pool.
    pub timeouts: Option<At<Timeouts>>,
    /// Checks of its endpoints: a path that is asked for, or a table. When not given there are none.
    #[schemars(extend("examples" = ["/healthz"]))]
    pub health: Option<At<Either<String, Health>>>,
    /// Leaves endpoints out for a while that do badly: true, or a table.
    #[schemars(extend("default" = false))]
    pub eject: Option<At<Either<bool, Eject>>>,
    /// When less than this share of the endpoints is well, what is known of them is not believed and all get requests; "0%"
    /// switches that off.
    #[schemars(extend("default" = "50%", "examples" = ["0%", "30%"]))]
    pub distrust_below: Option<At<String>>,
    /// How much more than their share the endpoints of a priority can take before requests spill over to the next.
    #[schemars(range(min = 1, max = 100), extend("default" = 1.4))]
    pub spill_factor: Option<At<f64>>,
    /// Where the gateway has a zone: whether endpoints in it go before others as long as they can take what comes in there; or a table.
    #[schemars(extend("default" = true))]
    pub prefer_zone: Option<At<Either<bool, PreferZone>>>,
    /// How many endpoints of each priority this gateway uses, which are chosen by its name. When not given, all.
    #[schemars(range(min = 1))]
    pub subset: Option<At<u32>>,
    /// Gives an endpoint that is new or well again its share step by step over this time; or a table. When not given, at
    /// once.
    #[schemars(extend("examples" = ["30s"]))]
    pub slow_start: Option<At<Either<Time, SlowStart>>>,
    /// What endpoints say of their load. When not given, nothing is asked or read.
    pub load: Option<At<Load>>,
}

/// The name of a balancer that is built in.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct BuiltIn(pub String);

impl JsonSchema for BuiltIn {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "BuiltIn".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": crate::stock::balancers().collect::<Vec<_>>() })
    }
}

/// A member of a pool.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Name or address, and port.
    #[schemars(extend("examples" = ["127.0.0.1:9001"]))]
    pub address: At<String>,
    /// Its share beside the others'.
    #[schemars(range(min = 1, max = 65535), extend("default" = 1))]
    pub weight: Option<At<u16>>,
    /// 0 goes before 1, and so on: the next gets what those before it cannot take.
    #[schemars(range(min = 0, max = 100), extend("default" = 0))]
    pub priority: Option<At<u32>>,
    /// Takes it out of use: it gets no new requests and finishes those that it has.
    #[schemars(extend("default" = false))]
    pub drain: Option<bool>,
    /// Where it stands: the gateway prefers its own zone, and plugins may go by it. When not given, "".
    pub zone: Option<String>,
    /// For plugins: whatever else is to be said of it.
    pub metadata: Option<BTreeMap<String, At<String>>>,
}

/// TLS towards endpoints.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTls {
    /// PEM file with the authorities to trust. When not given, the system's.
    pub ca: Option<At<String>>,
    /// The name to ask for (SNI) and to verify. When not given, the host of the endpoint.
    pub name: Option<At<String>>,
    /// PEM file with our own certificate, when endpoints ask for one.
    pub certificate: Option<At<String>>,
    /// PEM file with its key.
    pub key: Option<At<String>>,
    /// Takes any certificate, so that anyone between the gateway and the endpoint can read and change everything.
    #[schemars(extend("default" = false))]
    pub dangerously_accept_any_certificate: Option<At<bool>>,
}

/// Time-outs. A route's go before its pool's; what a route does not give is the pool's.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// Until a connection to the endpoint stands, TLS included. A pool's is "5s" when not given.
    pub connect: Option<At<Time>>,
    /// From the request sent to the first byte of the response. A pool's is "60s" when not given.
    pub first_byte: Option<At<Time>>,
    /// Without progress of a body. When not given, limits.body_idle_time.
    pub idle_body: Option<At<Time>>,
    /// The whole exchange. When not given there is no limit.
    pub request: Option<At<Time>>,
    /// Waiting for each of max_connections, max_requests and max_pool_requests. A pool's is "5s" when not given.
    pub queue: Option<At<Time>>,
}
