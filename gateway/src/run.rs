//! A running gateway: its threads, from the start to the end.
//!
//! In: a configuration or its file. Out: a [`Running`] gateway that serves until it is stopped. One thread a worker; one for the
//! control path, which alone changes what is in force.

mod changes;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::admin;
use crate::config::{Problems, model};
use crate::examine;
use crate::fetch::{self, Store};
use crate::listener;
use crate::metrics::Metrics;
use crate::plugin::House;
use crate::reload::{Force, Order, ReloadError, cannot_listen, in_file, warn};
use crate::snapshot::{Snapshot, problem_with};
use crate::tls::{self, Stamps};
use crate::vault;
use crate::worker::{self, Command, Shared};
use changes::{Change, Changes, Ready};

/// A gateway at work. Dropping it stops it at once.
pub struct Running {
    orders: mpsc::UnboundedSender<Order>,
    threads: Vec<JoinHandle<()>>,
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    admin: Option<SocketAddr>,
    shared: Arc<Shared>,
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file.
    #[error("{0}")]
    Config(#[from] Problems),
    /// The system.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// How often files are looked at for changes.
const WATCH: Duration = Duration::from_millis(500);

/// Starts a gateway from a file, which it watches.
pub fn start_file(path: &Path) -> Result<Running, StartError> {
    let config = examine::load(path)?;
    launch(config, Some(path.to_owned()))
}

/// Starts a gateway without a file.
pub fn start(config: model::Config) -> Result<Running, StartError> {
    launch(config, None)
}

fn launch(config: model::Config, file: Option<PathBuf>) -> Result<Running, StartError> {
    listener::prepare(config.limits.connections);
    let stamps = Stamps::of(watched(file.as_deref(), &config));
    let workers = config.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1);
    let metrics = Metrics::new(workers);
    let bind = |admin: &model::Admin| {
        admin::bind(admin.address).map_err(|error| {
            let message = cannot_listen(admin.address, &error);
            in_file(file.as_deref(), vec![problem_with(&config, None, "admin.address", message)])
        })
    };
    let admin = config.admin.as_ref().map(bind).transpose()?;
    let admin_address = admin.as_ref().and_then(|socket| socket.local_addr().ok());
    if let Some(address) = admin_address {
        tracing::info!(%address, "answering operators at the admin address");
    }
    let (orders, receiver) = mpsc::unbounded_channel();
    let weak = orders.downgrade();
    let unfit = move |version| {
        // Without a control thread nothing changes any more.
        let _ = weak.upgrade().map(|orders: mpsc::UnboundedSender<Order>| orders.send(Order::Unfit(version)));
    };
    let house = House::new(workers, vault::place("plugins"), unfit).map_err(StartError::Thread)?;
    let store = Store::at(vault::place(fetch::FOLDER));
    let fetched = fetch::fetch_and_wait(fetch::wanted(&config, None), &config.limits, store, true);
    let snapshot = Snapshot::compile(config, None, &metrics, &house, &fetched.map_err(StartError::Thread)?);
    let snapshot = snapshot.map_err(|problems| in_file(file.as_deref(), problems))?;
    let shared = Arc::new(Shared::new(snapshot, metrics, house));
    let mut threads = Vec::new();
    let mut commands = Vec::new();
    for index in 0..workers {
        let (sender, receiver) = mpsc::unbounded_channel();
        let shared = shared.clone();
        let run = move || match shared.metrics.worker(index) {
            Some(metrics) => worker::run(shared, metrics, receiver),
            None => tracing::error!(index, "a worker without counters cannot run"),
        };
        threads.push(spawn(format!("worker-{index}"), run)?);
        commands.push(sender);
    }
    let mut force = Force::new(shared.clone(), commands);
    if let Err(problems) = force.open() {
        force.tell(|| Command::Leave);
        return Err(in_file(file.as_deref(), problems).into());
    }
    warn(&shared.snapshot().config, file.as_deref());
    let addresses = Arc::new(Mutex::new(force.listeners().iter().map(|listener| listener.address).collect()));
    let (known, weak) = (addresses.clone(), orders.downgrade());
    let control = move || {
        let changes = Changes::new();
        Control { force, file, stamps, changes, addresses: known, orders: weak }.run(receiver, admin);
    };
    threads.push(spawn("control".into(), control)?);
    Ok(Running { orders, threads, addresses, admin: admin_address, shared })
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    std::thread::Builder::new().name(name).spawn(run).map_err(StartError::Thread)
}

/// The files whose change is a reason to reload.
fn watched(file: Option<&Path>, config: &model::Config) -> impl Iterator<Item = PathBuf> + use<> {
    let plugins = config.plugin_files().map(Path::to_owned).collect::<Vec<_>>();
    file.map(Path::to_owned).into_iter().chain(tls::files(config)).chain(plugins)
}

impl Running {
    /// Where it listens, in the order of the configuration.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where operators connect.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Everything that is counted, as Prometheus reads it.
    pub fn metrics(&self) -> String {
        self.shared.metrics_text()
    }

    /// Reads the file again. What changed, in words.
    pub fn reload(&self) -> Result<String, ReloadError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Order::Reload(reply), answer)
    }

    /// Puts another configuration into force. What changed, in words.
    pub fn apply(&self, config: model::Config) -> Result<String, ReloadError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Order::Apply(Box::new(config), reply), answer)
    }

    /// Hands an order to the control thread.
    pub fn order(&self, order: Order) {
        // Without a control thread there is nobody left to obey.
        let _ = self.orders.send(order);
    }

    /// A way to hand orders to the control thread while this waits for its end.
    pub fn orders(&self) -> mpsc::UnboundedSender<Order> {
        self.orders.clone()
    }

    /// Finishes what runs, for as long as `limits.drain_time` allows, and ends.
    pub fn stop(mut self) {
        self.order(Order::Stop);
        self.join();
    }

    fn ask<T: Send>(&self, order: Order, answer: oneshot::Receiver<Result<T, ReloadError>>) -> Result<T, ReloadError> {
        self.order(order);
        // Also called from threads that run tasks, where `blocking_recv` may not be.
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| answer.blocking_recv().unwrap_or(Err(ReloadError::Stopping)));
            waiting.join().unwrap_or(Err(ReloadError::Stopping))
        })
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.order(Order::Leave);
        self.join();
    }
}

/// The control thread.
struct Control {
    force: Force,
    file: Option<PathBuf>,
    stamps: Stamps,
    changes: Changes,
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    orders: mpsc::WeakUnboundedSender<Order>,
}

impl Control {
    fn run(self, orders: mpsc::UnboundedReceiver<Order>, admin: Option<std::net::TcpListener>) {
        match tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()) {
            Ok(runtime) => {
                runtime.block_on(self.obey(orders, admin));
                // A name that is still being looked up is waited for by nobody.
                runtime.shutdown_background();
            }
            Err(error) => tracing::error!(%error, "the control thread cannot start"),
        }
    }

    async fn obey(mut self, mut orders: mpsc::UnboundedReceiver<Order>, admin: Option<std::net::TcpListener>) {
        if let Some(socket) = admin {
            let desk = admin::Desk::new(self.force.shared().clone(), self.orders.clone());
            tokio::task::spawn_local(desk.serve(socket));
        }
        let mut watch = tokio::time::interval(WATCH);
        watch.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let snapshot = self.force.shared().snapshot();
            let order = tokio::select! {
                order = orders.recv() => order.unwrap_or(Order::Leave),
                ready = self.changes.next(self.file.as_deref(), &snapshot.config) => {
                    self.make(ready);
                    continue;
                }
                _ = watch.tick() => {
                    self.look();
                    continue;
                }
            };
            match order {
                Order::Reload(reply) => self.want(Change { config: None, reply: Some(reply) }),
                Order::Apply(config, reply) => self.want(Change { config: Some(config), reply: Some(reply) }),
                Order::ReopenLog => {
                    if let Some(log) = &self.force.shared().snapshot().access_log {
                        log.reopen();
                    }
                }
                Order::Unfit(version) => self.force.replace_unfit(&version),
                Order::Stop => {
                    self.changes.stop();
                    return self.drain(orders).await;
                }
                Order::Leave => return self.force.tell(|| Command::Leave),
            }
        }
    }

    fn want(&mut self, change: Change) {
        // Looked at first: what changes while it is read is seen again.
        self.stamps.changed();
        self.changes.want(change);
    }

    /// Files that changed since they were last looked at are read again.
    fn look(&mut self) {
        if self.stamps.changed() {
            let config = || Box::new(self.force.shared().snapshot().config.clone());
            let config = if self.file.is_some() { None } else { Some(config()) };
            self.changes.want(Change { config, reply: None });
        }
    }

    fn make(&mut self, ready: Ready) {
        let Ready { config, fetched, in_file, reply } = ready;
        let result = match in_file {
            // What went wrong has been logged, and is looked at again when the file changes again.
            true => self.force.reload(config, &fetched, self.file.as_deref()),
            false => config.and_then(|config| self.force.apply_fetched(config, &fetched, None)),
        };
        self.changed();
        match (reply, result) {
            // Who asked may be gone.
            (Some(reply), result) => drop(reply.send(result)),
            (None, _) if in_file => {}
            (None, Ok(changes)) => tracing::info!(changes, "reloaded"),
            (None, Err(error)) => {
                self.force.shared().metrics.reload_failed();
                error.log("certificates were not reloaded, the old ones stay in force");
            }
        }
    }

    fn changed(&mut self) {
        let addresses = self.force.listeners().iter().map(|listener| listener.address).collect();
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
        let config = &self.force.shared().snapshot().config;
        self.stamps.follow(watched(self.file.as_deref(), config));
    }

    async fn drain(&self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let shared = self.force.shared();
        let time = shared.snapshot().limits.drain_time;
        tracing::info!(connections = shared.metrics.connections_open(), "stopping when all requests are finished");
        self.force.tell(|| Command::Drain(time));
        // Workers keep the time themselves; one that hangs is not waited for.
        let mut left = pin!(tokio::time::timeout(time + Duration::from_secs(1), self.force.workers_left()));
        loop {
            tokio::select! {
                _ = &mut left => break,
                Some(order) = orders.recv() => {
                    if matches!(order, Order::Leave) {
                        self.force.tell(|| Command::Leave);
                    }
                }
            }
        }
        match shared.requests_cut() {
            0 => tracing::info!("stopped; all requests were finished"),
            cut => tracing::warn!(requests = cut, "stopped; requests that took too long were cut"),
        }
        if let Some(log) = &shared.snapshot().access_log {
            log.flush(Duration::from_secs(1));
        }
    }
}
