//! `static = …`: a folder to serve.

use std::path::PathBuf;

use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

/// A folder to serve.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Static {
    /// The folder; the path below the route's prefix is looked up in it.
    pub root: PathBuf,
    /// Names of files that answer for their folder.
    pub index: Vec<String>,
    /// What is looked for, in this order: `try_files`, then `fallback`.
    pub candidates: Vec<Candidate>,
    /// Whether a folder without an index is listed.
    pub listing: bool,
    /// Siblings that are sent in place of a file, the preferred first.
    pub precompressed: Vec<Sibling>,
    /// The first that fits gives `Cache-Control`.
    pub cache_control: Vec<CacheRule>,
    /// Files, as paths below the root that begin with a slash, for these statuses.
    pub error_pages: Vec<(StatusCode, String)>,
    /// Content types by extension, in lower case and without the dot.
    pub types: Vec<(String, String)>,
}

/// A path to look up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// What stands before `{path}`, or the whole when there is none. Empty, or begins with a slash.
    pub before: String,
    /// What stands behind `{path}`.
    pub after: String,
    /// Whether there is `{path}`.
    pub takes_path: bool,
}

/// `Cache-Control` for some files.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheRule {
    /// Patterns, of which one must fit; none: all files.
    pub files: Vec<String>,
    /// The value.
    pub value: String,
}

/// A file beside another one, with its content compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sibling {
    /// `.br`
    Br,
    /// `.zst`
    Zstd,
    /// `.gz`
    Gzip,
}

impl Static {
    /// The names that answer for a folder when none are given.
    pub const INDEX: &str = "index.html";
    /// The errors that a folder can have.
    pub const STATUSES: [StatusCode; 5] = [
        StatusCode::BAD_REQUEST,
        StatusCode::FORBIDDEN,
        StatusCode::NOT_FOUND,
        StatusCode::METHOD_NOT_ALLOWED,
        StatusCode::INTERNAL_SERVER_ERROR,
    ];

    /// A folder of which nothing else is said.
    pub fn plain(root: PathBuf) -> Static {
        Static {
            root,
            index: vec![Static::INDEX.to_owned()],
            candidates: vec![Candidate::path()],
            listing: false,
            precompressed: Vec::new(),
            cache_control: Vec::new(),
            error_pages: Vec::new(),
            types: Vec::new(),
        }
    }
}

impl Candidate {
    /// `{path}`
    pub fn path() -> Candidate {
        Candidate { before: String::new(), after: String::new(), takes_path: true }
    }
}

impl Sibling {
    /// All of them, the preferred first.
    pub const ALL: [Sibling; 3] = [Sibling::Br, Sibling::Zstd, Sibling::Gzip];
}
