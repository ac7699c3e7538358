//! Orders that take a while before they can come into force, in lanes.
//!
//! In: orders, each for its lane. Out: the one of a lane whose turn it is. Invariants: of a lane one order is under way at a time,
//! and they begin in the order in which they came; lanes do not wait for each other.

use std::collections::{BTreeMap, VecDeque};

/// Which orders wait for each other.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Lane {
    /// Those about the whole configuration.
    Configuration,
    /// Those about this plugin.
    Plugin(String),
}

/// The lanes in which something is under way, with what waits behind it.
pub(super) struct Lanes<T>(BTreeMap<Lane, VecDeque<T>>);

impl<T> Default for Lanes<T> {
    fn default() -> Lanes<T> {
        Lanes(BTreeMap::new())
    }
}

impl<T> Lanes<T> {
    /// One more order. It comes back if it may begin.
    pub(super) fn enter(&mut self, lane: Lane, order: T) -> Option<T> {
        if let Some(waiting) = self.0.get_mut(&lane) {
            waiting.push_back(order);
            return None;
        }
        self.0.insert(lane, VecDeque::new());
        Some(order)
    }

    /// What is under way in a lane is over. The next one, which begins.
    pub(super) fn leave(&mut self, lane: &Lane) -> Option<T> {
        let next = self.0.get_mut(lane).and_then(VecDeque::pop_front);
        if next.is_none() {
            self.0.remove(lane);
        }
        next
    }

    /// Whether something is under way in a lane.
    pub(super) fn is_busy(&self, lane: &Lane) -> bool {
        self.0.contains_key(lane)
    }

    /// The order that waits behind all others of a lane.
    pub(super) fn last(&mut self, lane: &Lane) -> Option<&mut T> {
        self.0.get_mut(lane).and_then(VecDeque::back_mut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_lane_is_under_way_and_the_next_begins_when_it_is_over() {
        let mut lanes = Lanes::default();
        let [one, other] = ["one", "other"].map(|name| Lane::Plugin(name.to_owned()));
        assert_eq!(lanes.enter(one.clone(), 1), Some(1));
        assert_eq!((lanes.enter(one.clone(), 2), lanes.enter(one.clone(), 3)), (None, None));
        assert_eq!(lanes.enter(other.clone(), 4), Some(4));
        assert_eq!(lanes.last(&one), Some(&mut 3));
        assert!(lanes.is_busy(&one) && lanes.is_busy(&other) && !lanes.is_busy(&Lane::Configuration));
        assert_eq!([lanes.leave(&one), lanes.leave(&one), lanes.leave(&one)], [Some(2), Some(3), None]);
        assert!(!lanes.is_busy(&one) && lanes.is_busy(&other));
        assert_eq!(lanes.enter(one, 5), Some(5));
    }
}
