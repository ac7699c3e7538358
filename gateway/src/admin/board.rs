//! What is being done about plugins, and how it ended, for those who ask meanwhile.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Instant;

/// What is going on and what has been.
#[derive(Default)]
pub struct Board {
    work: RefCell<Option<Work>>,
    ended: RefCell<BTreeMap<String, Ended>>,
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

/// How the last attempt to bring another version into force ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Counts such attempts of this plugin.
    pub number: u64,
    /// Which version.
    pub version: String,
    /// How, one of [`crate::plugin::Swap::LABELS`].
    pub result: &'static str,
    /// Why, when it is not in force.
    pub why: Option<String>,
}

impl Board {
    /// What is being done.
    pub fn work(&self) -> Option<Work> {
        self.work.borrow().clone()
    }

    /// How it ended for a plugin the last time.
    pub fn ended(&self, plugin: &str) -> Option<Ended> {
        self.ended.borrow().get(plugin).cloned()
    }

    /// Something begins.
    pub fn begin(&self, plugin: Option<&str>, what: &'static str) {
        *self.work.borrow_mut() = Some(Work { plugin: plugin.map(str::to_owned), what, since: Instant::now() });
    }

    /// Nothing is being done.
    pub fn rest(&self) {
        *self.work.borrow_mut() = None;
    }

    /// It has ended for a plugin.
    pub fn end(&self, plugin: &str, version: String, result: &'static str, why: Option<String>) {
        let mut ended = self.ended.borrow_mut();
        let number = ended.get(plugin).map_or(0, |before| before.number) + 1;
        ended.insert(plugin.to_owned(), Ended { number, version, result, why });
    }
}
