//! From a path below a folder to an open file.
//!
//! In: the folder, resolved names, what is known of the file from before. Out: the file with its head and, when it is small, its
//! content; or that it is a folder. Invariant: what was read is one version of the file. Devices, pipes and sockets are never read.
//!
//! Runs on a worker as long as the system has everything in memory ([`Wait::No`]), and on the blocking pool else.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::body::Identity;
use super::resolve::{self, Ask};
use super::root::{Opened, Root, Wait};
use super::site::{Preferred, Site};
use super::{chunk, listing};
use crate::error::{Error, Kind};
use crate::http::encoding::Coding;
use crate::http::{Fields, name};

/// Files up to this size are read whole and kept in memory.
pub(super) const SMALL: u64 = 256 * 1024;
/// Files up to this size are read on a worker.
const AT_ONCE: u64 = 32 * 1024;
/// How often a file that changes while it is read is read again.
const ATTEMPTS: usize = 3;
/// What changed so short a time ago may be changing: times are set when a write begins, and tell nothing of its end.
const BUSY: Duration = Duration::from_millis(20);
/// What changed so short a time ago may change again without another time to show for it: the coarsest clocks of file systems
/// count two seconds.
const SETTLING: Duration = Duration::from_secs(2);

/// What is to be loaded.
pub(super) struct Order {
    pub(super) site: Arc<Site>,
    /// Names below the folder, each behind a slash.
    pub(super) names: String,
    /// What they may turn out to be.
    pub(super) ask: Ask,
    /// The codings that the client takes.
    pub(super) preferred: Preferred,
    /// What it was when it was loaded before.
    pub(super) known: Option<Arc<Loaded>>,
}

/// A file, ready to be sent.
#[derive(Debug)]
pub(super) struct Loaded {
    /// Content-Type, ETag, Last-Modified, Accept-Ranges, and what the folder adds.
    pub(super) fields: Fields,
    /// The entity tag, with its quotes.
    pub(super) tag: String,
    /// When it was changed last, as `Last-Modified` says it.
    pub(super) modified: u64,
    pub(super) identity: Identity,
    /// Where it is below the folder.
    path: String,
    /// A change since then would show in the identity.
    settled: bool,
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
    File(Arc<Loaded>),
    /// The same as before.
    Unchanged,
    /// A folder that was asked for without a slash.
    Redirect,
    /// A folder's list.
    Listing(listing::List),
}

/// Looks for what is asked. With [`Wait::No`] nothing waits for a disk: `None` says that it has to be asked for elsewhere.
pub(super) fn load(order: &Order, wait: Wait) -> Option<Result<Found, Error>> {
    let found = Root::open(&order.site.config.root, wait).and_then(|root| find(&root, order));
    match found {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock && wait == Wait::No => None,
        Err(error) => Some(Err(failure(&error))),
        Ok(found) => Some(found.ok_or(Error::client(Kind::NotFound))),
    }
}

fn find(root: &Root<'_>, order: &Order) -> io::Result<Option<Found>> {
    if order.ask == Ask::Name {
        return look(root, order, &order.names, Ask::Name);
    }
    for candidate in &order.site.config.candidates {
        let Some((path, ask)) = resolve::candidate(candidate, &order.names, order.ask) else { continue };
        if let Some(found) = look(root, order, &path, ask)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// What is at one path.
fn look(root: &Root<'_>, order: &Order, path: &str, ask: Ask) -> io::Result<Option<Found>> {
    let Some(opened) = there(root.get(path))? else { return Ok(None) };
    if opened.metadata.is_file() {
        return if ask == Ask::Folder { Ok(None) } else { file(root, order, opened, path).map(Some) };
    }
    if !opened.metadata.is_dir() || ask == Ask::Name {
        return Ok(None);
    }
    for index in &order.site.config.index {
        let path = format!("{path}/{index}");
        if let Some(opened) = there(root.get(&path))?
            && opened.metadata.is_file()
        {
            return if ask == Ask::File {
                Ok(Some(Found::Redirect))
            } else {
                file(root, order, opened, &path).map(Some)
            };
        }
    }
    match (order.site.config.listing, ask) {
        (false, _) => Ok(None),
        (true, Ask::File) => Ok(Some(Found::Redirect)),
        (true, _) if root.wait == Wait::No => Err(io::ErrorKind::WouldBlock.into()),
        (true, _) => listing::list(root, &opened.file, path).map(Found::Listing).map(Some),
    }
}

/// `None` for what is not there.
fn there(found: io::Result<Opened>) -> io::Result<Option<Opened>> {
    match found {
        Err(error) if is_absent(&error) => Ok(None),
        found => found.map(Some),
    }
}

fn file(root: &Root<'_>, order: &Order, opened: Opened, path: &str) -> io::Result<Found> {
    let (opened, coding) = match sibling(root, order, path)? {
        Some((sibling, coding)) => (sibling, Some(coding)),
        None => (opened, None),
    };
    let mut identity = Identity::of(&opened.metadata);
    let is_same = |known: &&Arc<Loaded>| known.settled && known.identity == identity && known.path == path;
    if order.known.as_ref().filter(is_same).is_some() {
        return Ok(Found::Unchanged);
    }
    for _ in 0..ATTEMPTS {
        let mut now = since_epoch(SystemTime::now());
        let age = now.checked_sub(identity.changed());
        if let Some(rest) = age.and_then(|age| BUSY.checked_sub(age)).filter(|rest| !rest.is_zero()) {
            if root.wait == Wait::No {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            std::thread::sleep(rest);
            identity = Identity::of(&opened.file.metadata()?);
            now += rest;
        }
        if identity.length > SMALL {
            let content = Content::Disk(Arc::new(opened.file));
            return Ok(Found::File(Arc::new(loaded(order, path, coding, identity, now, content))));
        }
        let bytes = read(&opened.file, identity.length, root.wait)?;
        let after = Identity::of(&opened.file.metadata()?);
        if let Some(bytes) = bytes.filter(|_| after == identity) {
            return Ok(Found::File(Arc::new(loaded(order, path, coding, identity, now, Content::Memory(bytes)))));
        }
        identity = after;
    }
    Err(io::Error::other("a file keeps changing"))
}

/// The best of the files that stand beside this one.
fn sibling(root: &Root<'_>, order: &Order, path: &str) -> io::Result<Option<(Opened, Coding)>> {
    for &coding in &order.preferred {
        let Some(path) = resolve::sibling(path, coding) else { continue };
        match there(root.get(&path)) {
            Ok(Some(opened)) if opened.metadata.is_file() => return Ok(Some((opened, coding))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
            // There is the file itself.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(None)
}

fn loaded(
    order: &Order,
    path: &str,
    coding: Option<Coding>,
    identity: Identity,
    now: Duration,
    content: Content,
) -> Loaded {
    let settled = now.checked_sub(identity.changed()).is_some_and(|since| since >= SETTLING);
    let tag = match &content {
        Content::Memory(bytes) => content_tag(bytes),
        // RFC 9110 section 8.8.1: strong only if no two versions can have the same.
        Content::Disk(_) if settled => identity.tag(),
        Content::Disk(_) => format!("W/{}", identity.tag()),
    };
    // RFC 9110 section 8.8.2.1: not later than the time of the response.
    let modified = u64::try_from(identity.modified.0).unwrap_or_default().min(now.as_secs());
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(modified));
    let mut fields = Fields::with_capacity(9, 320);
    // Values of the configuration have been looked at; the others can hold no control character.
    let _ = fields.append(name::CONTENT_TYPE, order.site.content_type(path).as_bytes());
    let _ = fields.append(name::ETAG, tag.as_bytes());
    let _ = fields.append(name::LAST_MODIFIED, date.as_bytes());
    let _ = fields.append(name::ACCEPT_RANGES, b"bytes");
    if let Some(value) = order.site.cache_control(path) {
        let _ = fields.append(name::CACHE_CONTROL, value.as_bytes());
    }
    if let Some(coding) = coding {
        let _ = fields.append(name::CONTENT_ENCODING, coding.text().as_bytes());
    }
    if order.site.varies() {
        let _ = fields.append(name::VARY, b"accept-encoding");
    }
    Loaded { fields, tag, modified, identity, path: path.to_owned(), settled, content }
}

/// By the content, so that a copy on another machine, or of another day, has the same.
fn content_tag(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut tag = String::with_capacity(34);
    tag.push('"');
    for byte in digest.as_ref().iter().take(16) {
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag
}

/// The whole content; `None` when the file has become shorter.
fn read(file: &File, length: u64, wait: Wait) -> io::Result<Option<Bytes>> {
    let mut content = vec![0; length as usize];
    match wait {
        Wait::Yes => match file.read_exact_at(&mut content, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            read => read.map(|()| Some(content.into())),
        },
        Wait::No if length > AT_ONCE => Err(io::ErrorKind::WouldBlock.into()),
        Wait::No if length == 0 => Ok(Some(Bytes::new())),
        Wait::No => match chunk::read_cached(file, 0, &mut content) {
            Some(Ok(count)) if count == content.len() => Ok(Some(content.into())),
            // Some of it is not in memory, or it has become shorter.
            Some(Ok(_)) | None => Err(io::ErrorKind::WouldBlock.into()),
            Some(Err(error)) => Err(error),
        },
    }
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
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
        _ => Error::gateway(Kind::Internal("a file could not be read")),
    }
}
