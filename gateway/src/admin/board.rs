//! What is being done about the configuration and its plugins, and how it ended, for those who ask meanwhile.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use crate::plugin::{Attempt, Swap};

/// Attempts of which it is remembered how they ended.
const REMEMBERED: usize = 64;

/// What is going on and what has been.
#[derive(Default)]
pub struct Board {
    works: RefCell<BTreeMap<u64, Work>>,
    begun: Cell<u64>,
    ended: RefCell<VecDeque<Ended>>,
}

/// What is being done.
#[derive(Clone, Debug)]
pub struct Work {
    /// About which plugin, if it is about one.
    pub plugin: Option<String>,
    /// What.
    pub what: &'static str,
    /// Since when.
    pub since: Instant,
}

/// Something is being done, until this is dropped.
pub struct Doing {
    board: Rc<Board>,
    number: u64,
}

/// How an attempt to bring another version into force ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Which one.
    pub attempt: Attempt,
    /// Of which plugin.
    pub plugin: String,
    /// Which version.
    pub version: String,
    /// How.
    pub result: Swap,
    /// Why, when it is not in force.
    pub why: Option<String>,
}

impl Board {
    /// What is being done, the oldest first.
    pub fn works(&self) -> Vec<Work> {
        self.works.borrow().values().cloned().collect()
    }

    /// How the last attempts ended, the latest last. Those that were refused have changed nothing, and are not here.
    pub fn ended(&self) -> Vec<Ended> {
        self.ended.borrow().iter().cloned().collect()
    }

    /// How this attempt ended.
    pub fn end_of(&self, attempt: &str) -> Option<Ended> {
        self.ended.borrow().iter().rev().find(|ended| ended.attempt.name() == attempt).cloned()
    }

    /// Something begins.
    pub fn begin(self: &Rc<Board>, plugin: Option<&str>, what: &'static str) -> Doing {
        let number = self.begun.replace(self.begun.get() + 1);
        let work = Work { plugin: plugin.map(str::to_owned), what, since: Instant::now() };
        self.works.borrow_mut().insert(number, work);
        Doing { board: self.clone(), number }
    }

    /// An attempt has ended.
    pub fn end(&self, ended: Ended) {
        let mut all = self.ended.borrow_mut();
        if all.len() >= REMEMBERED {
            all.pop_front();
        }
        all.push_back(ended);
    }
}

impl Drop for Doing {
    fn drop(&mut self) {
        self.board.works.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_at_the_same_time_stands_side_by_side_until_it_is_over() {
        let board = Rc::<Board>::default();
        let whats = || board.works().iter().map(|work| work.what).collect::<Vec<_>>();
        let one = board.begin(None, "reloading");
        let other = board.begin(Some("a"), "compiling");
        assert_eq!(whats(), ["reloading", "compiling"]);
        drop(one);
        assert_eq!(whats(), ["compiling"]);
        drop(other);
        assert!(whats().is_empty());
    }

    #[test]
    fn the_end_of_an_attempt_is_found_by_its_name_for_a_while() {
        let (board, attempts) = (Board::default(), [(); REMEMBERED + 1].map(|()| Attempt::begin()));
        for attempt in &attempts {
            let (plugin, version) = ("a".to_owned(), attempt.name().to_owned());
            board.end(Ended { attempt: attempt.clone(), plugin, version, result: Swap::Done, why: None });
        }
        let known = |attempt: &Attempt| board.end_of(attempt.name()).map(|ended| ended.version);
        assert_eq!(known(&attempts[0]), None);
        for attempt in &attempts[1..] {
            assert_eq!(known(attempt).as_deref(), Some(attempt.name()));
        }
    }
}
