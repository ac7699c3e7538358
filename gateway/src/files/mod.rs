//! Static files.
//!
//! In: a GET or HEAD request and the path below a route's folder. Out: the file, a part of it, a folder's index or list, or
//! the one answer that RFC 9110 has for everything else. Invariants: nothing outside the folder is ever sent; what is
//! sent is one version of the file, or visibly incomplete. Names are resolved by [`resolve`], conditions by
//! [`conditional`](crate::http::conditional), ranges by [`ranges`](crate::http::ranges): pure functions. Everything that may wait for a disk runs on the blocking pool.
//!
//! Limits, by worker: `file_cache_size` of small files in memory (256 KiB each at most), of which each is looked up on
//! the disk again after `file_cache_time`; [`LOADS`] look-ups at a time; two chunks of memory for a large file on its way.

mod body;
mod cache;
mod listing;
mod load;
pub mod resolve;
mod respond;
#[cfg(test)]
mod tests;
pub mod types;

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::config::model::Static;
use crate::error::{Error, Kind};
use crate::http::{Body, Method, RequestHead, ResponseHead};
use crate::limits::Limits;
use cache::{Cache, Entry};
use load::{Ask, Content, Found, Order};
use resolve::Refused;

/// How many files a worker looks up on the disk at the same time; further requests wait for their turn.
pub const LOADS: usize = 32;

/// A folder that a route serves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Folder {
    root: PathBuf,
    listing: bool,
}

/// What a worker needs to serve files.
pub struct Files {
    cache: RefCell<Cache>,
    /// The key of the request at hand, so that a hit allocates nothing.
    key: RefCell<Vec<u8>>,
    loads: Semaphore,
    fresh: Duration,
}

/// What is sent.
enum Answer {
    File(Rc<Entry>),
    Redirect,
    Listing(Vec<u8>),
}

impl Folder {
    /// A folder from the configuration. Whether it exists is seen when it is asked for something.
    pub fn new(config: &Static) -> Folder {
        Folder { root: config.root.clone(), listing: config.listing }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Files {
    /// An empty cache.
    pub fn new(limits: &Limits) -> Files {
        Files {
            cache: RefCell::new(Cache::new(usize::try_from(limits.file_cache_size).unwrap_or(usize::MAX))),
            key: RefCell::default(),
            loads: Semaphore::new(LOADS),
            fresh: limits.file_cache_time,
        }
    }

    /// Answers a request for `path_below` the folder: as it stood in the target, percent-encoded, without the query and
    /// what the route's prefix took of it.
    pub async fn serve(
        &self,
        folder: &Folder,
        request: &RequestHead,
        path_below: &str,
    ) -> Result<(ResponseHead, Body), Error> {
        if request.method != Method::GET && request.method != Method::HEAD {
            return Err(Error::client(Kind::MethodNotAllowed));
        }
        let ask = Ask::of(path_below, request.path());
        Ok(match self.find(folder, ask, path_below).await? {
            Answer::File(entry) => respond::file(&entry.file, request),
            Answer::Redirect => respond::redirect(&resolve::with_slash(request.path(), request.query())),
            Answer::Listing(page) => respond::listing(page, request),
        })
    }

    async fn find(&self, folder: &Folder, ask: Ask, path_below: &str) -> Result<Answer, Error> {
        let (key, known) = {
            let mut key = self.key.borrow_mut();
            write_key(&mut key, folder, ask, path_below)?;
            let known = self.cache.borrow_mut().look(&key);
            if let Some(entry) = known.as_ref().filter(|entry| self.is_fresh(entry)) {
                return Ok(Answer::File(entry.clone()));
            }
            (Box::<[u8]>::from(key.as_slice()), known)
        };
        if let Some(entry) = &known {
            // This request asks the disk; those that come in the meantime are served what is known.
            entry.checked.set(Instant::now());
        }
        let _turn = self.loads.acquire().await;
        if known.is_none() {
            // Another request may have brought it while this one waited for its turn.
            if let Some(entry) = self.cache.borrow_mut().look(&key).filter(|entry| self.is_fresh(entry)) {
                return Ok(Answer::File(entry));
            }
        }
        let order = order(&key, folder, ask, known.as_deref());
        let asked = Instant::now();
        let found = tokio::task::spawn_blocking(move || load::load(&order)).await;
        let found = found.unwrap_or(Err(Error::gateway(Kind::Internal("the file look-up failed"))));
        self.settle(key, known, found, asked)
    }

    /// Keeps what was found in the cache, or takes out what is no longer there.
    fn settle(
        &self,
        key: Box<[u8]>,
        known: Option<Rc<Entry>>,
        found: Result<Found, Error>,
        asked: Instant,
    ) -> Result<Answer, Error> {
        let mut cache = self.cache.borrow_mut();
        let answer = match (found, known) {
            (Ok(Found::File(file)), _) => {
                let entry = Rc::new(Entry { file: *file, checked: Cell::new(asked) });
                if matches!(entry.file.content, Content::Memory(_)) {
                    cache.put(key, entry.clone());
                } else {
                    cache.remove(&key);
                }
                return Ok(Answer::File(entry));
            }
            (Ok(Found::Unchanged), Some(entry)) => {
                entry.checked.set(asked);
                return Ok(Answer::File(entry));
            }
            // It was known, so it was asked for with what was known.
            (Ok(Found::Unchanged), None) => Err(Error::gateway(Kind::Internal("a file is unchanged but unknown"))),
            (Ok(Found::Redirect), _) => Ok(Answer::Redirect),
            (Ok(Found::Listing(page)), _) => Ok(Answer::Listing(page)),
            (Err(error), _) => Err(error),
        };
        cache.remove(&key);
        answer
    }

    fn is_fresh(&self, entry: &Entry) -> bool {
        entry.checked.get().elapsed() < self.fresh
    }
}

impl Ask {
    fn of(path_below: &str, client_path: &str) -> Ask {
        match (path_below.ends_with('/'), client_path.ends_with('/')) {
            (true, _) => Ask::Folder,
            (false, true) if path_below.is_empty() => Ask::Folder,
            (false, true) => Ask::Either,
            (false, false) => Ask::File,
        }
    }

    /// No name is empty, so none can be taken for this.
    fn suffix(self) -> &'static [u8] {
        match self {
            Ask::File => b"",
            Ask::Folder => b"/",
            Ask::Either => b"//",
        }
    }
}

/// The folder, NUL, the names, what it may be. The same path in two folders is two keys: what may be followed differs.
fn write_key(key: &mut Vec<u8>, folder: &Folder, ask: Ask, path_below: &str) -> Result<(), Error> {
    key.clear();
    key.extend_from_slice(folder.root.as_os_str().as_bytes());
    key.push(0);
    match resolve::resolve(path_below, key) {
        Ok(_) => {
            key.extend_from_slice(ask.suffix());
            Ok(())
        }
        Err(Refused::Malformed) => Err(Error::client(Kind::Malformed("bad percent-encoding in the path"))),
        Err(Refused::Hidden) => Err(Error::client(Kind::NotFound)),
    }
}

fn order(key: &[u8], folder: &Folder, ask: Ask, known: Option<&Entry>) -> Order {
    let names = key.get(folder.root.as_os_str().len() + 1..).unwrap_or_default();
    let names = names.strip_suffix(ask.suffix()).unwrap_or(names);
    // Without the slash at its front, which would make it absolute.
    let below = Path::new(OsStr::from_bytes(names.strip_prefix(b"/").unwrap_or(names)));
    Order {
        root: folder.root.clone(),
        path: folder.root.join(below),
        ask,
        listing: folder.listing,
        known: known.map(|entry| entry.file.identity),
    }
}
