//! From memory to disk, and back.
//!
//! In: entries that are complete, and requests for which nothing is in memory. Out: entries in both tiers. What is written is what
//! is kept in memory, at the same moment; what is read is in memory from then on. Small bodies are checked whole before anybody
//! sees one; of large ones each piece is, and readers begin with the first: a piece that is wrong ends the body with an error.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;

use super::body::Shared;
use super::disk::format::{Head, Place};
use super::disk::{Disk, Reading, Ticket};
use super::entry::Entry;
use super::flight::{BELOW, Key, Lead};
use super::key::Way;
use super::policy::directives::ResponseDirectives;
use super::policy::vary;
use super::store::Store;
use crate::error::{Error, Kind};
use crate::http::Fields;

/// A body up to this size is checked whole before it is given.
const CHECKED_FIRST: u64 = 1 << 20;

/// Where an entry belongs on disk, and in which file it lies there, if it does.
#[derive(Clone, Debug)]
pub struct Home {
    place: Place,
    file: Arc<AtomicU64>,
}

/// What is looked for on disk.
#[derive(Clone, Debug)]
pub struct Sought {
    /// Its URL.
    pub url: String,
    /// By which way, in this process.
    pub place: Way,
    /// By which way, in every process.
    pub home: Home,
}

impl Home {
    /// Of what comes by this way. It lies there not yet.
    pub fn new(place: Place) -> Home {
        Home { place, file: Arc::default() }
    }
}

impl Entry {
    /// The same with a home on disk.
    #[must_use]
    pub fn at_home(self, home: Option<Home>) -> Entry {
        Entry { home, ..self }
    }

    /// Has it written, when it is complete and has a home.
    pub(super) fn put_on(&self, disk: &Disk) {
        let (Some(home), Some((pieces, trailers))) = (&self.home, self.body.pieces()) else { return };
        let head = Head {
            stamp: 0,
            is_stale: false,
            url: self.url.clone(),
            place: home.place,
            vary: self.vary.clone(),
            tags: self.tags.clone(),
            status: self.status,
            times: self.times,
            initial_age: self.initial_age,
            lifetime: self.lifetime,
            fields: self.fields.clone(),
            trailers: trailers.cloned(),
        };
        disk.put(head, pieces.to_vec(), home.file.clone());
    }

    fn from_disk(head: &Head, body: Arc<Shared>, sought: &Sought, file: u64) -> Entry {
        let home = Home { place: head.place, file: Arc::new(AtomicU64::new(file)) };
        let entry = Entry {
            url: head.url.clone(),
            status: head.status,
            directives: ResponseDirectives::of(&head.fields),
            fields: head.fields.clone(),
            lifetime: head.lifetime,
            body,
            codings: Arc::default(),
            tags: head.tags.clone(),
            vary: head.vary.clone(),
            place: sought.place.clone(),
            times: head.times,
            initial_age: head.initial_age,
            home: Some(home),
            stale: head.is_stale.into(),
            // What was changed does not lie there any more.
            invalid: false.into(),
            uses: AtomicU64::new(0),
        };
        entry.used();
        entry
    }
}

impl Store {
    /// The second tier, if there is one.
    pub fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref()
    }

    /// What answers a request, if it lies on disk, and the key of those who read it.
    pub fn on_disk(&self, sought: &Sought, asked: &Fields) -> Option<(Ticket, Key)> {
        // Variants of one URL mostly vary by the same.
        let (mut by, mut says) = (Vec::new(), Vec::new());
        let is_answer = |names: &[String], said: &[u8]| {
            if *names != *by {
                (by, says) = (names.to_vec(), vary::selecting(asked, names));
            }
            says == said
        };
        let ticket = self.disk()?.find(&sought.url, &sought.home.place, is_answer)?;
        let mut key = sought.url.clone().into_bytes();
        key.push(BELOW);
        key.extend_from_slice(&ticket.file().to_be_bytes());
        Some((ticket, key.into()))
    }

    /// Reads it, for all who wait for it, and has it in memory from then on, unless it was thrown away meanwhile. Waits for the
    /// disk. `now` is the time in Unix seconds.
    pub fn read(&self, sought: &Sought, ticket: Ticket, lead: &Lead<Arc<Entry>>, now: u64) {
        let Some(mut reading) = self.disk().and_then(|disk| disk.open(ticket, &sought.url, &sought.home.place)) else {
            return;
        };
        let length = reading.length();
        let mut room = self.room();
        if length > self.largest() || !room.grow(self, length) {
            return;
        }
        let (body, filler) = Shared::coming(Some(length), length);
        let trailers = reading.head().trailers.clone().map(Box::new);
        let entry = Arc::new(Entry::from_disk(reading.head(), body, sought, reading.file()));
        // What has to be asked for again may be kept on, so all of it must be there.
        let is_fresh = entry.ttl(now) > 0 && !entry.kept(now).invalidated;
        let first = length > CHECKED_FIRST && is_fresh;
        // What was thrown away before somebody could take the lead for it.
        if !reading.is_current() {
            return;
        }
        if first {
            lead.land(entry.clone());
        }
        let add = |piece| {
            // All of it is kept, however large.
            filler.add(piece);
        };
        if read_all(&mut reading, add).is_none() {
            return filler.fail(Error::gateway(Kind::Cut));
        }
        let _sleepers = filler.finish(None, trailers);
        let is_past = || lead.is_doomed() || !reading.is_current();
        self.unless_past(sought.url.as_bytes(), is_past, |store| store.promote(entry.clone()));
        if !first {
            lead.land(entry);
        }
    }

    /// What is kept of it is doubted: its origin is asked before it is given again.
    pub fn doubt(&self, entry: &Entry) {
        entry.make_stale();
        self.forget_on_disk(entry.url.as_bytes());
    }

    pub(super) fn forget_on_disk(&self, url: &[u8]) {
        if let (Some(disk), Ok(url)) = (self.disk(), std::str::from_utf8(url)) {
            disk.forget(url);
        }
    }

    /// Has the second tier finished, so that another process can have it.
    pub fn end(&self) {
        if let Some(disk) = self.disk() {
            disk.end();
        }
    }
}

/// The failure is counted where it is met.
fn read_all(reading: &mut Reading, mut take: impl FnMut(Bytes)) -> Option<()> {
    while let Some(piece) = reading.chunk().ok()? {
        take(piece);
    }
    Some(())
}
