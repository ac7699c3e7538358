//! Files that are believed at a later start, because nobody else can have written them.
//!
//! In: names and bytes. Out: the bytes of such a file, or why it is not to be had. Invariant: folder and file belong to this
//! user, nobody else may write to either, and the file is a plain one; all goes by the folder's descriptor, so that nothing
//! can be put in its place between the look and the reading. A file is whole or not there, whoever else writes it at the same
//! time. Whether its bytes are undamaged is for the caller to find out, who knows their hash.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, renameat, statat, unlinkat};
use rustix::process::geteuid;

/// A folder of such files.
pub struct Vault {
    folder: OwnedFd,
}

/// How long a draft may lie: whoever wrote it has ended without finishing it.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Where files of one kind are kept: below `$CACHE_DIRECTORY`, else `$XDG_CACHE_HOME/gatewright`, else `~/.cache/gatewright`;
/// nowhere without any.
pub fn place(kind: &str) -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = set("CACHE_DIRECTORY").or_else(|| {
        set("XDG_CACHE_HOME")
            .or_else(|| set("HOME").map(|home| home.join(".cache")))
            .map(|base| base.join("gatewright"))
    });
    base.map(|base| base.join(kind))
}

impl Vault {
    /// The folder, if it is there and ours alone.
    pub fn open(path: &Path) -> io::Result<Vault> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())?;
        ours_alone(&fstat(&folder)?, "the folder")?;
        Ok(Vault { folder })
    }

    /// The same; it is made when it is not there.
    pub fn make(path: &Path) -> io::Result<Vault> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Vault::open(path)
    }

    /// What stands in a file; `None`: there is none. More than `most` bytes are not read.
    pub fn read(&self, name: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
        // A pipe in its place would keep whoever opens it waiting.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.folder, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let found = fstat(&file)?;
        ours_alone(&found, "the file")?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is no plain file"));
        }
        if u64::try_from(found.st_size).unwrap_or(u64::MAX) > most {
            return Err(io::Error::other(format!("it is larger than {most} bytes")));
        }
        let mut bytes = Vec::new();
        File::from(file).take(most).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Writes a file, or puts another in its place.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // A name that nobody else writes to, and never one that is there.
        let draft = format!(".{name}.{:016x}", fastrand::u64(..));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.folder, &draft, flags, Mode::RUSR | Mode::WUSR)?);
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        let placed = written.and_then(|()| Ok(renameat(&self.folder, &draft, &self.folder, name)?));
        if placed.is_err() {
            // What is half written only takes up room.
            let _ = unlinkat(&self.folder, &draft, AtFlags::empty());
        }
        placed
    }

    /// Notes that a file is in use, so that it is not among the oldest.
    pub fn touch(&self, name: &str) {
        let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        let times = rustix::fs::Timestamps { last_access: now, last_modification: now };
        // One that cannot be touched grows old sooner.
        let _ = rustix::fs::utimensat(&self.folder, name, &times, AtFlags::SYMLINK_NOFOLLOW);
    }

    /// Keeps so many files with this ending, the newest. What another process takes away meanwhile is gone, too.
    pub fn prune(&self, ending: &str, keep: usize) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in Dir::read_from(&self.folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let Ok(found) = statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if name.starts_with('.') {
                let time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(found.st_mtime).unwrap_or(0));
                let abandoned = time.elapsed().is_ok_and(|age| age > ABANDONED);
                if abandoned && name != "." && name != ".." {
                    let _ = unlinkat(&self.folder, name, AtFlags::empty());
                }
            } else if name.ends_with(ending) {
                files.push((found.st_mtime, found.st_mtime_nsec, name.to_owned()));
            }
        }
        files.sort();
        for (_, _, name) in files.iter().take(files.len().saturating_sub(keep)) {
            let _ = unlinkat(&self.folder, name.as_str(), AtFlags::empty());
        }
        Ok(())
    }
}

/// Whether what was found belongs to this user, and nobody else may write to it.
pub fn ours_alone(found: &Stat, what: &str) -> io::Result<()> {
    let wrong = if found.st_uid != geteuid().as_raw() {
        "belongs to somebody else"
    } else if found.st_mode & 0o022 != 0 {
        "can be written by others"
    } else {
        return Ok(());
    };
    Err(io::Error::other(format!("{what} {wrong}")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn folder() -> (tempfile::TempDir, Vault) {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::open(folder.path()).unwrap();
        (folder, vault)
    }

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_written_is_read_and_written_over() {
        let (folder, vault) = folder();
        assert_eq!(vault.read("a", 9).unwrap(), None);
        vault.write("a", b"one").unwrap();
        vault.write("a", b"two").unwrap();
        assert_eq!(vault.read("a", 3).unwrap().as_deref(), Some(&b"two"[..]));
        assert!(vault.read("a", 2).unwrap_err().to_string().contains("larger than 2"));
        assert_eq!(names(folder.path()), ["a"]);
        assert_eq!(std::fs::metadata(folder.path().join("a")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_folder_is_made_for_us_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        Vault::make(&path).unwrap().write("c", b"d").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn folders_of_others_or_open_to_others_are_not_used() {
        let (folder, _) = folder();
        for open in [0o777, 0o770, 0o722] {
            mode(folder.path(), open);
            for opened in [Vault::open(folder.path()), Vault::make(folder.path())] {
                assert!(opened.err().unwrap().to_string().contains("can be written by others"), "{open:o}");
            }
        }
        mode(folder.path(), 0o755);
        assert!(Vault::open(folder.path()).is_ok());
        let (link, file) = (folder.path().join("link"), folder.path().join("file"));
        symlink(folder.path(), &link).unwrap();
        std::fs::write(&file, "").unwrap();
        assert!(Vault::make(&link).is_err() && Vault::make(&file).is_err());
        // Only root may give things away.
        if std::os::unix::fs::chown(folder.path(), Some(65534), None).is_ok() {
            assert!(Vault::open(folder.path()).err().unwrap().to_string().contains("belongs to somebody else"));
        }
    }

    #[test]
    fn files_of_others_links_pipes_and_folders_are_not_read() {
        let (folder, vault) = folder();
        let at = |name: &str| folder.path().join(name);
        vault.write("true", b"true").unwrap();
        symlink(at("true"), at("link")).unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        vault.write("open", b"true").unwrap();
        mode(&at("open"), 0o666);
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for name in ["link", "folder", "open", "pipe"] {
            assert!(vault.read(name, 9).is_err(), "{name}");
        }
        vault.write("given", b"true").unwrap();
        if std::os::unix::fs::chown(at("given"), Some(65534), None).is_ok() {
            assert!(vault.read("given", 9).unwrap_err().to_string().contains("belongs to somebody else"));
        }
        // What stands in place of a link is the new file, and what it led to is as it was.
        vault.write("link", b"new").unwrap();
        assert_eq!(std::fs::read(at("true")).unwrap(), b"true");
        assert_eq!(vault.read("link", 9).unwrap().as_deref(), Some(&b"new"[..]));
        assert!(vault.write("folder", b"new").is_err());
        assert_eq!(names(folder.path()), ["folder", "given", "link", "open", "pipe", "true"]);
    }

    #[test]
    fn many_who_write_one_file_leave_one_that_is_whole() {
        let (folder, vault) = folder();
        let text = |letter: u8| vec![letter; 100_000];
        std::thread::scope(|scope| {
            for letter in b'a'..b'e' {
                let vault = &vault;
                scope.spawn(move || (0..20).for_each(|_| vault.write("a", &text(letter)).unwrap()));
            }
            for _ in 0..50 {
                if let Some(found) = vault.read("a", 1 << 20).unwrap() {
                    assert!(found.len() == 100_000 && found.iter().all(|byte| *byte == found[0]));
                }
            }
        });
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn the_oldest_and_what_was_abandoned_goes() {
        let (folder, vault) = folder();
        for (name, age) in
            [("old.x", 300), ("older.x", 400), ("new.x", 10), ("old.y", 500), (".draft", 4000), (".new", 5)]
        {
            vault.write(name, b"").unwrap();
            let file = File::options().write(true).open(folder.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        vault.touch("older.x");
        vault.prune(".x", 2).unwrap();
        assert_eq!(names(folder.path()), [".new", "new.x", "old.y", "older.x"]);
    }
}
