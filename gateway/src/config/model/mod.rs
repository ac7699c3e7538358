//! The configuration as the gateway uses it: parsed, defaults applied, every reference checked.
//!
//! Plain data without behaviour. `file` is what people write; `load` turns it into this; `snapshot` compiles this
//! into what a request needs. Paths are absolute or relative to the working directory by now. Enumerated words are
//! read from the file as they stand here, so the comments on them are what editors show.

mod cache;
mod listener;
mod plugin;
mod pool;
mod route;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use super::problem::Problem;
use crate::http::FieldName;
use crate::limits::Limits;

pub use cache::CacheDisk;
pub use listener::*;
pub use plugin::*;
pub use pool::*;
pub use route::*;

/// A whole configuration.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Worker threads; `None`: one per core.
    pub workers: Option<usize>,
    /// Where clients connect.
    pub listeners: Vec<Listener>,
    /// WebAssembly modules, by name.
    pub plugins: Vec<Plugin>,
    /// Groups of endpoints, by name.
    pub pools: Vec<Pool>,
    /// In the order of the file; the most specific wins, then the first.
    pub routes: Vec<Route>,
    /// The address for operators.
    pub admin: Option<Admin>,
    /// What is said of clients and of ourselves in forwarded requests.
    pub forwarded: Forwarded,
    /// One line a request.
    pub access_log: Option<AccessLog>,
    /// What the gateway says of itself.
    pub log: Log,
    /// Where responses are kept beside memory.
    pub cache_disk: Option<CacheDisk>,
    /// The bounds.
    pub limits: Limits,
    /// Where each path of a file or folder was written, for whoever opens it and has something to say about it.
    pub places: Vec<(PathBuf, Place)>,
    /// Where other keys stand that something can be said of later: addresses, TLS, what only a start can change.
    pub marks: BTreeMap<String, Place>,
    /// What those files and folders are for, also where the rest of the table that names them could not be used.
    pub named: Vec<Named>,
    /// What is allowed, but hardly meant.
    pub warnings: Vec<Problem>,
}

/// Files and folders that a configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// A certificate and its key.
    Pair(CertificateFiles),
    /// Certificates of authorities.
    Authorities(PathBuf),
    /// The module of a plugin.
    Plugin(PathBuf),
    /// What to say where a plugin is fetched from.
    Credentials(PathBuf),
    /// A folder to serve.
    Folder(PathBuf),
    /// Where access-log lines go.
    AccessLog(PathBuf),
}

/// A place in the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Such as `listener[0].tls[0].certificate`.
    pub key: String,
}

impl Config {
    /// Where a path was written first.
    pub fn place(&self, path: &Path) -> Option<&Place> {
        self.places.iter().find(|(written, _)| written == path).map(|(_, place)| place)
    }

    /// The files of plugins.
    pub fn plugin_files(&self) -> impl Iterator<Item = &Path> {
        self.plugins.iter().filter_map(|plugin| match &plugin.source {
            PluginSource::Path(path) => Some(path.as_path()),
            PluginSource::BuiltIn(_) | PluginSource::Https(_) | PluginSource::Oci(_) => None,
        })
    }

    /// Where a key stands, or else the table that it would stand in.
    pub fn mark(&self, key: &str) -> Option<&Place> {
        let tables = std::iter::successors(Some(key), |key| Some(key.rsplit_once('.')?.0));
        tables.filter_map(|key| self.marks.get(key)).next()
    }
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// `address`
    pub address: SocketAddr,
}

/// `[forwarded]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// `trusted`: proxies before us whose forwarding fields and request id are believed. Default: none.
    pub trusted: Vec<IpNet>,
    /// `x_forwarded`: whether `X-Forwarded-For/-Proto/-Host` are sent. Default true.
    pub x_forwarded: bool,
    /// `forwarded`: whether `Forwarded` (RFC 7239) is sent. Default false.
    pub forwarded: bool,
    /// `via`: our name in `Via`; `""` sends none. Default `gatewright`.
    pub via: String,
    /// `request_id`: the field that carries the request id. Default `x-request-id`.
    pub request_id: Option<FieldName>,
}

impl Default for Forwarded {
    fn default() -> Forwarded {
        Forwarded {
            trusted: Vec::new(),
            x_forwarded: true,
            forwarded: false,
            via: "gatewright".into(),
            request_id: FieldName::new("x-request-id").ok(),
        }
    }
}

/// `[access_log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// `output = "stdout" | "FILE"`; `None`: standard output.
    pub file: Option<PathBuf>,
    /// `format = "json" | "combined"`; default json.
    pub format: AccessLogFormat,
}

/// How access-log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AccessLogFormat {
    /// One JSON object a line.
    Json,
    /// As Apache and nginx write it.
    Combined,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `level = "info"`, or a filter such as `"info,gatewright::tls=debug"`.
    pub level: String,
    /// `format = "text" | "json"`
    pub json: bool,
}

impl Default for Log {
    fn default() -> Log {
        Log { level: "info".into(), json: false }
    }
}
