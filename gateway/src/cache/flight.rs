//! One request to an origin for any number of clients that want the same at the same time.
//!
//! In: keys. Out: the first to come leads, the others follow and are told how it landed: with an answer for all, with one that is
//! for nobody else, or with an error. When the leader goes before that, one of the others leads. Limit: a flight for each key.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// The text that tells what is wanted from everything else.
pub type Key = Arc<[u8]>;

/// So many maps, each behind its lock, which is held for one look-up.
const SHARDS: usize = 16;

type Going<T> = HashMap<Key, watch::Receiver<Option<T>>>;

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
            Place::Occupied(going) => Boarding::Follow(Follower(going.get().clone())),
            Place::Vacant(free) => {
                let (told, others) = watch::channel(None);
                free.insert(others);
                Boarding::Lead(Lead { flights: self.clone(), key: key.clone(), told })
            }
        }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Going<T>> {
        let at = self.hasher.hash_one(key) as usize % SHARDS;
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
}

impl<T> Drop for Lead<T> {
    fn drop(&mut self) {
        let at = self.flights.hasher.hash_one(&self.key) as usize % SHARDS;
        if let Some(shard) = self.flights.shards.get(at) {
            shard.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
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
