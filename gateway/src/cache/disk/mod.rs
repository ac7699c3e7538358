//! The second tier: responses on disk, which survive the process.
//!
//! In: entries that are complete in memory. Out: the same, to those who found nothing in memory, also after a restart. A file
//! holds an entry. What lies there is known by an `index` in memory, so that a look costs no file, and every purge is at once; the
//! `keeper`, a thread, writes, removes and notes; `scan` finds what an earlier life has left, while requests are served.
//! Entries are written when they are complete, not when memory drops them: so a crash costs nothing that was there a moment before.
//!
//! Invariant: a byte that differs from what was written is never given, nor an entry that was thrown away; whatever fails here is
//! counted and costs a hit, not a request. Workers never wait: they look into the index and put on the `desk`, both behind locks that
//! are held for a moment; files are opened and read on the blocking pool.

mod counts;
mod desk;
mod file;
mod folder;
pub mod format;
mod index;
mod keeper;
mod orders;
mod scan;
mod state;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use twox_hash::XxHash3_64;

use super::store::Purge;
use counts::{Counts, Event};
pub use desk::Stage;
use desk::{Desk, Put, Task};
pub use file::{Failure, Opened, Source};
use folder::Folder;
use format::{Damage, Head, Place};
use index::Index;
pub use index::{Bounds, Known, Ticket};
use orders::{Fate, Order};
use state::{TOLERANCE, Watch};

/// How many places of the index are looked at before others may.
const GLANCE: usize = 1024;

/// Whoever purges waits so long until that is written down.
const NOTED: Duration = Duration::from_secs(10);

/// What is to be kept, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The folder.
    pub folder: PathBuf,
    /// How much may lie there.
    pub bounds: Bounds,
    /// Bytes that may wait to be written.
    pub queue: u64,
    /// Entries that are read at the same time.
    pub reads: u32,
}

/// The disk tier of a gateway.
#[derive(Debug)]
pub struct Disk {
    inner: Arc<Inner>,
    keeper: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// What its threads share.
#[derive(Debug)]
struct Inner {
    settings: Settings,
    /// As long as it is ours.
    folder: ArcSwapOption<Folder>,
    /// Taken after `desk`, where both are.
    index: Mutex<Index>,
    desk: Mutex<Desk>,
    wake: Condvar,
    watch: Mutex<Watch>,
    /// Heads with lower stamps are of doubtful age.
    doubtful: AtomicU64,
    /// It is given up to write for a while.
    is_failing: AtomicBool,
    /// A file that was to go did not.
    has_remains: AtomicBool,
    reading: AtomicU32,
    counts: Counts,
    /// Tells the time, in Unix seconds.
    now: fn() -> u64,
}

/// An entry that is being read.
#[derive(Debug)]
pub struct Reading {
    inner: Arc<Inner>,
    ticket: Ticket,
    opened: Opened<File>,
    _turn: Turn,
}

/// One of those who may read.
#[derive(Debug)]
struct Turn(Arc<Inner>);

/// How it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stats {
    /// How far the folder is in use.
    pub stage: Stage,
    /// Files, bytes of them on disk, bytes of the index.
    pub size: (u64, u64, u64),
    /// How much may lie there.
    pub bounds: Bounds,
    /// Entries that wait to be written, and their bytes.
    pub waiting: (u64, u64),
    /// What has happened.
    pub events: Vec<(&'static str, u64)>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What panicked left nothing half done that would be wrong to go on with.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the files of a URL lie.
fn shelf(url: &str) -> u8 {
    XxHash3_64::oneshot(url.as_bytes()) as u8
}

impl Disk {
    /// Begins to use the folder, as soon as it is to be had. `now` tells the time, in Unix seconds.
    pub fn start(settings: Settings, now: fn() -> u64) -> Disk {
        let inner = Arc::new(Inner {
            index: Mutex::new(Index::new(settings.bounds)),
            settings,
            folder: ArcSwapOption::empty(),
            desk: Mutex::default(),
            wake: Condvar::new(),
            watch: Mutex::default(),
            doubtful: AtomicU64::new(0),
            is_failing: false.into(),
            has_remains: false.into(),
            reading: AtomicU32::new(0),
            counts: Counts::default(),
            now,
        });
        let own = inner.clone();
        let keeper = std::thread::Builder::new().name("cache-disk".to_owned()).spawn(move || keeper::run(&own));
        if let Err(error) = &keeper {
            tracing::error!(%error, "no thread for the cache on disk, which is not used");
            locked(&inner.desk).stage = Stage::Ended;
        }
        Disk { inner, keeper: Mutex::new(keeper.ok()) }
    }

    /// Has an entry written, if there is time for it. `file` is where its body lies already, or 0; it will tell where it does.
    pub fn put(&self, head: Head, pieces: Vec<Bytes>, file: Arc<AtomicU64>) {
        let inner = &*self.inner;
        let mut desk = locked(&inner.desk);
        if !matches!(desk.stage, Stage::Scanning | Stage::Serving) {
            return;
        }
        // What is not written must not leave an older one in its place.
        let url = head.url.clone();
        let waits =
            !inner.is_failing.load(Ordering::Relaxed) && desk.put(Put { head, pieces, file }, inner.settings.queue);
        drop(desk);
        if waits {
            inner.wake.notify_one();
        } else {
            inner.counts.add(Event::Dropped, 1);
            self.forget(&url);
        }
    }

    /// Where the newest entry lies to which `is_answer` says yes, by the fields that it varies by and what those said.
    pub fn find(&self, url: &str, place: &Place, is_answer: impl FnMut(&[String], &[u8]) -> bool) -> Option<Ticket> {
        locked(&self.inner.index).find(url, place, is_answer)
    }

    /// Opens an entry and reads its head. Waits for the disk.
    pub fn open(&self, ticket: Ticket, url: &str, place: &Place) -> Option<Reading> {
        let inner = &self.inner;
        let before = inner.reading.fetch_add(1, Ordering::AcqRel);
        let turn = Turn(inner.clone());
        if before >= inner.settings.reads {
            inner.counts.add(Event::Busy, 1);
            return None;
        }
        match inner.open(&ticket, url, place) {
            Ok(opened) => Some(Reading { inner: inner.clone(), ticket, opened, _turn: turn }),
            Err(failure) => {
                inner.failed(&ticket, url, &failure);
                None
            }
        }
    }

    /// What is behind this URL has changed.
    pub fn invalidate(&self, url: &str) {
        self.take_out(url, true);
    }

    /// What lies there for this URL is of no use any more; what is not found yet may be.
    pub fn forget(&self, url: &str) {
        self.take_out(url, false);
    }

    fn take_out(&self, url: &str, all: bool) {
        let inner = &*self.inner;
        let mut desk = locked(&inner.desk);
        let stamp = desk.stamp();
        if desk.stage == Stage::Ended {
            return;
        }
        let concerns_others = if all { desk.has_more_to_come() } else { desk.has_more_to_write() };
        if concerns_others {
            let order = Order { stamp, softly: false, what: Purge::Url(url.to_owned()) };
            desk.orders.add(order.clone());
            if all && desk.stage == Stage::Scanning {
                desk.task(Task::Note(order, None));
            }
        }
        drop(desk);
        let gone = locked(&inner.index).remove_url(url, stamp);
        if !gone.is_empty() {
            inner.counts.add(Event::Removed, gone.len());
            inner.task(Task::Remove(gone));
        }
    }

    /// Throws away, or makes stale, and says how many. What is still to be found is concerned too, but not counted. When it
    /// returns, that outlives the process. Waits for the disk.
    pub fn purge(&self, what: &Purge, softly: bool) -> u64 {
        let inner = &*self.inner;
        let (stamp, noted) = {
            let mut desk = locked(&inner.desk);
            if desk.stage == Stage::Ended {
                return 0;
            }
            let order = Order { stamp: desk.stamp(), softly, what: what.clone() };
            let stamp = order.stamp;
            desk.ordering += 1;
            desk.orders.add(order.clone());
            let (told, noted) = mpsc::channel();
            // Without a folder it is noted as soon as there is one.
            if desk.stage != Stage::Waiting {
                desk.task(Task::Note(order, Some(told)));
            }
            (stamp, noted)
        };
        let (mut from, mut count) = (Some(0), 0);
        while let Some(at) = from {
            let fate = if softly { Fate::Stale } else { Fate::Goes };
            let (next, meant) = inner.purge(at, what, fate, stamp);
            (from, count) = (next, count + meant);
        }
        locked(&inner.desk).ordering -= 1;
        inner.wake.notify_one();
        // When nobody tells, there is no folder.
        let _ = noted.recv_timeout(NOTED);
        count
    }

    /// Some of what lies there, from this place on, and the next place.
    pub fn list(&self, from: usize) -> (Option<usize>, Vec<Known>) {
        locked(&self.inner.index).list(from, GLANCE)
    }

    /// How it stands.
    pub fn stats(&self) -> Stats {
        let (stage, waiting) = {
            let desk = locked(&self.inner.desk);
            (desk.stage, desk.waiting())
        };
        let size = locked(&self.inner.index).size();
        let events = self.inner.counts.all().collect();
        Stats { stage, size, bounds: self.inner.settings.bounds, waiting, events }
    }

    /// Writes what waits, within a moment, and gives the folder back.
    pub fn end(&self) {
        locked(&self.inner.desk).is_ending = true;
        self.inner.wake.notify_all();
        if let Some(keeper) = locked(&self.keeper).take() {
            let _ = keeper.join();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.end();
    }
}

impl Reading {
    /// Its head.
    pub fn head(&self) -> &Head {
        &self.opened.head
    }

    /// Bytes of its body.
    pub fn length(&self) -> u64 {
        self.opened.length()
    }

    /// The number of its file.
    pub fn file(&self) -> u64 {
        self.ticket.spot.id
    }

    /// Whether it is still what lies there.
    pub fn is_current(&self) -> bool {
        let current = locked(&self.inner.index).current(&self.ticket);
        current.is_some_and(|current| current.is_stale == self.ticket.is_stale)
    }

    /// The next bytes of its body; `None` at its end. `Err`: there is no more, and what was read is not the whole.
    pub fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let next = self.opened.chunk();
        if let Err(failure) = &next {
            self.inner.failed(&self.ticket, &self.opened.head.url, failure);
        }
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.reading.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Inner {
    fn task(&self, task: Task) {
        locked(&self.desk).task(task);
        self.wake.notify_one();
    }

    fn open(&self, ticket: &Ticket, url: &str, place: &Place) -> Result<Opened<File>, Failure> {
        let folder = self.folder.load_full().ok_or(Failure::Gone)?;
        let file = folder.file(ticket.spot, false)?;
        let mut opened = Opened::new(file, ticket.spot.id, ticket.size)?;
        let head = &mut opened.head;
        if head.url != url || head.place != *place {
            return Err(Damage::Misplaced.into());
        }
        self.look_at_clocks();
        let is_doubtful = head.stamp < self.doubtful.load(Ordering::Acquire);
        head.is_stale |= ticket.is_stale || is_doubtful || head.times.received > (self.now)() + TOLERANCE;
        self.counts.add(Event::Read, 1);
        Ok(opened)
    }

    /// Has everything doubted that is here when the clock on the wall went back.
    fn look_at_clocks(&self) {
        let mut watch = locked(&self.watch);
        if watch.went_back((self.now)(), crate::clock::coarse_uptime()) {
            drop(watch);
            tracing::warn!("the clock went back: what is in the cache on disk is asked for before it is given again");
            let now = locked(&self.desk).stamp();
            self.doubtful.fetch_max(now, Ordering::AcqRel);
        }
    }

    /// What cannot be read is not found again.
    fn failed(&self, ticket: &Ticket, url: &str, failure: &Failure) {
        let event = match failure {
            Failure::Gone => Event::Gone,
            Failure::Damaged(_) => Event::Damaged,
            Failure::Disk(_) => Event::ReadFailed,
        };
        // One that was taken out meanwhile is gone rightly.
        let Some(spot) = locked(&self.index).remove(ticket) else { return };
        self.counts.add(event, 1);
        if let Some(unsaid) = crate::notice::due(("cache on disk", event as usize)) {
            tracing::warn!(url, file = %spot, %failure, unsaid, "an entry of the cache on disk is of no use");
        }
        self.task(Task::Remove(vec![spot]));
    }

    fn purge(&self, from: usize, what: &Purge, fate: Fate, stamp: u64) -> (Option<usize>, u64) {
        let (next, meant) = locked(&self.index).purge(from, GLANCE, what, fate, stamp);
        let count = meant.len();
        if count > 0 {
            let task = match fate {
                Fate::Goes => {
                    self.counts.add(Event::Removed, count);
                    Task::Remove(meant.iter().map(|ticket| ticket.spot).collect())
                }
                _ => Task::Mark(meant),
            };
            self.task(task);
        }
        (next, count as u64)
    }

    /// Takes an entry in that lies there whole, unless it was thrown away meanwhile.
    fn admit(&self, folder: &Folder, mut known: Known) -> bool {
        let mut desk = locked(&self.desk);
        let fate = desk.orders.fate(known.stamp, known.url(), known.tags());
        known.is_stale |= fate == Fate::Stale;
        let (spot, url) = (known.spot, known.url().to_owned());
        let (replaced, evicted) = match fate {
            Fate::Goes => (vec![spot], Vec::new()),
            _ => locked(&self.index).insert(known),
        };
        if fate == Fate::Stale
            && let Some((ticket, _)) = locked(&self.index).by_id(&url, spot.id)
        {
            desk.task(Task::Mark(vec![ticket]));
        }
        drop(desk);
        if fate == Fate::Goes {
            self.counts.add(Event::Removed, 1);
        }
        let is_in = !replaced.contains(&spot) && !evicted.contains(&spot);
        self.counts.add(Event::Evicted, evicted.len());
        replaced.iter().chain(&evicted).for_each(|spot| self.remove(folder, *spot));
        is_in
    }

    fn remove(&self, folder: &Folder, spot: folder::Spot) {
        let Err(error) = folder.remove(spot) else { return };
        self.has_remains.store(true, Ordering::Release);
        if let Some(unsaid) = crate::notice::due("removing from the cache on disk") {
            tracing::warn!(file = %spot, %error, unsaid, "a file of the cache on disk does not go away");
        }
    }
}
