//! What happens next: events by their time, those of the same moment in the order in which they were planned.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Planned events.
pub struct Events<T> {
    heap: BinaryHeap<Planned<T>>,
    planned: u64,
}

struct Planned<T> {
    at: u64,
    number: u64,
    what: T,
}

impl<T> Default for Events<T> {
    fn default() -> Events<T> {
        Events { heap: BinaryHeap::new(), planned: 0 }
    }
}

impl<T> Events<T> {
    /// Plans an event.
    #[inline]
    pub fn plan(&mut self, at: u64, what: T) {
        self.planned += 1;
        self.heap.push(Planned { at, number: self.planned, what });
    }

    /// When the next one is.
    #[inline]
    pub fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|planned| planned.at)
    }

    /// The next one.
    #[inline]
    pub fn take(&mut self) -> Option<T> {
        self.heap.pop().map(|planned| planned.what)
    }
}

impl<T> Planned<T> {
    fn key(&self) -> (u64, u64) {
        (self.at, self.number)
    }
}

/// The earliest is the greatest: the heap gives that first.
impl<T> Ord for Planned<T> {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl<T> PartialOrd for Planned<T> {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Planned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Planned<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_as_they_were_planned() {
        let mut events = Events::default();
        for (at, what) in [(5, 'c'), (1, 'a'), (5, 'd'), (9, 'f'), (5, 'e'), (1, 'b')] {
            events.plan(at, what);
        }
        assert_eq!(events.next_at(), Some(1));
        let order: String = std::iter::from_fn(|| events.take()).collect();
        assert_eq!((order.as_str(), events.next_at()), ("abcdef", None));
    }
}
