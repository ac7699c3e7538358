//! What is told of versions that come and go: in the log, in the counts, on the board.
//!
//! In: what was in force and what is. Invariant: every attempt to bring another version into force is told to have begun, where
//! it is tried first, and how it ended; also when it is dropped for something else.

use std::rc::Rc;
use std::sync::Arc;

use crate::admin::{Board, Ended};
use crate::plugin::{Attempt, Plugin, Swap, Trial};
use crate::reload::Pushed;
use crate::snapshot::{Deployed, Snapshot, Step};

/// Who tells.
pub(super) struct Teller {
    board: Rc<Board>,
}

/// What a step of a plugin is.
pub(super) enum Turn {
    /// Somebody pushed a module.
    Pushed(Attempt),
    /// The trial goes on with its next stage.
    Next,
    /// The trial went well.
    Promoted,
    /// Back to an earlier version, or from a trial, for this reason.
    Back(String),
    /// Back, since the version in force failed.
    Recovered,
}

impl Teller {
    pub(super) fn new(board: Rc<Board>) -> Teller {
        Teller { board }
    }

    /// A step was taken that began with this.
    pub(super) fn turned(&self, before: &Deployed, step: &Step, turn: Turn) -> Pushed {
        let (plugin, live) = (&before.version.plugin, before.version.name());
        let (name, tried) = (plugin.name(), before.trial.as_deref());
        let version = match step {
            Step::Try(trial) => {
                self.begins(plugin, trial, &live);
                if let Some(old) = tried.filter(|old| old.attempt != trial.attempt) {
                    self.superseded(plugin, old, trial.candidate.name() + " was pushed");
                }
                let (attempt, version) = (trial.attempt.clone(), trial.candidate.name());
                return Pushed { attempt, version, state: trial.stage.text() };
            }
            Step::Take(version, _) => version,
        };
        let now = version.name();
        let attempt = match (turn, tried) {
            (Turn::Pushed(attempt), tried) => {
                self.in_force(plugin, &attempt, &now, &live);
                if let Some(old) = tried {
                    self.superseded(plugin, old, format!("{now} was pushed"));
                }
                attempt
            }
            (Turn::Promoted | Turn::Next, tried) => {
                let attempt = tried.map_or_else(Attempt::begin, |trial| trial.attempt.clone());
                self.in_force(plugin, &attempt, &now, &live);
                attempt
            }
            (Turn::Back(why), tried) => {
                if !version.is(&before.version) {
                    tracing::info!(plugin = name, version = now, before = live, why, "rolled back");
                }
                let (attempt, about) = match tried {
                    Some(trial) => {
                        let version = trial.candidate.name();
                        tracing::warn!(plugin = name, version, live = now, why, "a version on trial was rolled back");
                        (trial.attempt.clone(), version)
                    }
                    None => (Attempt::begin(), live),
                };
                self.end(plugin, &attempt, about, Swap::RolledBack, Some(why));
                attempt
            }
            (Turn::Recovered, tried) => {
                let why = "it failed too often".to_owned();
                tracing::warn!(plugin = name, unfit = live, version = now, "the last good version is back");
                let attempt = Attempt::begin();
                self.end(plugin, &attempt, live, Swap::RolledBack, Some(why));
                if let Some(old) = tried {
                    self.superseded(plugin, old, format!("the version in force failed too often, and {now} is back"));
                }
                attempt
            }
        };
        Pushed { attempt, version: now, state: "in-force" }
    }

    /// A configuration came into force.
    pub(super) fn configured(&self, before: &Snapshot, now: &Snapshot) {
        for old in &*before.plugins {
            let plugin = &old.version.plugin;
            let Some(new) = now.plugin(plugin.name()) else {
                if let Some(trial) = &old.trial {
                    self.superseded(plugin, trial, "the configuration has no such plugin any more".to_owned());
                }
                continue;
            };
            let (version, live) = (new.version.name(), old.version.name());
            let is_other = !old.version.is(&new.version);
            if is_other {
                self.in_force(plugin, &Attempt::begin(), &version, &live);
            }
            let goes_on = |trial: &&Arc<Trial>, other: &Option<Arc<Trial>>| {
                other.as_ref().is_some_and(|other| other.attempt == trial.attempt)
            };
            if let Some(trial) = old.trial.as_ref().filter(|trial| !goes_on(trial, &new.trial)) {
                let why = match &new.trial {
                    Some(other) => format!("the source gives {}", other.candidate.name()),
                    None if !old.version.is_like(&new.version.code, &new.version.config) => {
                        format!("the source gives {version}")
                    }
                    None if !new.used => "nothing uses the plugin any more".to_owned(),
                    None => "the configuration gives the plugin other times or sizes".to_owned(),
                };
                self.superseded(plugin, trial, why);
            }
            if let Some(trial) = new.trial.as_ref().filter(|trial| !goes_on(trial, &old.trial)) {
                self.begins(plugin, trial, &version);
            }
        }
    }

    /// A module that was pushed cannot be used.
    pub(super) fn refused(&self, plugin: &Plugin, error: &str) {
        tracing::error!(plugin = plugin.name(), error, "the version that was pushed cannot be used");
        plugin.swapped(Swap::Refused);
    }

    fn begins(&self, plugin: &Plugin, trial: &Trial, live: &str) {
        let (version, time, stage) = (trial.candidate.name(), trial.stage.time(), trial.stage.text());
        let (plugin, trial) = (plugin.name(), trial.attempt.name());
        tracing::info!(plugin, version, live, trial, stage, ?time, "a version is on trial");
    }

    fn in_force(&self, plugin: &Plugin, attempt: &Attempt, version: &str, before: &str) {
        tracing::info!(plugin = plugin.name(), version, before, "a version is in force");
        self.end(plugin, attempt, version.to_owned(), Swap::Done, None);
    }

    fn superseded(&self, plugin: &Plugin, trial: &Trial, why: String) {
        let (version, name) = (trial.candidate.name(), trial.attempt.name());
        tracing::warn!(plugin = plugin.name(), version, trial = name, why, "a version on trial was superseded");
        self.end(plugin, &trial.attempt, version, Swap::Superseded, Some(why));
    }

    fn end(&self, plugin: &Plugin, attempt: &Attempt, version: String, result: Swap, why: Option<String>) {
        plugin.swapped(result);
        let (attempt, plugin) = (attempt.clone(), plugin.name().to_owned());
        self.board.end(Ended { attempt, plugin, version, result, why });
    }
}
