//! Static files.
//!
//! In: a GET or HEAD request and the path below a route's folder. Out: the file or a sibling of it, a part of it, a folder's index or
//! list, or the one answer that RFC 9110 has for everything else. Invariants: nothing outside the folder is ever sent; what is
//! sent is one version of the file, or visibly incomplete. Names are resolved by [`resolve`], conditions by
//! [`conditional`](crate::http::conditional), ranges by [`ranges`](crate::http::ranges): pure functions. What may wait for a disk runs
//! on the blocking pool, and only that.
//!
//! **Changes are looked for, and not listened to.** A file in memory is sent without asking anybody for `file_cache_time`; the first request
//! after that looks it up again, which takes some microseconds on the worker as long as the system knows the names. So a change
//! is seen after that time, whatever it is: the file, a link on its way, a sibling or an earlier candidate that appeared. Notices
//! of the system (inotify) would tell of most of these for local file systems only, would need a watch for each folder on the way,
//! and can be lost.
//!
//! Limits, by worker: `file_cache_size` of small files in memory (256 KiB each at most); [`LOADS`] look-ups at a time on the pool;
//! two chunks of memory for a large file on its way.

mod body;
mod cache;
mod chunk;
mod listing;
mod load;
mod parts;
pub mod pattern;
pub mod resolve;
mod respond;
mod root;
mod site;
#[cfg(test)]
mod tests;
pub mod types;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::clock;
use crate::error::{Error, Kind};
use crate::http::{Body, Method, RequestHead, ResponseHead};
use crate::limits::Limits;
use cache::{Cache, Entry};
use load::{Content, Found, Order};
use resolve::{Ask, Refused};
use root::Wait;
pub use site::Folder;
use site::{Preferred, Site};

/// How many files a worker looks up on the blocking pool at the same time; further requests wait for their turn.
pub const LOADS: usize = 32;

/// What a worker needs to serve files.
pub struct Files {
    cache: RefCell<Cache>,
    /// The key of the request at hand, so that a hit allocates nothing.
    key: RefCell<Vec<u8>>,
    loads: Semaphore,
    fresh: Duration,
}

/// A response.
pub struct Served {
    /// Its head.
    pub head: ResponseHead,
    /// Its body.
    pub body: Body,
    /// The error that it tells of.
    pub error: Option<Error>,
    /// Who knew what there is.
    pub knew: Knew,
}

/// Who knew what there is at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Knew {
    /// The worker, as it was looked up a moment ago.
    Memory,
    /// The system, without waiting.
    System,
    /// The blocking pool was asked, as a disk may have had to be.
    Disk,
}

/// What is sent.
enum Answer {
    File(Rc<Entry>),
    Redirect,
    Listing(listing::List),
}

impl Knew {
    /// As the metric spells it.
    pub fn text(self) -> &'static str {
        match self {
            Knew::Memory => "memory",
            Knew::System => "system",
            Knew::Disk => "disk",
        }
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
    /// what the route's prefix took of it. An error is one of which the folder has no page to tell.
    pub async fn serve(&self, folder: &Folder, request: &RequestHead, path_below: &str) -> Result<Served, Error> {
        let site = &*folder.0;
        let preferred = site.preferred(&request.fields);
        let error = match self.answer(folder, request, path_below, preferred.clone()).await {
            Ok(served) => return Ok(served),
            Err(error) => error,
        };
        let status = error.outcome().status.ok_or(error)?;
        let page = site.error_page(status).ok_or(error)?;
        let names = |names: &mut Vec<u8>| {
            names.extend_from_slice(page.as_bytes());
            Ok(())
        };
        match self.find(folder, Ask::Name, preferred, names).await {
            Ok((Answer::File(entry), knew)) => {
                let (head, body) = respond::error_page(status, &entry.file, request);
                Ok(Served { head, body, error: Some(error), knew })
            }
            _ => Err(error),
        }
    }

    async fn answer(
        &self,
        folder: &Folder,
        request: &RequestHead,
        path_below: &str,
        preferred: Preferred,
    ) -> Result<Served, Error> {
        if request.method != Method::GET && request.method != Method::HEAD {
            return Err(Error::client(Kind::MethodNotAllowed));
        }
        let ask = Ask::of(path_below, request.path());
        let names = |names: &mut Vec<u8>| match resolve::resolve(path_below, names) {
            Ok(_) => Ok(()),
            Err(Refused::Malformed) => Err(Error::client(Kind::Malformed("bad percent-encoding in the path"))),
            Err(Refused::Hidden) => Err(Error::client(Kind::NotFound)),
        };
        let (answer, knew) = self.find(folder, ask, preferred, names).await?;
        let (head, body) = match answer {
            Answer::File(entry) => respond::file(&entry.file, request),
            Answer::Redirect => respond::redirect(&resolve::with_slash(request.path(), request.query())),
            Answer::Listing(list) => respond::listing(&list, request),
        };
        Ok(Served { head, body, error: None, knew })
    }

    /// Looks for a file whose names `write` appends.
    async fn find(
        &self,
        folder: &Folder,
        ask: Ask,
        preferred: Preferred,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<(Answer, Knew), Error> {
        let (key, known, order) = {
            let key = &mut *self.key.borrow_mut();
            write_key(key, &folder.0, ask, &preferred, write)?;
            let known = self.cache.borrow_mut().look(key);
            if let Some(entry) = known.as_ref().filter(|entry| self.is_fresh(entry)) {
                return Ok((Answer::File(entry.clone()), Knew::Memory));
            }
            let site = folder.0.clone();
            let known_file = known.as_ref().map(|entry| entry.file.clone());
            let order = Order { site, names: names(key), ask, preferred, known: known_file };
            (Box::<[u8]>::from(key.as_slice()), known, order)
        };
        let asked = clock::coarse();
        if let Some(found) = load::load(&order, Wait::No) {
            return Ok((self.settle(key, known, found, asked)?, Knew::System));
        }
        if let Some(entry) = &known {
            // This request asks the disk; those that come in the meantime are served what is known.
            entry.checked.set(asked);
        }
        let _turn = self.loads.acquire().await;
        if known.is_none() {
            // Another request may have brought it while this one waited for its turn.
            if let Some(entry) = self.cache.borrow_mut().look(&key).filter(|entry| self.is_fresh(entry)) {
                return Ok((Answer::File(entry), Knew::Memory));
            }
        }
        let asked = clock::coarse();
        let found = tokio::task::spawn_blocking(move || load::load(&order, Wait::Yes)).await.ok().flatten();
        let found = found.unwrap_or(Err(Error::gateway(Kind::Internal("the file look-up failed"))));
        Ok((self.settle(key, known, found, asked)?, Knew::Disk))
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
                let entry = Rc::new(Entry { file, checked: Cell::new(asked) });
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
            (Ok(Found::Listing(list)), _) => Ok(Answer::Listing(list)),
            (Err(error), _) => Err(error),
        };
        cache.remove(&key);
        answer
    }

    fn is_fresh(&self, entry: &Entry) -> bool {
        clock::coarse().saturating_duration_since(entry.checked.get()) < self.fresh
    }
}

/// The folder, the names, what they may be, what the client takes.
fn write_key(
    key: &mut Vec<u8>,
    site: &Site,
    ask: Ask,
    preferred: &Preferred,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
) -> Result<(), Error> {
    key.clear();
    key.extend_from_slice(&site.key);
    write(key)?;
    // No name is empty or holds NUL, so none can be taken for these.
    key.extend_from_slice(match ask {
        Ask::File => b"",
        Ask::Folder => b"/",
        Ask::Either => b"//",
        Ask::Name => b"///",
    });
    key.push(0);
    key.extend(preferred.iter().map(|coding| *coding as u8));
    Ok(())
}

/// The names in such a key.
fn names(key: &[u8]) -> String {
    let names = key.get(size_of::<u64>()..).unwrap_or_default();
    let names = names.split(|&byte| byte == 0).next().unwrap_or_default();
    // They were looked at when they were resolved.
    String::from_utf8_lossy(names).trim_end_matches('/').to_owned()
}
