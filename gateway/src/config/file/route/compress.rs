//! `[route.compress]`: which responses are compressed, and how.

use schemars::JsonSchema;
use serde::Deserialize;

use super::*;
use crate::config::model;
use crate::http::encoding::Coding;

/// Compresses responses for clients that take it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compress {
    /// Media types that are compressed: "text/css", "text/*" (but for text/event-stream), or "*+json" for all that end so. When not
    /// given, those that are known to become smaller.
    #[schemars(length(min = 1), extend("examples" = [["text/*", "application/json", "*+json"]]))]
    pub types: Option<At<Vec<At<String>>>>,
    /// Smaller bodies are left as they are, when their size is known.
    #[schemars(extend("default" = "1KiB"))]
    pub at_least: Option<At<Size>>,
    /// The encodings, best first: of those that a client likes equally it gets the first.
    #[schemars(length(min = 1), extend("uniqueItems" = true, "default" = model::Compress::ENCODINGS.map(Coding::text)))]
    pub encodings: Option<At<Vec<At<Encoding>>>>,
    /// How hard to try, by encoding. Less is done while a worker is busy.
    pub level: Option<Levels>,
    /// The same for responses that the cache keeps: they are compressed once.
    pub cached_level: Option<CachedLevels>,
}

/// An encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// RFC 1952.
    Gzip,
    /// Brotli, RFC 7932.
    Br,
    /// RFC 8878.
    Zstd,
    /// RFC 1950.
    Deflate,
}

/// A level for each encoding: from 1, the fastest.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Levels {
    /// Up to 9.
    #[schemars(range(min = 1, max = 9), extend("default" = model::Levels::DEFAULT.gzip))]
    pub gzip: Option<u8>,
    /// Up to 8; beyond it a response would hold its worker for too long.
    #[schemars(range(min = 1, max = 8), extend("default" = model::Levels::DEFAULT.br))]
    pub br: Option<u8>,
    /// Up to 12.
    #[schemars(range(min = 1, max = 12), extend("default" = model::Levels::DEFAULT.zstd))]
    pub zstd: Option<u8>,
    /// Up to 9.
    #[schemars(range(min = 1, max = 9), extend("default" = model::Levels::DEFAULT.deflate))]
    pub deflate: Option<u8>,
}

/// A level for each encoding of what is kept: from 1, the fastest.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CachedLevels {
    /// Up to 9.
    #[schemars(range(min = 1, max = 9), extend("default" = model::Levels::CACHED.gzip))]
    pub gzip: Option<u8>,
    /// Up to 8; beyond it a response would hold its worker for too long.
    #[schemars(range(min = 1, max = 8), extend("default" = model::Levels::CACHED.br))]
    pub br: Option<u8>,
    /// Up to 12.
    #[schemars(range(min = 1, max = 12), extend("default" = model::Levels::CACHED.zstd))]
    pub zstd: Option<u8>,
    /// Up to 9.
    #[schemars(range(min = 1, max = 9), extend("default" = model::Levels::CACHED.deflate))]
    pub deflate: Option<u8>,
}

impl From<Encoding> for Coding {
    fn from(encoding: Encoding) -> Coding {
        match encoding {
            Encoding::Gzip => Coding::Gzip,
            Encoding::Br => Coding::Brotli,
            Encoding::Zstd => Coding::Zstd,
            Encoding::Deflate => Coding::Deflate,
        }
    }
}
