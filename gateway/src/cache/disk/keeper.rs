//! The thread that changes the folder.
//!
//! In: what lies on the desk. Out: files that are written, removed, marked; orders that are noted. It takes the folder when that is
//! free, and asks again while it is not. Invariant: it alone writes, one thing after the other, so an entry that is to be replaced
//! is never written at the same time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::counts::Event;
use super::desk::{Next, Put, Stage, Task};
use super::file::{self, Failure};
use super::folder::{Folder, SHELVES, Spot, Unusable};
use super::format::Prelude;
use super::index::{Known, Ticket};
use super::orders::{self, Fate, Order};
use super::state::State;
use super::{Head, Inner, Purge, locked, scan, shelf};

/// How often somebody looks whether a folder that was not to be had is now.
const AGAIN: Duration = Duration::from_secs(1);

/// How often it looks at the clocks when nothing is to be done.
const TICK: Duration = Duration::from_secs(1);

/// How often it is written down how late it is.
const MARKED: Duration = Duration::from_secs(10);

/// How long nothing is written after the disk has failed.
const PAUSE: Duration = Duration::from_secs(10);

/// What waits at the end is written for so long.
const ENDING: Duration = Duration::from_secs(2);

const STATE: &str = "state";
const JOURNAL: &str = "purges";

/// A journal is no longer than this: what would be is one order about everything.
const LONGEST_JOURNAL: u64 = 16 << 20;

struct Keeper<'i> {
    inner: &'i Arc<Inner>,
    folder: Arc<Folder>,
    state: State,
    journal: u64,
    marked: Instant,
    failed: Option<Instant>,
}

/// Keeps the folder until the gateway ends.
pub(super) fn run(inner: &Arc<Inner>) {
    if let Some(folder) = take(inner) {
        match Keeper::new(inner, folder) {
            Ok(keeper) => keeper.keep(),
            Err(error) => {
                let folder = &inner.settings.folder;
                tracing::error!(?folder, %error, "the folder of the cache on disk cannot be used");
            }
        }
    }
    let mut desk = locked(&inner.desk);
    desk.stage = Stage::Ended;
    desk.clear();
    drop(desk);
    inner.folder.store(None);
}

/// The folder, as soon as it is to be had.
fn take(inner: &Inner) -> Option<Folder> {
    let (path, mut said) = (&inner.settings.folder, false);
    loop {
        match Folder::open(path) {
            Ok(folder) => return Some(folder),
            Err(error) if said => tracing::debug!(folder = ?path, %error, "the cache on disk waits for its folder"),
            Err(error @ Unusable::Taken) => {
                tracing::warn!(folder = ?path, %error, "the cache goes without its disk until the folder is free");
            }
            Err(error) => {
                tracing::error!(folder = ?path, %error, "the cache goes without its disk until the folder can be used");
            }
        }
        said = true;
        let desk = locked(&inner.desk);
        let (desk, _) = inner
            .wake
            .wait_timeout_while(desk, AGAIN, |desk| !desk.is_ending)
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if desk.is_ending {
            return None;
        }
    }
}

impl<'i> Keeper<'i> {
    /// Begins a new life: of what is there already, everything has lower stamps.
    fn new(inner: &'i Arc<Inner>, folder: Folder) -> std::io::Result<Keeper<'i>> {
        let before = folder.read(STATE, 4096)?.map(|bytes| State::of(&bytes));
        let mut journal = folder.read(JOURNAL, LONGEST_JOURNAL + 1)?.unwrap_or_default();
        if before.is_none_or(|state| state.is_none()) {
            // Without it nobody knows what is older than what.
            for shelf in 0..=SHELVES {
                folder.shelf(shelf)?.into_iter().try_for_each(|id| folder.remove(Spot { shelf, id }))?;
            }
            journal.clear();
            folder.put(JOURNAL, &[], true)?;
        }
        let state = before.flatten().unwrap_or_default().next((inner.now)());
        folder.put(STATE, &state.bytes(), true)?;
        inner.doubtful.store(state.doubtful, Ordering::Release);
        if state.doubtful == state.first_stamp() {
            tracing::warn!("the clock went back since the last start: what is in the cache on disk is asked for first");
        }
        let folder = Arc::new(folder);
        let mut keeper = Keeper { inner, folder, state, journal: 0, marked: Instant::now(), failed: None };
        keeper.take_orders(&journal)?;
        inner.folder.store(Some(keeper.folder.clone()));
        Ok(keeper)
    }

    /// Orders of an earlier life that were not carried out to the end, and those since this one began.
    fn take_orders(&mut self, journal: &[u8]) -> std::io::Result<()> {
        let first = self.state.first_stamp();
        let everything = || vec![Order { stamp: first, softly: false, what: Purge::Everything }];
        let old = match journal.len() as u64 > LONGEST_JOURNAL {
            true => everything(),
            false => orders::journal(journal).unwrap_or_else(everything),
        };
        let mut desk = locked(&self.inner.desk);
        desk.stamp_from(first);
        let new = desk.orders.restamped(first);
        let all: Vec<u8> = old.iter().chain(&new).flat_map(Order::bytes).collect();
        old.into_iter().for_each(|order| desk.orders.add(order));
        desk.stage = Stage::Scanning;
        drop(desk);
        // Anew, without what was only begun.
        self.folder.put(JOURNAL, &all, true)?;
        self.journal = all.len() as u64;
        Ok(())
    }

    fn keep(mut self) {
        let (inner, folder, first) = (self.inner.clone(), self.folder.clone(), self.state.first_stamp());
        let scanner = std::thread::Builder::new().name("cache-scan".to_owned()).spawn(move || {
            let began = Instant::now();
            if scan::scan(&inner, &folder, first) {
                let (files, bytes, _) = locked(&inner.index).size();
                locked(&inner.desk).stage = Stage::Serving;
                tracing::info!(files, bytes, took = ?began.elapsed(), "the cache on disk is looked through");
            }
        });
        if let Err(error) = &scanner {
            tracing::error!(%error, "no thread looks through the cache on disk: what lies there is not found");
        }
        let mut ending = None;
        loop {
            match self.next() {
                Next::Task(task) => self.carry_out(task),
                Next::Put(put) => self.put(*put),
                Next::Nothing => self.rest(),
                Next::End => break,
            }
            if locked(&self.inner.desk).is_ending && ending.get_or_insert_with(Instant::now).elapsed() > ENDING {
                break;
            }
            if self.failed.is_some_and(|failed| failed.elapsed() > PAUSE) {
                self.failed = None;
                self.inner.is_failing.store(false, Ordering::Relaxed);
            }
            if self.marked.elapsed() > MARKED {
                self.mark();
            }
        }
        // One that panicked has found less.
        let _ = scanner.map(std::thread::JoinHandle::join);
        self.mark();
    }

    fn next(&self) -> Next {
        let mut desk = locked(&self.inner.desk);
        match desk.next() {
            Next::Nothing => {
                let waited = self.inner.wake.wait_timeout(desk, TICK);
                waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0.next()
            }
            next => next,
        }
    }

    /// Nothing is to be done.
    fn rest(&mut self) {
        self.inner.look_at_clocks();
        let mut desk = locked(&self.inner.desk);
        let is_settled = !desk.has_more_to_come() && desk.is_idle();
        if is_settled {
            desk.orders.forget();
        }
        drop(desk);
        // What did not go is ordered again at the next start.
        if is_settled && self.journal > 0 && !self.inner.has_remains.load(Ordering::Acquire) {
            // What was ordered is carried out; only when that will outlive the machine is it no more to be repeated.
            let cleared = self.folder.sync().and_then(|()| self.folder.put(JOURNAL, &[], false));
            match cleared {
                Ok(()) => self.journal = 0,
                Err(error) => self.trouble(&error),
            }
        }
    }

    /// Writes down how late it is.
    fn mark(&mut self) {
        self.marked = Instant::now();
        let doubtful = self.inner.doubtful.load(Ordering::Acquire);
        let now = (self.inner.now)();
        let went_back = doubtful > self.state.doubtful;
        self.state.mark = if went_back { now } else { now.max(self.state.mark) };
        self.state.doubtful = doubtful;
        if let Err(error) = self.folder.put(STATE, &self.state.bytes(), false) {
            self.trouble(&error);
        }
    }

    fn carry_out(&mut self, task: Task) {
        match task {
            Task::Remove(spots) => spots.into_iter().for_each(|spot| self.inner.remove(&self.folder, spot)),
            Task::Mark(tickets) => tickets.iter().for_each(|ticket| self.make_stale(ticket)),
            Task::Note(order, told) => match self.note(&order, told.is_some()) {
                Ok(()) => {
                    // Who asked may have gone.
                    let _ = told.map(|told| told.send(()));
                }
                Err(error) => self.trouble(&error),
            },
        }
    }

    fn note(&mut self, order: &Order, durable: bool) -> std::io::Result<()> {
        let mut bytes = order.bytes();
        if self.journal + bytes.len() as u64 > LONGEST_JOURNAL {
            bytes = Order { stamp: order.stamp, softly: false, what: Purge::Everything }.bytes();
            self.folder.put(JOURNAL, &bytes, durable)?;
            self.journal = bytes.len() as u64;
            return Ok(());
        }
        self.folder.append(JOURNAL, self.journal, &bytes, durable)?;
        self.journal += bytes.len() as u64;
        Ok(())
    }

    fn make_stale(&mut self, ticket: &Ticket) {
        let Some(ticket) = locked(&self.inner.index).current(ticket) else { return };
        let stale = |head| Head { is_stale: true, ..head };
        match self.append(&ticket, stale) {
            Ok(Some(size)) => locked(&self.inner.index).grow(&ticket, size, ticket.stamp, true),
            // An entry that cannot say that it is stale is none.
            Ok(None) | Err(_) => self.forget(&ticket),
        }
    }

    fn append(&mut self, ticket: &Ticket, change: impl FnOnce(Head) -> Head) -> Result<Option<u64>, Failure> {
        let file = self.folder.file(ticket.spot, true)?;
        file::append(&file, ticket.spot.id, ticket.size, change)
    }

    fn forget(&mut self, ticket: &Ticket) {
        if let Some(spot) = locked(&self.inner.index).remove(ticket) {
            self.inner.remove(&self.folder, spot);
        }
    }

    fn put(&mut self, put: Put) {
        let lies = put.file.load(Ordering::Acquire);
        let found = locked(&self.inner.index)
            .by_id(&put.head.url, lies)
            .filter(|(_, known)| known.is_for(&put.head))
            .map(|(ticket, _)| ticket);
        if let Some(ticket) = found
            && self.freshen(&ticket, &put)
        {
            return;
        }
        self.write(put);
    }

    /// Puts a new head behind a body that is there. `false`: it has to be written whole.
    fn freshen(&mut self, ticket: &Ticket, put: &Put) -> bool {
        let size = match self.append(ticket, |_| put.head.clone()) {
            Ok(Some(size)) => size,
            Ok(None) | Err(Failure::Damaged(_) | Failure::Gone) => return false,
            Err(Failure::Disk(error)) => {
                // The file may have more than the index says, so it is given up.
                self.forget(ticket);
                self.inner.counts.add(Event::WriteFailed, 1);
                self.trouble(&error);
                return true;
            }
        };
        let desk = locked(&self.inner.desk);
        let fate = desk.orders.fate(put.head.stamp, &put.head.url, &put.head.tags);
        if fate == Fate::Stays {
            locked(&self.inner.index).grow(ticket, size, put.head.stamp, put.head.is_stale);
        }
        drop(desk);
        match fate {
            Fate::Stays => self.inner.counts.add(Event::Freshened, 1),
            _ => self.forget(ticket),
        }
        true
    }

    fn write(&mut self, put: Put) {
        let Put { head, pieces, file } = put;
        let spot = Spot { shelf: shelf(&head.url), id: head.stamp };
        let length = pieces.iter().map(|piece| piece.len() as u64).sum();
        let prelude = Prelude { id: spot.id, salt: fastrand::u64(..), length };
        let bounds = self.inner.settings.bounds;
        let fits = file::size(&prelude, &head).is_some_and(|size| Known::new(&head, spot, size, length).fits(&bounds));
        if !fits {
            self.inner.counts.add(Event::TooLarge, 1);
            return self.give_up(&head);
        }
        match self.folder.write(spot, |file| file::write(file, &prelude, &head, &pieces)) {
            Ok(size) => {
                self.inner.counts.add(Event::Written, 1);
                if self.inner.admit(&self.folder, Known::new(&head, spot, size, length)) {
                    file.store(spot.id, Ordering::Release);
                }
            }
            Err(error) => {
                self.inner.counts.add(Event::WriteFailed, 1);
                self.trouble(&error);
                self.give_up(&head);
            }
        }
    }

    /// What is not written does not leave an older one in its place.
    fn give_up(&mut self, head: &Head) {
        let gone = locked(&self.inner.index).remove_url(&head.url, head.stamp);
        gone.into_iter().for_each(|spot| self.inner.remove(&self.folder, spot));
    }

    /// The disk has failed: it is left alone for a while.
    fn trouble(&mut self, error: &std::io::Error) {
        self.failed = Some(Instant::now());
        self.inner.is_failing.store(true, Ordering::Relaxed);
        if let Some(unsaid) = crate::notice::due("writing to the cache on disk") {
            tracing::warn!(%error, unsaid, "the cache on disk cannot be written to");
        }
    }
}
