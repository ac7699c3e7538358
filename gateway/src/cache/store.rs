//! What is kept, in memory.
//!
//! In: complete responses under their keys. Out: the one that answers a request. Bounded by bytes, of bodies, heads and overhead
//! alike; what is seldom used goes first. A key is a URL. Several responses to one URL, that vary or come from different places,
//! each have a key of their own below it, which holds a number that is given up with the URL's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moka::ops::compute::Op;

use super::disk::Disk;
use super::entry::Entry;
use super::flight::{Flights, Key, root_of};
use super::key::Way;
use super::parts::{self, Parts};
use super::policy::storable::NotKept;
use super::policy::vary;
use super::variants::Variants;
use crate::error::Error;
use crate::http::{Fields, StatusCode, name};

/// How many seconds it is remembered that the answers to a request cannot be kept.
pub const REMEMBERED: u64 = 60;

/// Of the bytes that it holds, this part may be taken by bodies that still come.
const COMING_PART: u64 = 4;

/// The cache of a gateway.
#[derive(Debug)]
pub struct Store {
    slots: moka::sync::Cache<Key, Slot>,
    flights: Arc<Flights<Landing>>,
    /// Bytes of bodies that come and are to be kept.
    coming: Arc<AtomicU64>,
    bytes: u64,
    /// Counts what is thrown away.
    changes: AtomicU64,
    pub(super) disk: Option<Disk>,
    /// What is read from there just now.
    reads: Arc<Flights<Arc<Entry>>>,
}

/// How a request to an origin came out, for those who wait for it too.
#[derive(Clone, Debug)]
pub enum Landing {
    /// An answer for all whom it suits.
    Shared(Arc<Entry>),
    /// An answer that cannot be kept: everybody asks.
    Alone(NotKept),
    /// The origin answered with an error while a stale answer may do.
    Refused(StatusCode),
    /// There is none.
    Failed(Error),
}

/// What stands under a key.
#[derive(Clone, Debug)]
enum Slot {
    Entry(Arc<Entry>),
    Varies(Arc<Variants>),
    /// Of the response there is not all. Stands below the URL.
    Parts(Arc<Parts>),
    /// It could not be kept lately; until this second.
    Not(NotKept, u64),
}

/// Room for a body that comes, until it is dropped.
#[derive(Debug)]
pub struct Room {
    coming: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.coming.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Room {
    /// More, if there is.
    pub fn grow(&mut self, store: &Store, bytes: u64) -> bool {
        let before = self.coming.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        before.saturating_add(bytes) <= store.bytes / COMING_PART
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub enum Found {
    /// This.
    Entry(Arc<Entry>),
    /// Nothing; but for other requests, something.
    Varies,
    /// Nothing.
    Nothing,
    /// Nothing, and there was no use in waiting for others.
    Uncacheable(NotKept),
}

/// What is thrown away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Purge {
    /// The answers to this URL.
    Url(String),
    /// Those to all URLs that begin so.
    Prefix(String),
    /// Those that bear this tag.
    Tag(String),
    /// All.
    Everything,
}

impl Store {
    /// Holds so many bytes.
    pub fn new(bytes: u64) -> Store {
        let weigh = |key: &Key, slot: &Slot| {
            let weight = match slot {
                Slot::Entry(entry) => entry.weight(),
                Slot::Varies(variants) => variants.weight(),
                Slot::Parts(parts) => parts.weight(),
                Slot::Not(..) => 128,
            };
            u32::try_from(weight.saturating_add(key.len() as u64)).unwrap_or(u32::MAX)
        };
        let slots = moka::sync::Cache::builder().max_capacity(bytes).weigher(weigh).build();
        Store {
            slots,
            flights: Arc::default(),
            coming: Arc::default(),
            bytes,
            changes: AtomicU64::new(0),
            disk: None,
            reads: Arc::default(),
        }
    }

    /// The same with a second tier.
    #[must_use]
    pub fn with_disk(self, disk: Option<Disk>) -> Store {
        Store { disk, ..self }
    }

    /// The largest body that can be kept at all.
    pub fn largest(&self) -> u64 {
        self.bytes / COMING_PART
    }

    /// How many bytes it holds.
    pub fn capacity(&self) -> u64 {
        self.bytes
    }

    /// Bytes of bodies that come.
    pub fn coming(&self) -> u64 {
        self.coming.load(Ordering::Relaxed)
    }

    /// Room for nothing yet.
    pub fn room(&self) -> Room {
        Room { coming: self.coming.clone(), bytes: 0 }
    }

    /// Another number after each time that something was thrown away: what was asked for before may be of the past.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Requests that are under way.
    pub fn flights(&self) -> &Arc<Flights<Landing>> {
        &self.flights
    }

    /// What is read from disk just now.
    pub fn reads(&self) -> &Arc<Flights<Arc<Entry>>> {
        &self.reads
    }

    /// The response to a request for this URL that goes by this place, and the key below the URL under which it stands or would.
    pub fn find(&self, url: &[u8], place: &Way, asked: &Fields, now: u64) -> (Found, Option<Key>) {
        match self.slots.get(url) {
            Some(Slot::Entry(entry)) if entry.answers(place, asked) => (Found::Entry(entry), None),
            Some(Slot::Entry(_)) => (Found::Varies, None),
            Some(Slot::Not(why, until)) if now < until => (Found::Uncacheable(why), None),
            Some(Slot::Varies(variants)) => {
                let selecting = vary::selecting(asked, variants.names());
                let below = variants.key(url, place, &selecting);
                let found = match self.slots.get(&below) {
                    Some(Slot::Entry(entry)) if entry.place == *place && entry.vary.1 == selecting => {
                        Found::Entry(entry)
                    }
                    Some(Slot::Not(why, until)) if now < until => Found::Uncacheable(why),
                    _ => Found::Varies,
                };
                (found, Some(below))
            }
            _ => (Found::Nothing, None),
        }
    }

    /// The variants of a URL that came last by this place and can be told apart, the newest first.
    pub fn variants(&self, url: &[u8], place: &Way) -> Vec<Arc<Entry>> {
        let Some(Slot::Varies(variants)) = self.slots.get(url) else { return Vec::new() };
        let mut entries = variants.newest(url, |key| match self.slots.get(key) {
            Some(Slot::Entry(entry)) => Some(entry),
            _ => None,
        });
        let is_strong = |tag: &[u8]| tag.starts_with(b"\"");
        entries.retain(|entry| entry.place == *place && entry.fields.value(name::ETAG).is_some_and(is_strong));
        entries
    }

    /// Parts of the response to a request, where there is not all of it.
    pub fn parts(&self, url: &[u8], place: &Way, asked: &Fields) -> Option<Arc<Parts>> {
        match self.slots.get(&*parts::key(url)) {
            Some(Slot::Parts(parts)) if parts.head.answers(place, asked) => Some(parts),
            _ => None,
        }
    }

    /// Keeps a part of a response, with those that are there of the same version, as long as they are together no longer than `most`;
    /// when that is all of it, as a whole.
    pub fn keep_part(&self, part: Parts, most: u64) {
        let key = Key::from(&*parts::key(part.head.url.as_bytes()));
        let mut whole = None;
        self.slots.entry(key).and_compute_with(|held| {
            let joined = match held.map(|held| held.into_value()) {
                Some(Slot::Parts(old)) => part.over(&old, most),
                _ => part,
            };
            whole = joined.whole();
            if whole.is_some() { Op::Remove } else { Op::Put(Slot::Parts(Arc::new(joined))) }
        });
        if let Some(whole) = whole {
            self.keep(Arc::new(whole));
        }
    }

    /// Keeps something of what stands under a URL, unless it is of the past, as `is_past` tells.
    pub fn unless_past(&self, url: &[u8], is_past: impl Fn() -> bool, keep: impl FnOnce(&Store)) {
        if is_past() {
            return;
        }
        keep(self);
        // Who threw things away meanwhile may have looked before it was there.
        if is_past() {
            self.forget(url);
        }
    }

    /// Keeps a response that is complete.
    pub fn keep(&self, entry: Arc<Entry>) {
        // First: what is thrown away between both is thrown away there too.
        if let Some(disk) = &self.disk {
            entry.put_on(disk);
        }
        self.promote(entry);
    }

    /// Keeps it in memory alone.
    pub fn promote(&self, entry: Arc<Entry>) {
        let url = entry.url.as_bytes();
        let names = &entry.vary.0;
        self.slots.invalidate(&*parts::key(url));
        let variants = match self.slots.get(url) {
            Some(Slot::Varies(known)) if *known.names() == **names => known,
            Some(Slot::Entry(old)) if names.is_empty() && old.place != entry.place => self.split(url, names),
            _ if names.is_empty() => return self.slots.insert(url.into(), Slot::Entry(entry)),
            _ => self.split(url, names),
        };
        let key = variants.key(url, &entry.place, &entry.vary.1);
        self.slots.insert(key.clone(), Slot::Entry(entry));
        variants.add(&key);
    }

    /// Notes that an entry takes more than before, if it is still there: its body was compressed.
    pub fn reweigh(&self, entry: &Entry) {
        let url = entry.url.as_bytes();
        let key = match self.slots.get(url) {
            Some(Slot::Varies(variants)) => variants.key(url, &entry.place, &entry.vary.1),
            _ => url.into(),
        };
        // Put again as it stands: what was thrown away meanwhile does not come back.
        self.slots.entry(key).and_compute_with(|held| match held.map(|held| held.into_value()) {
            Some(Slot::Entry(held)) if Arc::ptr_eq(&held.codings, &entry.codings) => Op::Put(Slot::Entry(held)),
            _ => Op::Nop,
        });
    }

    /// Puts a number under a URL, for several below it. What stood there, or below another number, is not found any more.
    fn split(&self, url: &[u8], names: &[String]) -> Arc<Variants> {
        let variants = Arc::new(Variants::new(names));
        self.slots.insert(url.into(), Slot::Varies(variants.clone()));
        variants
    }

    /// Notes that responses that come by this place cannot be kept, so that nobody waits for another's.
    pub fn note(&self, key: &[u8], place: &Way, why: NotKept, now: u64) {
        let not = Slot::Not(why, now + REMEMBERED);
        self.slots.entry(key.into()).and_compute_with(|held| match held.map(|held| held.into_value()) {
            // What stands there is for others.
            Some(Slot::Entry(held)) if held.place != *place => Op::Nop,
            _ => Op::Put(not),
        });
        let root = root_of(key);
        let below = parts::key(root);
        if let Some(Slot::Parts(parts)) = self.slots.get(&*below)
            && self.is_under(&parts.head, root, key, place)
        {
            self.slots.invalidate(&*below);
        }
        self.forget_on_disk(root);
    }

    /// Whether something is by this place, and of the variant that this key means, or all are meant.
    fn is_under(&self, entry: &Entry, root: &[u8], key: &[u8], place: &Way) -> bool {
        entry.place == *place
            && match self.slots.get(root) {
                Some(Slot::Varies(variants)) if *variants.names() == *entry.vary.0 => {
                    *variants.key(root, place, &entry.vary.1) == *key
                }
                _ => true,
            }
    }

    /// An unsafe request has changed what is behind a URL (RFC 9111 section 4.4): the origin is asked before it is given again.
    pub fn invalidate(&self, url: &[u8]) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.flights.doom(url);
        self.reads.doom(url);
        if let (Some(disk), Ok(url)) = (&self.disk, std::str::from_utf8(url)) {
            disk.invalidate(url);
        }
        self.slots.invalidate(&*parts::key(url));
        match self.slots.get(url) {
            Some(Slot::Entry(entry)) => entry.invalidate(),
            Some(Slot::Varies(..)) => self.slots.invalidate(url),
            Some(Slot::Not(..) | Slot::Parts(_)) | None => {}
        }
    }

    /// Throws away, or makes stale, and says how many, in memory or on disk, where more are. Looks at everything that is there, and
    /// waits for the disk: not on a worker.
    pub fn purge(&self, what: &Purge, softly: bool) -> u64 {
        self.changes.fetch_add(1, Ordering::AcqRel);
        match what {
            Purge::Url(url) => {
                self.flights.doom(url.as_bytes());
                self.reads.doom(url.as_bytes());
            }
            _ => {
                self.flights.doom_all();
                self.reads.doom_all();
            }
        }
        let on_disk = self.disk.as_ref().map_or(0, |disk| disk.purge(what, softly));
        let mut count = 0;
        for (key, slot) in &self.slots {
            let entry = match &slot {
                Slot::Entry(entry) => entry,
                Slot::Parts(parts) => &parts.head,
                _ => continue,
            };
            if what.means(&entry.url, &entry.tags) {
                count += 1;
                entry.make_stale();
                if !softly {
                    self.slots.invalidate(&*key);
                }
            }
        }
        count.max(on_disk)
    }

    /// Throws away what stands under a key.
    pub fn forget(&self, key: &[u8]) {
        self.slots.invalidate(key);
        self.slots.invalidate(&*parts::key(root_of(key)));
        self.forget_on_disk(root_of(key));
    }

    /// What is there.
    pub fn entries(&self) -> impl Iterator<Item = Arc<Entry>> + '_ {
        self.slots.iter().filter_map(|(_, slot)| match slot {
            Slot::Entry(entry) => Some(entry),
            Slot::Parts(parts) => Some(parts.head.clone()),
            _ => None,
        })
    }

    /// How many and how many bytes.
    pub fn size(&self) -> (u64, u64) {
        self.slots.run_pending_tasks();
        (self.slots.entry_count(), self.slots.weighted_size())
    }
}

#[cfg(test)]
mod tests {
    use super::super::body::Shared;
    use super::super::entry::Asked;
    use super::super::key::Part;
    use super::super::policy::advice::Advice;
    use super::super::policy::freshness::Times;
    use super::super::policy::rules::Rules;
    use super::*;
    use crate::http::StatusCode;

    const NOW: u64 = 1_000_000_000;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        list.iter().for_each(|(name, value)| fields.append(*name, value.as_bytes()).unwrap());
        fields
    }

    fn entry(url: &str, asked: &[(&str, &str)], response: &[(&str, &str)], size: usize) -> Arc<Entry> {
        at(0, url, asked, response, size)
    }

    fn at(place: u64, url: &str, asked: &[(&str, &str)], response: &[(&str, &str)], size: usize) -> Arc<Entry> {
        let (times, rules) = (Times { requested: NOW, received: NOW }, Rules::default());
        let body = Shared::whole(vec![0; size].into());
        let fields_asked = fields(asked);
        let advice = Advice::NONE;
        let asked = Asked { url: url.to_owned(), place: place.into(), fields: &fields_asked, advice };
        Arc::new(Entry::new(asked, (StatusCode::OK, &fields(response)), body, times, &rules))
    }

    /// What names the response that is found.
    fn found(store: &Store, url: &str, place: u64, asked: &[(&str, &str)]) -> Option<String> {
        match store.find(url.as_bytes(), &place.into(), &fields(asked), NOW).0 {
            Found::Entry(entry) => Some(entry.fields.text("x").unwrap_or_default().to_owned()),
            _ => None,
        }
    }

    #[test]
    fn responses_that_vary_stand_side_by_side() {
        let store = Store::new(1 << 20);
        let of =
            |language| entry("/", &[("accept-language", language)], &[("vary", "accept-language"), ("x", language)], 1);
        store.keep(of("de"));
        store.keep(of("fr"));
        assert_eq!(found(&store, "/", 0, &[("accept-language", "DE")]), Some("de".to_owned()));
        assert_eq!(found(&store, "/", 0, &[("accept-language", "fr")]), Some("fr".to_owned()));
        assert_eq!(found(&store, "/", 0, &[]), None);
        // What varied before is not found again by what varies now.
        store.keep(entry("/", &[], &[("x", "plain")], 1));
        assert_eq!(found(&store, "/", 0, &[("accept-language", "de")]), Some("plain".to_owned()));
        store.keep(of("it"));
        assert_eq!(found(&store, "/", 0, &[("accept-language", "de")]), None);
        store.invalidate(b"/");
        assert_eq!(found(&store, "/", 0, &[("accept-language", "it")]), None);
    }

    #[test]
    fn what_came_by_another_place_is_no_answer() {
        let store = Store::new(1 << 20);
        store.keep(at(1, "/", &[], &[("x", "one")], 1));
        assert_eq!(found(&store, "/", 2, &[]), None);
        for round in ["a", "b"] {
            store.keep(at(2, "/", &[], &[("x", "two")], 1));
            store.keep(at(1, "/", &[], &[("x", "one")], 1));
            let both = (found(&store, "/", 1, &[]), found(&store, "/", 2, &[]));
            assert_eq!(both, (Some("one".to_owned()), Some("two".to_owned())), "{round}");
        }
    }

    #[test]
    fn those_with_other_parts_in_their_keys_stand_side_by_side_and_are_purged_together() {
        let store = Store::new(1 << 20);
        let (times, rules) = (Times { requested: NOW, received: NOW }, Rules::default());
        let part = |tenant: &str| Way { number: 1, part: Part::default().with("mine", tenant.as_bytes()) };
        let of = |place: &Way, name: &str| {
            let asked =
                Asked { url: "/".to_owned(), place: place.clone(), fields: &Fields::new(), advice: Advice::NONE };
            let body = Shared::whole(vec![0].into());
            Arc::new(Entry::new(asked, (StatusCode::OK, &fields(&[("x", name)])), body, times, &rules))
        };
        let found = |place: &Way| match store.find(b"/", place, &Fields::new(), NOW).0 {
            Found::Entry(entry) => Some(entry.fields.text("x").unwrap_or_default().to_owned()),
            _ => None,
        };
        let ways = [Way::from(1), part("a"), part("b"), part("")];
        for (at, way) in ways.iter().enumerate() {
            assert_eq!(found(way), None);
            store.keep(of(way, &at.to_string()));
        }
        // The first stood there alone; what stands beside others is put in its place again.
        store.keep(of(&ways[0], "0"));
        for (at, way) in ways.iter().enumerate() {
            assert_eq!(found(way), Some(at.to_string()));
        }
        assert_eq!(store.purge(&Purge::Url("/".to_owned()), false), 4);
        assert!(ways.iter().all(|way| found(way).is_none()));
    }

    #[test]
    fn what_is_purged_is_gone_at_once() {
        let store = Store::new(1 << 20);
        let fill = || {
            store.keep(entry("http://x/a", &[], &[("surrogate-key", "one two")], 1));
            store.keep(entry("http://x/a/b", &[("q", "1")], &[("vary", "q"), ("cache-tag", "two, three")], 1));
            store.keep(entry("http://x/c", &[], &[], 1));
        };
        for (purge, left) in [
            (Purge::Url("http://x/a".to_owned()), 2),
            (Purge::Prefix("http://x/a".to_owned()), 1),
            (Purge::Tag("two".to_owned()), 1),
            (Purge::Tag("three".to_owned()), 2),
            (Purge::Tag("thre".to_owned()), 3),
            (Purge::Everything, 0),
        ] {
            fill();
            assert_eq!(store.purge(&purge, true), 3 - left, "{purge:?}");
            assert_eq!(store.entries().filter(|entry| !entry.kept(NOW).invalidated).count() as u64, left, "{purge:?}");
            assert_eq!(store.purge(&purge, false), 3 - left, "{purge:?}");
            assert_eq!(store.entries().count() as u64, left, "{purge:?}");
        }
    }

    #[test]
    fn what_is_purged_between_the_last_look_and_its_being_kept_is_gone_too() {
        let store = Store::new(1 << 20);
        for (purge, response) in [
            (Purge::Everything, &[][..]),
            (Purge::Url("/".to_owned()), &[("vary", "a")]),
            (Purge::Prefix("/".to_owned()), &[]),
        ] {
            let before = store.changes();
            store.unless_past(
                b"/",
                || store.changes() != before,
                |store| {
                    store.purge(&purge, false);
                    store.keep(entry("/", &[], response, 1));
                },
            );
            assert_eq!(found(&store, "/", 0, &[]), None, "{purge:?}");
            let before = store.changes();
            store.unless_past(b"/", || store.changes() != before, |store| store.keep(entry("/", &[], response, 1)));
            assert!(found(&store, "/", 0, &[]).is_some(), "{purge:?}");
        }
    }

    #[test]
    fn memory_is_bounded_by_bytes() {
        let store = Store::new(100_000);
        for number in 0..200 {
            store.keep(entry(&format!("/{number}"), &[], &[("x", "a long field that counts too")], 5_000));
            assert!(store.size().1 <= 100_000);
        }
        assert!(store.entries().count() > 5);
        store.keep(entry("/large", &[], &[], 200_000));
        assert!(store.size().1 <= 100_000);
        assert_eq!(found(&store, "/large", 0, &[]), None);
    }

    #[test]
    fn bodies_that_come_have_a_part_of_the_room() {
        let store = Store::new(400);
        let (mut one, mut two) = (store.room(), store.room());
        assert!(one.grow(&store, 60) && two.grow(&store, 40) && !two.grow(&store, 1));
        drop(one);
        assert!(two.grow(&store, 50));
    }

    #[test]
    fn parts_of_what_cannot_be_kept_any_more_go_and_those_of_others_stay() {
        let store = Store::new(1 << 20);
        let one = Way::from(1);
        let asked = |value: &'static str| fields(&[("a", value)]);
        let has = |value| store.parts(b"/", &one, &asked(value)).is_some();
        for names in ["", "a"] {
            let of = |value| at(1, "/", &[("a", value)], &[("etag", "\"x\""), ("vary", names)], 1);
            let keep = |value| {
                let span = parts::Span { range: 0..2, total: 10 };
                Parts::new(&of(value), &span, vec![b"ab"[..].into()]).map(|part| store.keep_part(part, 100))
            };
            store.keep(of("1"));
            let below = |value| store.find(b"/", &one, &asked(value), NOW).1.unwrap_or_else(|| b"/"[..].into());
            keep("2").unwrap();
            match names {
                "" => store.note(b"/", &Way::from(2), NotKept::Private, NOW),
                _ => store.note(&below("1"), &one, NotKept::Private, NOW),
            }
            assert!(has("2"), "{names}");
            store.note(&below("2"), &one, NotKept::Private, NOW);
            assert!(!has("2"), "{names}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_remembered_for_a_while() {
        let store = Store::new(1 << 20);
        store.note(b"/", &Way::default(), NotKept::Private, NOW);
        let found = |at| store.find(b"/", &Way::default(), &Fields::new(), at).0;
        assert!(matches!(found(NOW), Found::Uncacheable(NotKept::Private)));
        assert!(matches!(found(NOW + REMEMBERED), Found::Nothing));
        store.keep(entry("/", &[], &[], 1));
        assert!(matches!(found(NOW), Found::Entry(_)));
        // It is no matter of those who ask by another way.
        store.note(b"/", &Way::from(1), NotKept::Private, NOW);
        assert!(matches!(found(NOW), Found::Entry(_)));
        store.note(b"/", &Way::default(), NotKept::Private, NOW);
        assert!(matches!(found(NOW), Found::Uncacheable(_)));
    }
}
