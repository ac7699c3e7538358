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
    Etcd(Registry),
    /// `zookeeper`
    ZooKeeper(Registry),
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

/// `etcd = [ … ]` or `zookeeper = [ … ]` with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// At least one.
    pub servers: Vec<RegistryServer>,
    /// `prefix`; in ZooKeeper a path, without a slash at its end.
    pub prefix: String,
    /// `credentials`
    pub credentials: Option<PathBuf>,
    /// `tls`, for servers at https:// or tls://
    pub tls: UpstreamTls,
}

/// A server of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryServer {
    /// Whether it is at https:// or tls://
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
            DiscoverSource::ZooKeeper(_) => "zookeeper",
        }
    }
}
