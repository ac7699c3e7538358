//! `[plugin.NAME]`: where a module comes from, and what it is allowed.

use std::path::PathBuf;
use std::time::Duration;

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
