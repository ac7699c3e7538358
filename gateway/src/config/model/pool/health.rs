//! `health` and `eject` of a pool.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::*;

/// `health = { … }`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// `kind`, with what belongs to it.
    pub check: Check,
    /// `port`: `None`: the endpoint's own.
    pub port: Option<u16>,
    /// `tls`: `None`: as the pool's requests.
    pub tls: Option<CheckTls>,
    /// `interval`, default [`Health::INTERVAL`].
    pub interval: Duration,
    /// `unhealthy_interval`, default `interval`.
    pub unhealthy_interval: Duration,
    /// `timeout`, default [`Health::TIMEOUT`].
    pub timeout: Duration,
    /// `rise`, default 2.
    pub rise: u32,
    /// `fall`, default 3.
    pub fall: u32,
    /// `start`, default healthy.
    pub start: StartAs,
}

/// What is asked of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// `kind = "http"`
    Http(HttpCheck),
    /// `kind = "grpc"`
    Grpc {
        /// `service`, default "".
        service: String,
        /// `host`
        host: Option<String>,
    },
    /// `kind = "tcp"`: only for a connection, TLS included where there is TLS.
    Tcp,
}

/// A check over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// `path`, with its query.
    pub path: String,
    /// `method = "HEAD"`
    pub head: bool,
    /// `host`
    pub host: Option<String>,
    /// `headers = { … }`
    pub headers: Vec<(FieldName, String)>,
    /// `status`: ranges, ends included. Default 200 to 299.
    pub status: Vec<(u16, u16)>,
    /// `body`: a text in it.
    pub body: Option<String>,
}

/// TLS of checks where it is not that of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckTls {
    /// `tls = false`
    Off,
    /// `tls = true | { … }`
    On(UpstreamTls),
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CheckKind {
    /// A request over HTTP.
    Http,
    /// The health service of gRPC.
    Grpc,
    /// A connection.
    Tcp,
}

/// What an endpoint is until its first check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StartAs {
    /// It may be picked.
    Healthy,
    /// It may not.
    Unhealthy,
}

/// `eject = true | { … }`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eject {
    /// `failures` in a row; `None`: never for that. Default 5.
    pub failures: Option<u32>,
    /// `connects` in a row that failed; `None`: never for that. Default 3.
    pub connects: Option<u32>,
    /// `success`: so far below the others, of ten thousand.
    pub success: Option<u32>,
    /// `latency`: so many times that of the others.
    pub latency: Option<u32>,
    /// `interval`, default 10 s.
    pub interval: Duration,
    /// `requests`, default 50.
    pub requests: u32,
    /// `time`, default 30 s.
    pub time: Duration,
    /// `most_time`, default 5 min.
    pub most_time: Duration,
    /// `share`, of ten thousand. Default half.
    pub share: u32,
}

impl Health {
    /// TLS that checks do not share with requests.
    pub fn own_tls(&self) -> Option<&UpstreamTls> {
        match &self.tls {
            Some(CheckTls::On(tls)) => Some(tls),
            Some(CheckTls::Off) | None => None,
        }
    }

    /// What checks speak where requests speak this: at another port that need not be spoken, and gRPC is always over HTTP/2.
    pub fn protocol(&self, requests: UpstreamProtocol) -> UpstreamProtocol {
        match (&self.check, self.port) {
            (Check::Grpc { .. }, _) => UpstreamProtocol::H2,
            (_, Some(_)) => UpstreamProtocol::Auto,
            (_, None) => requests,
        }
    }

    /// The shortest `interval` that is taken.
    pub const LEAST_INTERVAL: Duration = Duration::from_millis(10);
    /// `interval`
    pub const INTERVAL: Duration = Duration::from_secs(5);
    /// `timeout`
    pub const TIMEOUT: Duration = Duration::from_secs(2);
}

impl Default for Eject {
    fn default() -> Eject {
        Eject {
            failures: Some(5),
            connects: Some(3),
            success: None,
            latency: None,
            interval: Duration::from_secs(10),
            requests: 50,
            time: Duration::from_secs(30),
            most_time: Duration::from_secs(300),
            share: 5000,
        }
    }
}
