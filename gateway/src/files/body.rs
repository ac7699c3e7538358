//! A file on its way to a client, read as it is asked for.
//!
//! In: an open file and which parts of it to send, with texts between them. Out: frames. What the system has in memory
//! is read at once; the rest is read on the blocking pool, one chunk ahead of the client. Invariant: when the file
//! shrinks or changes the body ends with an error, so that it never looks complete. Limit: two chunks of memory.

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::future::Future;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;

use crate::error::{Error, Kind};
use crate::http::{Frame, Source};

/// What is read at once.
const CHUNK: u64 = 128 * 1024;

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
    buffer: BytesMut,
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

    /// Whether the content is the same. A file that is replaced while it is open changes in nothing but its links.
    pub(super) fn same_content(&self, other: &Identity) -> bool {
        (self.length, self.modified) == (other.length, other.modified)
    }
}

impl FileBody {
    pub(super) fn new(file: Arc<File>, identity: Identity, pieces: VecDeque<Piece>) -> FileBody {
        let left = pieces.iter().map(Piece::length).sum();
        FileBody { file, identity, pieces, left, ahead: None, buffer: BytesMut::new() }
    }

    /// The next bytes of the file from `range` on.
    fn poll_read(&mut self, range: Range<u64>, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if self.ahead.is_none() {
            let want = (range.end - range.start).min(CHUNK) as usize;
            if let Some(result) = read_cached(&self.file, range.start, want, &mut self.buffer) {
                return Poll::Ready(result);
            }
            self.ahead = Some(read_later(&self.file, &range));
        }
        let Some(reading) = &mut self.ahead else { return Poll::Pending };
        let early = reading.is_finished();
        let result = ready!(Pin::new(reading).poll(cx));
        self.ahead = None;
        let bytes = result.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))?;
        // While the disk is the slower one, it reads on. Once it is ahead, the system may have the rest in memory.
        let next = range.start.saturating_add(bytes.len() as u64)..range.end;
        if !early && !bytes.is_empty() && !next.is_empty() {
            self.ahead = Some(read_later(&self.file, &next));
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
        let bytes = match ready!(self.poll_read(range.clone(), cx)) {
            Ok(bytes) => bytes,
            Err(_) => return Poll::Ready(Some(Err(Error::gateway(Kind::Internal("a file could not be read"))))),
        };
        // Looked at after the read: what was read is then at least as old as what is compared.
        if bytes.is_empty() || !self.is_unchanged() {
            return Poll::Ready(Some(Err(Error::gateway(Kind::Internal("a file changed while it was sent")))));
        }
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
}

impl Piece {
    pub(super) fn length(&self) -> u64 {
        match self {
            Piece::Text(text) => text.len() as u64,
            Piece::File(range) => range.end.saturating_sub(range.start),
        }
    }
}

/// Reads what the system has in memory, perhaps less than wanted; `None` when it would have to wait for a disk.
#[cfg(target_os = "linux")]
fn read_cached(file: &File, offset: u64, want: usize, buffer: &mut BytesMut) -> Option<io::Result<Bytes>> {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    // When the client's side has let go of the last chunk, its memory is used again.
    buffer.resize(want, 0);
    match preadv2(file, &mut [io::IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT) {
        Ok(n) => {
            buffer.truncate(n);
            Some(Ok(buffer.split().freeze()))
        }
        // Not in memory; or a file system that cannot tell.
        Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::INTR | Errno::NOSYS) => None,
        Err(error) => Some(Err(error.into())),
    }
}

#[cfg(not(target_os = "linux"))]
fn read_cached(_: &File, _: u64, _: usize, _: &mut BytesMut) -> Option<io::Result<Bytes>> {
    None
}

fn read_later(file: &Arc<File>, range: &Range<u64>) -> JoinHandle<io::Result<Bytes>> {
    let (file, offset) = (file.clone(), range.start);
    let want = (range.end - range.start).min(CHUNK) as usize;
    tokio::task::spawn_blocking(move || {
        let mut chunk = vec![0; want];
        let mut filled = 0;
        while let Some(rest) = chunk.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        chunk.truncate(filled);
        Ok(chunk.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_disk_has_to_bring_comes_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let content: Vec<u8> = (0..3 * CHUNK + 17).map(|n| (n / 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let file = Arc::new(File::open(&path).unwrap());
        let identity = Identity::of(&file.metadata().unwrap());
        let range = 5..identity.length - 3;
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let mut body = FileBody::new(file.clone(), identity, VecDeque::from([Piece::File(range.clone())]));
            // As if the system did not have the beginning in memory.
            body.ahead = Some(read_later(&file, &range));
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
