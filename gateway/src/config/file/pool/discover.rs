//! `discover = { … }` of a pool: where its endpoints are looked for.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{At, UpstreamTls};

/// Where endpoints are looked for: a file or a registry.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Discover {
    /// A file with endpoints, TOML or (named *.json) JSON, which is read again when it changes.
    #[schemars(extend("examples" = ["backends.toml"]))]
    pub file: Option<At<String>>,
    /// Name and port: each address of the name is an endpoint.
    #[schemars(extend("examples" = ["api.internal:8080"]))]
    pub dns: Option<At<String>>,
    /// A name with SRV records, each of which says address, port, weight and priority of endpoints.
    #[schemars(extend("examples" = ["_api._tcp.internal"]))]
    pub srv: Option<At<String>>,
    /// Name servers for dns and srv, of which one is asked after the other. When not given, those of /etc/resolv.conf.
    #[schemars(length(min = 1), extend("examples" = [["10.0.0.2:53"]]))]
    pub resolvers: Option<Vec<At<String>>>,
    /// Servers of etcd, of which one is asked after the other.
    #[schemars(length(min = 1), extend("examples" = [["http://127.0.0.1:2379"]]))]
    pub etcd: Option<Vec<At<String>>>,
    /// Servers of ZooKeeper, of which one is asked after the other.
    #[schemars(length(min = 1), extend("examples" = [["10.0.0.5:2181", "10.0.0.6:2181"]]))]
    pub zookeeper: Option<Vec<At<String>>>,
    /// What the keys of endpoints begin with in etcd; in ZooKeeper the path of the node that they stand under.
    #[schemars(extend("examples" = ["/services/api/"]))]
    pub prefix: Option<At<String>>,
    /// A file with USER:PASSWORD for the registry.
    pub credentials: Option<At<String>>,
    /// TLS towards the registry. When not given, servers at https:// or tls:// are verified by the system's authorities.
    pub tls: Option<At<UpstreamTls>>,
    /// Never without endpoints: when the last one goes, it stays until there is another.
    #[schemars(extend("default" = false))]
    pub keep_last: Option<bool>,
}
