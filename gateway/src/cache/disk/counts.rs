//! What has happened on disk, by kind.

use std::sync::atomic::{AtomicU64, Ordering};

/// Something that happened to an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(super) enum Event {
    /// It was written.
    Written,
    /// Another head was put behind it.
    Freshened,
    /// It was read, from its head on.
    Read,
    /// It made room for another.
    Evicted,
    /// It was thrown away.
    Removed,
    /// It was not written, since others waited for that already, or the disk had failed a moment ago.
    Dropped,
    /// It was not written, since it is larger than what may lie there.
    TooLarge,
    /// It was not read, since too many others were.
    Busy,
    /// Its file was not there any more.
    Gone,
    /// Its file was not what had been written.
    Damaged,
    /// The disk did not give it.
    ReadFailed,
    /// The disk did not take it.
    WriteFailed,
}

/// Each with its word.
const EVERY: [(Event, &str); 12] = [
    (Event::Written, "written"),
    (Event::Freshened, "freshened"),
    (Event::Read, "read"),
    (Event::Evicted, "evicted"),
    (Event::Removed, "removed"),
    (Event::Dropped, "dropped"),
    (Event::TooLarge, "too-large"),
    (Event::Busy, "busy"),
    (Event::Gone, "gone"),
    (Event::Damaged, "damaged"),
    (Event::ReadFailed, "read-failed"),
    (Event::WriteFailed, "write-failed"),
];

/// How often each happened.
#[derive(Debug, Default)]
pub(super) struct Counts([AtomicU64; EVERY.len()]);

impl Counts {
    /// So many more.
    pub(super) fn add(&self, event: Event, many: usize) {
        if let Some(count) = self.0.get(event as usize) {
            count.fetch_add(many as u64, Ordering::Relaxed);
        }
    }

    /// How often it happened.
    pub(super) fn of(&self, event: Event) -> u64 {
        self.0.get(event as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// All of them, by their words.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        EVERY.iter().map(|(event, word)| (*word, self.of(*event)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_stands_at_its_event() {
        let counts = Counts::default();
        EVERY.iter().enumerate().for_each(|(times, (event, _))| counts.add(*event, times));
        assert!(counts.all().map(|(_, count)| count).eq(0..EVERY.len() as u64));
    }
}
