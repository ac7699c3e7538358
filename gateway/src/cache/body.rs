//! A body that is kept while it comes, and read by any number of requests meanwhile.
//!
//! In: pieces from one upstream, by a [`Filler`]. Out: the same pieces to every [`Reader`], from its begin or from anywhere in it,
//! as soon as they are there. Invariant: a body that broke ends with an error for everybody, so that it never looks complete.
//!
//! As long as it may be kept it comes as fast as the upstream sends, whoever reads: a slow reader holds nobody up. Once it is too
//! large to be kept, only what the slowest reader still wants is held, up to 256 KiB; nobody can join then.
//!
//! A complete body is read without a lock. One that is coming is behind one, which is held for the moment of taking a piece.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use slab::Slab;
use smallvec::SmallVec;

use crate::error::{Error, Kind, Retry};
use crate::http::{Fields, Frame, Source};

/// What is held of a body that is not kept.
const WINDOW: u64 = 256 << 10;

/// A complete body is put into pieces of this size, so that it leaves in few calls, and holds no more memory than it says: what
/// comes from a connection is a part of a buffer that may be much larger.
const PIECE: usize = 1 << 20;

/// Pieces below this are copied when they come, for the same reason.
const SMALL: usize = 4 << 10;

/// A body, complete or coming.
#[derive(Debug)]
pub struct Shared {
    /// How long it will be, when that was said.
    announced: Option<u64>,
    whole: OnceLock<Whole>,
    coming: Mutex<Coming>,
}

#[derive(Debug)]
struct Whole {
    pieces: Box<[Bytes]>,
    length: u64,
    trailers: Option<Box<Fields>>,
}

#[derive(Debug, Default)]
struct Coming {
    /// Those that are held; before them `gone` were dropped.
    pieces: VecDeque<Bytes>,
    gone: usize,
    /// Bytes in `pieces`.
    held: u64,
    /// Bytes that came.
    length: u64,
    trailers: Option<Box<Fields>>,
    over: Option<Result<(), Error>>,
    is_kept: bool,
    readers: Slab<Place>,
    filler: Option<Waker>,
}

/// How far a reader is.
#[derive(Debug)]
struct Place {
    piece: usize,
    waker: Option<Waker>,
}

/// Tasks that are woken when this is dropped.
#[derive(Debug, Default)]
pub struct Sleepers(SmallVec<[Waker; 2]>);

impl Drop for Sleepers {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

/// Puts a body in, piece by piece. What is dropped before its end is broken.
#[derive(Debug)]
pub struct Filler {
    shared: Arc<Shared>,
    /// The most that is kept.
    most: u64,
}

/// Reads a body, or a part of it.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    place: Option<usize>,
    /// The next piece.
    piece: usize,
    /// Bytes to pass over.
    skip: u64,
    /// Bytes still wanted; `None`: all that come.
    left: Option<u64>,
    /// Where it began.
    from: u64,
    /// Bytes taken.
    taken: u64,
    /// Whether `piece` and `skip` are those of the complete body.
    counts_whole: bool,
    over: bool,
}

impl Shared {
    /// A body that will come, and who puts it in.
    pub fn coming(announced: Option<u64>, most: u64) -> (Arc<Shared>, Filler) {
        let coming = Mutex::new(Coming { is_kept: true, ..Coming::default() });
        let shared = Arc::new(Shared { announced, whole: OnceLock::new(), coming });
        (shared.clone(), Filler { shared, most })
    }

    /// A body that is there.
    pub fn whole(bytes: Bytes) -> Arc<Shared> {
        let length = bytes.len() as u64;
        let pieces = joined(VecDeque::from([bytes]), length);
        let whole = OnceLock::from(Whole { pieces, length, trailers: None });
        Arc::new(Shared { announced: Some(length), whole, coming: Mutex::default() })
    }

    /// How long it is, when that is known.
    pub fn length(&self) -> Option<u64> {
        self.whole.get().map(|whole| whole.length).or(self.announced)
    }

    /// All of it, when it is there, in one piece and without trailers.
    pub fn bytes(&self) -> Option<&Bytes> {
        let whole = self.whole.get().filter(|whole| whole.trailers.is_none())?;
        match &*whole.pieces {
            [one] => Some(one),
            _ => None,
        }
    }

    /// All of it, when it is there, in its pieces, and what follows them.
    pub fn pieces(&self) -> Option<(&[Bytes], Option<&Fields>)> {
        self.whole.get().map(|whole| (&*whole.pieces, whole.trailers.as_deref()))
    }

    /// Whether trailers follow it, as far as is known.
    pub fn has_trailers(&self) -> bool {
        self.whole.get().is_some_and(|whole| whole.trailers.is_some())
    }

    /// Whether all of it is there.
    pub fn is_whole(&self) -> bool {
        self.whole.get().is_some()
    }

    /// Whether it will never be complete.
    pub fn is_broken(&self) -> bool {
        !self.is_whole() && matches!(self.lock().over, Some(Err(_)))
    }

    /// All of it, from its begin. `None` when a piece was dropped already.
    pub fn read(self: &Arc<Shared>) -> Option<Reader> {
        self.part(0, None)
    }

    /// So many bytes from here.
    pub fn part(self: &Arc<Shared>, skip: u64, left: Option<u64>) -> Option<Reader> {
        let place = match self.is_whole() {
            true => None,
            false => {
                let mut coming = self.lock();
                if coming.gone > 0 {
                    return None;
                }
                Some(coming.readers.insert(Place { piece: 0, waker: None }))
            }
        };
        let over = left == Some(0);
        Some(Reader {
            shared: self.clone(),
            place,
            piece: 0,
            skip,
            left,
            from: skip,
            taken: 0,
            counts_whole: false,
            over,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Coming> {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, result: Result<(), Error>) -> Sleepers {
        let mut coming = self.lock();
        if coming.over.is_some() {
            return Sleepers::default();
        }
        let result = match self.announced {
            Some(announced) if result.is_ok() && announced != coming.length => {
                Err(Error::upstream(Kind::Truncated, Retry::Never))
            }
            _ => result,
        };
        coming.over = Some(result);
        if result.is_ok() && coming.is_kept {
            let (length, trailers) = (coming.length, coming.trailers.clone());
            let pieces = std::mem::take(&mut coming.pieces);
            let whole = Whole { pieces: joined(pieces, length), length, trailers };
            // Once only, as `over` was not set.
            let _ = self.whole.set(whole);
        }
        coming.sleepers()
    }
}

/// The same in pieces of one size.
fn joined(mut pieces: VecDeque<Bytes>, length: u64) -> Box<[Bytes]> {
    let mut left = usize::try_from(length).unwrap_or(usize::MAX);
    let mut whole = Vec::with_capacity(left.div_ceil(PIECE));
    while left > 0 {
        let size = left.min(PIECE);
        let mut piece = BytesMut::with_capacity(size);
        while piece.len() < size {
            let Some(next) = pieces.front_mut() else { break };
            piece.extend_from_slice(&next.split_to(next.len().min(size - piece.len())));
            if next.is_empty() {
                pieces.pop_front();
            }
        }
        left -= size;
        whole.push(piece.freeze());
    }
    whole.into()
}

impl Coming {
    /// Those who wait for something to happen.
    fn sleepers(&mut self) -> Sleepers {
        let readers = self.readers.iter_mut().filter_map(|(_, place)| place.waker.take());
        Sleepers(readers.chain(self.filler.take()).collect())
    }

    /// Drops what every reader has had, when it is not kept.
    fn trim(&mut self) {
        if self.is_kept {
            return;
        }
        let slowest = self.readers.iter().map(|(_, place)| place.piece).min().unwrap_or(usize::MAX);
        while self.gone < slowest {
            let Some(piece) = self.pieces.pop_front() else { break };
            self.held -= piece.len() as u64;
            self.gone += 1;
        }
        if let Some(filler) = self.filler.take() {
            filler.wake();
        }
    }
}

impl Filler {
    /// Waits until more may be put in. `false` when nobody wants it: it is too large to be kept and nobody reads.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut coming = self.shared.lock();
        if coming.is_kept {
            return Poll::Ready(true);
        }
        if coming.readers.is_empty() {
            return Poll::Ready(false);
        }
        if coming.held < WINDOW {
            return Poll::Ready(true);
        }
        coming.filler = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Puts a piece in. `false` from the moment on at which it is too large to be kept.
    pub fn add(&self, piece: Bytes) -> bool {
        let piece = if piece.len() < SMALL { Bytes::copy_from_slice(&piece) } else { piece };
        let mut coming = self.shared.lock();
        coming.length += piece.len() as u64;
        coming.held += piece.len() as u64;
        coming.pieces.push_back(piece);
        if coming.length > self.most {
            coming.is_kept = false;
        }
        let sleepers = coming.sleepers();
        coming.trim();
        let is_kept = coming.is_kept;
        drop(coming);
        drop(sleepers);
        is_kept
    }

    /// It is not to be kept, only passed on.
    pub fn keep_no_more(&self) {
        let mut coming = self.shared.lock();
        coming.is_kept = false;
        coming.trim();
    }

    /// All of it is in, with this as its last piece. Those who wait for it wake when what is given is dropped.
    pub fn finish(self, last: Option<Bytes>, trailers: Option<Box<Fields>>) -> Sleepers {
        let mut coming = self.shared.lock();
        coming.trailers = trailers;
        if let Some(last) = last {
            coming.length += last.len() as u64;
            coming.held += last.len() as u64;
            coming.pieces.push_back(last);
            coming.is_kept &= coming.length <= self.most;
        }
        drop(coming);
        self.shared.end(Ok(()))
    }

    /// What came so far, when all of it is there.
    pub fn came(&self) -> Option<Vec<Bytes>> {
        let coming = self.shared.lock();
        (coming.gone == 0 && coming.is_kept).then(|| coming.pieces.iter().cloned().collect())
    }

    /// No more will come, although more was meant to.
    pub fn fail(self, error: Error) {
        drop(self.shared.end(Err(error)));
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        drop(self.shared.end(Err(Error::gateway(Kind::Cut))));
    }
}

impl Reader {
    /// The next piece of what is there, cut to what is wanted.
    fn next_of<'p>(&mut self, mut piece_at: impl FnMut(usize) -> Option<&'p Bytes>) -> Option<Bytes> {
        loop {
            let piece = piece_at(self.piece)?;
            let length = piece.len() as u64;
            if self.skip >= length {
                self.skip -= length;
                self.piece += 1;
                continue;
            }
            let rest = piece.slice(self.skip as usize..);
            self.piece += 1;
            self.skip = 0;
            let wanted =
                self.left.map_or(rest.len(), |left| rest.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
            self.taken += wanted as u64;
            if let Some(left) = &mut self.left {
                *left -= wanted as u64;
                self.over = *left == 0;
            }
            return Some(rest.slice(..wanted));
        }
    }

    /// The next of a body that is there.
    fn next_of_whole(&mut self, whole: &Whole) -> Option<Result<Frame, Error>> {
        // The pieces are other ones than those that came.
        if !self.counts_whole {
            self.counts_whole = true;
            let at = self.from + self.taken;
            (self.piece, self.skip) = ((at / PIECE as u64) as usize, at % PIECE as u64);
        }
        match self.next_of(|at| whole.pieces.get(at)) {
            Some(piece) => Some(Ok(Frame::Data(piece))),
            None => self.ended(whole.trailers.clone()),
        }
    }

    fn ended(&mut self, trailers: Option<Box<Fields>>) -> Option<Result<Frame, Error>> {
        self.over = true;
        // A part has none.
        trailers.filter(|_| self.left.is_none()).map(|trailers| Ok(Frame::Trailers(trailers)))
    }
}

impl Source for Reader {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let shared = self.shared.clone();
        if let Some(whole) = shared.whole.get() {
            return Poll::Ready(self.next_of_whole(whole));
        }
        let mut coming = shared.lock();
        // It may have been completed a moment ago.
        if let Some(whole) = shared.whole.get() {
            drop(coming);
            return Poll::Ready(self.next_of_whole(whole));
        }
        let gone = coming.gone;
        let piece = self.next_of(|at| coming.pieces.get(at.checked_sub(gone)?));
        if let Some(place) = self.place.and_then(|place| coming.readers.get_mut(place)) {
            place.piece = self.piece;
            place.waker = piece.is_none().then(|| cx.waker().clone());
        }
        if let Some(piece) = piece {
            coming.trim();
            return Poll::Ready(Some(Ok(Frame::Data(piece))));
        }
        match coming.over {
            None => Poll::Pending,
            Some(Ok(())) => {
                let trailers = coming.trailers.clone();
                drop(coming);
                Poll::Ready(self.ended(trailers))
            }
            Some(Err(error)) => {
                self.over = true;
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn length(&self) -> Option<u64> {
        if self.left.is_none() && self.shared.has_trailers() {
            return None;
        }
        self.left.or_else(|| Some(self.shared.length()?.saturating_sub(self.from + self.taken)))
    }

    fn is_end(&self) -> bool {
        self.over
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let mut coming = self.shared.lock();
            coming.readers.try_remove(place);
            coming.trim();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn poll(reader: &mut Reader) -> Poll<Option<Result<Frame, Error>>> {
        reader.poll_frame(&mut Context::from_waker(Waker::noop()))
    }

    /// What is there now, and how it ended if it did.
    fn drain(reader: &mut Reader, into: &mut Vec<u8>) -> Option<Result<(), Error>> {
        loop {
            match poll(reader) {
                Poll::Pending => return None,
                Poll::Ready(None) => return Some(Ok(())),
                Poll::Ready(Some(Ok(Frame::Data(piece)))) => into.extend_from_slice(&piece),
                Poll::Ready(Some(Ok(Frame::Trailers(_)))) => {}
                Poll::Ready(Some(Err(error))) => return Some(Err(error)),
            }
        }
    }

    fn all(shared: &Arc<Shared>) -> (Vec<u8>, Option<Result<(), Error>>) {
        let mut bytes = Vec::new();
        let end = drain(&mut shared.read().unwrap(), &mut bytes);
        (bytes, end)
    }

    #[test]
    fn those_who_come_later_have_the_begin_too() {
        let (shared, filler) = Shared::coming(None, 100);
        let mut early = shared.read().unwrap();
        assert!(filler.add(Bytes::from_static(b"one ")));
        let mut bytes = Vec::new();
        assert_eq!(drain(&mut early, &mut bytes), None);
        assert_eq!(all(&shared), (b"one ".to_vec(), None));
        assert!(filler.add(Bytes::from_static(b"two")));
        drop(filler.finish(None, None));
        assert_eq!((drain(&mut early, &mut bytes), &*bytes), (Some(Ok(())), &b"one two"[..]));
        assert_eq!(all(&shared), (b"one two".to_vec(), Some(Ok(()))));
        assert_eq!(shared.length(), Some(7));
    }

    #[test]
    fn a_body_that_broke_looks_complete_to_nobody() {
        let (shared, filler) = Shared::coming(Some(7), 100);
        filler.add(Bytes::from_static(b"one"));
        let mut early = shared.read().unwrap();
        drop(filler);
        assert!(matches!(drain(&mut early, &mut Vec::new()), Some(Err(_))));
        assert!(matches!(all(&shared), (bytes, Some(Err(_))) if bytes == b"one"));
        let (short, filler) = Shared::coming(Some(7), 100);
        filler.add(Bytes::from_static(b"one"));
        drop(filler.finish(None, None));
        assert!(!short.is_whole());
        assert!(matches!(all(&short).1, Some(Err(_))));
    }

    #[test]
    fn what_is_too_large_is_only_passed_on() {
        let (shared, filler) = Shared::coming(None, 10);
        let (mut slow, mut gone) = (shared.read().unwrap(), shared.read().unwrap());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(filler.add(Bytes::from(vec![1; 10])));
        drain(&mut gone, &mut Vec::new());
        assert!(!filler.add(Bytes::from(vec![2; WINDOW as usize])));
        assert!(filler.poll_room(&mut cx).is_pending());
        let mut bytes = Vec::new();
        drain(&mut slow, &mut bytes);
        assert!(filler.poll_room(&mut cx).is_pending(), "the other has not read it");
        drop(gone);
        assert_eq!(filler.poll_room(&mut cx), Poll::Ready(true));
        assert!(shared.read().is_none(), "its begin is gone");
        filler.add(Bytes::from_static(b"end"));
        drop(slow);
        assert_eq!(filler.poll_room(&mut cx), Poll::Ready(false));
    }

    proptest! {
        /// Whoever joins whenever, and reads whenever, has the part that it asked for.
        #[test]
        fn every_reader_has_its_part(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..12),
            joins in proptest::collection::vec((0usize..12, 0u64..200, proptest::option::of(0u64..200), 1usize..4), 1..6),
        ) {
            let (shared, filler) = Shared::coming(None, 1 << 20);
            let body: Vec<u8> = pieces.concat();
            let mut readers = Vec::new();
            for (at, piece) in pieces.iter().chain([&Vec::new()]).enumerate() {
                for (_, skip, left, every) in joins.iter().filter(|join| join.0 == at) {
                    readers.push((shared.part(*skip, *left).unwrap(), Vec::new(), *skip, *left, *every));
                }
                for (reader, bytes, .., every) in &mut readers {
                    if at.is_multiple_of(*every) {
                        drain(reader, bytes);
                    }
                }
                if !piece.is_empty() {
                    filler.add(Bytes::from(piece.clone()));
                }
            }
            drop(filler.finish(None, None));
            for (reader, mut bytes, skip, left, _) in readers.iter_mut().map(|(r, b, s, l, e)| (r, std::mem::take(b), *s, *l, e)) {
                prop_assert_eq!(drain(reader, &mut bytes), Some(Ok(())));
                let from = body.get(skip as usize..).unwrap_or_default();
                let wanted = left.map_or(from, |left| from.get(..left as usize).unwrap_or(from));
                prop_assert_eq!(&*bytes, wanted);
            }
        }
    }
}
