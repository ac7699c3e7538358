//! What was fetched before, on disk.
//!
//! Everything lies under the hash of its bytes and is looked at by it each time: what is damaged is as if it were not there.
//! Beside that there is a note for each tag of a registry: what it meant when the registry was asked last.

use std::io;
use std::path::PathBuf;

use crate::plugin::{Digest, MODULE_SIZE};
use crate::vault::Vault;

/// Modules and manifests that are kept, and notes of tags.
const KEPT: usize = 64;
const BLOB: &str = ".blob";
const TAG: &str = ".tag";

/// Where it is kept.
pub struct Store {
    folder: Option<PathBuf>,
    writes: bool,
}

impl Store {
    /// In this folder; without one nothing is kept.
    pub fn at(folder: Option<PathBuf>) -> Store {
        Store { folder, writes: true }
    }

    /// The same, but nothing is added to it.
    pub fn only_read(folder: Option<PathBuf>) -> Store {
        Store { folder, writes: false }
    }

    /// What has this hash.
    pub(super) fn blob(&self, digest: &Digest) -> Option<Vec<u8>> {
        let name = format!("{digest}{BLOB}");
        let bytes = self.read(&name, MODULE_SIZE)?;
        if Digest::of(&bytes) != *digest {
            tracing::warn!(name, "what was fetched earlier is damaged, and is fetched again");
            return None;
        }
        Some(bytes)
    }

    /// Keeps what has this hash.
    pub(super) fn keep(&self, digest: &Digest, bytes: &[u8]) {
        self.write(&format!("{digest}{BLOB}"), bytes, BLOB);
    }

    /// What a tag meant when it was last seen.
    pub(super) fn recall(&self, reference: &str) -> Option<Digest> {
        let note = String::from_utf8(self.read(&tag(reference), 8192)?).ok()?;
        let (digest, of) = note.strip_suffix('\n')?.split_once(' ')?;
        // Without the whole reference a note would be believed for another tag.
        if of == reference { super::manifest::digest(digest) } else { None }
    }

    /// Notes what a tag means.
    pub(super) fn remember(&self, reference: &str, digest: &Digest) {
        if self.writes && self.recall(reference) != Some(*digest) {
            self.write(&tag(reference), format!("sha256:{digest} {reference}\n").as_bytes(), TAG);
        }
    }

    fn read(&self, name: &str, most: u64) -> Option<Vec<u8>> {
        let folder = self.folder.as_ref()?;
        let read = Vault::open(folder).and_then(|vault| {
            let bytes = vault.read(name, most)?;
            if self.writes && bytes.is_some() {
                vault.touch(name);
            }
            Ok(bytes)
        });
        match read {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(folder = %folder.display(), name, %error, "what was fetched earlier is not taken");
                None
            }
            read => read.ok().flatten(),
        }
    }

    fn write(&self, name: &str, bytes: &[u8], ending: &str) {
        let Some(folder) = self.folder.as_ref().filter(|_| self.writes) else { return };
        let written = Vault::make(folder).and_then(|vault| {
            vault.write(name, bytes)?;
            vault.prune(ending, KEPT)
        });
        if let Err(error) = written {
            tracing::warn!(folder = %folder.display(), %error, "what is fetched cannot be kept");
        }
    }
}

fn tag(reference: &str) -> String {
    format!("{}{TAG}", Digest::of(reference.as_bytes()))
}
