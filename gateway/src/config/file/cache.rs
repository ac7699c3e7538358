//! `[cache]`: what all routes with a cache share.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{At, Size};

/// Where responses are kept beside memory, for routes with a cache.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheTable {
    /// A folder in which responses are kept too, so that they survive a restart. When not given there is none.
    pub disk: Option<At<CacheDisk>>,
}

/// A folder for responses.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheDisk {
    /// The folder. It is made when it is not there; nobody else may write to it, and one gateway uses it at a time.
    #[schemars(extend("examples" = ["/var/cache/gatewright/responses"]))]
    pub folder: At<String>,
    /// The most that lies there; what is used least goes beyond it.
    #[schemars(extend("default" = "10GiB"))]
    pub size: Option<At<Size>>,
    /// The most responses that lie there, each in a file.
    #[schemars(range(min = 1), extend("default" = 1000000))]
    pub files: Option<At<u32>>,
}
