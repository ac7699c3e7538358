//! `[[route]]`: which requests, and what is done with them.

mod cache;
mod compress;
mod folder;
mod mirror;

use http::{Method, StatusCode};

use super::*;
use crate::http::{FieldName, Scheme};
pub use cache::{Cache, CacheBypass, CacheQuery};
pub use compress::*;
pub use folder::*;
pub use mirror::Mirror;

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
    /// `cache = true | { … }`; `None`: no.
    pub cache: Option<Cache>,
    /// `retry = { … }`; `None`: the pool's.
    pub retry: Option<Retry>,
    /// `mirror = { … }`
    pub mirror: Option<Mirror>,
    /// `timeouts = { … }`
    pub timeouts: Timeouts,
    /// `body_limit = "10MiB"`; `None`: `limits.body_size`.
    pub body_limit: Option<u64>,
    /// `compress = true` or `{ … }`
    pub compress: Option<Compress>,
    /// `body_min_rate = 0`; `None`: `limits.body_min_rate`.
    pub body_min_rate: Option<u64>,
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
