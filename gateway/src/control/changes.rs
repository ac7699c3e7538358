//! Changes to what is in force, one after the other.
//!
//! In: what is wanted, files that changed, trials that are over. Out: another snapshot, or everything as it was, with the reason
//! in the log and to whoever asked. What takes long is prepared beside this, and holds up only what waits in the same lane; what
//! cannot wait (a version that failed, an operator who goes back, the end of a trial) goes before what is prepared.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::task::{Id, JoinSet};

use super::lanes::{Lane, Lanes};
use super::prepare::Study;
use super::steps::{self, Steps};
use super::{members, watched};
use crate::admin::Board;
use crate::fetch::{self, Store};
use crate::plugin::{Code, Rollout, Version};
use crate::reload::{Change, Draft, Force, Next, Push, Pushed, ReloadError, Reply, Source};
use crate::tls::Stamps;
use crate::vault;

/// How often files are looked at for changes.
const WATCH: Duration = Duration::from_millis(500);
/// How often trials are judged.
const JUDGE: Duration = Duration::from_millis(100);
/// Between two attempts to bring the last good version back.
const AGAIN: Duration = Duration::from_secs(1);

/// Who makes changes.
pub(super) struct Changes {
    force: Rc<RefCell<Force>>,
    file: Option<PathBuf>,
    stamps: Stamps,
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    steps: Steps,
    study: Rc<Study>,
    lanes: Lanes<Slow>,
    /// What is being prepared, and in which lanes.
    preparing: JoinSet<Prepared>,
    places: HashMap<Id, Lane>,
    subsets: members::Subsets,
    prepared: VecDeque<Prepared>,
    at_once: VecDeque<Change>,
    /// Versions in whose place nothing else could be put, and when that was tried.
    unfit: Vec<(Instant, Arc<Version>)>,
}

/// A change that has to be prepared.
enum Slow {
    Configuration(Source, Occasion),
    Push(Push, Reply<Pushed>),
}

/// The same when it is.
enum Prepared {
    Configuration(Result<Box<Draft>, ReloadError>, Occasion),
    Push { plugin: String, code: Result<Code, ReloadError>, rollout: Option<Rollout>, reply: Reply<Pushed> },
}

/// Why a configuration comes into force, and who waits for that.
enum Occasion {
    /// The file is to be read.
    Reload(Vec<Reply<String>>),
    /// It was handed over.
    Apply(Reply<String>),
    /// Files that it names have changed.
    Files,
}

impl Changes {
    pub(super) fn new(
        force: Rc<RefCell<Force>>,
        file: Option<PathBuf>,
        stamps: Stamps,
        addresses: Arc<Mutex<Vec<SocketAddr>>>,
        board: Rc<Board>,
    ) -> Changes {
        let (shared, store) = (force.borrow().shared().clone(), Store::at(vault::place(fetch::FOLDER)));
        let study = Rc::new(Study::new(shared, file.clone(), store, board.clone()));
        let steps = Steps::new(force.clone(), file.clone(), board);
        let (lanes, preparing, places) = Default::default();
        let (prepared, at_once, unfit) = Default::default();
        let subsets = members::Subsets::new();
        Changes {
            force,
            file,
            stamps,
            addresses,
            steps,
            study,
            lanes,
            preparing,
            places,
            subsets,
            prepared,
            at_once,
            unfit,
        }
    }

    /// Makes changes until nobody can want any.
    pub(super) async fn make(mut self, mut wanted: mpsc::UnboundedReceiver<Change>) {
        let mut looked = Instant::now();
        loop {
            loop {
                match wanted.try_recv() {
                    Ok(change) => self.want(change),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            while let Some(done) = self.preparing.try_join_next_with_id() {
                self.note(done);
            }
            if let Some(change) = self.at_once.pop_front() {
                self.one(change).await;
                continue;
            }
            self.steps.judge().await;
            self.subsets.look(&self.force).await;
            self.force.borrow_mut().let_go();
            self.try_again();
            if looked.elapsed() >= WATCH {
                looked = Instant::now();
                self.look();
            }
            if let Some(prepared) = self.prepared.pop_front() {
                self.finish(prepared).await;
                continue;
            }
            let pause = if self.steps.has_trials() { JUDGE } else { WATCH.saturating_sub(looked.elapsed()) };
            let pause = pause.min(self.subsets.pause(&self.force));
            tokio::select! {
                change = wanted.recv() => match change {
                    Some(change) => self.want(change),
                    None => return,
                },
                Some(done) = self.preparing.join_next_with_id() => self.note(done),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// What could not be put in the place of a version that failed may fit by now.
    fn try_again(&mut self) {
        let due = self.unfit.extract_if(.., |(tried, _)| tried.elapsed() >= AGAIN);
        self.at_once.extend(due.map(|(_, version)| Change::Unfit(version)));
    }

    /// Takes an order: it is carried out soon, or prepared first.
    fn want(&mut self, change: Change) {
        match change {
            Change::Reload(reply) => {
                // Whoever waits for a file that is yet to be read waits for the same.
                if let Some(Slow::Configuration(_, Occasion::Reload(replies))) = self.lanes.last(&Lane::Configuration) {
                    replies.retain(|reply| !reply.is_closed());
                    return replies.push(reply);
                }
                self.enter(Lane::Configuration, Slow::Configuration(Source::File, Occasion::Reload(vec![reply])));
            }
            Change::Apply(config, reply) => {
                let order = Slow::Configuration(Source::Given(config), Occasion::Apply(reply));
                self.enter(Lane::Configuration, order);
            }
            Change::Push(push, reply) => match steps::model(&self.steps.snapshot(), &push.plugin) {
                Ok(_) => self.enter(Lane::Plugin(push.plugin.clone()), Slow::Push(push, reply)),
                // Whoever asked may be gone by now, here as everywhere.
                Err(error) => drop(reply.send(Err(error))),
            },
            Change::RollBack(..) | Change::Promote(..) | Change::Unfit(_) | Change::Members => {
                self.at_once.push_back(change)
            }
        }
    }

    fn enter(&mut self, lane: Lane, order: Slow) {
        if let Some(order) = self.lanes.enter(lane.clone(), order) {
            self.begin(lane, order);
        }
    }

    /// Begins to prepare a change.
    fn begin(&mut self, lane: Lane, order: Slow) {
        if matches!(order, Slow::Configuration(Source::File | Source::InForce, _)) {
            // Looked at first: what changes while it is read is seen again.
            self.stamps.changed();
        }
        let study = self.study.clone();
        let preparing = async move {
            match order {
                Slow::Configuration(source, occasion) => {
                    Prepared::Configuration(study.draft(source).await.map(Box::new), occasion)
                }
                Slow::Push(Push { plugin, module, rollout }, reply) => {
                    let code = study.module(&plugin, module).await;
                    Prepared::Push { plugin, code, rollout, reply }
                }
            }
        };
        let task = self.preparing.spawn_local(preparing);
        self.places.insert(task.id(), lane);
    }

    /// Something is prepared.
    fn note(&mut self, done: Result<(Id, Prepared), tokio::task::JoinError>) {
        let (id, prepared) = match done {
            Ok((id, prepared)) => (id, Some(prepared)),
            // It has said so, and whoever asked sees that nobody answers.
            Err(error) => (error.id(), None),
        };
        let lane = self.places.remove(&id);
        match prepared {
            Some(prepared) => self.prepared.push_back(prepared),
            None => drop(lane.map(|lane| self.leave(&lane))),
        }
    }

    /// What was under way in a lane is over: the next one begins.
    fn leave(&mut self, lane: &Lane) {
        if let Some(next) = self.lanes.leave(lane) {
            self.begin(lane.clone(), next);
        }
    }

    /// Carries out what needs no preparation.
    async fn one(&mut self, change: Change) {
        match change {
            Change::RollBack(about, to, reply) => {
                let result = self.steps.roll_back(&about, to.as_deref()).await;
                let _ = reply.send(result);
            }
            Change::Promote(about, reply) => {
                let result = self.steps.promote(&about).await;
                let _ = reply.send(result);
            }
            Change::Unfit(version) => {
                if self.steps.replace_unfit(&version).await {
                    self.unfit.push((Instant::now(), version));
                }
            }
            Change::Members => members::renew(&self.force).await,
            other => self.want(other),
        }
    }

    /// Makes the last step of what is prepared.
    async fn finish(&mut self, prepared: Prepared) {
        let lane = match prepared {
            Prepared::Configuration(draft, occasion) => {
                let result = match draft {
                    Ok(draft) => self.apply(draft).await,
                    Err(error) => Err(error),
                };
                // Also when it does not come into force: for its members nobody looks any more.
                members::follow(&self.force).await;
                self.told(&result, occasion);
                Lane::Configuration
            }
            Prepared::Push { plugin, code, rollout, reply } => {
                let result = self.steps.push(&plugin, code, rollout).await;
                let _ = reply.send(result);
                Lane::Plugin(plugin)
            }
        };
        self.leave(&lane);
    }

    async fn apply(&mut self, draft: Box<Draft>) -> Result<String, ReloadError> {
        let (before, _doing) = (self.steps.snapshot(), self.steps.board.begin(None, "reloading"));
        let result = self.steps.put(Next::Draft(draft)).await;
        let force = self.force.borrow();
        let addresses = force.listeners().iter().map(|listener| listener.address).collect();
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
        let now = force.shared().snapshot();
        self.stamps.follow(watched(self.file.as_deref(), &now.config));
        if result.is_ok() {
            self.steps.teller.configured(&before, &now);
        }
        result
    }

    /// Says how it went, in the log and to whoever asked.
    fn told(&self, result: &Result<String, ReloadError>, occasion: Occasion) {
        let replies = match occasion {
            Occasion::Apply(reply) => return drop(reply.send(result.clone())),
            Occasion::Reload(replies) => replies,
            Occasion::Files => Vec::new(),
        };
        match result {
            Ok(changes) if changes.is_empty() => tracing::info!("reloaded; nothing changed in the configuration"),
            Ok(changes) => tracing::info!(changes, "reloaded"),
            Err(error) => {
                self.force.borrow().shared().metrics.reload_failed();
                error.log("the configuration was not reloaded, the old one stays in force");
            }
        }
        for reply in replies {
            let _ = reply.send(result.clone());
        }
    }

    /// Files that changed since they were last looked at are read again. What went wrong with them has been logged, and is looked
    /// at again when they change again.
    fn look(&mut self) {
        // What changes while they are read is seen afterwards.
        if self.lanes.is_busy(&Lane::Configuration) || !self.stamps.changed() {
            return;
        }
        let source = if self.file.is_some() { Source::File } else { Source::InForce };
        self.enter(Lane::Configuration, Slow::Configuration(source, Occasion::Files));
    }
}
