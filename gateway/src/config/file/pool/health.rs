//! `health` and `eject` of a pool: what is asked of endpoints, and what their answers to clients say of them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::*;
use crate::config::model::{CheckKind, StartAs};

/// Checks of a pool's endpoints.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// What is asked: over HTTP, the health service of gRPC, or only for a connection.
    #[schemars(extend("default" = "http"))]
    pub kind: Option<CheckKind>,
    /// What is asked for over HTTP, path and query.
    #[schemars(extend("examples" = ["/healthz"]))]
    pub path: Option<At<String>>,
    /// "GET" or "HEAD".
    #[schemars(extend("default" = "GET", "enum" = ["GET", "HEAD"]))]
    pub method: Option<At<String>>,
    /// The Host that is asked for. When not given, that of the pool where it names one, else the endpoint's address.
    pub host: Option<At<String>>,
    /// Further headers of the request.
    pub headers: Option<BTreeMap<String, At<String>>>,
    /// What statuses a healthy endpoint answers with: one, a range or a class, or a list of them.
    #[schemars(extend("default" = "2xx", "examples" = ["2xx", "200-399"]))]
    pub status: Option<At<Strings>>,
    /// A text that the body has in its first bytes. When not given, any body will do.
    pub body: Option<At<String>>,
    /// The service that gRPC is asked for; "" is the server as a whole.
    #[schemars(extend("default" = ""))]
    pub service: Option<At<String>>,
    /// Another port of the endpoint, at which it is asked. When not given, its own.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<At<u16>>,
    /// TLS for checks: true, false, or a table. When not given, as for the pool's requests.
    pub tls: Option<At<Either<bool, UpstreamTls>>>,
    /// From one check of an endpoint to the next, give or take a tenth.
    #[schemars(extend("default" = "5s"))]
    pub interval: Option<At<Time>>,
    /// The same while the endpoint is unhealthy. When not given, interval.
    pub unhealthy_interval: Option<At<Time>>,
    /// For one check, connection included.
    #[schemars(extend("default" = "2s"))]
    pub timeout: Option<At<Time>>,
    /// So many good checks in a row make an unhealthy endpoint healthy.
    #[schemars(range(min = 1, max = 1000), extend("default" = 2))]
    pub rise: Option<At<u32>>,
    /// So many bad ones in a row make a healthy one unhealthy. The very first check decides alone.
    #[schemars(range(min = 1, max = 1000), extend("default" = 3))]
    pub fall: Option<At<u32>>,
    /// What an endpoint is until its first check.
    #[schemars(extend("default" = "healthy"))]
    pub start: Option<StartAs>,
}

/// When an endpoint is left out for a while, by what it does to requests of clients.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Eject {
    /// Failures in a row: answers 5xx, and no answer or not all of it. 0: never for that.
    #[schemars(range(min = 0, max = 1000), extend("default" = 5))]
    pub failures: Option<At<u32>>,
    /// Connections in a row that did not come about. 0: never for that.
    #[schemars(range(min = 0, max = 1000), extend("default" = 3))]
    pub connects: Option<At<u32>>,
    /// A success rate so far below the median of the other endpoints. When not given, never for that.
    #[schemars(extend("examples" = ["20%"]))]
    pub success: Option<At<String>>,
    /// A mean latency so many times the median of the other endpoints. When not given, never for that.
    #[schemars(range(min = 2, max = 1000))]
    pub latency: Option<At<u32>>,
    /// How often success rates and latencies are compared.
    #[schemars(extend("default" = "10s"))]
    pub interval: Option<At<Time>>,
    /// Requests in an interval below which an endpoint is not compared.
    #[schemars(range(min = 1, max = 1000000), extend("default" = 50))]
    pub requests: Option<At<u32>>,
    /// How long the first time; twice as long the second, and so on. Each such time without another one takes one back.
    #[schemars(extend("default" = "30s"))]
    pub time: Option<At<Time>>,
    /// The longest time.
    #[schemars(extend("default" = "5m"))]
    pub most_time: Option<At<Time>>,
    /// The share of a pool that is left out at the most, but one at least; never the last that is left.
    #[schemars(extend("default" = "50%"))]
    pub share: Option<At<String>>,
}
