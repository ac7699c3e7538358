//! How many orders may wait at the admin address.
//!
//! In: orders. Out: a place for one until its answer is there, or none. Those that may take long do not take the places of those
//! that are quick, and all of them together leave places for those who only look.

use std::cell::Cell;
use std::rc::Rc;

/// Reloads and pushes that wait.
const LONG: usize = 16;
/// Other orders that wait.
const QUICK: usize = 16;

/// Who waits.
#[derive(Default)]
pub(super) struct Orders {
    long: Rc<Cell<usize>>,
    quick: Rc<Cell<usize>>,
}

/// The place of an order that waits, until this is dropped.
pub(super) struct Waiting(Rc<Cell<usize>>);

impl Orders {
    /// A reload or a push waits.
    pub(super) fn long(&self) -> Option<Waiting> {
        Waiting::begin(&self.long, LONG)
    }

    /// Another order waits.
    pub(super) fn quick(&self) -> Option<Waiting> {
        Waiting::begin(&self.quick, QUICK)
    }
}

impl Waiting {
    /// One more, if there are fewer than this.
    pub(super) fn begin(count: &Rc<Cell<usize>>, most: usize) -> Option<Waiting> {
        (count.get() < most).then(|| {
            count.set(count.get() + 1);
            Waiting(count.clone())
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_leaves_places_for_what_is_quick() {
        let orders = Orders::default();
        let mut long: Vec<Waiting> = std::iter::from_fn(|| orders.long()).collect();
        assert_eq!(long.len(), LONG);
        assert!(orders.quick().is_some());
        long.pop();
        assert!(orders.long().is_some());
    }
}
