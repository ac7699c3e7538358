//! What is kept, in memory.
//!
//! In: complete responses under their keys. Out: the one that answers a request. Bounded by bytes, of bodies, heads and overhead
//! alike; what is seldom used goes first. Several responses to one URL that vary each have a key of their own below it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::Entry;
use super::flight::{Flights, Key};
use super::policy::storable::NotKept;
use super::policy::vary;
use crate::error::Error;
use crate::http::Fields;

/// How long it is remembered that the answers to a request cannot be kept.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The cache of a gateway.
#[derive(Debug)]
pub struct Store {
    slots: moka::sync::Cache<Key, Slot>,
    flights: Arc<Flights<Landing>>,
}

/// How a request to an origin came out, for those who wait for it too.
#[derive(Clone, Debug)]
pub enum Landing {
    /// An answer for all whom it suits.
    Shared(Arc<Entry>),
    /// An answer that cannot be kept: everybody asks.
    Alone(NotKept),
    /// There is none.
    Failed(Error),
}

/// What stands under a key.
#[derive(Clone, Debug)]
enum Slot {
    Entry(Arc<Entry>),
    /// Responses differ by these fields of the request; the number makes their keys other ones each time.
    Varies(Arc<[String]>, u64),
    /// It could not be kept lately.
    Not(NotKept, Instant),
}

/// What was found.
#[derive(Clone, Debug)]
pub enum Found {
    /// This.
    Entry(Arc<Entry>),
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
                Slot::Varies(names, _) => 128 + names.iter().map(|name| name.len() as u64 + 24).sum::<u64>(),
                Slot::Not(..) => 128,
            };
            u32::try_from(weight.saturating_add(key.len() as u64)).unwrap_or(u32::MAX)
        };
        let slots = moka::sync::Cache::builder().max_capacity(bytes).weigher(weigh).build();
        Store { slots, flights: Arc::default() }
    }

    /// Requests that are under way.
    pub fn flights(&self) -> &Arc<Flights<Landing>> {
        &self.flights
    }

    /// The response to a request, and the key under which it stands or would.
    pub fn find(&self, key: &Key, asked: &Fields, now: Instant) -> (Found, Key) {
        match self.slots.get(key) {
            Some(Slot::Entry(entry)) if entry.answers(asked) => (Found::Entry(entry), key.clone()),
            Some(Slot::Not(why, until)) if now < until => (Found::Uncacheable(why), key.clone()),
            Some(Slot::Varies(names, number)) => {
                let below = below(key, number, &vary::selecting(asked, &names));
                match self.slots.get(&below) {
                    Some(Slot::Entry(entry)) => (Found::Entry(entry), below),
                    Some(Slot::Not(why, until)) if now < until => (Found::Uncacheable(why), below),
                    _ => (Found::Nothing, below),
                }
            }
            _ => (Found::Nothing, key.clone()),
        }
    }

    /// Keeps a response that is complete.
    pub fn keep(&self, key: &Key, entry: Arc<Entry>) {
        let names = &entry.vary.0;
        if names.is_empty() {
            return self.slots.insert(key.clone(), Slot::Entry(entry));
        }
        let number = match self.slots.get(key) {
            Some(Slot::Varies(known, number)) if *known == **names => number,
            _ => {
                let number = fastrand::u64(..);
                self.slots.insert(key.clone(), Slot::Varies(Arc::from(&**names), number));
                number
            }
        };
        self.slots.insert(below(key, number, &entry.vary.1), Slot::Entry(entry));
    }

    /// Notes that responses cannot be kept, so that nobody waits for another's.
    pub fn note(&self, key: &Key, why: NotKept, now: Instant) {
        self.slots.insert(key.clone(), Slot::Not(why, now + REMEMBERED));
    }

    /// Throws away, or makes stale, and says how many. Looks at everything that is there: not on a worker, but for one URL.
    pub fn purge(&self, what: &Purge, softly: bool) -> u64 {
        let mut count = 0;
        for (key, slot) in &self.slots {
            let Slot::Entry(entry) = slot else { continue };
            let meant = match what {
                Purge::Url(url) => entry.url == *url,
                Purge::Prefix(prefix) => entry.url.starts_with(prefix.as_str()),
                Purge::Tag(tag) => entry.tags.contains(tag),
                Purge::Everything => true,
            };
            if meant {
                count += 1;
                entry.make_stale();
                if !softly {
                    self.slots.invalidate(&*key);
                }
            }
        }
        count
    }

    /// Throws away what stands under a key, with all that varies below it.
    pub fn forget(&self, key: &Key) {
        self.slots.invalidate(key);
    }

    /// What is there.
    pub fn entries(&self) -> impl Iterator<Item = Arc<Entry>> + '_ {
        self.slots.iter().filter_map(|(_, slot)| match slot {
            Slot::Entry(entry) => Some(entry),
            _ => None,
        })
    }

    /// How many and how many bytes.
    pub fn size(&self) -> (u64, u64) {
        self.slots.run_pending_tasks();
        (self.slots.entry_count(), self.slots.weighted_size())
    }
}

/// The key of one of several that vary.
fn below(key: &Key, number: u64, selecting: &[u8]) -> Key {
    let mut text = Vec::with_capacity(key.len() + selecting.len() + 9);
    text.extend_from_slice(key);
    // No key holds this byte.
    text.push(0xff);
    text.extend_from_slice(&number.to_be_bytes());
    text.extend_from_slice(selecting);
    text.into()
}

#[cfg(test)]
mod tests {
    use super::super::body::Shared;
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

    fn key(text: &str) -> Key {
        Arc::from(text.as_bytes())
    }

    fn entry(url: &str, asked: &[(&str, &str)], response: &[(&str, &str)], size: usize) -> Arc<Entry> {
        let (times, rules) = (Times { requested: NOW, received: NOW }, Rules::default());
        let body = Shared::whole(vec![0; size].into());
        Arc::new(Entry::new((url.to_owned(), &fields(asked)), (StatusCode::OK, &fields(response)), body, times, &rules))
    }

    fn url(store: &Store, at: &str, asked: &[(&str, &str)]) -> Option<String> {
        match store.find(&key(at), &fields(asked), Instant::now()).0 {
            Found::Entry(entry) => Some(entry.url.clone()),
            _ => None,
        }
    }

    #[test]
    fn responses_that_vary_stand_side_by_side() {
        let store = Store::new(1 << 20);
        let vary = [("vary", "accept-language")];
        for language in ["de", "fr"] {
            store.keep(&key("/"), entry(language, &[("accept-language", language)], &vary, 1));
        }
        assert_eq!(url(&store, "/", &[("accept-language", "DE")]), Some("de".to_owned()));
        assert_eq!(url(&store, "/", &[("accept-language", "fr")]), Some("fr".to_owned()));
        assert_eq!(url(&store, "/", &[]), None);
        // What varied before is not found again by what varies now.
        store.keep(&key("/"), entry("plain", &[], &[], 1));
        assert_eq!(url(&store, "/", &[("accept-language", "de")]), Some("plain".to_owned()));
        store.forget(&key("/"));
        store.keep(&key("/"), entry("it", &[("accept-language", "it")], &vary, 1));
        assert_eq!(url(&store, "/", &[("accept-language", "de")]), None);
    }

    #[test]
    fn what_is_purged_is_gone_at_once() {
        let store = Store::new(1 << 20);
        let fill = || {
            store.keep(&key("/a"), entry("http://x/a", &[], &[("surrogate-key", "one two")], 1));
            store.keep(
                &key("/a/b"),
                entry("http://x/a/b", &[("q", "1")], &[("vary", "q"), ("cache-tag", "two, three")], 1),
            );
            store.keep(&key("/c"), entry("http://x/c", &[], &[], 1));
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
    fn memory_is_bounded_by_bytes() {
        let store = Store::new(100_000);
        for number in 0..200 {
            let at = format!("/{number}");
            store.keep(&key(&at), entry(&at, &[], &[("x", "a long field that counts too")], 5_000));
            assert!(store.size().1 <= 100_000);
        }
        assert!(store.entries().count() > 5);
        store.keep(&key("/large"), entry("/large", &[], &[], 200_000));
        assert!(store.size().1 <= 100_000);
        assert_eq!(url(&store, "/large", &[]), None);
    }

    #[test]
    fn what_cannot_be_kept_is_remembered_for_a_while() {
        let (store, now) = (Store::new(1 << 20), Instant::now());
        store.note(&key("/"), NotKept::Private, now);
        let found = |at| store.find(&key("/"), &Fields::new(), at).0;
        assert!(matches!(found(now), Found::Uncacheable(NotKept::Private)));
        assert!(matches!(found(now + REMEMBERED), Found::Nothing));
        store.keep(&key("/"), entry("/", &[], &[], 1));
        assert!(matches!(found(now), Found::Entry(_)));
    }
}
