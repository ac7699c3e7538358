//! One file of the folder: writing it, reading it, putting a head behind it.
//!
//! In: a head and a body, or the bytes of a file. Out: the other. Invariant: no byte leaves unchecked. Everything here waits for
//! the disk, so it is for threads that may.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use bytes::Bytes;

use super::format::{CHUNK, Damage, Head, MOST_HEADS, PRELUDE, Prelude};

/// What is written at a time.
const BUFFER: usize = 4 * CHUNK;

/// Something that can be read anywhere.
pub trait Source {
    /// Fills the buffer with what stands there.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()>;
}

impl Source for File {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(into, at)
    }
}

impl Source for &[u8] {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(at).ok().and_then(|at| self.get(at..)?.get(..into.len()));
        into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Why a file gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It is not there any more.
    #[error("the file is gone")]
    Gone,
    /// It is not what was written.
    #[error("the file is damaged: {0}")]
    Damaged(#[from] Damage),
    /// The disk does not give it.
    #[error("{0}")]
    Disk(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::NotFound => Failure::Gone,
            // It is shorter than it was.
            io::ErrorKind::UnexpectedEof => Failure::Damaged(Damage::Length),
            _ => Failure::Disk(error),
        }
    }
}

/// A file whose head is known.
#[derive(Debug)]
pub struct Opened<S> {
    source: S,
    prelude: Prelude,
    /// The head that holds.
    pub head: Head,
    next: u64,
}

impl<S: Source> Opened<S> {
    /// The first so many bytes of this file, or all, which bears this number.
    pub fn new(source: S, id: u64, size: u64) -> Result<Opened<S>, Failure> {
        let mut begin = [0; PRELUDE];
        source.read_at(0, &mut begin)?;
        let prelude = Prelude::of(&begin)?;
        if prelude.id != id {
            return Err(Damage::Misplaced.into());
        }
        let heads = size.checked_sub(prelude.heads()).ok_or(Damage::Length)?;
        let heads = usize::try_from(heads).ok().filter(|heads| *heads <= MOST_HEADS).ok_or(Damage::Length)?;
        let mut bytes = vec![0; heads];
        source.read_at(prelude.heads(), &mut bytes)?;
        let head = prelude.head_of(&bytes)?;
        Ok(Opened { source, prelude, head, next: 0 })
    }

    /// Bytes of the body.
    pub fn length(&self) -> u64 {
        self.prelude.length
    }

    /// The next bytes of the body, some at a time; `None` at its end.
    pub fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        if self.next == self.prelude.chunks() {
            return Ok(None);
        }
        let (at, length) = self.prelude.chunk_at(self.next);
        let mut bytes = vec![0; length];
        self.source.read_at(at, &mut bytes)?;
        let chunk = self.prelude.checked(self.next, &bytes)?.len();
        bytes.truncate(chunk);
        self.next += 1;
        Ok(Some(bytes.into()))
    }

    /// The whole body, checked, in its pieces.
    pub fn body(&mut self) -> Result<Vec<Bytes>, Failure> {
        let mut pieces = Vec::new();
        while let Some(piece) = self.chunk()? {
            pieces.push(piece);
        }
        Ok(pieces)
    }
}

/// Whether the head could be written at all, and how large the file would be with it.
pub(super) fn size(prelude: &Prelude, head: &Head) -> Option<u64> {
    Some(prelude.heads() + prelude.head_bytes(prelude.heads(), head)?.len() as u64)
}

/// Writes an entry whole, and tells how large it became.
pub(super) fn write(file: &mut impl Write, prelude: &Prelude, head: &Head, pieces: &[Bytes]) -> io::Result<u64> {
    let mut buffer = Vec::with_capacity(BUFFER.min(prelude.heads() as usize) + PRELUDE);
    buffer.extend_from_slice(&prelude.bytes());
    let (mut pieces, mut rest): (_, &[u8]) = (pieces.iter(), &[]);
    for number in 0..prelude.chunks() {
        let begin = buffer.len();
        let mut left = prelude.chunk_at(number).1 - size_of::<u64>();
        while left > 0 {
            if rest.is_empty() {
                rest = pieces.next().ok_or(io::ErrorKind::InvalidInput)?;
            }
            let (now, later) = rest.split_at(left.min(rest.len()));
            buffer.extend_from_slice(now);
            (rest, left) = (later, left - now.len());
        }
        let own = prelude.sum_of(number, buffer.get(begin..).unwrap_or_default());
        buffer.extend_from_slice(&own);
        if buffer.len() >= BUFFER {
            file.write_all(&buffer)?;
            buffer.clear();
        }
    }
    let head = prelude.head_bytes(prelude.heads(), head).ok_or(io::ErrorKind::InvalidInput)?;
    buffer.extend_from_slice(&head);
    file.write_all(&buffer)?;
    Ok(prelude.heads() + head.len() as u64)
}

/// Puts a head behind a file of this size, and tells how large it is then. `None`: there is no room for one more.
pub(super) fn append(
    file: &File,
    id: u64,
    size: u64,
    change: impl FnOnce(Head) -> Head,
) -> Result<Option<u64>, Failure> {
    let Opened { source: file, prelude, head, .. } = Opened::new(file, id, size)?;
    let Some(bytes) = prelude.head_bytes(size, &change(head)) else { return Ok(None) };
    let after = size + bytes.len() as u64;
    if after - prelude.heads() > MOST_HEADS as u64 {
        return Ok(None);
    }
    file.write_all_at(&bytes, size)?;
    Ok(Some(after))
}

impl Source for &File {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(into, at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::head;
    use super::*;

    const ID: u64 = 0x0000_0001_0000_0007;

    fn written(head: &Head, body: &[u8], cut: usize) -> Vec<u8> {
        let prelude = Prelude { id: ID, salt: 99, length: body.len() as u64 };
        let pieces: Vec<Bytes> = body.chunks(cut.max(1)).map(Bytes::copy_from_slice).collect();
        let mut bytes = Vec::new();
        let size = write(&mut bytes, &prelude, head, &pieces).unwrap();
        assert_eq!((size, Some(size)), (bytes.len() as u64, super::size(&prelude, head)));
        bytes
    }

    fn read(bytes: &[u8]) -> Result<(Head, Vec<u8>), Failure> {
        let mut opened = Opened::new(bytes, ID, bytes.len() as u64)?;
        let body = opened.body()?.concat();
        Ok((opened.head, body))
    }

    fn text(head: &Head) -> String {
        format!("{head:?}")
    }

    #[test]
    fn every_flipped_bit_and_every_missing_byte_is_found() {
        let body: Vec<u8> = (0..300u32).map(|number| number as u8).collect();
        let bytes = written(&head("http://x/a"), &body, 7);
        assert_eq!(read(&bytes).unwrap().1, body);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut other = bytes.clone();
                other[at] ^= 1 << bit;
                assert!(matches!(read(&other), Err(Failure::Damaged(_))), "{at} {bit}");
            }
            assert!(matches!(read(&bytes[..at]), Err(Failure::Damaged(_))), "{at}");
        }
        for more in [&[0][..], &[0; 12], b"more of it"] {
            assert!(read(&[&bytes[..], more].concat()).is_err());
        }
    }

    #[test]
    fn parts_of_other_files_and_places_do_not_fit() {
        let body: Vec<u8> = (0..3 * CHUNK).map(|at| (at / CHUNK) as u8).collect();
        let one = written(&head("http://x/a"), &body, CHUNK);
        let prelude = Prelude { id: ID, salt: 100, length: body.len() as u64 };
        let mut other = Vec::new();
        write(&mut other, &prelude, &head("http://x/b"), &[body.clone().into()]).unwrap();
        let part = |number| {
            let (at, length) = prelude.chunk_at(number);
            at as usize..at as usize + length
        };
        // The same bytes with their sum, from the other file, and from another place.
        let mut mixed = one.clone();
        mixed[part(1)].copy_from_slice(&other[part(1)]);
        assert!(matches!(read(&mixed), Err(Failure::Damaged(Damage::Sum))));
        let mut moved = one.clone();
        moved[part(0)].copy_from_slice(&one[part(1)]);
        assert!(matches!(read(&moved), Err(Failure::Damaged(Damage::Sum))));
        let mut head_of_other = one.clone();
        let at = prelude.heads() as usize;
        head_of_other[at..].copy_from_slice(&other[at..]);
        assert!(matches!(read(&head_of_other), Err(Failure::Damaged(Damage::Sum))));
        // And a whole file under another name.
        assert!(matches!(Opened::new(&one[..], ID + 1, one.len() as u64), Err(Failure::Damaged(Damage::Misplaced))));
    }

    #[test]
    fn the_last_head_holds_and_what_is_behind_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let bytes = written(&head("http://x/a"), b"body", 4);
        std::fs::write(&path, &bytes).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let size = bytes.len() as u64;
        let after = append(&file, ID, size, |head| Head { stamp: 77, is_stale: true, ..head }).unwrap().unwrap();
        let all = std::fs::read(&path).unwrap();
        let (found, body) = read(&all).unwrap();
        assert_eq!((found.stamp, found.is_stale, &body[..], all.len() as u64), (77, true, &b"body"[..], after));
        assert!(!Opened::new(&all[..], ID, size).unwrap().head.is_stale);
        // A head that is half there costs the entry, not the truth.
        assert!(read(&all[..all.len() - 1]).is_err());
        // There is an end to it.
        let mut size = after;
        while let Some(after) = append(&file, ID, size, |head| head).unwrap() {
            size = after;
        }
        assert!(size < MOST_HEADS as u64 + 4096 && Opened::new(&file, ID, size).unwrap().head.stamp == 77);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_written_is_read(
            body in proptest::collection::vec(any::<u8>(), 0..200_000),
            cut in 1usize..100_000,
            url in "\\PC{0,40}",
            names in proptest::collection::vec("[a-z]{1,9}", 0..4),
            selecting in proptest::collection::vec(any::<u8>(), 0..40),
            numbers in any::<[u64; 5]>(),
            status in 100u16..1000,
            basis in 0usize..4,
            trailers in any::<bool>(),
        ) {
            use crate::cache::policy::freshness::{Basis, Times};
            let fields = head("").fields;
            let basis = [Basis::Explicit, Basis::Heuristic, Basis::Default, Basis::Nothing][basis];
            let head = Head {
                stamp: numbers[0],
                is_stale: trailers,
                url,
                place: [7; 32],
                vary: (names.clone(), selecting),
                tags: names,
                status: crate::http::StatusCode::from_u16(status).unwrap(),
                times: Times { requested: numbers[1], received: numbers[2] },
                initial_age: numbers[3],
                lifetime: (numbers[4], basis),
                trailers: trailers.then(|| fields.clone()),
                fields,
            };
            let (found, same) = read(&written(&head, &body, cut)).unwrap();
            prop_assert_eq!(text(&found), text(&head));
            prop_assert!(same == body);
        }

        #[test]
        fn what_is_no_file_is_no_entry(bytes in proptest::collection::vec(any::<u8>(), 0..500), at in 0usize..400, with in any::<u8>()) {
            prop_assert!(read(&bytes).is_err());
            let mut bytes = written(&head("http://x/a"), b"a body", 3);
            if let Some(byte) = bytes.get_mut(at).filter(|byte| **byte != with) {
                *byte = with;
                prop_assert!(read(&bytes).is_err());
            }
        }
    }
}
