//! `discover = { … }` of a pool: where its endpoints are looked for.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::UpstreamTls;

/// `discover = { … }`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discover {
    /// Where.
    pub source: DiscoverSource,
    /// `keep_last`: an empty list is not believed. Default false.
    pub keep_last: bool,
}

/// Where endpoints are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiscoverSource {
    /// `file`
    File(PathBuf),
    /// `dns` or `srv`
    Dns(Dns),
    /// `etcd`
    Etcd(Etcd),
}

/// A name that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// The name.
    pub name: DnsName,
    /// `resolvers`; empty: the system's.
    pub servers: Vec<SocketAddr>,
}

/// What a name is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsName {
    /// `dns`: addresses.
    Host {
        /// Without the port.
        name: String,
        /// Of all of them.
        port: u16,
    },
    /// `srv`: services.
    Service(String),
}

/// `etcd = [ … ]` with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etcd {
    /// `etcd`; at least one.
    pub servers: Vec<EtcdServer>,
    /// `prefix`
    pub prefix: String,
    /// `credentials`
    pub credentials: Option<PathBuf>,
    /// `tls`, for servers at https://
    pub tls: UpstreamTls,
}

/// A server of etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdServer {
    /// Whether it is at https://
    pub tls: bool,
    /// Host and port.
    pub address: String,
}

impl DiscoverSource {
    /// As metrics and the log call it.
    pub fn word(&self) -> &'static str {
        match self {
            DiscoverSource::File(_) => "file",
            DiscoverSource::Dns(Dns { name: DnsName::Host { .. }, .. }) => "dns",
            DiscoverSource::Dns(_) => "srv",
            DiscoverSource::Etcd(_) => "etcd",
        }
    }
}
