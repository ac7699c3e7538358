//! `[[route]]`: which requests, and what is done with them.

mod cache;
mod compress;
mod folder;
mod mirror;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::*;
pub use cache::*;
pub use compress::*;
pub use folder::*;
pub use mirror::Mirror;

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
    /// Whether responses of the pool are kept and given again, as they allow: true, or a table. When not given, they are not.
    pub cache: Option<At<Either<bool, Cache>>>,
    /// When a request is sent again; in place of the pool's.
    pub retry: Option<At<Retry>>,
    /// Sends copies of requests to another pool, and throws its answers away.
    pub mirror: Option<At<Mirror>>,
    /// Time-outs of this route's requests; they go before the pool's.
    pub timeouts: Option<At<Timeouts>>,
    /// The largest request body; 413 beyond it. When not given, limits.body_size.
    pub body_limit: Option<At<Size>>,
    /// Whether responses are compressed for clients that take it: true, or a table. When not given, they are not.
    pub compress: Option<At<Either<bool, Compress>>>,
    /// Bytes a second of a request body while its client is waited for; 0: any pace, as clients need it that stream when they have
    /// something to say. When not given, limits.body_min_rate.
    pub body_min_rate: Option<At<Size>>,
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
