//! Memory for files on their way, and reading into it.
//!
//! A chunk is used again when the client's side has let go of it, so that a large file goes through memory that the processor has at
//! hand. Limit: [`SPARE`] chunks are kept by a thread.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

/// What is read at once: with less there are more system calls, with more it does not stay in the processor's own memory.
pub(super) const SIZE: usize = 128 * 1024;
/// As many are kept for the next file.
const SPARE: usize = 16;

thread_local! {
    static STORE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Memory of [`SIZE`] bytes, and how many of them are read.
pub(super) struct Chunk {
    memory: Box<[u8]>,
    filled: usize,
}

impl Chunk {
    pub(super) fn take() -> Chunk {
        let memory = STORE.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SIZE].into());
        Chunk { memory, filled: 0 }
    }

    /// Reads what the system has in memory, perhaps less than wanted; `None` when it would have to wait for a disk.
    pub(super) fn fill_cached(mut self, file: &File, offset: u64, want: usize) -> Option<io::Result<Bytes>> {
        let room = self.memory.get_mut(..want)?;
        match read_cached(file, offset, room)? {
            Ok(count) => {
                self.filled = count;
                Some(Ok(Bytes::from_owner(self)))
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// Reads as much as is wanted, or to the end of the file. Blocks.
    pub(super) fn fill(mut self, file: &File, offset: u64, want: usize) -> io::Result<Bytes> {
        let want = want.min(self.memory.len());
        while let Some(rest) = self.memory.get_mut(self.filled..want).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset + self.filled as u64) {
                Ok(0) => break,
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Bytes::from_owner(self))
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self.memory.get(..self.filled).unwrap_or_default()
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        // A thread that ends has no store any more.
        let _ = STORE.try_with(|store| {
            if let Ok(mut store) = store.try_borrow_mut()
                && store.len() < SPARE
            {
                store.push(memory);
            }
        });
    }
}

/// Reads what the system has in memory; `None` when it would have to wait for a disk.
#[cfg(target_os = "linux")]
pub(super) fn read_cached(file: &File, offset: u64, room: &mut [u8]) -> Option<io::Result<usize>> {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    match preadv2(file, &mut [io::IoSliceMut::new(room)], offset, ReadWriteFlags::NOWAIT) {
        Ok(count) => Some(Ok(count)),
        // Not in memory; or a file system that cannot tell.
        Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::INTR | Errno::NOSYS) => None,
        Err(error) => Some(Err(error.into())),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn read_cached(_: &File, _: u64, _: &mut [u8]) -> Option<io::Result<usize>> {
    None
}
