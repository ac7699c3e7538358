//! The configuration as people write it: the shape of the TOML, key by key.
//!
//! From these types come the JSON Schema, and with it the check for unknown keys and wrong types; the comments on the
//! fields are what editors show. Nothing is checked here beyond the shape: texts are still texts. Whatever a later
//! check may have to point at is an [`At`].
//!
//! A new key needs its field here, its place in `model`, its conversion in `load`, and its lines in
//! `config/gateway.toml`, for which a test asks.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub use super::shape::{At, Dev, Either, Json, Limits, Size, Strings, Time};

use super::model::{AccessLogFormat, Balance, ProxyVersion, TlsVersion, UpstreamProtocol};

/// The configuration of a Gatewright gateway.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Worker threads, each with its own connections. When not given: one per core.
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<At<u32>>,
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
    /// Bounds of time, size and number.
    pub limits: Option<Limits>,
}

/// Where clients connect.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Address and port, such as `"0.0.0.0:8080"` or `"[::]:8443"`.
    #[schemars(extend("examples" = ["0.0.0.0:8080", "[::]:8443"]))]
    pub address: At<String>,
    /// TLS: "dev" (a self-signed certificate for localhost, made at the start), a list of certificates, or a table.
    /// When not given, cleartext.
    pub tls: Option<At<ListenerTls>>,
    /// What is spoken: by ALPN over TLS, in cleartext by the first bytes.
    #[schemars(length(min = 1), extend("default" = ["h1", "h2"]))]
    pub protocols: Option<Vec<At<Protocol>>>,
    /// Networks whose connections must open with a PROXY protocol header (v1 or v2), whose client address is then
    /// believed; from elsewhere no such header is taken. When empty none is looked for.
    #[schemars(extend("default" = []))]
    pub proxy_protocol: Option<Vec<At<String>>>,
}

/// "dev", a list, or a table.
pub type ListenerTls = Either<Dev, Either<Vec<CertificateFiles>, Tls>>;

/// What is spoken to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/1.0.
    H1,
    /// HTTP/2.
    H2,
}

/// A listener's TLS with all its keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// "dev", or a list of certificates; each is chosen by the names in it, the first is the default.
    pub certificates: At<Either<Dev, Vec<CertificateFiles>>>,
    /// The oldest version that is taken.
    #[schemars(extend("default" = "1.2"))]
    pub minimum: Option<TlsVersion>,
    /// Asks clients for certificates.
    pub client: Option<ClientCertificates>,
}

/// A certificate and its key, as PEM files. They are read again when they change.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// PEM file with the chain, leaf first.
    pub certificate: At<String>,
    /// PEM file with the private key.
    pub key: At<String>,
}

/// Client certificates (mutual TLS).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificates {
    /// PEM file with the authorities that may sign them.
    pub ca: At<String>,
    /// Whether a client without one is turned away.
    #[schemars(extend("default" = true))]
    pub required: Option<bool>,
    /// Header that tells endpoints the subject. Clients' own headers of this name are removed.
    pub subject_header: Option<At<String>>,
    /// Header that tells endpoints the alternative names, as "DNS:a, URI:b".
    pub san_header: Option<At<String>>,
    /// Header that tells endpoints the SHA-256 of the certificate, in lower-case hexadecimal.
    pub fingerprint_header: Option<At<String>>,
}

/// A WebAssembly module that balances, routes or filters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    /// A file, "builtin:NAME", "https://…", or "oci://REGISTRY/REPOSITORY" with ":TAG" or "@sha256:…" behind it.
    #[schemars(extend("examples" = ["plugins/fastest.wasm"]))]
    pub source: At<String>,
    /// The SHA-256 of the module, 64 hexadecimal digits; any other is refused. Needed with https.
    pub sha256: Option<At<String>>,
    /// PEM file with the authorities to trust where it is fetched from. When not given, the system's.
    pub ca: Option<At<String>>,
    /// File with what to say where it is fetched from: one line "USER:PASSWORD" or "Bearer TOKEN", or a config.json of
    /// Docker's. When not given, nothing.
    pub credentials: Option<At<String>>,
    /// Asks the registry without TLS, so that anyone on the way can read the credentials and give a tag another meaning.
    #[schemars(extend("default" = false))]
    pub dangerously_plain_http: Option<At<bool>>,
    /// The plugin's own configuration, which it gets as JSON. When not given, {}.
    pub config: Option<At<Json>>,
    /// For one decision, from 1ms to 1s; the fallback decides beyond it.
    #[schemars(extend("default" = "2ms"))]
    pub deadline: Option<At<Time>>,
    /// For starting and configuring it.
    #[schemars(extend("default" = "1s"))]
    pub configure_time: Option<At<Time>>,
    /// Memory of one instance, from 64KiB to 4GiB.
    #[schemars(extend("default" = "64MiB"))]
    pub memory_size: Option<At<Size>>,
    /// How long a new version is asked beside the one in force without being heard, before it comes into force.
    pub shadow: Option<At<Time>>,
    /// A new version first decides for some of the requests. When not given, for all of them at once.
    pub canary: Option<Canary>,
}

/// How a new version of a plugin is tried.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// Of all requests, from "0.01%" to "100%".
    #[schemars(extend("examples" = ["10%"]))]
    pub share: At<String>,
    /// How long it is tried.
    #[serde(rename = "for")]
    pub time: At<Time>,
}

/// A group of endpoints.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// "host:port", or tables with a weight and what plugins decide by.
    #[schemars(length(min = 1))]
    pub endpoints: Vec<At<Either<String, Endpoint>>>,
    /// How one of them is chosen: "p2c", "round-robin", or the name of a plugin.
    #[schemars(extend("default" = "p2c", "examples" = ["p2c", "round-robin"]))]
    pub balance: Option<At<String>>,
    /// What chooses where the plugin does not. Only when balance names a plugin.
    #[schemars(extend("default" = "p2c"))]
    pub fallback: Option<At<Balance>>,
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
    /// Requests that wait for a connection when max_connections are busy; more are answered 503.
    #[schemars(extend("default" = 1024))]
    pub max_waiting: Option<At<u32>>,
    /// Time-outs of requests to this pool.
    pub timeouts: Option<At<Timeouts>>,
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
    /// For plugins: 0 goes before 1, and so on.
    #[schemars(range(min = 0, max = 100), extend("default" = 0))]
    pub priority: Option<At<u32>>,
    /// For plugins: where it stands. When not given, "".
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
    /// Waiting for a connection under max_connections. A pool's is "5s" when not given.
    pub queue: Option<At<Time>>,
}

/// What is done with a request: one of pool, static, redirect, respond.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Its name in logs and metrics. When not given, made of the host and the path that it matches.
    pub name: Option<At<String>>,
    /// What a request must be like; all that is given must hold. When not given, every request matches.
    #[serde(rename = "match")]
    pub matches: Option<At<Match>>,
    /// The pool that answers.
    pub pool: Option<At<String>>,
    /// A folder to serve files from, or a table. The path below the route's own is looked up in it.
    #[serde(rename = "static")]
    pub folder: Option<At<Either<String, Static>>>,
    /// Where to send the client, such as "https://{host}{uri}", or a table.
    pub redirect: Option<At<Either<String, Redirect>>>,
    /// A fixed answer: its text, or a table.
    pub respond: Option<At<Either<String, Respond>>>,
    /// The plugin that may choose another route or pool. When not given, none.
    pub router: Option<At<String>>,
    /// The plugins that see request and response, in this order; at most 8. When not given, none.
    #[schemars(length(max = 8), extend("uniqueItems" = true))]
    pub filters: Option<At<Vec<At<String>>>>,
    /// Changes the path before the request goes to the pool. The query stays.
    pub rewrite: Option<At<Rewrite>>,
    /// Changes the headers of the request to the pool.
    pub request_headers: Option<At<HeaderChanges>>,
    /// Changes the headers of the response.
    pub response_headers: Option<At<HeaderChanges>>,
    /// Time-outs of this route's requests; they go before the pool's.
    pub timeouts: Option<At<Timeouts>>,
    /// The largest request body; 413 beyond it. When not given, limits.body_size.
    pub body_limit: Option<At<Size>>,
}

/// What a request must be like.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Whether it came in cleartext ("http") or over TLS ("https"). When not given, either.
    pub scheme: Option<Scheme>,
    /// Any of these hosts: "shop.example", or "*.shop.example" for everything below it. Without a port.
    pub host: Option<At<Strings>>,
    /// Any of these paths, written decoded: "/about" is that path alone, "/api/" is /api and everything below, "{id}"
    /// stands for any one segment.
    pub path: Option<At<Strings>>,
    /// Any of these methods.
    pub method: Option<At<Strings>>,
    /// All of these headers: true (it is there), false (it is not), "text" (it is so), "text*" (it begins so).
    pub header: Option<BTreeMap<String, At<Either<bool, String>>>>,
    /// All of these query parameters, written decoded; values as for header.
    pub query: Option<BTreeMap<String, At<Either<bool, String>>>>,
    /// All of these cookies; values as for header.
    pub cookie: Option<BTreeMap<String, At<Either<bool, String>>>>,
    /// Any of these networks or addresses of clients.
    pub client: Option<At<Strings>>,
}

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// In cleartext.
    Http,
    /// Over TLS.
    Https,
}

/// A folder to serve.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Static {
    /// The folder.
    pub root: At<String>,
    /// Whether folders without an index file are listed.
    #[schemars(extend("default" = false))]
    pub listing: Option<bool>,
}

/// A redirect.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// The new address, with {scheme}, {host}, {path}, {query}, {uri}, {client}, {request_id} and captures of the path.
    pub to: At<String>,
    /// The status.
    #[schemars(extend("enum" = [301, 302, 303, 307, 308], "default" = 308))]
    pub status: Option<At<u16>>,
}

/// A fixed answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Respond {
    /// The status.
    #[schemars(range(min = 200, max = 599), extend("default" = 200))]
    pub status: Option<At<u16>>,
    /// The text.
    #[schemars(extend("default" = ""))]
    pub body: Option<At<String>>,
    /// Its media type.
    #[serde(rename = "type")]
    #[schemars(extend("default" = "text/plain; charset=utf-8"))]
    pub content_type: Option<At<String>>,
}

/// Changes of the path: a prefix, or all of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// Taken from the front when it stands there as whole segments.
    pub strip_prefix: Option<At<String>>,
    /// Then put before it.
    pub add_prefix: Option<At<String>>,
    /// The whole new path, with placeholders such as {path} and captures; not beside the other two.
    pub path: Option<At<String>>,
}

/// Changes of headers: first removed, then set, then added. Values may hold placeholders; a brace itself is written
/// twice.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderChanges {
    /// Names to remove.
    pub remove: Option<Vec<At<String>>>,
    /// Headers to set, in place of others of their names.
    pub set: Option<BTreeMap<String, At<String>>>,
    /// Headers to add beside others of their names; a list adds several.
    pub add: Option<BTreeMap<String, At<Strings>>>,
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
