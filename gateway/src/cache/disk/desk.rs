//! What waits to be done in the folder.
//!
//! In: entries to write, orders, files to remove. Out: the next of these, for the keeper. Pure. Bounded by bytes of what waits to be
//! written: when the disk is slower than what comes, that is dropped, and nobody waits. What is to go is never dropped, and is
//! bounded by what lies there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::Sender;

use bytes::Bytes;

use super::folder::Spot;
use super::format::Head;
use super::index::Ticket;
use super::orders::{Order, Orders};

/// What one that waits takes beside its body, at least.
const OVERHEAD: u64 = 2048;

/// An entry to be written.
#[derive(Debug)]
pub(super) struct Put {
    /// Its head.
    pub(super) head: Head,
    /// Its body.
    pub(super) pieces: Vec<Bytes>,
    /// The file that has its body already, or 0; then where it lies.
    pub(super) file: Arc<AtomicU64>,
}

/// Something to be done.
#[derive(Debug)]
pub(super) enum Task {
    /// An order is to be written down; somebody may wait for that.
    Note(Order, Option<Sender<()>>),
    /// Files are to go.
    Remove(Vec<Spot>),
    /// Heads are to say that they are stale.
    Mark(Vec<Ticket>),
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Next {
    /// This.
    Task(Task),
    /// An entry is to be written.
    Put(Box<Put>),
    /// Nothing.
    Nothing,
    /// Nothing ever again.
    End,
}

/// How far the folder is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Stage {
    /// It is not in use, as it is not to be had now.
    #[default]
    Waiting,
    /// What lies there is being looked through.
    Scanning,
    /// All of it is known.
    Serving,
    /// No more.
    Ended,
}

impl Stage {
    /// One spelling for status and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Stage::Waiting => "waiting",
            Stage::Scanning => "scanning",
            Stage::Serving => "serving",
            Stage::Ended => "ended",
        }
    }
}

/// All that waits.
#[derive(Debug, Default)]
pub(super) struct Desk {
    puts: VecDeque<Put>,
    tasks: VecDeque<Task>,
    /// Bytes of `puts`.
    bytes: u64,
    /// What was ordered and may concern what is on its way.
    pub(super) orders: Orders,
    stamp: u64,
    /// How far the folder is in use.
    pub(super) stage: Stage,
    /// The keeper has taken an entry that is not in the index yet.
    pub(super) is_writing: bool,
    /// Those who are ordering just now.
    pub(super) ordering: u32,
    /// The gateway ends.
    pub(super) is_ending: bool,
}

impl Put {
    fn weight(&self) -> u64 {
        OVERHEAD + self.head.fields.list_size() as u64 + self.pieces.iter().map(|piece| piece.len() as u64).sum::<u64>()
    }
}

impl Desk {
    /// A number higher than all before.
    pub(super) fn stamp(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp
    }

    /// From here on.
    pub(super) fn stamp_from(&mut self, first: u64) {
        self.stamp = first;
    }

    /// Whether it waits now. It does not when too much does already.
    pub(super) fn put(&mut self, mut put: Put, most: u64) -> bool {
        let weight = put.weight();
        if self.bytes.saturating_add(weight) > most {
            return false;
        }
        put.head.stamp = self.stamp();
        self.bytes += weight;
        self.puts.push_back(put);
        true
    }

    /// Goes before everything that is to be written.
    pub(super) fn task(&mut self, task: Task) {
        self.tasks.push_back(task);
    }

    /// Whether what is ordered now may concern something that is on its way.
    pub(super) fn has_more_to_come(&self) -> bool {
        self.stage != Stage::Serving || self.has_more_to_write()
    }

    /// Whether something is to be written.
    pub(super) fn has_more_to_write(&self) -> bool {
        self.is_writing || !self.puts.is_empty()
    }

    /// Whether nothing at all is to be done.
    pub(super) fn is_idle(&self) -> bool {
        self.tasks.is_empty() && self.puts.is_empty() && !self.is_writing && self.ordering == 0
    }

    /// What is next; the last put is in the index, or will never be.
    pub(super) fn next(&mut self) -> Next {
        self.is_writing = false;
        if let Some(task) = self.tasks.pop_front() {
            return Next::Task(task);
        }
        if let Some(put) = self.puts.pop_front() {
            self.bytes -= put.weight();
            self.is_writing = true;
            return Next::Put(Box::new(put));
        }
        match self.is_ending {
            true => Next::End,
            false => Next::Nothing,
        }
    }

    /// How many entries, and how many bytes of them, wait to be written.
    pub(super) fn waiting(&self) -> (u64, u64) {
        (self.puts.len() as u64, self.bytes)
    }

    /// Gives up what still waits to be written.
    pub(super) fn clear(&mut self) {
        self.puts.clear();
        self.bytes = 0;
    }
}
