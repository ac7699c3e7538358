//! From a path below a folder to an open file, on the blocking pool.
//!
//! In: the folder, a resolved path, what is known of the file from before. Out: the file with its head and, when it is
//! small, its content; or that it is a folder. Invariant: what is opened lies below the folder as the system sees it, with
//! all symbolic links followed. Devices, pipes and sockets are never read.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::body::Identity;
use super::{listing, types};
use crate::error::{Error, Kind};
use crate::http::{Fields, name};

/// Files up to this size are read whole and kept in memory.
pub(super) const SMALL: u64 = 256 * 1024;
/// How often a file that changes while it is read is read again.
const ATTEMPTS: usize = 3;

/// What a path may turn out to be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Ask {
    /// No slash at the end: a folder is redirected.
    File,
    /// A slash at the end: a file is not found.
    Folder,
    /// The client's path says nothing of it, because it was rewritten.
    Either,
}

/// What is to be loaded.
pub(super) struct Order {
    /// The folder.
    pub(super) root: PathBuf,
    /// What lies in it.
    pub(super) path: PathBuf,
    /// What it may turn out to be.
    pub(super) ask: Ask,
    /// Whether a folder without an index is listed.
    pub(super) listing: bool,
    /// What it was when it was loaded before.
    pub(super) known: Option<Identity>,
}

/// A file, ready to be sent.
#[derive(Debug)]
pub(super) struct Loaded {
    /// Content-Type, ETag, Last-Modified, Accept-Ranges.
    pub(super) fields: Fields,
    pub(super) content_type: &'static str,
    pub(super) tag: String,
    /// When it was changed last, as `Last-Modified` says it.
    pub(super) modified: u64,
    pub(super) identity: Identity,
    pub(super) content: Content,
}

/// Where the bytes are.
#[derive(Debug)]
pub(super) enum Content {
    /// Here.
    Memory(Bytes),
    /// In the file.
    Disk(Arc<File>),
}

/// What was found.
#[derive(Debug)]
pub(super) enum Found {
    /// A file.
    File(Box<Loaded>),
    /// The same as before.
    Unchanged,
    /// A folder that was asked for without a slash.
    Redirect,
    /// A folder's list, as HTML.
    Listing(Vec<u8>),
}

/// Blocks.
pub(super) fn load(order: &Order) -> Result<Found, Error> {
    let opened = open(&order.root, &order.path).map_err(|error| failure(&error))?;
    if opened.metadata.is_file() && order.ask != Ask::Folder {
        return file(&opened, order);
    }
    if !opened.metadata.is_dir() {
        return Err(Error::client(Kind::NotFound));
    }
    if order.ask == Ask::File {
        return Ok(Found::Redirect);
    }
    match open(&order.root, &order.path.join("index.html")) {
        Ok(index) if index.metadata.is_file() => return file(&index, order),
        Err(error) if !is_absent(&error) => return Err(failure(&error)),
        _ => {}
    }
    if !order.listing {
        return Err(Error::client(Kind::NotFound));
    }
    let root = order.root.canonicalize().map_err(|error| failure(&error))?;
    listing::list(&root, &opened.real).map(Found::Listing).map_err(|error| failure(&error))
}

struct Opened {
    file: File,
    metadata: Metadata,
    /// Where it lies, without symbolic links.
    real: PathBuf,
    name: PathBuf,
}

fn open(root: &Path, path: &Path) -> io::Result<Opened> {
    // A pipe without a writer would hold the thread; with this it opens, and is then found to be no file.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let metadata = file.metadata()?;
    // The system is asked where the open file lies, not the path once more: between two looks at a path its links may
    // have been changed. The folder itself may be a link that is moved to a new release at any time, so it is
    // followed anew too.
    let real = location(&file, path)?;
    if !real.starts_with(root.canonicalize()?) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(Opened { file, metadata, real, name: path.to_path_buf() })
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

fn file(opened: &Opened, order: &Order) -> Result<Found, Error> {
    let mut identity = Identity::of(&opened.metadata);
    if order.known == Some(identity) {
        return Ok(Found::Unchanged);
    }
    let mut content = None;
    for _ in 0..ATTEMPTS {
        if identity.length > SMALL {
            let file = opened.file.try_clone().map_err(|error| failure(&error))?;
            content = Some(Content::Disk(Arc::new(file)));
            break;
        }
        let bytes = read(&opened.file, identity.length);
        let after = Identity::of(&opened.file.metadata().map_err(|error| failure(&error))?);
        if after == identity {
            content = Some(Content::Memory(bytes.map_err(|error| failure(&error))?));
            break;
        }
        identity = after;
    }
    let content = content.ok_or(Error::gateway(Kind::Internal("a file keeps changing")))?;
    let content_type = types::content_type(&opened.name.to_string_lossy());
    // RFC 9110 section 8.8.2.1: not later than the time of the response.
    let changed = u64::try_from(identity.modified.0).unwrap_or_default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let modified = changed.min(now);
    let tag = identity.tag();
    let mut fields = Fields::with_capacity(6, 256);
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(modified));
    // None of these values can hold a control character.
    let _ = fields.append(name::CONTENT_TYPE, content_type.as_bytes());
    let _ = fields.append(name::ETAG, tag.as_bytes());
    let _ = fields.append(name::LAST_MODIFIED, date.as_bytes());
    let _ = fields.append(name::ACCEPT_RANGES, b"bytes");
    Ok(Found::File(Box::new(Loaded { fields, content_type, tag, modified, identity, content })))
}

fn read(file: &File, length: u64) -> io::Result<Bytes> {
    let mut content = vec![0; length as usize];
    file.read_exact_at(&mut content, 0)?;
    Ok(content.into())
}

fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    // A loop of symbolic links has no stable kind of its own.
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename) || error.raw_os_error() == Some(libc::ELOOP)
        // A socket cannot be opened.
        || error.raw_os_error() == Some(libc::ENXIO)
}

fn failure(error: &io::Error) -> Error {
    match error.kind() {
        _ if is_absent(error) => Error::client(Kind::NotFound),
        io::ErrorKind::PermissionDenied => Error::client(Kind::Forbidden),
        _ => Error::gateway(Kind::Internal("a file could not be opened")),
    }
}
