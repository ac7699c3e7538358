//! Whether certificate, key or CA files have changed.
//!
//! In: paths. Out: yes or no, by comparing what the file system says of them; nothing is read, nothing waits. Only when
//! they are loaded again, [`contents`] tells which of them are others. Symbolic
//! links are followed at every level, so that a swapped folder link (as Kubernetes does it) counts as a change, and so
//! does a file renamed over another.
//!
//! Take the stamps before the files are read: a change in between is then seen at the next look. When loading fails
//! because a file is half written, the old state stays, and the rest of the writing is the next change.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::model::{Certificates, Config};

/// What the file system said of some files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamps {
    files: Vec<(PathBuf, Option<Stamp>)>,
}

/// What the file system said of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Changes of owner and mode too: a file that could not be read may be readable now.
    changed: (i64, i64),
}

impl Stamps {
    /// Looks at these files. One that is not there, or cannot be looked at, has a stamp too: none.
    pub fn of(paths: impl IntoIterator<Item = PathBuf>) -> Stamps {
        let look = |path: PathBuf| {
            let stamp = Stamp::of(&path);
            (path, stamp)
        };
        Stamps { files: paths.into_iter().map(look).collect() }
    }

    /// Looks again: whether anything is different from the last look.
    pub fn changed(&mut self) -> bool {
        let mut changed = false;
        for (path, last) in &mut self.files {
            let now = Stamp::of(path);
            changed |= *last != now;
            *last = now;
        }
        changed
    }

    /// Looks at these files from now on. What was known of one of them stays known, so that no change is missed.
    pub fn follow(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        let before = std::mem::take(&mut self.files);
        let known = |path: &PathBuf| before.iter().find(|(other, _)| other == path).map(|(_, stamp)| *stamp);
        let look = |path: PathBuf| {
            let stamp = known(&path).unwrap_or_else(|| Stamp::of(&path));
            (path, stamp)
        };
        self.files = paths.into_iter().map(look).collect();
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let found = fs::metadata(path).ok()?;
        Some(Stamp {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// Every certificate, key and CA file that a configuration names, each once.
pub fn files(config: &Config) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for tls in config.listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
        if let Certificates::Files(pairs) = &tls.certificates {
            files.extend(pairs.iter().flat_map(|pair| [pair.certificate.clone(), pair.key.clone()]));
        }
        files.extend(tls.client.iter().map(|client| client.ca.clone()));
    }
    let checks = config.pools.iter().filter_map(|pool| pool.health.as_ref()?.own_tls());
    for tls in config.pools.iter().filter_map(|pool| pool.tls.as_ref()).chain(checks) {
        files.extend(tls.ca.clone());
        files.extend(tls.certificate.iter().flat_map(|pair| [pair.certificate.clone(), pair.key.clone()]));
    }
    files.sort_unstable();
    files.dedup();
    files
}

/// What stands in the files of a configuration, by their digests; for telling which of them have changed. One that cannot be
/// read has none.
pub fn contents(config: &Config) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let digest = |path: &Path| {
        let text = super::pem::read(path).ok()?;
        Some(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text).as_ref().to_vec())
    };
    let with_digest = |path: PathBuf| {
        let digest = digest(&path);
        (path, digest)
    };
    files(config).into_iter().map(with_digest).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::config::model::{CertificateFiles, Listener, Protocols, Tls, TlsVersion};

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn nothing_changes_by_itself() {
        let folder = folder();
        let file = folder.path().join("a.pem");
        fs::write(&file, "a").unwrap();
        let mut stamps = Stamps::of([file, folder.path().join("missing.pem")]);
        assert!(!stamps.changed());
        assert!(!stamps.changed());
    }

    #[test]
    fn an_atomic_rename_is_seen_once() {
        let folder = folder();
        let (file, new) = (folder.path().join("a.pem"), folder.path().join("a.pem.new"));
        fs::write(&file, "same size").unwrap();
        fs::write(&new, "SAME SIZE").unwrap();
        let mut stamps = Stamps::of([file.clone()]);
        fs::rename(&new, &file).unwrap();
        assert!(stamps.changed());
        assert!(!stamps.changed());
    }

    #[test]
    fn a_swapped_folder_link_is_seen() {
        let folder = folder();
        let at = |name: &str| folder.path().join(name);
        for version in ["v1", "v2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("tls.crt"), "same").unwrap();
        }
        symlink("v1", at("..data")).unwrap();
        symlink("..data/tls.crt", at("tls.crt")).unwrap();
        let mut stamps = Stamps::of([at("tls.crt")]);
        symlink("v2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert!(stamps.changed());
        assert!(!stamps.changed());
    }

    #[test]
    fn coming_going_and_growing_are_changes() {
        let folder = folder();
        let file = folder.path().join("a.pem");
        let mut stamps = Stamps::of([file.clone()]);
        fs::write(&file, "half").unwrap();
        assert!(stamps.changed());
        fs::write(&file, "half and half").unwrap();
        assert!(stamps.changed());
        fs::remove_file(&file).unwrap();
        assert!(stamps.changed());
        assert!(!stamps.changed());
    }

    #[test]
    fn every_file_of_a_configuration_is_listed_once() {
        let pair = |name: &str| CertificateFiles {
            certificate: format!("{name}.pem").into(),
            key: format!("{name}.key").into(),
        };
        let listener = Listener {
            address: "127.0.0.1:0".parse().unwrap(),
            tls: Some(Tls {
                certificates: Certificates::Files(vec![pair("b"), pair("a")]),
                minimum: TlsVersion::Tls12,
                client: None,
            }),
            protocols: Protocols { h1: true, h2: true },
            proxy_protocol: Vec::new(),
        };
        let config = Config { listeners: vec![listener.clone(), listener], ..Config::default() };
        let names: Vec<_> = files(&config).iter().map(|path| path.display().to_string()).collect();
        assert_eq!(names, ["a.key", "a.pem", "b.key", "b.pem"]);
    }
}
