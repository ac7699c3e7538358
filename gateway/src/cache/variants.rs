//! Several responses to one URL: what they differ by, and under which keys they stand.
//!
//! In: the names of fields, and the keys of those that were kept. Out: the key of one, and those that came last. Limit:
//! [`ASKED_ABOUT`] keys are remembered; the others are found by who asks for the same.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::flight::{BELOW, Key};
use super::key::Way;

/// So many variants are asked about in one request (RFC 9111 section 4.3.1).
const ASKED_ABOUT: usize = 16;

/// What stands under a URL that has several.
#[derive(Debug)]
pub(super) struct Variants {
    /// They differ by these fields of the request.
    names: Box<[String]>,
    /// Makes their keys other ones each time.
    number: u64,
    /// The keys of those that came last, the newest last.
    last: Mutex<VecDeque<Key>>,
}

impl Variants {
    pub(super) fn new(names: &[String]) -> Variants {
        Variants { names: names.into(), number: fastrand::u64(..), last: Mutex::default() }
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Bytes that it takes.
    pub(super) fn weight(&self) -> u64 {
        512 + self.names.iter().map(|name| name.len() as u64 + 24).sum::<u64>()
    }

    /// The key of one.
    pub(super) fn key(&self, url: &[u8], place: &Way, selecting: &[u8]) -> Key {
        let mut text = Vec::with_capacity(url.len() + place.part.bytes().len() + selecting.len() + 21);
        text.extend_from_slice(url);
        text.push(BELOW);
        text.extend_from_slice(&self.number.to_be_bytes());
        place.write(&mut text);
        text.extend_from_slice(selecting);
        text.into()
    }

    /// One is kept.
    pub(super) fn add(&self, key: &Key) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|known| known != key);
        if last.len() >= ASKED_ABOUT {
            last.pop_front();
        }
        last.push_back(key.clone());
    }

    /// The keys of those that came last, the newest first.
    pub(super) fn newest(&self) -> Vec<Key> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_came_last_are_remembered_once() {
        let variants = Variants::new(&["foo".to_owned()]);
        let key = |value: usize| variants.key(b"/", &Way::default(), value.to_string().as_bytes());
        for value in (0..ASKED_ABOUT + 5).chain([7]) {
            variants.add(&key(value));
        }
        let newest = variants.newest();
        assert_eq!((newest.len(), &newest[0], &newest[1]), (ASKED_ABOUT, &key(7), &key(ASKED_ABOUT + 4)));
        assert!(!newest.contains(&key(0)) && newest.iter().filter(|one| **one == key(7)).count() == 1);
    }
}
