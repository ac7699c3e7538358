//! A folder that a route serves, with all that is configured of it, ready for look-ups.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use smallvec::SmallVec;

use super::pattern::Pattern;
use super::types;
use crate::config::model::{Sibling, Static};
use crate::http::encoding::{Accepted, Coding};
use crate::http::{Fields, StatusCode};

/// A folder that a route serves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Folder(pub(super) Arc<Site>);

/// The codings that a client takes of those that a folder may have, the best first.
pub(super) type Preferred = SmallVec<[Coding; 3]>;

/// What is configured of a folder.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Site {
    pub(super) config: Static,
    /// What its files are known by in a worker's memory, as other folders may lie at the same place: made of all that is configured,
    /// so that files in memory outlive a reload.
    pub(super) key: [u8; 8],
    siblings: Preferred,
    rules: Vec<(Vec<Pattern>, String)>,
}

impl Folder {
    /// A folder from the configuration. Whether it exists is seen when it is asked for something.
    pub fn new(config: &Static) -> Folder {
        let mut hasher = DefaultHasher::new();
        config.hash(&mut hasher);
        let rule = |files: &[String]| files.iter().map(|text| Pattern::new(text)).collect();
        let coding = |sibling: &Sibling| match sibling {
            Sibling::Br => Coding::Brotli,
            Sibling::Zstd => Coding::Zstd,
            Sibling::Gzip => Coding::Gzip,
        };
        Folder(Arc::new(Site {
            key: hasher.finish().to_ne_bytes(),
            siblings: config.precompressed.iter().map(coding).collect(),
            rules: config.cache_control.iter().map(|one| (rule(&one.files), one.value.clone())).collect(),
            config: config.clone(),
        }))
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.0.config.root
    }
}

impl Site {
    /// Whether what is sent depends on what codings a client takes.
    pub(super) fn varies(&self) -> bool {
        !self.siblings.is_empty()
    }

    pub(super) fn preferred(&self, request: &Fields) -> Preferred {
        let mut preferred = Preferred::new();
        if self.siblings.is_empty() {
            return preferred;
        }
        let accepted = Accepted::of(request);
        let mut left = self.siblings.clone();
        while let Some(coding) = accepted.choose(&left) {
            preferred.push(coding);
            left.retain(|other| *other != coding);
        }
        preferred
    }

    /// The file that tells of an error.
    pub(super) fn error_page(&self, status: StatusCode) -> Option<&str> {
        self.config.error_pages.iter().find(|(other, _)| *other == status).map(|(_, page)| page.as_str())
    }

    pub(super) fn cache_control(&self, path: &str) -> Option<&str> {
        let fits = |files: &[Pattern]| files.is_empty() || files.iter().any(|pattern| pattern.fits(path));
        self.rules.iter().find(|(files, _)| fits(files)).map(|(_, value)| value.as_str())
    }

    pub(super) fn content_type(&self, path: &str) -> &str {
        let extension = types::extension(path);
        let own = |text: &str| self.config.types.iter().find(|(other, _)| other.eq_ignore_ascii_case(text));
        match extension.and_then(own) {
            Some((_, content_type)) => content_type,
            None => types::content_type(path),
        }
    }
}
