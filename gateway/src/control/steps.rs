//! Steps of plugins from one version to another, each from what is in force when its turn comes.
//!
//! In: code that was pushed, orders of operators, versions that failed, trials that are over. Out: another snapshot, or everything as it was.
//! Instances are made and configured on another thread; that is waited for.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::members;
use super::tell::{Teller, Turn};
use crate::admin::Board;
use crate::config::model;
use crate::plugin::{Attempt, Budget, Code, Reason, Rollout, Trial, Verdict, Version};
use crate::reload::{About, Force, Next, Pushed, ReloadError};
use crate::snapshot::{Course, Deployed, Snapshot, Step, terms};

/// Who takes steps.
pub(super) struct Steps {
    force: Rc<RefCell<Force>>,
    file: Option<PathBuf>,
    pub(super) board: Rc<Board>,
    pub(super) teller: Teller,
}

/// What the configuration says of a plugin.
pub(super) fn model<'s>(snapshot: &'s Snapshot, plugin: &str) -> Result<&'s model::Plugin, ReloadError> {
    snapshot.config.plugins.iter().find(|model| model.name == plugin).ok_or_else(|| {
        let names: Vec<&str> = snapshot.config.plugins.iter().map(|plugin| &*plugin.name).collect();
        let known = if names.is_empty() { String::new() } else { format!("; there are {}", names.join(", ")) };
        ReloadError::NoPlugin(plugin.to_owned(), known)
    })
}

impl Steps {
    pub(super) fn new(force: Rc<RefCell<Force>>, file: Option<PathBuf>, board: Rc<Board>) -> Steps {
        Steps { force, file, teller: Teller::new(board.clone()), board }
    }

    /// What is in force.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.force.borrow().shared().snapshot()
    }

    /// Makes the last step of a change. What changed, in words.
    pub(super) async fn put(&self, next: Next) -> Result<String, ReloadError> {
        let job = self.force.borrow().job(next, self.file.as_deref());
        let ready = tokio::task::spawn_blocking(move || job.make()).await.map_err(|_| ReloadError::Stopping)??;
        // Nobody may look between this and what is told of it: nothing is waited for.
        self.force.borrow_mut().put(ready)
    }

    fn deployed(&self, plugin: &str) -> Result<(Deployed, Budget), ReloadError> {
        let snapshot = self.snapshot();
        let budget = terms::budget(model(&snapshot, plugin)?);
        let deployed = snapshot.plugin(plugin).cloned().ok_or(ReloadError::Stopping)?;
        Ok((deployed, budget))
    }

    /// Brings code that was pushed into force, or on trial.
    pub(super) async fn push(
        &self,
        plugin: &str,
        code: Result<Code, ReloadError>,
        rollout: Option<Rollout>,
    ) -> Result<Pushed, ReloadError> {
        let (deployed, budget) = self.deployed(plugin)?;
        let refused = |error: ReloadError| {
            let error = error.to_string();
            self.teller.refused(&deployed.version.plugin, &error);
            ReloadError::Plugin(error)
        };
        let (code, snapshot) = (code.map_err(refused)?, self.snapshot());
        let (model, attempt) = (model(&snapshot, plugin)?, Attempt::begin());
        let same = deployed.version.is_like(&code, &model.config) && !deployed.version.is_quarantined();
        let version = match same {
            true => deployed.version.clone(),
            false => self.force.borrow().shared().house.version(plugin, code, &model.config, budget),
        };
        let asked = rollout.and_then(Rollout::stages);
        if let (Some((stage, _)), false, false) = (asked, deployed.used, same) {
            let stage = stage.text();
            return Err(refused(ReloadError::Plugin(format!(
                "no pool and no route uses plugin {plugin:?}, so that a {stage} would never see a request; push it at once"
            ))));
        }
        let stages = rollout.unwrap_or(terms::rollout(model)).stages().filter(|_| deployed.used && !same);
        let step = match stages {
            Some((stage, then)) => {
                Step::Try(Arc::new(Trial::new(&version, stage, then, Reason::Pushed, attempt.clone())))
            }
            None => Step::Take(version, if same { deployed.reason } else { Reason::Pushed }),
        };
        self.turn(plugin, step, Turn::Pushed(attempt)).await.map_err(refused)
    }

    /// Goes back for an operator: from a trial, to the version before, or to this one.
    pub(super) async fn roll_back(&self, about: &About, to: Option<&str>) -> Result<Pushed, ReloadError> {
        let (deployed, budget) = self.seen(about)?;
        let (plugin, live) = (&*about.plugin, &deployed.version);
        let nothing = |what: String| ReloadError::Plugin(format!("plugin {plugin:?} has {what}"));
        let (version, reason) = match (to, &deployed.trial) {
            (None, Some(_)) => (live.clone(), deployed.reason),
            (None, None) => {
                let before = live.plugin.before(live);
                (before.ok_or_else(|| nothing("no earlier version".to_owned()))?, Reason::RolledBack)
            }
            (Some(to), _) => {
                let unclear = |error| ReloadError::Plugin(format!("plugin {plugin:?}, version {to:?}: {error}"));
                let found = live.plugin.named(to).map_err(unclear)?;
                let reason = if found.is(live) { deployed.reason } else { Reason::RolledBack };
                (found, reason)
            }
        };
        if deployed.trial.is_none() && version.is(live) && !version.is_quarantined() {
            return Ok(Pushed { attempt: Attempt::begin(), version: version.name(), state: "in-force" });
        }
        let leaves = version.number < live.number;
        // Whoever names one that failed wants to see it once more.
        let again = version.is_quarantined() && to.is_some();
        let version = if again { Arc::new(version.anew(budget)) } else { within(&version, budget) };
        let turn = Turn::Back("an operator went back".to_owned());
        let done = self.turn(plugin, Step::Take(version, reason), turn).await?;
        if leaves {
            live.leave();
        }
        Ok(done)
    }

    /// Ends a trial for an operator: it went well.
    pub(super) async fn promote(&self, about: &About) -> Result<Pushed, ReloadError> {
        let (deployed, _) = self.seen(about)?;
        let not = |what: &str| ReloadError::Plugin(format!("plugin {:?} has {what}", about.plugin));
        let trial = deployed.trial.as_ref().ok_or_else(|| not("no version on trial"))?;
        if trial.candidate.is_quarantined() {
            return Err(not("a version on trial that failed too often"));
        }
        self.turn(&about.plugin, Step::Take(trial.promoted(), trial.reason), Turn::Promoted).await
    }

    /// What is in force, if it is what whoever asks has seen.
    fn seen(&self, about: &About) -> Result<(Deployed, Budget), ReloadError> {
        let (deployed, budget) = self.deployed(&about.plugin)?;
        let (live, plugin) = (deployed.version.name(), &about.plugin);
        let trial = deployed.trial.as_deref();
        let running = trial.map_or(About::NONE, |trial| trial.attempt.name());
        if let Some(seen) = about.trial.as_deref().filter(|seen| *seen != running) {
            let now = match trial {
                Some(trial) => format!("{} is on trial ({running})", trial.candidate.name()),
                None => "no version is on trial".to_owned(),
            };
            let what = match self.board.end_of(seen).filter(|ended| ended.plugin == *plugin) {
                Some(ended) => {
                    let why = ended.why.map(|why| format!(" ({why})")).unwrap_or_default();
                    format!("the trial of {} has ended: {}{why}", ended.version, ended.result.text())
                }
                None if seen == About::NONE => "a trial has begun meanwhile".to_owned(),
                None => format!("there is no trial {seen}"),
            };
            return Err(ReloadError::Conflict(format!("{what}; by now {now}, and {live} is in force")));
        }
        match about.version.as_deref().filter(|seen| *seen != live) {
            Some(seen) => Err(ReloadError::Conflict(format!("by now {live} is in force, and {seen} is not"))),
            None => Ok((deployed, budget)),
        }
    }

    /// Puts the last good version of a plugin in the place of one that was found unfit. Whether that is to be tried again.
    pub(super) async fn replace_unfit(&self, unfit: &Arc<Version>) -> bool {
        let name = unfit.plugin.name();
        let Ok((deployed, budget)) = self.deployed(name) else { return false };
        // One on trial is judged with the others.
        if !Arc::ptr_eq(&deployed.version, unfit) {
            return false;
        }
        let Some(good) = unfit.plugin.last_good(unfit) else {
            let version = unfit.name();
            tracing::warn!(plugin = name, version, "there is no earlier version; the fallback decides");
            return false;
        };
        let step = Step::Take(within(&good, budget), Reason::Recovered);
        let Err(error) = self.turn(name, step, Turn::Recovered).await else { return false };
        tracing::error!(plugin = name, %error, "the last good version cannot be brought back; it is tried again");
        true
    }

    /// Whether any version is on trial.
    pub(super) fn has_trials(&self) -> bool {
        self.snapshot().plugins.iter().any(|deployed| deployed.trial.is_some())
    }

    /// Ends trials of which it is known how they end.
    pub(super) async fn judge(&self) {
        let snapshot = self.snapshot();
        for deployed in &*snapshot.plugins {
            let Some(trial) = &deployed.trial else { continue };
            let name = deployed.version.plugin.name();
            let back = || Step::Take(deployed.version.clone(), deployed.reason);
            let (step, turn) = match trial.verdict(Instant::now()) {
                Verdict::Wait => continue,
                Verdict::Promote => match trial.next() {
                    Some(next) => (Step::Try(Arc::new(next)), Turn::Next),
                    None => (Step::Take(trial.promoted(), trial.reason), Turn::Promoted),
                },
                Verdict::RollBack(why) => (back(), Turn::Back(why)),
            };
            if let Err(error) = self.turn(name, step, turn).await {
                tracing::error!(plugin = name, %error, "the version on trial cannot come into force");
                // The version in force is in force: this cannot fail for a reason of its own.
                let _ = self.turn(name, back(), Turn::Back(error.to_string())).await;
            }
        }
    }

    /// Does a step, and tells of it.
    async fn turn(&self, plugin: &str, step: Step, turn: Turn) -> Result<Pushed, ReloadError> {
        let (before, _) = self.deployed(plugin)?;
        let _doing = self.board.begin(Some(plugin), "configuring");
        let course = Course { plugin: plugin.to_owned(), step: step.clone() };
        self.put(Next::Course(course)).await.map_err(ReloadError::without_file)?;
        let turned = self.teller.turned(&before, &step, turn);
        // The pools are the same, so nobody else is looked for; a configuration that is being prepared may have begun to.
        members::renew(&self.force).await;
        Ok(turned)
    }
}

/// A version with the times and sizes that the plugin has by now.
fn within(version: &Arc<Version>, budget: Budget) -> Arc<Version> {
    if version.budget == budget { version.clone() } else { Arc::new(version.within(budget)) }
}
