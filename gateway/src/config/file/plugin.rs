//! `[plugin.NAME]`: where a module comes from, and what it is allowed.

use schemars::JsonSchema;
use serde::Deserialize;

use super::*;

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
