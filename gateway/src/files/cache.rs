//! Small files in memory, by path, of one worker.
//!
//! Two generations: what is used moves to the young one, and when that is full it becomes the old one and the old one is
//! forgotten. Limit: both together stay below the size, with keys and heads counted.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::load::{Content, Loaded};

/// What a file costs beside its content and its path.
const OVERHEAD: usize = 1024;

/// A file in memory.
pub(super) struct Entry {
    pub(super) file: Arc<Loaded>,
    /// When the disk was asked last.
    pub(super) checked: Cell<Instant>,
}

/// The files.
pub(super) struct Cache {
    young: HashMap<Box<[u8]>, Rc<Entry>>,
    old: HashMap<Box<[u8]>, Rc<Entry>>,
    young_size: usize,
    half: usize,
}

impl Cache {
    pub(super) fn new(size: usize) -> Cache {
        Cache { young: HashMap::new(), old: HashMap::new(), young_size: 0, half: size / 2 }
    }

    pub(super) fn look(&mut self, key: &[u8]) -> Option<Rc<Entry>> {
        if let Some(entry) = self.young.get(key) {
            return Some(entry.clone());
        }
        let (key, entry) = self.old.remove_entry(key)?;
        self.put(key, entry.clone());
        Some(entry)
    }

    pub(super) fn put(&mut self, key: Box<[u8]>, entry: Rc<Entry>) {
        self.remove(&key);
        let size = cost(&key, &entry);
        if size > self.half {
            return;
        }
        if self.young_size + size > self.half {
            self.old = std::mem::take(&mut self.young);
            self.young_size = 0;
        }
        self.young_size += size;
        self.young.insert(key, entry);
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.young.iter().chain(&self.old).map(|(key, entry)| cost(key, entry)).sum()
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        if let Some(entry) = self.young.remove(key) {
            self.young_size = self.young_size.saturating_sub(cost(key, &entry));
        }
        self.old.remove(key);
    }
}

fn cost(key: &[u8], entry: &Entry) -> usize {
    let content = match &entry.file.content {
        Content::Memory(bytes) => bytes.len(),
        Content::Disk(_) => 0,
    };
    content + key.len() + OVERHEAD
}
