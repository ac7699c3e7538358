//! Several responses to one URL: what they differ by, and under which keys they stand.
//!
//! In: the names of fields, and the keys of those that were kept. Out: the key of one, and those that came last. Limit:
//! [`ASKED_ABOUT`] are remembered; the others are found by who asks for the same. What a request says, which may be long, is in a
//! key as a digest: whoever finds something under a key compares what it is the answer to.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use twox_hash::XxHash3_128;

use super::flight::{BELOW, Key};
use super::key::Way;

/// So many variants are asked about in one request (RFC 9111 section 4.3.1).
const ASKED_ABOUT: usize = 16;

/// What one is the answer to, in short.
type Digest = [u8; 16];

/// What stands under a URL that has several.
#[derive(Debug)]
pub(super) struct Variants {
    /// They differ by these fields of the request.
    names: Box<[String]>,
    /// Makes their keys, and digests, other ones each time.
    number: u64,
    /// Those that came last, the newest last.
    last: Mutex<VecDeque<Digest>>,
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
        512 + size_of::<[Digest; ASKED_ABOUT]>() as u64
            + self.names.iter().map(|name| name.len() as u64 + 24).sum::<u64>()
    }

    /// The key of one.
    pub(super) fn key(&self, url: &[u8], place: &Way, selecting: &[u8]) -> Key {
        let mut text = Vec::with_capacity(place.part.bytes().len() + selecting.len() + 12);
        place.write(&mut text);
        text.extend_from_slice(selecting);
        self.under(url, &XxHash3_128::oneshot_with_seed(self.number, &text).to_be_bytes())
    }

    fn under(&self, url: &[u8], digest: &Digest) -> Key {
        let mut key = Vec::with_capacity(url.len() + 1 + size_of::<u64>() + size_of::<Digest>());
        key.extend_from_slice(url);
        key.push(BELOW);
        key.extend_from_slice(&self.number.to_be_bytes());
        key.extend_from_slice(digest);
        key.into()
    }

    /// One stands under this key now.
    pub(super) fn add(&self, key: &[u8]) {
        let Some(digest) = key.last_chunk() else { return };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|known| known != digest);
        if last.len() >= ASKED_ABOUT {
            last.pop_front();
        }
        last.push_back(*digest);
    }

    /// What stands under the keys of those that came last, the newest first. Where nothing does any more, that is forgotten.
    pub(super) fn newest<T>(&self, url: &[u8], mut find: impl FnMut(&[u8]) -> Option<T>) -> Vec<T> {
        let mut found = VecDeque::new();
        self.last.lock().unwrap_or_else(PoisonError::into_inner).retain(|digest| {
            let one = find(&self.under(url, digest));
            let stands = one.is_some();
            one.into_iter().for_each(|one| found.push_front(one));
            stands
        });
        found.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_came_last_are_remembered_once_as_long_as_they_stand() {
        let variants = Variants::new(&["foo".to_owned()]);
        let key = |value: usize| variants.key(b"/", &Way::default(), value.to_string().as_bytes());
        for value in (0..ASKED_ABOUT + 5).chain([7]) {
            variants.add(&key(value));
        }
        let newest = || variants.newest(b"/", |key| Some(key.to_vec()));
        let expected = [7].into_iter().chain((5..ASKED_ABOUT + 5).rev().filter(|value| *value != 7));
        assert_eq!(newest(), expected.map(|value| key(value).to_vec()).collect::<Vec<_>>());
        variants.newest(b"/", |one| (*one != *key(9)).then_some(()));
        assert_eq!(newest().len(), ASKED_ABOUT - 1);
        assert!(newest().iter().all(|one| **one != *key(9)));
    }

    #[test]
    fn keys_are_short_whatever_a_request_says() {
        let variants = Variants::new(&["foo".to_owned()]);
        let way = Way { number: 1, part: super::super::key::Part::default().with("mine", &[b'x'; 1000]) };
        let key = variants.key(b"/", &way, &[b'x'; 50_000]);
        assert!(key.len() < 64, "{}", key.len());
    }
}
