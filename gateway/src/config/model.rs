//! The configuration as the gateway uses it: parsed, defaults applied, every reference checked.
//!
//! Plain data without behaviour. `file` is what people write; `load` turns it into this; `snapshot` compiles this
//! into what a request needs. Paths are absolute or relative to the working directory by now. Enumerated words are
//! read from the file as they stand here, so the comments on them are what editors show.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{Method, StatusCode};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use super::problem::Problem;
use crate::http::{FieldName, Scheme};
use crate::limits::Limits;

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

/// `[[listener]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// `address`
    pub address: SocketAddr,
    /// `tls`
    pub tls: Option<Tls>,
    /// `protocols`: what is offered by ALPN, and taken in cleartext by its first bytes.
    pub protocols: Protocols,
    /// `proxy_protocol`: the networks that may, and must, open with a PROXY header. Empty: none is looked for.
    pub proxy_protocol: Vec<IpNet>,
}

/// `protocols = ["h1", "h2"]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// HTTP/1.1 and HTTP/1.0.
    pub h1: bool,
    /// HTTP/2.
    pub h2: bool,
}

/// `tls = …` of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// `tls = "dev"` gives [`Certificates::Dev`], a list the others. The first is the default.
    pub certificates: Certificates,
    /// `minimum = "1.2"`
    pub minimum: TlsVersion,
    /// `client = { … }`
    pub client: Option<ClientCertificates>,
}

/// Where a listener's certificates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificates {
    /// A self-signed one for localhost, made at the start.
    Dev,
    /// PEM files; names come from the certificates themselves.
    Files(Vec<CertificateFiles>),
}

/// `{ certificate = "…", key = "…" }`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, leaf first, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// The oldest TLS version that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2 and 1.3.
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 alone.
    #[serde(rename = "1.3")]
    Tls13,
}

/// `client = { ca = "ca.pem", required = true, … }` of a listener's TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// Who may sign them, PEM.
    pub ca: PathBuf,
    /// Whether a client without one is turned away (default true).
    pub required: bool,
    /// `subject_header`, `san_header`, `fingerprint_header`: where the identity is passed on. A client's own fields of
    /// these names are removed.
    pub subject_header: Option<FieldName>,
    /// Subject alternative names, comma-separated, as `DNS:a, URI:b`.
    pub san_header: Option<FieldName>,
    /// SHA-256 of the certificate, lower-case hexadecimal.
    pub fingerprint_header: Option<FieldName>,
}

/// `[plugin.NAME]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugin {
    /// The key of its table; never that of a built-in balancer.
    pub name: String,
    /// `source`
    pub source: PluginSource,
    /// `sha256`: of the module; there when the source is [`PluginSource::Https`].
    pub sha256: Option<[u8; 32]>,
    /// `ca`: PEM with the authorities to trust where it is fetched; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// `credentials`: a file with what to say there.
    pub credentials: Option<PathBuf>,
    /// `dangerously_plain_http`
    pub plain_http: bool,
    /// `config = { … }`: JSON, keys in the order of the file, dates as text.
    pub config: String,
    /// `deadline`: for one decision. Default [`Plugin::DEADLINE`].
    pub deadline: Duration,
    /// `configure_time`: for starting and configuring. Default [`Plugin::CONFIGURE_TIME`].
    pub configure_time: Duration,
    /// `memory_size`: of one instance, in bytes. Default [`Plugin::MEMORY_SIZE`].
    pub memory_size: u64,
    /// `shadow`: how long a new version only watches. Default none.
    pub shadow: Option<Duration>,
    /// `canary = { … }`: how a new version is tried. Default none.
    pub canary: Option<Canary>,
}

/// A trial of a new version with some of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canary {
    /// `share`: of ten thousand requests.
    pub share: u32,
    /// `for`
    pub time: Duration,
}

impl Plugin {
    /// For one decision.
    pub const DEADLINE: Duration = Duration::from_millis(2);
    /// For starting and configuring.
    pub const CONFIGURE_TIME: Duration = Duration::from_secs(1);
    /// Of one instance.
    pub const MEMORY_SIZE: u64 = 64 << 20;

    /// Whether the module of one, once it is here, is that of the other.
    pub fn is_same_module(&self, other: &Plugin) -> bool {
        (&self.source, self.sha256, self.memory_size) == (&other.source, other.sha256, other.memory_size)
    }
}

/// Where a plugin comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginSource {
    /// A file.
    Path(PathBuf),
    /// `"builtin:NAME"`: the name.
    BuiltIn(String),
    /// `"https://…"`, as written.
    Https(String),
    /// `"oci://…"`
    Oci(OciReference),
}

/// `"oci://registry.example/plugins/fastest:1.2"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OciReference {
    /// Host, with or without a port.
    pub registry: String,
    /// `plugins/fastest`
    pub repository: String,
    /// What stands behind it.
    pub version: OciVersion,
}

/// Which of the things in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OciVersion {
    /// `":1.2"`
    Tag(String),
    /// `"@sha256:…"`: of the manifest.
    Digest([u8; 32]),
}

/// `[pool.NAME]`
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// The key of its table.
    pub name: String,
    /// `endpoints = ["127.0.0.1:9001", { address = "…", weight = 2 }]`
    pub endpoints: Vec<Member>,
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
    /// `max_waiting`: requests that wait for one of them (default 1024).
    pub max_waiting: u32,
    /// `timeouts = { … }`
    pub timeouts: Timeouts,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// One after the other, by weight.
    RoundRobin,
    /// The less busy of two at random.
    P2c,
}

impl Balance {
    /// How they are written.
    pub const WORDS: [(&str, Balance); 2] = [("p2c", Balance::P2c), ("round-robin", Balance::RoundRobin)];
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

/// `[[route]]`
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// `name`: in logs and metrics; when not given, host and path of its match, as `shop.example/api/`. Unique.
    pub name: String,
    /// `match = { … }`
    pub matches: Match,
    /// What is done: exactly one of `pool`, `static`, `redirect`, `respond`.
    pub action: Action,
    /// `router = "NAME"`: an index into the plugins.
    pub router: Option<usize>,
    /// `filters = ["NAME", …]`: indexes into the plugins, each once, at most [`Route::FILTERS`].
    pub filters: Vec<usize>,
    /// `rewrite = { … }`
    pub rewrite: Option<Rewrite>,
    /// `request_headers = { set = {…}, add = {…}, remove = […] }`
    pub request_headers: HeaderChanges,
    /// `response_headers = { … }`
    pub response_headers: HeaderChanges,
    /// `timeouts = { … }`
    pub timeouts: Timeouts,
    /// `body_limit = "10MiB"`; `None`: `limits.body_size`.
    pub body_limit: Option<u64>,
}

impl Route {
    /// How many filters it may have.
    pub const FILTERS: usize = 8;
}

/// `match = { scheme, host, path, method, header, query, cookie, client }`; all that are given must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    /// `scheme = "http"`: whether the request came in cleartext or over TLS; `None`: either.
    pub scheme: Option<Scheme>,
    /// Lower case, no port. Any of these; empty: every host.
    pub hosts: Vec<HostPattern>,
    /// Any of these; empty: every path.
    pub paths: Vec<PathPattern>,
    /// Any of these; empty: every method.
    pub methods: Vec<Method>,
    /// All of these.
    pub headers: Vec<(FieldName, ValuePattern)>,
    /// All of these.
    pub query: Vec<(String, ValuePattern)>,
    /// All of these.
    pub cookies: Vec<(String, ValuePattern)>,
    /// Any of these; empty: every client.
    pub clients: Vec<IpNet>,
}

/// A host to match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// `"shop.example"`
    Exact(String),
    /// `"*.shop.example"` holds `.shop.example`; one or more labels stand before it.
    Wildcard(String),
}

/// A path to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    /// As written.
    pub text: String,
    /// Between the slashes.
    pub segments: Vec<Segment>,
    /// `"/api/"` and `"/"`: everything below matches too, and `/api` itself.
    pub prefix: bool,
}

/// One segment of a path pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Exactly this.
    Literal(String),
    /// `{name}`: any one segment that is not empty.
    Capture(String),
}

/// A value to match: `true` (it is there), `false` (it is not), `"text"` (equal), `"text*"` (begins so).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValuePattern {
    /// There, whatever its value.
    Present,
    /// Not there.
    Absent,
    /// Exactly this.
    Exact(String),
    /// Begins with this.
    Prefix(String),
}

/// What a route does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `pool = "api"`: an index into the pools.
    Pool(usize),
    /// `static = "public"`
    Static(Static),
    /// `redirect = "https://{host}{uri}"` or `{ to = "…", status = 308 }`
    Redirect(Redirect),
    /// `respond = { status = 200, body = "ok", type = "text/plain" }`
    Respond(Respond),
}

/// A folder to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Static {
    /// The folder; the path below the route's prefix is looked up in it.
    pub root: PathBuf,
    /// Whether a folder without an index is listed (`static = { root = "…", listing = true }`).
    pub listing: bool,
}

/// A redirect.
#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    /// With placeholders.
    pub to: Template,
    /// 301, 302, 303, 307 or 308; default 308.
    pub status: StatusCode,
}

/// A fixed answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Respond {
    /// Default 200.
    pub status: StatusCode,
    /// Default empty.
    pub body: String,
    /// Default `text/plain; charset=utf-8`.
    pub content_type: String,
}

/// `rewrite = { strip_prefix = "/api", add_prefix = "/v1" }` or `{ path = "/v2/users/{id}" }`. The query stays.
#[derive(Clone, Debug, PartialEq)]
pub enum Rewrite {
    /// First take this from the front, when it stands there as whole segments, then put that before it.
    Prefix {
        /// `strip_prefix`, without a slash at its end.
        strip: String,
        /// `add_prefix`, without a slash at its end.
        add: String,
    },
    /// The whole path, with placeholders.
    Path(Template),
}

/// Text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// In order.
    pub parts: Vec<TemplatePart>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplatePart {
    /// As it is.
    Text(String),
    /// `{scheme}`: http or https.
    Scheme,
    /// `{host}`: without the port.
    Host,
    /// `{path}`: without the query.
    Path,
    /// `{query}`: without the question mark.
    Query,
    /// `{uri}`: path and query.
    Uri,
    /// `{client}`: the client's address.
    Client,
    /// `{request_id}`
    RequestId,
    /// `{id}` that the path pattern captured.
    Capture(String),
}

/// Changes of header fields: first removed, then set, then added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderChanges {
    /// `remove = ["server"]`
    pub remove: Vec<FieldName>,
    /// `set = { x-env = "live" }`: the only one of its name then.
    pub set: Vec<(FieldName, Template)>,
    /// `add = { … }`: beside others of its name.
    pub add: Vec<(FieldName, Template)>,
}

impl HeaderChanges {
    /// The names of which nothing stays that was there before.
    pub fn replaced(&self) -> impl Iterator<Item = &FieldName> {
        self.remove.iter().chain(self.set.iter().map(|(field, _)| field))
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
