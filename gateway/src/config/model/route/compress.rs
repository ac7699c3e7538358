//! `[route.compress]`: which responses are compressed, and how.

use crate::http::encoding::Coding;

/// `compress = true` or `{ types, at_least, encodings, level, cached_level }`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compress {
    /// `types = ["text/*"]`
    pub types: Vec<MediaRange>,
    /// `at_least = "1KiB"`: of bodies whose length is known.
    pub at_least: u64,
    /// `encodings = ["zstd", "br", "gzip"]`: best first.
    pub encodings: Vec<Coding>,
    /// `level = { gzip = 1 }`
    pub levels: Levels,
    /// `cached_level = { gzip = 1 }`: of what the cache keeps.
    pub cached_levels: Levels,
}

/// Media types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaRange {
    /// `"text/css"`
    Exact(String),
    /// `"text/*"` holds `text/`. A stream of events is only meant where it is named.
    Kind(String),
    /// `"*+json"` holds `+json`.
    Suffix(String),
}

/// A level for each encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// `gzip`
    pub gzip: u8,
    /// `br`
    pub br: u8,
    /// `zstd`
    pub zstd: u8,
    /// `deflate`
    pub deflate: u8,
}

impl Compress {
    /// `at_least`
    pub const AT_LEAST: u64 = 1024;
    /// `encodings`
    pub const ENCODINGS: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];
    /// `types`: texts, and what is known to become smaller.
    pub const TYPES: [&str; 22] = [
        "text/*",
        "*+json",
        "*+xml",
        "*+text",
        "application/javascript",
        "application/x-javascript",
        "application/ecmascript",
        "application/json",
        "application/jsonl",
        "application/x-ndjson",
        "application/xml",
        "application/yaml",
        "application/toml",
        "application/wasm",
        "application/rtf",
        "application/vnd.ms-fontobject",
        "font/ttf",
        "font/otf",
        "font/collection",
        "image/bmp",
        "image/x-icon",
        "image/vnd.microsoft.icon",
    ];
}

impl Levels {
    /// About as fast as gzip is elsewhere at its fastest, and smaller (BENCHMARKS.md).
    pub const DEFAULT: Levels = Levels { gzip: 4, br: 4, zstd: 3, deflate: 4 };

    /// Where more is to be had for a little, and no more than a millisecond for 50 KB.
    pub const CACHED: Levels = Levels { gzip: 8, br: 6, zstd: 9, deflate: 8 };

    /// That of one encoding.
    pub fn of(&self, coding: Coding) -> u8 {
        match coding {
            Coding::Gzip => self.gzip,
            Coding::Brotli => self.br,
            Coding::Zstd => self.zstd,
            Coding::Deflate => self.deflate,
        }
    }
}

impl MediaRange {
    /// From a text in lower case.
    pub fn new(text: &str) -> MediaRange {
        match (text.strip_suffix('*'), text.strip_prefix('*')) {
            (Some(kind), _) => MediaRange::Kind(kind.to_owned()),
            (_, Some(suffix)) => MediaRange::Suffix(suffix.to_owned()),
            _ => MediaRange::Exact(text.to_owned()),
        }
    }

    /// Whether a media type without parameters, in any case, is meant.
    pub fn holds(&self, media: &[u8]) -> bool {
        let is = |part: Option<&[u8]>, text: &str| part.is_some_and(|part| part.eq_ignore_ascii_case(text.as_bytes()));
        match self {
            MediaRange::Exact(exact) => is(Some(media), exact),
            MediaRange::Kind(kind) => {
                is(media.get(..kind.len()), kind) && !media.eq_ignore_ascii_case(b"text/event-stream")
            }
            MediaRange::Suffix(suffix) => {
                is(media.len().checked_sub(suffix.len()).and_then(|at| media.get(at..)), suffix)
            }
        }
    }
}
