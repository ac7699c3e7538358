//! What is worth a line in the log, but not one each time: whoever is outside can make it happen as often as they like.
//!
//! In: what has happened, as a key. Out: whether it is time to say so, and how often it was not said since the last time.
//! Invariant: at most one line in [`PAUSE`] for each key, and `MOST` keys; what goes beyond shares one. The log is
//! that of the process, so this is too. Nothing here runs while nothing fails.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::num::NonZeroU64;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines about the same thing.
pub const PAUSE: Duration = Duration::from_secs(10);
/// Things that are told apart.
const MOST: usize = 256;

#[derive(Default)]
struct Notices {
    entries: HashMap<u64, Entry>,
}

struct Entry {
    said: Instant,
    unsaid: u64,
}

/// Whether to say it now; if so, how often it happened since it was said last, beside this time. That is nothing, and
/// not 0, when it did not, so that the field is left out of the line.
pub fn due(what: impl Hash) -> Option<Option<NonZeroU64>> {
    static NOTICES: LazyLock<Mutex<Notices>> = LazyLock::new(Mutex::default);
    static SPREAD: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let key = SPREAD.hash_one(what);
    NOTICES.lock().unwrap_or_else(PoisonError::into_inner).due(key, Instant::now()).map(NonZeroU64::new)
}

impl Notices {
    fn due(&mut self, mut key: u64, now: Instant) -> Option<u64> {
        let old = |entry: &Entry| now.saturating_duration_since(entry.said) >= PAUSE;
        if !self.entries.contains_key(&key) && self.entries.len() >= MOST {
            self.entries.retain(|_, entry| !old(entry));
            if self.entries.len() >= MOST {
                key = 0;
            }
        }
        match self.entries.get_mut(&key) {
            Some(entry) if !old(entry) => {
                entry.unsaid += 1;
                None
            }
            found => {
                let unsaid = found.map_or(0, |entry| entry.unsaid);
                self.entries.insert(key, Entry { said: now, unsaid: 0 });
                Some(unsaid)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_in_a_while_with_how_often_it_was_not() {
        let (mut notices, start) = (Notices::default(), Instant::now());
        assert_eq!(notices.due(1, start), Some(0));
        assert_eq!(notices.due(1, start), None);
        assert_eq!(notices.due(2, start), Some(0));
        assert_eq!(notices.due(1, start + PAUSE / 2), None);
        assert_eq!(notices.due(1, start + PAUSE), Some(2));
        assert_eq!(notices.due(1, start + PAUSE), None);
    }

    #[test]
    fn there_are_only_so_many_lines_whatever_happens() {
        let (mut notices, start) = (Notices::default(), Instant::now());
        let said = |notices: &mut Notices, now| (1..10_000).filter(|key| notices.due(*key, now).is_some()).count();
        assert_eq!(said(&mut notices, start), MOST + 1);
        assert!(notices.entries.len() <= MOST + 1);
        assert_eq!(said(&mut notices, start), 0);
        assert!(said(&mut notices, start + PAUSE) <= MOST + 1);
        assert!(notices.entries.len() <= MOST + 1);
    }
}
