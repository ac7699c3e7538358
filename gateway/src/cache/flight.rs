//! One request to an origin for any number of clients that want the same at the same time.
//!
//! In: keys. Out: the first to come leads, the others follow and are told how it landed: with an answer for all, with one that is
//! for nobody else, or with an error. When the leader goes before that, one of the others leads. Limit: a flight for each key.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// The text that tells what is wanted from everything else.
pub type Key = Arc<[u8]>;

/// Ends the URL in a key that has more. No text holds this byte.
pub const BELOW: u8 = 0xff;

/// The URL in a key.
pub fn root_of(key: &[u8]) -> &[u8] {
    memchr::memchr(BELOW, key).and_then(|end| key.get(..end)).unwrap_or(key)
}

/// So many maps, each behind its lock, which is held for one look-up.
const SHARDS: usize = 16;

type Going<T> = HashMap<Key, Flight<T>>;

#[derive(Debug)]
struct Flight<T> {
    told: watch::Receiver<Option<T>>,
    doomed: Arc<AtomicBool>,
}

/// What is asked for just now. `T` is how flights land.
#[derive(Debug)]
pub struct Flights<T> {
    shards: [Mutex<Going<T>>; SHARDS],
    hasher: RandomState,
}

/// Whether one asks or waits.
#[derive(Debug)]
pub enum Boarding<T> {
    /// Nobody has asked: this one does.
    Lead(Lead<T>),
    /// Somebody has.
    Follow(Follower<T>),
}

/// Who asks. Dropped before it landed, it leaves the others to lead; dropped later, nobody can follow any more.
#[derive(Debug)]
pub struct Lead<T> {
    flights: Arc<Flights<T>>,
    key: Key,
    told: watch::Sender<Option<T>>,
    doomed: Arc<AtomicBool>,
}

/// Who waits.
#[derive(Debug)]
pub struct Follower<T>(watch::Receiver<Option<T>>);

impl<T> Default for Flights<T> {
    fn default() -> Flights<T> {
        Flights { shards: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }
}

impl<T: Clone> Flights<T> {
    /// Leads where nobody does, else follows.
    pub fn board(self: &Arc<Flights<T>>, key: &Key) -> Boarding<T> {
        match self.shard(key).entry(key.clone()) {
            Place::Occupied(going) => Boarding::Follow(Follower(going.get().told.clone())),
            Place::Vacant(free) => {
                let (told, others) = watch::channel(None);
                let doomed = Arc::new(AtomicBool::new(false));
                free.insert(Flight { told: others, doomed: doomed.clone() });
                Boarding::Lead(Lead { flights: self.clone(), key: key.clone(), told, doomed })
            }
        }
    }

    /// Follows where somebody leads.
    pub fn follow(&self, key: &[u8]) -> Option<Follower<T>> {
        self.shard(key).get(key).map(|flight| Follower(flight.told.clone()))
    }

    /// Nobody may follow those that are under way for this root any more, nor may what they bring be kept.
    pub fn doom(&self, root: &[u8]) {
        self.shard(root).retain(|key, flight| {
            let is_meant = root_of(key) == root;
            if is_meant {
                flight.doomed.store(true, Ordering::Release);
            }
            !is_meant
        });
    }

    /// The same for all.
    pub fn doom_all(&self) {
        for shard in &self.shards {
            let mut going = shard.lock().unwrap_or_else(PoisonError::into_inner);
            going.drain().for_each(|(_, flight)| flight.doomed.store(true, Ordering::Release));
        }
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Going<T>> {
        let at = self.hasher.hash_one(root_of(key)) as usize % SHARDS;
        // In range by the line before.
        #[allow(clippy::indexing_slicing)]
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Lead<T> {
    /// What it leads to.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Tells the others, and those who come as long as this is held.
    pub fn land(&self, landing: T) {
        self.told.send_replace(Some(landing));
    }

    /// Whether what it brings was thrown away before it came.
    pub fn is_doomed(&self) -> bool {
        self.doomed.load(Ordering::Acquire)
    }
}

impl<T> Drop for Lead<T> {
    fn drop(&mut self) {
        let at = self.flights.hasher.hash_one(root_of(&self.key)) as usize % SHARDS;
        if let Some(shard) = self.flights.shards.get(at) {
            let mut going = shard.lock().unwrap_or_else(PoisonError::into_inner);
            // Another may have taken the place of one that was doomed.
            if going.get(&self.key).is_some_and(|flight| Arc::ptr_eq(&flight.doomed, &self.doomed)) {
                going.remove(&self.key);
            }
        }
    }
}

impl<T: Clone> Follower<T> {
    /// How it landed; `None` when the leader left before.
    pub async fn landed(mut self) -> Option<T> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Arc::from(text.as_bytes())
    }

    fn follower(boarding: Boarding<u32>) -> Follower<u32> {
        match boarding {
            Boarding::Follow(follower) => follower,
            Boarding::Lead(_) => panic!("leads"),
        }
    }

    fn lead(boarding: Boarding<u32>) -> Lead<u32> {
        match boarding {
            Boarding::Lead(lead) => lead,
            Boarding::Follow(_) => panic!("follows"),
        }
    }

    #[tokio::test]
    async fn one_leads_and_all_are_told() {
        let flights = Arc::<Flights<u32>>::default();
        let first = lead(flights.board(&key("a")));
        let _other = lead(flights.board(&key("b")));
        let waiting = follower(flights.board(&key("a")));
        first.land(7);
        let late = follower(flights.board(&key("a")));
        assert_eq!((waiting.landed().await, late.landed().await), (Some(7), Some(7)));
        drop(first);
        lead(flights.board(&key("a")));
    }

    #[tokio::test]
    async fn who_is_doomed_is_told_and_makes_room() {
        let flights = Arc::<Flights<u32>>::default();
        let below: Key = Arc::from(&b"a\xffmore"[..]);
        let (first, other) = (lead(flights.board(&below)), lead(flights.board(&key("b"))));
        flights.doom(b"a");
        assert!(first.is_doomed() && !other.is_doomed());
        let next = lead(flights.board(&below));
        drop(first);
        assert!(!next.is_doomed() && flights.follow(&below).is_some());
        flights.doom_all();
        assert!(next.is_doomed() && other.is_doomed() && flights.follow(&below).is_none());
    }

    #[tokio::test]
    async fn a_leader_that_goes_leaves_the_lead_to_others() {
        let flights = Arc::<Flights<u32>>::default();
        let first = lead(flights.board(&key("a")));
        let (one, two) = (follower(flights.board(&key("a"))), follower(flights.board(&key("a"))));
        drop(first);
        assert_eq!((one.landed().await, two.landed().await), (None, None));
        let next = lead(flights.board(&key("a")));
        let other = follower(flights.board(&key("a")));
        next.land(8);
        // What was landed holds for those who follow, also when the leader is gone by then.
        drop(next);
        assert_eq!(other.landed().await, Some(8));
    }
}
