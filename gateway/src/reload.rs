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
use crate::fetch::Fetched;
use crate::listener::{self, Listener, Settings};
use crate::plugin::Version;
use crate::snapshot::{self, Deployed, Snapshot};
use crate::tls::{self, ServerTls};
use crate::worker::{Command, Shared};

/// The configuration in force, and those who have to be told of another.
pub struct Force {
    shared: Arc<Shared>,
    workers: Vec<UnboundedSender<Command>>,
    listeners: Vec<Arc<Listener>>,
    /// What stands in the certificate files that are in use.
    contents: BTreeMap<PathBuf, Option<Vec<u8>>>,
}

/// Why a configuration did not come into force.
#[derive(Debug, thiserror::Error)]
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
}

impl ReloadError {
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
    /// Read the file again.
    Reload(oneshot::Sender<Result<String, ReloadError>>),
    /// Put this into force.
    Apply(Box<model::Config>, oneshot::Sender<Result<String, ReloadError>>),
    /// A version of a plugin was found unfit.
    Unfit(Arc<Version>),
    /// Write access-log lines to a new file of the same name.
    ReopenLog,
    /// Finish what runs, then end.
    Stop,
    /// End.
    Leave,
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
        Force { shared, workers, listeners: Vec::new(), contents: BTreeMap::new() }
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
    pub async fn workers_left(&self) {
        for worker in &self.workers {
            worker.closed().await;
        }
    }

    /// Puts what the file says into force, when it could be read. What changed, in words.
    pub fn reload(
        &mut self,
        config: Result<model::Config, ReloadError>,
        fetched: &Fetched,
        file: Option<&Path>,
    ) -> Result<String, ReloadError> {
        let result = config.and_then(|config| self.apply_fetched(config, fetched, file));
        match &result {
            Ok(changes) if changes.is_empty() => tracing::info!("reloaded; nothing changed in the configuration"),
            Ok(changes) => tracing::info!(changes, "reloaded"),
            Err(error) => {
                self.shared.metrics.reload_failed();
                error.log("the configuration was not reloaded, the old one stays in force");
            }
        }
        result
    }

    /// Puts a configuration into force whose plugins are all here. What changed, in words.
    pub fn apply(&mut self, config: model::Config, file: Option<&Path>) -> Result<String, ReloadError> {
        self.apply_fetched(config, &Fetched::default(), file)
    }

    /// Puts a configuration into force, with the modules that were fetched for it. What changed, in words.
    pub fn apply_fetched(
        &mut self,
        config: model::Config,
        fetched: &Fetched,
        file: Option<&Path>,
    ) -> Result<String, ReloadError> {
        let before = self.shared.snapshot();
        let fixed = [
            ("workers", config.workers != before.config.workers),
            ("admin.address", config.admin != before.config.admin),
            ("log", config.log != before.config.log),
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
            let old = self.contents.get(path);
            old.is_some() && old != contents.get(path)
        };
        diff::renewed(&mut changes, &config.named, other);
        let compiled = Snapshot::compile(config, Some(&before), &self.shared.metrics, &self.shared.house, fetched);
        let snapshot = compiled.map_err(|problems| in_file(file, problems))?;
        let prepared = self.prepare(&snapshot.config).map_err(|problems| in_file(file, problems))?;
        let hash = hash(&snapshot.config);
        self.contents = contents;
        snapshot.plugins.iter().for_each(Deployed::enters);
        self.shared.replace(snapshot);
        self.put_in_place(prepared);
        self.tell(|| Command::Refresh);
        listener::prepare(self.shared.snapshot().limits.connections);
        warn(&self.shared.snapshot().config, file);
        self.shared.metrics.reload_succeeded(&hash, SystemTime::now());
        Ok(changes)
    }

    /// Puts the last good version of a plugin in the place of one that was found unfit.
    pub fn replace_unfit(&mut self, version: &Arc<Version>) {
        let snapshot = self.shared.snapshot();
        let (plugin, unfit) = (version.plugin.name(), version.name());
        if !snapshot.plugins.iter().any(|deployed| Arc::ptr_eq(&deployed.version, version)) {
            return;
        }
        if !self.shared.house.replace(version) {
            return tracing::warn!(plugin, unfit, "there is no earlier version; the fallback decides");
        }
        match self.apply(snapshot.config.clone(), None) {
            Ok(_) => {
                let now = self.shared.snapshot();
                let good = now.plugins.iter().find(|deployed| deployed.version.plugin.name() == plugin);
                let version = good.map(|deployed| deployed.version.name());
                tracing::warn!(plugin, unfit, version, "the last good version is back");
            }
            Err(error) => tracing::error!(plugin, %error, "the last good version cannot be brought back"),
        }
    }

    /// Opens the listeners of the first configuration.
    pub fn open(&mut self) -> Result<(), Vec<Problem>> {
        let snapshot = self.shared.snapshot();
        self.contents = tls::contents(&snapshot.config);
        snapshot.plugins.iter().for_each(Deployed::enters);
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
            match self.prepare_one(config, index, model, &mut open) {
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
        let sockets = listener::bind(model.address, self.workers.len()).map_err(listen)?;
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
