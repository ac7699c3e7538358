//! The body of an entry in other encodings.
//!
//! In: an encoding that somebody wants. Out: the body in it, complete or coming, and for the first one who wants it the right to
//! make it. So it is made once, however many want it at the same time. It lives as long as what it was made of: what throws that away
//! throws it away too, and what renews it keeps it.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::body::{Filler, Reader, Shared};
use crate::http::encoding::Coding;

/// What one body takes besides its bytes.
const OVERHEAD: u64 = 256;

/// The body of an entry in other encodings.
#[derive(Debug, Default)]
pub struct Codings {
    bodies: [ArcSwapOption<Shared>; Coding::ALL.len()],
}

/// A body in an encoding, for one who wants it.
#[derive(Debug)]
pub enum Coded {
    /// It is there.
    Whole(Arc<Shared>),
    /// Somebody makes it.
    Coming(Reader),
    /// Nobody has made it: this one does. Dropped before it is complete, it leaves that to the next.
    Begun(Arc<Shared>, Filler),
}

impl Codings {
    /// The body in this encoding, which is kept up to a length of `most`.
    pub fn open(&self, coding: Coding, most: u64) -> Option<Coded> {
        let slot = self.bodies.get(coding as usize)?;
        let before = slot.load();
        if let Some(shared) = &*before {
            if shared.is_whole() {
                return Some(Coded::Whole(shared.clone()));
            }
            if let Some(reader) = shared.read().filter(|_| !shared.is_broken()) {
                return Some(Coded::Coming(reader));
            }
        }
        let (shared, filler) = Shared::coming(None, most);
        let found = slot.compare_and_swap(&before, Some(shared.clone()));
        let is_first = match (&*found, &*before) {
            (None, None) => true,
            (Some(found), Some(before)) => Arc::ptr_eq(found, before),
            _ => false,
        };
        match &*found {
            Some(other) if !is_first => other.read().map(Coded::Coming),
            _ => Some(Coded::Begun(shared, filler)),
        }
    }

    /// How long the body is in this encoding, when it is there.
    pub fn length(&self, coding: Coding) -> Option<u64> {
        self.bodies.get(coding as usize)?.load().as_ref().filter(|shared| shared.is_whole())?.length()
    }

    /// Bytes that all of them take.
    pub fn weight(&self) -> u64 {
        let lengths = Coding::ALL.into_iter().filter_map(|coding| self.length(coding));
        lengths.map(|length| length + OVERHEAD).sum()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn begun(codings: &Codings, coding: Coding) -> (Arc<Shared>, Filler) {
        match codings.open(coding, 100) {
            Some(Coded::Begun(shared, filler)) => (shared, filler),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_makes_it_and_all_have_it() {
        let codings = Codings::default();
        let (_, filler) = begun(&codings, Coding::Gzip);
        let (_, _other) = begun(&codings, Coding::Zstd);
        assert!(matches!(codings.open(Coding::Gzip, 100), Some(Coded::Coming(_))));
        assert_eq!((codings.length(Coding::Gzip), codings.weight()), (None, 0));
        drop(filler.finish(Some(Bytes::from_static(b"12345")), None));
        assert!(matches!(codings.open(Coding::Gzip, 100), Some(Coded::Whole(_))));
        assert_eq!((codings.length(Coding::Gzip), codings.weight()), (Some(5), 5 + OVERHEAD));
    }

    #[test]
    fn what_was_not_completed_is_made_anew() {
        let codings = Codings::default();
        drop(begun(&codings, Coding::Brotli));
        let (_, filler) = begun(&codings, Coding::Brotli);
        // Too long to be kept: nobody can join when its begin is gone.
        filler.add(Bytes::from(vec![0; 200]));
        let (_, filler) = begun(&codings, Coding::Brotli);
        drop(filler.finish(None, None));
        assert_eq!(codings.length(Coding::Brotli), Some(0));
    }
}
