//! The folder that entries lie in.
//!
//! In: a path. Out: files by their numbers. Invariant: folder and files are this user's alone, and of all gateways one uses the
//! folder at a time. A file is written under a name in `drafts` and gets its own when it is whole, so that whatever happens
//! there is never a part of one. A crash of the machine may still leave holes, since nothing waits for the disk: for that there
//! are the sums.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, fstat, mkdirat, openat, renameat, unlinkat};

use crate::vault::ours_alone;

/// Files lie in so many folders.
pub(super) const SHELVES: u8 = u8::MAX;

const DRAFTS: &str = "drafts";
const LOCK: &str = "lock";

/// A folder that is locked.
#[derive(Debug)]
pub(super) struct Folder {
    folder: OwnedFd,
    /// Holds the lock until it is closed.
    _lock: OwnedFd,
}

/// Why there is no folder.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// Somebody else has it.
    #[error("another gateway uses it")]
    Taken,
    /// It cannot be used.
    #[error("{0}")]
    Disk(#[from] io::Error),
}

/// Where a file lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Spot {
    /// In which of the folders.
    pub(super) shelf: u8,
    /// Its number.
    pub(super) id: u64,
}

impl std::fmt::Display for Spot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x}/{:016x}", self.shelf, self.id)
    }
}

impl Spot {
    fn name(self) -> String {
        self.to_string()
    }
}

fn flags(more: OFlags) -> OFlags {
    more | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

impl Folder {
    /// Makes the folder if it is not there, and takes it.
    pub(super) fn open(path: &Path) -> Result<Folder, Unusable> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let folder = rustix::fs::open(path, flags(OFlags::RDONLY | OFlags::DIRECTORY), Mode::empty());
        let folder = folder.map_err(io::Error::from)?;
        ours_alone(&fstat(&folder).map_err(io::Error::from)?, "the folder")?;
        let lock = openat(&folder, LOCK, flags(OFlags::RDWR | OFlags::CREATE), Mode::RUSR | Mode::WUSR);
        let lock = lock.map_err(io::Error::from)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(Unusable::Taken),
            Err(error) => return Err(io::Error::from(error).into()),
        }
        let folder = Folder { folder, _lock: lock };
        folder.make(DRAFTS)?;
        folder.clear_drafts()?;
        Ok(folder)
    }

    fn make(&self, name: &str) -> io::Result<()> {
        match mkdirat(&self.folder, name, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What was being written when another process ended.
    fn clear_drafts(&self) -> io::Result<()> {
        for name in self.list(DRAFTS)? {
            unlinkat(&self.folder, format!("{DRAFTS}/{name}"), AtFlags::empty())?;
        }
        Ok(())
    }

    /// The names in one of the folders.
    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        let folder = match openat(&self.folder, name, flags(OFlags::RDONLY | OFlags::DIRECTORY), Mode::empty()) {
            Ok(folder) => folder,
            Err(rustix::io::Errno::NOENT) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut names = Vec::new();
        for entry in Dir::read_from(&folder)? {
            if let Ok(name) = entry?.file_name().to_str()
                && !matches!(name, "." | "..")
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// The numbers of the files on one shelf, the newest first. What has no name of ours is nobody's business here.
    pub(super) fn shelf(&self, shelf: u8) -> io::Result<Vec<u64>> {
        let is_ours =
            |name: &String| name.len() == 16 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let names = self.list(&format!("{shelf:02x}"))?;
        let mut ids: Vec<u64> =
            names.iter().filter(|name| is_ours(name)).filter_map(|name| u64::from_str_radix(name, 16).ok()).collect();
        ids.sort_unstable_by(|one, other| other.cmp(one));
        Ok(ids)
    }

    /// A file to read; with `write`, also to write to.
    pub(super) fn file(&self, spot: Spot, write: bool) -> io::Result<File> {
        let mode = if write { OFlags::RDWR } else { OFlags::RDONLY };
        // A pipe in its place would keep whoever opens it waiting.
        Ok(openat(&self.folder, spot.name(), flags(mode | OFlags::NONBLOCK), Mode::empty())?.into())
    }

    /// Has a file written, whole or not at all.
    pub(super) fn write<T>(&self, spot: Spot, write: impl FnOnce(&mut File) -> io::Result<T>) -> io::Result<T> {
        let draft = format!("{DRAFTS}/{:016x}", spot.id);
        let place = |written| {
            match renameat(&self.folder, &draft, &self.folder, spot.name()) {
                Err(rustix::io::Errno::NOENT) => {
                    self.make(&format!("{:02x}", spot.shelf))?;
                    renameat(&self.folder, &draft, &self.folder, spot.name())?;
                }
                result => result?,
            }
            Ok(written)
        };
        let result = self.create(&draft).and_then(|mut file| write(&mut file)).and_then(place);
        if result.is_err() {
            // What is half written only takes up room.
            let _ = unlinkat(&self.folder, &draft, AtFlags::empty());
        }
        result
    }

    fn create(&self, name: &str) -> io::Result<File> {
        let (flags, mode) = (flags(OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC), Mode::RUSR | Mode::WUSR);
        match openat(&self.folder, name, flags, mode) {
            // Somebody has cleared the folder.
            Err(rustix::io::Errno::NOENT) => self.make(DRAFTS)?,
            result => return Ok(result?.into()),
        }
        Ok(openat(&self.folder, name, flags, mode)?.into())
    }

    /// Takes a file away, if it is there.
    pub(super) fn remove(&self, spot: Spot) -> io::Result<()> {
        match unlinkat(&self.folder, spot.name(), AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts a small file beside the shelves, in place of the one that was there, so that it survives a crash of the machine.
    pub(super) fn put(&self, name: &str, bytes: &[u8], durable: bool) -> io::Result<()> {
        use std::io::Write;
        let draft = format!("{DRAFTS}/{name}");
        let mut file = self.create(&draft)?;
        file.write_all(bytes)?;
        if durable {
            file.sync_all()?;
        }
        renameat(&self.folder, &draft, &self.folder, name)?;
        if durable {
            rustix::fs::fsync(&self.folder)?;
        }
        Ok(())
    }

    /// Waits until all that was changed would survive a crash of the machine.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.folder)?)
    }

    /// What stands in such a file.
    pub(super) fn read(&self, name: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
        use std::io::Read;
        let flags = flags(OFlags::RDONLY | OFlags::NONBLOCK);
        let file = match openat(&self.folder, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Puts bytes behind the first so many of such a file, so that they survive a crash of the machine if they have to.
    pub(super) fn append(&self, name: &str, length: u64, bytes: &[u8], durable: bool) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        let flags = flags(OFlags::WRONLY | OFlags::CREATE);
        let file = File::from(openat(&self.folder, name, flags, Mode::RUSR | Mode::WUSR)?);
        // What was written by half before would swallow what comes behind it.
        file.set_len(length)?;
        file.write_all_at(bytes, length)?;
        if durable {
            file.sync_all()?;
            rustix::fs::fsync(&self.folder)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_folder_is_taken_by_one_and_only_when_nobody_else_can_write_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let first = Folder::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(matches!(Folder::open(&path), Err(Unusable::Taken)));
        drop(first);
        drop(Folder::open(&path).unwrap());
        for open in [0o777, 0o770, 0o702] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(open)).unwrap();
            assert!(Folder::open(&path).unwrap_err().to_string().contains("can be written by others"), "{open:o}");
        }
        let (link, file) = (folder.path().join("link"), folder.path().join("file"));
        symlink(folder.path(), &link).unwrap();
        std::fs::write(&file, "").unwrap();
        assert!(Folder::open(&link).is_err() && Folder::open(&file).is_err());
    }

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let open = Folder::open(folder.path()).unwrap();
        let spot = Spot { shelf: 7, id: 9 };
        let half = open.write(spot, |file| {
            file.write_all(b"half")?;
            Err::<(), _>(io::Error::other("no more"))
        });
        assert!(half.is_err() && open.shelf(7).unwrap().is_empty());
        let is_there_while_it_is_written = open
            .write(spot, |file| {
                file.write_all(b"half")?;
                Ok(folder.path().join(spot.to_string()).exists())
            })
            .unwrap();
        assert!(!is_there_while_it_is_written && open.shelf(7).unwrap() == [9]);
        // What a process that was killed has left.
        std::fs::write(folder.path().join("drafts/0000000000000001"), "half").unwrap();
        std::fs::write(folder.path().join("07/readme"), "").unwrap();
        drop(open);
        let open = Folder::open(folder.path()).unwrap();
        assert_eq!(
            (std::fs::read_dir(folder.path().join("drafts")).unwrap().count(), open.shelf(7).unwrap()),
            (0, vec![9])
        );
        open.remove(spot).unwrap();
        open.remove(spot).unwrap();
        assert!(open.file(spot, false).is_err());
    }
}
