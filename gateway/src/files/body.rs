//! A file on its way to a client, read as it is asked for.
//!
//! In: an open file and which parts of it to send, with texts between them. Out: frames. What the system has in memory
//! is read at once; the rest is read on the blocking pool, one chunk ahead of the client. Invariant: when the file
//! shrinks or changes the body ends with an error, so that it never looks complete. The beginning of a large file goes out without
//! passing through here ([`parts`]), where the connection allows it. Limits: two chunks of memory; no more than
//! [`BURST`] is read before others on the worker have their turn.

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::future::Future;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::chunk::{self, Chunk};
use super::parts;
use crate::error::{Error, Kind};
use crate::http::{FilePart, Frame, Source};

/// A client that is as fast as the memory lets others wait no longer than this takes.
const BURST: usize = 2 * 1024 * 1024;

/// The most that the system sends by itself before the file is looked at again.
const PART: u64 = 1024 * 1024;

/// What makes a file another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    pub(super) length: u64,
    /// Seconds and nanoseconds.
    pub(super) modified: (i64, i64),
    changed: (i64, i64),
}

/// A part of a body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    /// These bytes.
    Text(Bytes),
    /// These bytes of the file.
    File(Range<u64>),
}

/// The body.
pub(super) struct FileBody {
    file: Arc<File>,
    identity: Identity,
    pieces: VecDeque<Piece>,
    left: u64,
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
    /// How much was read since others had their turn.
    burst: usize,
}

impl Identity {
    pub(super) fn of(metadata: &Metadata) -> Identity {
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The entity tag: another one whenever the file is replaced or written to.
    pub(super) fn tag(&self) -> String {
        let (second, nanosecond) = self.modified;
        format!("\"{second:x}.{nanosecond:x}-{:x}-{:x}\"", self.length, self.inode)
    }

    /// When it or what is said of it was changed last.
    pub(super) fn changed(&self) -> Duration {
        let (second, nanosecond) = self.changed;
        Duration::new(u64::try_from(second).unwrap_or_default(), u32::try_from(nanosecond).unwrap_or_default())
    }

    /// Whether the content is the same. A file that is replaced while it is open changes in nothing but its links.
    pub(super) fn same_content(&self, other: &Identity) -> bool {
        (self.length, self.modified) == (other.length, other.modified)
    }
}

impl FileBody {
    pub(super) fn new(file: Arc<File>, identity: Identity, pieces: VecDeque<Piece>) -> FileBody {
        let left = pieces.iter().map(Piece::length).sum();
        FileBody { file, identity, pieces, left, ahead: None, burst: 0 }
    }

    /// The next bytes of the file from `range` on.
    fn poll_read(&mut self, range: Range<u64>, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if self.ahead.is_none() {
            let want = want(&range);
            if let Some(result) = Chunk::take().fill_cached(&self.file, range.start, want) {
                return Poll::Ready(result);
            }
            self.ahead = Some(read_later(&self.file, range.start, want));
        }
        let Some(reading) = &mut self.ahead else { return Poll::Pending };
        let early = reading.is_finished();
        let result = ready!(Pin::new(reading).poll(cx));
        self.ahead = None;
        let bytes = result.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))?;
        // While the disk is the slower one, it reads on. Once it is ahead, the system may have the rest in memory.
        let next = range.start.saturating_add(bytes.len() as u64)..range.end;
        if !early && !bytes.is_empty() && !next.is_empty() {
            self.ahead = Some(read_later(&self.file, next.start, want(&next)));
        }
        Poll::Ready(Ok(bytes))
    }

    fn is_unchanged(&self) -> bool {
        self.file.metadata().is_ok_and(|now| Identity::of(&now).same_content(&self.identity))
    }
}

impl Source for FileBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        let range = loop {
            match self.pieces.pop_front() {
                None => return Poll::Ready(None),
                Some(Piece::Text(text)) => {
                    self.left = self.left.saturating_sub(text.len() as u64);
                    return Poll::Ready(Some(Ok(Frame::Data(text))));
                }
                Some(Piece::File(range)) if range.is_empty() => {}
                Some(Piece::File(range)) => break range,
            }
        };
        // It stays the first piece until its bytes are there, and after an error.
        self.pieces.push_front(Piece::File(range.clone()));
        if self.burst >= BURST {
            self.burst = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let bytes = match ready!(self.poll_read(range.clone(), cx)) {
            Ok(bytes) => bytes,
            Err(_) => return Poll::Ready(Some(Err(Error::gateway(Kind::Internal("a file could not be read"))))),
        };
        // Looked at after the read: what was read is then at least as old as what is compared.
        if bytes.is_empty() || !self.is_unchanged() {
            return Poll::Ready(Some(Err(Error::gateway(Kind::Internal("a file changed while it was sent")))));
        }
        self.burst += bytes.len();
        let sent = bytes.len() as u64;
        self.left = self.left.saturating_sub(sent);
        if let Some(Piece::File(first)) = self.pieces.front_mut() {
            first.start += sent;
        }
        Poll::Ready(Some(Ok(Frame::Data(bytes))))
    }

    fn length(&self) -> Option<u64> {
        Some(self.left)
    }

    fn is_end(&self) -> bool {
        self.left == 0
    }

    fn held_back(&mut self) {
        self.burst = 0;
    }

    fn part(&mut self) -> Option<FilePart> {
        let most = self.left.checked_sub(parts::kept_back()?)?;
        let Some(Piece::File(range)) = self.pieces.front() else { return None };
        let length = most.min(range.end.saturating_sub(range.start)).min(PART);
        let offset = range.start;
        // What a part of the last one is not to be believed for, the next frame finds out.
        if length == 0
            || self.ahead.is_some()
            || self.burst >= BURST
            || !self.is_unchanged()
            || !parts::are_cached(&self.file, offset..offset + length)
        {
            return None;
        }
        if let Some(Piece::File(range)) = self.pieces.front_mut() {
            range.start += length;
        }
        self.left -= length;
        self.burst += length as usize;
        Some(FilePart { file: self.file.clone(), offset, length: length as usize })
    }
}

impl Piece {
    pub(super) fn length(&self) -> u64 {
        match self {
            Piece::Text(text) => text.len() as u64,
            Piece::File(range) => range.end.saturating_sub(range.start),
        }
    }
}

/// How much of this to read at once.
fn want(range: &Range<u64>) -> usize {
    usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX).min(chunk::SIZE)
}

fn read_later(file: &Arc<File>, offset: u64, want: usize) -> JoinHandle<io::Result<Bytes>> {
    let (file, chunk) = (file.clone(), Chunk::take());
    tokio::task::spawn_blocking(move || chunk.fill(&file, offset, want))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_disk_has_to_bring_comes_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let content: Vec<u8> = (0..3 * chunk::SIZE as u64 + 17).map(|n| (n / 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let file = Arc::new(File::open(&path).unwrap());
        let identity = Identity::of(&file.metadata().unwrap());
        let range = 5..identity.length - 3;
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let mut body = FileBody::new(file.clone(), identity, VecDeque::from([Piece::File(range.clone())]));
            // As if the system did not have the beginning in memory.
            body.ahead = Some(read_later(&file, range.start, 1000));
            let mut got = Vec::new();
            while let Some(frame) = std::future::poll_fn(|cx| body.poll_frame(cx)).await {
                let Ok(Frame::Data(data)) = frame else { panic!("{frame:?}") };
                assert!(!data.is_empty());
                got.extend_from_slice(&data);
                assert_eq!(body.length(), Some(range.end - range.start - got.len() as u64));
            }
            assert!(got == content[5..content.len() - 3]);
        });
    }
}
