//! `static = { … }`: a folder to serve.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::*;
use crate::config::model::Sibling;

/// A folder to serve.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Static {
    /// The folder.
    pub root: At<String>,
    /// The files that answer for their folder; the first that is there.
    #[schemars(extend("default" = ["index.html"]))]
    pub index: Option<At<Strings>>,
    /// What is looked for, in this order; "{path}" is the path below the route's own, without a slash at its end.
    #[schemars(length(min = 1, max = 16), extend("default" = ["{path}"], "examples" = [["{path}", "{path}.html"]]))]
    pub try_files: Option<At<Vec<At<String>>>>,
    /// The file that answers, with status 200, when nothing is found. When not given, that is 404.
    #[schemars(extend("examples" = ["/index.html"]))]
    pub fallback: Option<At<String>>,
    /// Whether folders without an index file are listed.
    #[schemars(extend("default" = false))]
    pub listing: Option<bool>,
    /// Whether a file's siblings are sent in its place to those who take them: true, or which of them, in the order of preference.
    /// The siblings of "app.js" are "app.js.br", "app.js.zst" and "app.js.gz".
    #[schemars(extend("default" = false))]
    pub precompressed: Option<At<Either<bool, Vec<Sibling>>>>,
    /// Cache-Control, for all files or by their names; the first rule that fits is taken. When not given, none is sent.
    pub cache_control: Option<At<Either<String, Vec<At<CacheRule>>>>>,
    /// The files that tell of an error, by status: 400, 403, 404, 405, 500.
    #[schemars(extend("examples" = [{ "404": "/404.html" }]))]
    pub error_pages: Option<BTreeMap<String, At<String>>>,
    /// Content types by extension, before those that are known.
    #[schemars(extend("examples" = [{ "md": "text/plain; charset=utf-8" }]))]
    pub types: Option<BTreeMap<String, At<String>>>,
}

/// Cache-Control for some files.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheRule {
    /// Which: "*.css" (by name, in any folder) or "/assets/**" (by path). "*" stands for any text in one name, "**" for any, "{hash}"
    /// for a part that looks like a hash. When not given, all.
    #[schemars(extend("examples" = ["*.html", "/assets/**", "*-{hash}.*"]))]
    pub files: Option<At<Strings>>,
    /// The value.
    #[schemars(extend("examples" = ["public, max-age=31536000, immutable", "no-cache"]))]
    pub value: At<String>,
}
