//! From one configuration to the next, without a request noticing.
//!
//! In: a configuration. Out: it is in force everywhere, or nothing has changed and the problems are told. Everything that can
//! fail (files, certificates, sockets) is done before anything is put in place.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::config::{Problem, Problems, diff, model};
use crate::examine;
use crate::listener::{self, Listener, Settings};
use crate::plugin::{Attempt, Rollout, Version};
use crate::snapshot::{self, Course, Given, Snapshot};
use crate::tls::{self, ServerTls};
use crate::worker::{Command, Shared};

/// The configuration in force, and those who have to be told of another.
pub struct Force {
    shared: Arc<Shared>,
    workers: Vec<UnboundedSender<Command>>,
    listeners: Vec<Arc<Listener>>,
    /// What stands in the certificate files that are in use.
    contents: BTreeMap<PathBuf, Option<Vec<u8>>>,
    /// Snapshots that requests may still hold.
    retired: Vec<Arc<Snapshot>>,
}

/// Why a configuration did not come into force.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file.
    #[error("{0}")]
    Config(#[from] Problems),
    /// There is no file to read again.
    #[error("the gateway runs without a configuration file")]
    NoFile,
    /// It is too late.
    #[error("the gateway is stopping")]
    Stopping,
    /// There is no such plugin in the configuration.
    #[error("there is no [plugin.{0}] in the configuration{1}")]
    NoPlugin(String, String),
    /// What was asked for about a plugin cannot be done.
    #[error("{0}")]
    Plugin(String),
    /// What whoever asked has seen is no longer so.
    #[error("{0}")]
    Conflict(String),
}

impl ReloadError {
    /// The same about what an operator ordered for a plugin, which does not stand in the file.
    pub fn without_file(self) -> ReloadError {
        let ReloadError::Config(problems) = self else { return self };
        let line =
            |problem: &Problem| match problem.key.strip_prefix("plugin.").and_then(|key| key.strip_suffix(".source")) {
                // The module that was handed over, and not the source.
                Some(_) => problem.message.clone(),
                None => format!("{}: {}", problem.key, problem.message),
            };
        ReloadError::Plugin(problems.problems.iter().map(line).collect::<Vec<_>>().join("\n"))
    }

    /// Says in the log that something failed, and why: a line for each problem.
    pub fn log(&self, what: &str) {
        tracing::error!("{what}");
        for line in self.to_string().lines() {
            tracing::error!("{line}");
        }
    }
}

/// What the control thread is asked for.
pub enum Order {
    /// Change what is in force.
    Change(Change),
    /// Write access-log lines to a new file of the same name.
    ReopenLog,
    /// Finish what runs, then end.
    Stop,
    /// End.
    Leave,
}

/// What may be changed. One change follows the other; reloads and pushes only when they are prepared.
pub enum Change {
    /// Read the file again.
    Reload(Reply<String>),
    /// Put this into force.
    Apply(Box<model::Config>, Reply<String>),
    /// Bring another version of a plugin into force.
    Push(Push, Reply<Pushed>),
    /// Go back to a version of a plugin that was in force before: this one, or the one before; or end its trial.
    RollBack(About, Option<String>, Reply<Pushed>),
    /// End a plugin's trial: it went well.
    Promote(About, Reply<Pushed>),
    /// There are other members of pools.
    Members,
    /// A version of a plugin was found unfit.
    Unfit(Arc<Version>),
}

/// Where the answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, ReloadError>>;

/// A module for a plugin.
pub struct Push {
    /// The plugin's name.
    pub plugin: String,
    /// The module.
    pub module: Vec<u8>,
    /// How it is to come into force; as the configuration says when this does not.
    pub rollout: Option<Rollout>,
}

/// The plugin that an order is about, and what whoever gives it has seen of it: it is not obeyed when that is no longer so.
pub struct About {
    /// The plugin's name.
    pub plugin: String,
    /// The attempt whose trial runs, or [`About::NONE`].
    pub trial: Option<String>,
    /// The name of the version in force.
    pub version: Option<String>,
}

impl About {
    /// Instead of an attempt: no trial runs.
    pub const NONE: &str = "none";
}

/// What became of an order about a plugin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pushed {
    /// By which it is asked for later.
    pub attempt: Attempt,
    /// The version that it was about.
    pub version: String,
    /// `in-force`, or how it is tried.
    pub state: &'static str,
}

/// The last step of a change, for a thread that may take its time.
pub struct Job {
    shared: Arc<Shared>,
    contents: BTreeMap<PathBuf, Option<Vec<u8>>>,
    file: Option<PathBuf>,
    next: Next,
}

/// Where a configuration comes from.
pub enum Source {
    /// The file.
    File,
    /// From here.
    Given(Box<model::Config>),
    /// It is the one in force, with files that have changed.
    InForce,
}

/// What is to come into force.
pub enum Next {
    /// A configuration.
    Draft(Box<Draft>),
    /// Another course for one plugin.
    Course(Course),
}

/// A configuration with everything that takes long to come by.
pub struct Draft {
    /// The configuration.
    pub config: model::Config,
    /// What the sources of its plugins give.
    pub given: Given,
}

/// A change that only has to be put in place.
pub struct Ready {
    snapshot: Snapshot,
    changes: String,
    /// Contents of certificate files; `None` when listeners stay as they are.
    contents: Option<BTreeMap<PathBuf, Option<Vec<u8>>>>,
    file: Option<PathBuf>,
}

/// A listener that is to be, with its sockets when it is new.
struct Prepared {
    listener: Arc<Listener>,
    settings: Settings,
    sockets: Vec<TcpListener>,
}

impl Force {
    /// With no listeners yet.
    pub fn new(shared: Arc<Shared>, workers: Vec<UnboundedSender<Command>>) -> Force {
        Force { shared, workers, listeners: Vec::new(), contents: BTreeMap::new(), retired: Vec::new() }
    }

    /// What the threads share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The listeners, in the order of the configuration.
    pub fn listeners(&self) -> &[Arc<Listener>] {
        &self.listeners
    }

    /// Tells all workers.
    pub fn tell(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            // A worker that is gone has nothing left to do.
            let _ = worker.send(command());
        }
    }

    /// Waits until all workers have left.
    pub fn workers_left(&self) -> impl Future<Output = ()> + use<> {
        let workers = self.workers.clone();
        async move {
            for worker in &workers {
                worker.closed().await;
            }
        }
    }

    /// The last step of a change. Its file is named in what is wrong with it.
    pub fn job(&self, next: Next, file: Option<&Path>) -> Job {
        let (shared, contents) = (self.shared.clone(), self.contents.clone());
        Job { shared, contents, file: file.map(Path::to_owned), next }
    }

    /// Puts a change in place. What changed, in words.
    pub fn put(&mut self, ready: Ready) -> Result<String, ReloadError> {
        let Ready { snapshot, changes, contents, file } = ready;
        let file = file.as_deref();
        let prepared = contents.is_some().then(|| self.prepare(&snapshot.config)).transpose();
        let prepared = prepared.map_err(|problems| in_file(file, problems))?;
        let before = self.shared.snapshot();
        snapshot.plugins.iter().for_each(|plugin| plugin.enters(Some(&before)));
        snapshot.enters();
        self.shared.replace(snapshot);
        self.tell(|| Command::Refresh);
        self.let_go();
        self.retired.push(before);
        if let (Some(prepared), Some(contents)) = (prepared, contents) {
            self.contents = contents;
            self.put_in_place(prepared);
            listener::prepare(self.shared.snapshot().limits.connections);
            warn(&self.shared.snapshot().config, file);
            let hash = hash(&self.shared.snapshot().config);
            self.shared.metrics.reload_succeeded(&hash, SystemTime::now());
        }
        Ok(changes)
    }

    /// Lets go of snapshots that nobody else holds: here, so that no worker has to take them apart.
    pub fn let_go(&mut self) {
        self.retired.retain(|old| Arc::strong_count(old) > 1);
    }

    /// Puts a snapshot in place that differs from the one in force in members of pools.
    pub fn put_members(&mut self, snapshot: Snapshot) {
        self.retired.push(self.shared.snapshot());
        snapshot.enters();
        self.shared.replace(snapshot);
        self.tell(|| Command::Refresh);
    }

    /// Opens the listeners of the first configuration.
    pub fn open(&mut self) -> Result<(), Vec<Problem>> {
        let snapshot = self.shared.snapshot();
        self.contents = tls::contents(&snapshot.config);
        snapshot.plugins.iter().for_each(|plugin| plugin.enters(None));
        snapshot.enters();
        let prepared = self.prepare(&snapshot.config)?;
        self.put_in_place(prepared);
        self.shared.metrics.config_loaded(&hash(&snapshot.config), SystemTime::now());
        Ok(())
    }

    fn prepare(&self, config: &model::Config) -> Result<Vec<Prepared>, Vec<Problem>> {
        let mut open = self.listeners.clone();
        let mut problems = Vec::new();
        let mut prepared = Vec::new();
        for (index, model) in config.listeners.iter().enumerate() {
            // Also those that will go: they are open until everything else stands.
            let ours = self.listeners.iter().chain(prepared.iter().map(|one: &Prepared| &one.listener));
            let ours: Vec<SocketAddr> = ours.map(|listener| listener.address).collect();
            match self.prepare_one(config, index, model, &mut open, &ours) {
                Ok(one) => prepared.push(one),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(prepared) } else { Err(problems) }
    }

    fn prepare_one(
        &self,
        config: &model::Config,
        index: usize,
        model: &model::Listener,
        open: &mut Vec<Arc<Listener>>,
        ours: &[SocketAddr],
    ) -> Result<Prepared, Problem> {
        let tls = model.tls.as_ref().map(|tls| ServerTls::load(tls, &model.protocols)).transpose();
        let tls = tls.map_err(|problem| {
            snapshot::problem_with(config, problem.path(), &format!("listener[{index}].tls"), problem.to_string())
        })?;
        let settings = Settings { model: model.clone(), tls };
        // Each open listener serves one of the configuration's, in order: with port 0 there can be several alike.
        if let Some(at) = open.iter().position(|listener| listener.configured == model.address) {
            return Ok(Prepared { listener: open.remove(at), settings, sockets: Vec::new() });
        }
        let listen = |error: std::io::Error| {
            let message = cannot_listen(model.address, &error);
            snapshot::problem_with(config, None, &format!("listener[{index}].address"), message)
        };
        let sockets = listener::bind(model.address, self.workers.len(), ours).map_err(listen)?;
        let address = sockets.first().map_or(Ok(model.address), TcpListener::local_addr).map_err(listen)?;
        let id = self.shared.metrics.register_listener(&address.to_string(), model.tls.is_some());
        let current = Settings { model: model.clone(), tls: settings.tls.clone() };
        let listener = Listener { configured: model.address, address, id, settings: ArcSwap::from_pointee(current) };
        Ok(Prepared { listener: Arc::new(listener), settings, sockets })
    }

    fn put_in_place(&mut self, prepared: Vec<Prepared>) {
        let kept = |listener: &Arc<Listener>| prepared.iter().any(|one| Arc::ptr_eq(&one.listener, listener));
        for gone in self.listeners.iter().filter(|listener| !kept(listener)) {
            tracing::info!(address = %gone.address, "no longer listening");
            self.tell(|| Command::Unlisten(gone.clone()));
        }
        self.listeners = prepared.iter().map(|one| one.listener.clone()).collect();
        for one in prepared {
            if !one.sockets.is_empty() {
                let tls = one.settings.tls.is_some();
                tracing::info!(address = %one.listener.address, tls, "listening");
            }
            one.listener.settings.store(Arc::new(one.settings));
            for (worker, socket) in self.workers.iter().zip(one.sockets) {
                let _ = worker.send(Command::Listen(one.listener.clone(), socket));
            }
        }
    }
}

impl Source {
    /// Reads what is to be read. Not on a thread that others wait for.
    pub fn read(self, file: Option<&Path>, before: &Snapshot) -> Result<model::Config, ReloadError> {
        match self {
            Source::File => Ok(examine::load(file.ok_or(ReloadError::NoFile)?)?),
            Source::Given(config) => Ok(*config),
            Source::InForce => Ok((*before.config).clone()),
        }
    }
}

impl Job {
    /// Does everything that can fail, beginning from what is in force by now. Not on a thread that others wait for.
    pub fn make(self) -> Result<Ready, ReloadError> {
        let before = self.shared.snapshot();
        let file = self.file.as_deref();
        let (metrics, house) = (&self.shared.metrics, &self.shared.house);
        let Draft { config, given } = match self.next {
            Next::Draft(draft) => *draft,
            Next::Course(course) => {
                let snapshot = before.with_course(&course, house).map_err(|problems| in_file(file, problems))?;
                return Ok(Ready { snapshot, changes: String::new(), contents: None, file: self.file });
            }
        };
        let fixed = [
            ("workers", config.workers != before.config.workers),
            ("admin.address", config.admin != before.config.admin),
            ("log", config.log != before.config.log),
            ("cache.disk", config.cache_disk != before.config.cache_disk),
        ];
        let fixed = fixed.into_iter().filter(|(_, changed)| *changed);
        let fixed: Vec<Problem> = fixed
            .map(|(key, _)| snapshot::problem_with(&config, None, key, "cannot change without a restart"))
            .collect();
        if !fixed.is_empty() {
            return Err(in_file(file, fixed).into());
        }
        let mut changes = diff::diff(&before.config, &config);
        let contents = tls::contents(&config);
        let other = |path: &Path| {
            let (old, new) = (self.contents.get(path), contents.get(path));
            old.is_some() && old != new
        };
        diff::renewed(&mut changes, &config.named, other);
        let compiled = Snapshot::compile(config, Some(&before), metrics, house, &given);
        let snapshot = compiled.map_err(|problems| in_file(file, problems))?;
        let (found, problems) = snapshot.with_found(|pool| self.shared.discovery.found(pool), house);
        if !problems.is_empty() {
            let problems = problems.into_iter().map(|(_, problem)| problem).collect();
            return Err(in_file(file, problems).into());
        }
        let snapshot = found.unwrap_or(snapshot);
        Ok(Ready { snapshot, changes, contents: Some(contents), file: self.file })
    }
}

/// Tells what a configuration that is in force has in it that is hardly meant.
pub fn warn(config: &model::Config, file: Option<&Path>) {
    let file = file.unwrap_or(Path::new("configuration")).display();
    for warning in examine::warnings(config) {
        tracing::warn!("{file}:{warning}");
    }
}

/// Why an address could not be taken, and what to do about it.
pub fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> String {
    let hint = match error.kind() {
        // Where the system draws this line can be set; below 1024 it is by custom.
        ErrorKind::PermissionDenied if address.port() < 1024 => {
            "; ports below 1024 take a right of their own: give it to the program with \
             \"setcap cap_net_bind_service=+ep FILE\" (in a service, AmbientCapabilities=CAP_NET_BIND_SERVICE), or \
             take another port"
        }
        ErrorKind::AddrInUse => "; another program, or another gateway, listens there",
        ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    };
    format!("cannot listen on {address}: {error}{hint}")
}

/// Problems with the name of the file that they are in.
pub fn in_file(file: Option<&Path>, problems: Vec<Problem>) -> Problems {
    let file = file.unwrap_or(Path::new("configuration"));
    Problems::of(file, problems, 0).unwrap_or(Problems { file: file.to_owned(), problems: Vec::new(), omitted: 0 })
}

/// A short name for a configuration, to tell whether two gateways run the same.
fn hash(config: &model::Config) -> String {
    // Where it stands in the file makes no other configuration of it.
    let (places, marks) = Default::default();
    let config = model::Config { places, marks, ..config.clone() };
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, format!("{config:?}").as_bytes());
    digest.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_taken_is_answered_with_what_to_do() {
        let said = |address: &str, kind: ErrorKind| cannot_listen(address.parse().unwrap(), &kind.into());
        assert!(said("[::]:80", ErrorKind::PermissionDenied).contains("setcap cap_net_bind_service=+ep"));
        assert!(!said("[::]:8080", ErrorKind::PermissionDenied).contains("setcap"));
        assert!(said("127.0.0.1:80", ErrorKind::AddrInUse).ends_with("another gateway, listens there"));
        assert!(said("192.0.2.1:80", ErrorKind::AddrNotAvailable).ends_with("no such address"));
    }
}
