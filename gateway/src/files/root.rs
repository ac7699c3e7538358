//! Opens what lies below a folder, and nothing else.
//!
//! In: a folder, and paths below it that are made of plain names. Out: open files and folders. Invariant: what is opened lies below the
//! folder as the system sees it, whatever symbolic links are on the way and however they change meanwhile: the system itself resolves
//! paths relative to the folder's descriptor and refuses to leave it. Where it cannot (before Linux 5.6, and elsewhere), the open file
//! is asked where it lies.
//!
//! With [`Wait::No`] nothing waits for a disk: what the system does not have in memory is `WouldBlock`.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Whether a look-up may wait for a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wait {
    /// It runs where it may.
    Yes,
    /// It runs on a worker.
    No,
}

/// A folder that is open for look-ups.
pub(super) struct Root<'a> {
    path: &'a Path,
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    folder: Option<OwnedFd>,
    pub(super) wait: Wait,
}

/// A file or folder that is open.
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) metadata: Metadata,
}

/// How often a look-up is repeated that met with a rename on its way.
#[cfg(target_os = "linux")]
const ATTEMPTS: usize = 4;

impl<'a> Root<'a> {
    /// Opens the folder. It may be a link that is moved to a new release at any time, so it is followed anew each time.
    pub(super) fn open(path: &'a Path, wait: Wait) -> io::Result<Root<'a>> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{CWD, ResolveFlags};
            let flags = oflags(OpenKind::Folder);
            match linux::open_at(CWD, path, flags, ResolveFlags::empty(), wait) {
                Ok(folder) => return Ok(Root { path, folder: Some(folder), wait }),
                Err(error) if !is_unable(&error) => return Err(error),
                Err(_) => {}
            }
        }
        Root::by_location(path, wait)
    }

    /// One that asks each open file where it lies.
    fn by_location(path: &'a Path, wait: Wait) -> io::Result<Root<'a>> {
        if wait == Wait::No {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Root { path, folder: None, wait })
    }

    /// Opens what has this path below the folder; it may begin with a slash. Empty: the folder itself.
    pub(super) fn get(&self, below: &str) -> io::Result<Opened> {
        let below = match below.trim_start_matches('/') {
            "" => ".",
            below => below,
        };
        let file = self.get_file(below)?;
        let metadata = file.metadata()?;
        Ok(Opened { file, metadata })
    }

    #[cfg(target_os = "linux")]
    fn get_file(&self, below: &str) -> io::Result<File> {
        use rustix::fs::ResolveFlags;
        let Some(folder) = &self.folder else { return self.get_by_location(below) };
        let beneath = |path: &Path, more| {
            linux::open_at(folder, path, oflags(OpenKind::Content), ResolveFlags::BENEATH | more, self.wait)
        };
        let found = match beneath(Path::new(below), ResolveFlags::empty()) {
            // An absolute link, which may lead back into the folder. Where it leads is opened without any more links, so that
            // it is not found if that has changed meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::EXDEV) => {
                if self.wait == Wait::No {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                let real = self.path.join(below).canonicalize()?;
                let real = real.strip_prefix(self.path.canonicalize()?).map_err(|_| io::ErrorKind::NotFound)?;
                let real = if real.as_os_str().is_empty() { Path::new(".") } else { real };
                beneath(real, ResolveFlags::NO_SYMLINKS)
            }
            found => found,
        };
        found.map(File::from)
    }

    #[cfg(not(target_os = "linux"))]
    fn get_file(&self, below: &str) -> io::Result<File> {
        self.get_by_location(below)
    }

    fn get_by_location(&self, below: &str) -> io::Result<File> {
        let path = self.path.join(below);
        // A pipe without a writer would hold the thread; with this it opens, and is then found to be no file.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(&path)?;
        // The system is asked where the open file lies, not the path once more: between two looks at a path its links may
        // have been changed.
        match location(&file, &path)?.starts_with(self.path.canonicalize()?) {
            true => Ok(file),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// What is to be opened.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy)]
enum OpenKind {
    Folder,
    Content,
}

#[cfg(target_os = "linux")]
fn oflags(kind: OpenKind) -> rustix::fs::OFlags {
    use rustix::fs::OFlags;
    match kind {
        OpenKind::Folder => OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        // A pipe without a writer would hold the thread; so it opens, and is then found to be no file.
        OpenKind::Content => OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
    }
}

/// The system does not know the call, or does not allow it at all.
#[cfg(target_os = "linux")]
fn is_unable(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::EINVAL | libc::E2BIG))
}

#[cfg(target_os = "linux")]
mod linux {
    use super::*;
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    use rustix::io::Errno;

    pub(super) fn open_at(
        folder: impl std::os::fd::AsFd,
        path: &Path,
        flags: OFlags,
        resolve: ResolveFlags,
        wait: Wait,
    ) -> io::Result<OwnedFd> {
        let resolve = if wait == Wait::No { resolve | ResolveFlags::CACHED } else { resolve };
        let mut found = openat2(&folder, path, flags, Mode::empty(), resolve);
        for _ in 1..ATTEMPTS {
            // Without CACHED this says that something was renamed on the way; with it, that a disk is needed.
            if wait == Wait::No || !matches!(found, Err(Errno::AGAIN | Errno::INTR)) {
                break;
            }
            found = openat2(&folder, path, flags, Mode::empty(), resolve);
        }
        found.map_err(|error| match error {
            // Before Linux 5.12 there is no CACHED.
            Errno::INVAL if wait == Wait::No => io::ErrorKind::WouldBlock.into(),
            error => error.into(),
        })
    }
}

fn location(file: &File, path: &Path) -> io::Result<PathBuf> {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        if let Ok(real) = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())) {
            return Ok(real);
        }
    }
    let _ = file;
    path.canonicalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn roots(path: &Path) -> [Root<'_>; 2] {
        [Root::open(path, Wait::Yes).unwrap(), Root::by_location(path, Wait::Yes).unwrap()]
    }

    #[test]
    fn links_are_followed_within_the_folder_and_never_out_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        fs::create_dir(folder.path().join("root-private")).unwrap();
        for (name, text) in [("root/a/b/c/f", "in"), ("root/f", "in"), ("f", "out"), ("root-private/f", "out")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let outside = folder.path().join("f");
        let sibling = folder.path().join("root-private");
        // A link in the place of each part of the path, leading out and staying in, relative and absolute.
        for (at, up) in [("a", ".."), ("a/b", "../.."), ("a/b/c", "../../.."), ("a/b/c/f", "../../../..")] {
            let hidden = root.join(at).with_extension("kept");
            fs::rename(root.join(at), &hidden).unwrap();
            let rest = "a/b/c/f".strip_prefix(at).unwrap().trim_start_matches('/');
            let kept = hidden.file_name().unwrap();
            let targets = [
                (PathBuf::from(kept), true),
                (hidden.clone(), true),
                (PathBuf::from(up).join(if rest.is_empty() { "f" } else { "" }), false),
                (if rest.is_empty() { outside.clone() } else { folder.path().to_owned() }, false),
                (sibling.clone(), false),
                (PathBuf::from("/etc"), false),
                (PathBuf::from(at.rsplit('/').next().unwrap()), false),
            ];
            for (target, inside) in targets {
                symlink(&target, root.join(at)).unwrap();
                for opened in roots(&root) {
                    let found = opened.get("a/b/c/f");
                    assert_eq!(
                        found.as_ref().is_ok_and(|found| found.metadata.is_file()),
                        inside,
                        "{at} -> {target:?}"
                    );
                }
                fs::remove_file(root.join(at)).unwrap();
            }
            fs::rename(&hidden, root.join(at)).unwrap();
        }
        for opened in roots(&root) {
            assert!(opened.get("").unwrap().metadata.is_dir());
            assert!(opened.get("/a/").unwrap().metadata.is_dir());
            for way_out in ["..", "../f", "a/../../f", "/../f"] {
                assert!(opened.get(way_out).is_err(), "{way_out}");
            }
        }
    }

    #[test]
    fn a_link_that_changes_all_the_time_never_leads_out() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("in")).unwrap();
        fs::create_dir(folder.path().join("out")).unwrap();
        fs::write(root.join("in/f"), "in").unwrap();
        fs::write(folder.path().join("out/f"), "out").unwrap();
        symlink("in", root.join("link")).unwrap();
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let targets = [Path::new("../out"), Path::new("in"), &folder.path().join("out"), &root.join("in")];
                for target in targets.into_iter().cycle() {
                    symlink(target, root.join("next")).unwrap();
                    fs::rename(root.join("next"), root.join("link")).unwrap();
                    if ended.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            for _ in 0..300 {
                for opened in roots(&root) {
                    if let Ok(mut found) = opened.get("link/f") {
                        let mut text = String::new();
                        found.file.read_to_string(&mut text).unwrap();
                        assert_eq!(text, "in");
                    }
                }
            }
            ended.store(true, Ordering::Relaxed);
        });
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_in_memory_is_opened_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f"), "f").unwrap();
        // Seen a moment ago, so the system knows the names.
        assert!(Root::open(folder.path(), Wait::Yes).unwrap().get("f").is_ok());
        match Root::open(folder.path(), Wait::No).and_then(|root| root.get("f")) {
            Ok(found) => assert!(found.metadata.is_file()),
            // A system that cannot.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
}
