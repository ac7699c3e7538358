//! Changes to what is in force, one after the other.
//!
//! In: what is wanted, files that changed, trials that are over. Out: another snapshot, or everything as it was, with the reason
//! in the log and to whoever asked. Compiling and configuring happen on other threads; only the last step is done here.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::watched;
use crate::admin::Board;
use crate::fetch::{self, Store};
use crate::plugin::{Budget, Plugin, Reason, Rollout, Swap, Trial, Verdict, Version};
use crate::reload::{Change, Force, Push, Pushed, ReloadError, Source};
use crate::snapshot::{Course, Deployed, Snapshot, Step};
use crate::tls::Stamps;
use crate::vault;

/// How often files are looked at for changes.
const WATCH: Duration = Duration::from_millis(500);
/// How often trials are judged.
const JUDGE: Duration = Duration::from_millis(100);

/// Who makes changes.
pub(super) struct Changes {
    force: Rc<RefCell<Force>>,
    file: Option<PathBuf>,
    stamps: Stamps,
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    board: Rc<Board>,
    store: Rc<Store>,
}

/// What is done with a plugin, and how it is told.
struct Turn {
    step: Step,
    swap: Option<Swap>,
    why: Option<String>,
}

impl Changes {
    pub(super) fn new(
        force: Rc<RefCell<Force>>,
        file: Option<PathBuf>,
        stamps: Stamps,
        addresses: Arc<Mutex<Vec<SocketAddr>>>,
        board: Rc<Board>,
    ) -> Changes {
        let store = Rc::new(Store::at(vault::place(fetch::FOLDER)));
        Changes { force, file, stamps, addresses, board, store }
    }

    /// Makes changes until nobody can want any.
    pub(super) async fn make(mut self, mut wanted: mpsc::UnboundedReceiver<Change>) {
        let mut looked = Instant::now();
        loop {
            let pause = if self.has_trials() { JUDGE } else { WATCH.saturating_sub(looked.elapsed()) };
            match tokio::time::timeout(pause, wanted.recv()).await {
                Ok(Some(change)) => self.one(change).await,
                Ok(None) => return,
                Err(_) => {}
            }
            self.judge().await;
            if looked.elapsed() >= WATCH {
                looked = Instant::now();
                self.look().await;
            }
        }
    }

    // Whoever asked may be gone by the time of the answer.
    async fn one(&mut self, change: Change) {
        match change {
            Change::Reload(reply) => {
                let result = self.reload().await;
                let _ = reply.send(result);
            }
            Change::Apply(config, reply) => {
                let result = self.apply(Source::Given(config)).await;
                let _ = reply.send(result);
            }
            Change::Push(push, reply) => {
                let result = self.push(push).await;
                let _ = reply.send(result);
            }
            Change::RollBack(plugin, version, reply) => {
                let result = self.roll_back(&plugin, version.as_deref()).await;
                let _ = reply.send(result);
            }
            Change::Promote(plugin, reply) => {
                let result = self.promote(&plugin).await;
                let _ = reply.send(result);
            }
            Change::Unfit(version) => self.replace_unfit(&version).await,
        }
    }

    async fn reload(&mut self) -> Result<String, ReloadError> {
        // Looked at first: what changes while it is read is seen again.
        self.stamps.changed();
        let before = self.snapshot();
        let result = self.apply(Source::File).await;
        match &result {
            Ok(changes) if changes.is_empty() => tracing::info!("reloaded; nothing changed in the configuration"),
            Ok(changes) => tracing::info!(changes, "reloaded"),
            Err(error) => {
                self.force.borrow().shared().metrics.reload_failed();
                error.log("the configuration was not reloaded, the old one stays in force");
            }
        }
        if result.is_ok() {
            self.tell_of_versions(&before);
        }
        result
    }

    /// Files that changed since they were last looked at are read again.
    async fn look(&mut self) {
        if !self.stamps.changed() {
            return;
        }
        if self.file.is_some() {
            // What went wrong has been logged, and is looked at again when the file changes again.
            let _ = self.reload().await;
            return;
        }
        let before = self.snapshot();
        match self.apply(Source::Given(Box::new(before.config.clone()))).await {
            Ok(changes) => {
                tracing::info!(changes, "reloaded");
                self.tell_of_versions(&before);
            }
            Err(error) => {
                self.force.borrow().shared().metrics.reload_failed();
                error.log("what changed was not reloaded, the old stays in force");
            }
        }
    }

    async fn apply(&mut self, source: Source) -> Result<String, ReloadError> {
        self.board.begin(None, "reloading");
        let result = self.change(source).await;
        self.board.rest();
        let force = self.force.borrow();
        let addresses = force.listeners().iter().map(|listener| listener.address).collect();
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
        let config = &force.shared().snapshot().config;
        self.stamps.follow(watched(self.file.as_deref(), config));
        result
    }

    async fn change(&self, source: Source) -> Result<String, ReloadError> {
        let job = self.force.borrow().job(source, self.file.as_deref());
        let loaded = tokio::task::spawn_blocking(move || job.load()).await.map_err(|_| ReloadError::Stopping)??;
        let (wanted, limits) = loaded.wanted();
        // Ends with this task: whoever stops waits for no server.
        let fetched = fetch::fetch(wanted, &limits, &self.store, true).await;
        let ready = tokio::task::spawn_blocking(move || loaded.compile(&fetched)).await;
        let ready = ready.map_err(|_| ReloadError::Stopping)??;
        self.force.borrow_mut().put(ready)
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.force.borrow().shared().snapshot()
    }

    fn deployed(&self, plugin: &str) -> Result<(Arc<Snapshot>, Deployed), ReloadError> {
        let snapshot = self.snapshot();
        if let Some(deployed) = snapshot.plugin(plugin).cloned() {
            return Ok((snapshot, deployed));
        }
        let names: Vec<&str> = snapshot.config.plugins.iter().map(|plugin| &*plugin.name).collect();
        let known = if names.is_empty() { String::new() } else { format!("; there are {}", names.join(", ")) };
        Err(ReloadError::NoPlugin(plugin.to_owned(), known))
    }

    async fn push(&self, push: Push) -> Result<Pushed, ReloadError> {
        let (snapshot, deployed) = self.deployed(&push.plugin)?;
        let model = snapshot.config.plugins.iter().find(|model| model.name == push.plugin);
        let Some(model) = model.cloned() else { return Err(ReloadError::Stopping) };
        let plugin = &deployed.version.plugin;
        self.board.begin(Some(&push.plugin), "compiling");
        let (shared, memory, module) = (self.force.borrow().shared().clone(), model.memory_size, push.module);
        let code = tokio::task::spawn_blocking(move || shared.house.compile(&module, memory)).await;
        self.board.rest();
        let code = code.map_err(|_| ReloadError::Stopping)?.map_err(|error| self.refused(plugin, error.to_string()))?;
        let configured =
            Rollout { shadow: model.shadow, canary: model.canary.map(|canary| (canary.share, canary.time)) };
        let same = deployed.version.is_like(&code, &model.config) && !deployed.version.is_quarantined();
        let version = match same {
            true => deployed.version.clone(),
            false => {
                let shared = self.force.borrow().shared().clone();
                let budget =
                    Budget { decision: model.deadline, configure: model.configure_time, memory: model.memory_size };
                shared.house.version(&push.plugin, code, &model.config, budget)
            }
        };
        let asked = push.rollout.and_then(Rollout::stages);
        if let (Some((stage, _)), false, false) = (asked, deployed.used, same) {
            let (name, stage) = (&push.plugin, stage.text());
            let unseen = format!(
                "no pool and no route uses plugin {name:?}, so that a {stage} would never see a request; push it at once"
            );
            return Err(self.refused(plugin, unseen));
        }
        let stages = push.rollout.unwrap_or(configured).stages().filter(|_| deployed.used && !same);
        let step = match stages {
            Some((stage, then)) => Step::Try(Arc::new(Trial::new(&version, stage, then, Reason::Pushed))),
            None => Step::Take(version, if same { deployed.reason } else { Reason::Pushed }),
        };
        let done = self.turn(&push.plugin, Turn { step, swap: Some(Swap::Done), why: None }).await;
        done.map_err(|error| self.refused(plugin, error.to_string()))
    }

    fn refused(&self, plugin: &Plugin, error: String) -> ReloadError {
        self.end(plugin, String::new(), Swap::Refused, Some(error.clone()));
        tracing::error!(plugin = plugin.name(), error, "the version that was pushed cannot be used");
        ReloadError::Plugin(error)
    }

    async fn roll_back(&self, plugin: &str, to: Option<&str>) -> Result<Pushed, ReloadError> {
        let (_, deployed) = self.deployed(plugin)?;
        let (live, trial) = (&deployed.version, &deployed.trial);
        let nothing = |what: String| ReloadError::Plugin(format!("plugin {plugin:?} has {what}"));
        let (version, reason) = match (to, trial) {
            (None, Some(_)) => (live.clone(), deployed.reason),
            (None, None) => {
                let before = live.plugin.before(live);
                (before.ok_or_else(|| nothing("no earlier version".to_owned()))?, Reason::RolledBack)
            }
            (Some(to), _) => {
                let unclear = |error| ReloadError::Plugin(format!("plugin {plugin:?}, version {to:?}: {error}"));
                let found = live.plugin.named(to).map_err(unclear)?;
                // Whoever names one that failed wants to see it once more.
                let again = || Arc::new(found.anew(found.budget));
                match found.is_quarantined() {
                    true => (again(), Reason::RolledBack),
                    false if found.is(live) => (found, deployed.reason),
                    false => (found, Reason::RolledBack),
                }
            }
        };
        if trial.is_none() && version.is(live) {
            return Ok(Pushed { version: version.name(), state: "in-force" });
        }
        let why = Some("an operator went back".to_owned());
        self.turn(plugin, Turn { step: Step::Take(version, reason), swap: Some(Swap::RolledBack), why }).await
    }

    async fn promote(&self, plugin: &str) -> Result<Pushed, ReloadError> {
        let (_, deployed) = self.deployed(plugin)?;
        let nothing = || ReloadError::Plugin(format!("plugin {plugin:?} has no version on trial"));
        let trial = deployed.trial.as_ref().ok_or_else(nothing)?;
        let step = Step::Take(trial.promoted(), trial.reason);
        self.turn(plugin, Turn { step, swap: Some(Swap::Done), why: None }).await
    }

    /// Puts the last good version of a plugin in the place of one that was found unfit.
    async fn replace_unfit(&self, unfit: &Arc<Version>) {
        let name = unfit.plugin.name();
        let Ok((_, deployed)) = self.deployed(name) else { return };
        // One on trial is judged with the others.
        if !Arc::ptr_eq(&deployed.version, unfit) {
            return;
        }
        let Some(good) = unfit.plugin.last_good(unfit) else {
            let version = unfit.name();
            return tracing::warn!(plugin = name, version, "there is no earlier version; the fallback decides");
        };
        let version = good.name();
        let why = Some("it failed too often".to_owned());
        let turn = Turn { step: Step::Take(good, Reason::Recovered), swap: Some(Swap::RolledBack), why };
        match self.turn(name, turn).await {
            Ok(_) => tracing::warn!(plugin = name, unfit = unfit.name(), version, "the last good version is back"),
            Err(error) => tracing::error!(plugin = name, %error, "the last good version cannot be brought back"),
        }
    }

    fn has_trials(&self) -> bool {
        self.snapshot().plugins.iter().any(|deployed| deployed.trial.is_some())
    }

    /// Ends trials of which it is known how they end.
    async fn judge(&self) {
        let snapshot = self.snapshot();
        for deployed in &snapshot.plugins {
            let Some(trial) = &deployed.trial else { continue };
            let name = deployed.version.plugin.name();
            let turn = match trial.verdict(Instant::now()) {
                Verdict::Wait => continue,
                Verdict::Promote => match trial.next() {
                    Some(next) => Turn { step: Step::Try(Arc::new(next)), swap: None, why: None },
                    None => {
                        let step = Step::Take(trial.promoted(), trial.reason);
                        Turn { step, swap: Some(Swap::Done), why: None }
                    }
                },
                Verdict::RollBack(why) => {
                    let step = Step::Take(deployed.version.clone(), Reason::RolledBack);
                    Turn { step, swap: Some(Swap::RolledBack), why: Some(why) }
                }
            };
            if let Err(error) = self.turn(name, turn).await {
                tracing::error!(plugin = name, %error, "the version on trial cannot come into force");
                let back = Step::Take(deployed.version.clone(), Reason::RolledBack);
                let turn = Turn { step: back, swap: Some(Swap::RolledBack), why: Some(error.to_string()) };
                // The version in force is in force: this cannot fail for a reason of its own.
                let _ = self.turn(name, turn).await;
            }
        }
    }

    /// Does a step, and tells of it.
    async fn turn(&self, plugin: &str, turn: Turn) -> Result<Pushed, ReloadError> {
        let (_, before) = self.deployed(plugin)?;
        let Turn { step, swap, why } = turn;
        self.board.begin(Some(plugin), "configuring");
        let course = Course { plugin: plugin.to_owned(), step: step.clone() };
        let result = self.change(Source::Course(course)).await;
        self.board.rest();
        result?;
        let (live, trial) = (before.version.name(), before.trial.as_ref().map(|trial| trial.candidate.name()));
        match step {
            Step::Try(trial) => {
                let (version, time) = (trial.candidate.name(), trial.stage.time());
                let stage = trial.stage.text();
                tracing::info!(plugin, version, live, stage, ?time, "a version is on trial");
                Ok(Pushed { version, state: stage })
            }
            Step::Take(version, _) => {
                let now = version.name();
                let back = matches!(swap, Some(Swap::RolledBack));
                // Back from a trial is where it was all the time.
                let tried = trial.filter(|_| back && Arc::ptr_eq(&version, &before.version));
                match (&tried, back) {
                    (Some(version), _) => {
                        tracing::warn!(plugin, version, live = now, why, "a version on trial was rolled back");
                    }
                    (None, true) => tracing::info!(plugin, version = now, before = live, why, "rolled back"),
                    (None, false) => tracing::info!(plugin, version = now, before = live, "a version is in force"),
                }
                if back && version.number < before.version.number {
                    before.version.leave();
                }
                if let Some(swap) = swap {
                    // What it was about: one that is not in force any more, or the one that is.
                    let about = if back { tried.unwrap_or(live) } else { now.clone() };
                    self.end(&version.plugin, about, swap, why);
                }
                Ok(Pushed { version: now, state: "in-force" })
            }
        }
    }

    fn end(&self, plugin: &Plugin, version: String, swap: Swap, why: Option<String>) {
        plugin.swapped(swap);
        self.board.end(plugin.name(), version, swap.text(), why);
    }

    /// Tells of versions that came with a configuration.
    fn tell_of_versions(&self, before: &Snapshot) {
        for deployed in &self.snapshot().plugins {
            let plugin = deployed.version.plugin.name();
            let Some(old) = before.plugin(plugin) else { continue };
            let (version, live) = (deployed.version.name(), old.version.name());
            if !old.version.is(&deployed.version) {
                tracing::info!(plugin, version, before = live, "a version is in force");
                self.end(&deployed.version.plugin, version.clone(), Swap::Done, None);
            }
            if let Some(trial) = &deployed.trial
                && !old.trial.as_ref().is_some_and(|old| Arc::ptr_eq(old, trial))
            {
                let (version, time, stage) = (trial.candidate.name(), trial.stage.time(), trial.stage.text());
                tracing::info!(plugin, version, live, stage, ?time, "a version is on trial");
            }
        }
    }
}
