//! A running gateway: its threads, from the start to the end.
//!
//! In: a configuration or its file. Out: a [`Running`] gateway that serves until it is stopped. One thread a worker; one for the
//! control path, which alone changes what is in force.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use crate::admin;
use crate::balance::Endpoint;
use crate::config::{Problems, model};
use crate::control::{self, Control};
use crate::discovery::Discovery;
use crate::examine;
use crate::fetch::{self, Store};
use crate::health;
use crate::listener;
use crate::metrics::Metrics;
use crate::plugin::House;
use crate::reload::{Change, Force, Order, ReloadError, cannot_listen, in_file, warn};
use crate::snapshot::{Given, Snapshot, problem_with};
use crate::tls::Stamps;
use crate::vault;
use crate::worker::{self, Command, Shared};

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
    let stamps = Stamps::of(control::watched(file.as_deref(), &config));
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
        let _ = weak
            .upgrade()
            .map(|orders: mpsc::UnboundedSender<Order>| orders.send(Order::Change(Change::Unfit(version))));
    };
    let weak = orders.downgrade();
    let discovery = Discovery::new(move || {
        let _ = weak.upgrade().map(|orders| orders.send(Order::Change(Change::Members)));
    });
    let house = House::new(workers, vault::place("plugins"), unfit).map_err(StartError::Thread)?;
    let store = Store::at(vault::place(fetch::FOLDER));
    let fetched = fetch::fetch_and_wait(fetch::wanted(&config, None), &config.limits, store, true);
    let given = Given::make(&config, &house, &fetched.map_err(StartError::Thread)?);
    let snapshot = Snapshot::compile(config, None, &metrics, &house, &given);
    let snapshot = snapshot.map_err(|problems| in_file(file.as_deref(), problems))?;
    discovery.begin(&snapshot.config);
    discovery.wait(&snapshot.config, snapshot.limits.discovery_time);
    let (found, problems) = snapshot.with_found(|pool| discovery.found(pool), &house);
    if !problems.is_empty() {
        let problems = problems.into_iter().map(|(_, problem)| problem).collect();
        return Err(in_file(file.as_deref(), problems).into());
    }
    let snapshot = found.unwrap_or(snapshot);
    let shared = Arc::new(Shared::new(snapshot, metrics, house, discovery));
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
    let control = Control { force, file, stamps, addresses: known, orders: weak };
    let (until, over) = oneshot::channel();
    let watching = shared.clone();
    threads.push(spawn("health".into(), move || health::run(&watching, over))?);
    let run = move || {
        control.run(receiver, admin);
        // Endpoints are looked after for as long as anything is.
        drop::<oneshot::Sender<()>>(until);
    };
    threads.push(spawn("control".into(), run)?);
    Ok(Running { orders, threads, addresses, admin: admin_address, shared })
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    std::thread::Builder::new().name(name).spawn(run).map_err(StartError::Thread)
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

    /// An endpoint of a pool, with all that is known of it.
    pub fn endpoint(&self, pool: &str, address: &str) -> Option<Arc<Endpoint>> {
        let snapshot = self.shared.snapshot();
        let pool = snapshot.pools.iter().find(|compiled| compiled.state.model.name == pool)?;
        let mut candidates = pool.state.everyone.iter();
        candidates.find(|candidate| candidate.endpoint.address == address).map(|candidate| candidate.endpoint.clone())
    }

    /// Reads the file again. What changed, in words.
    pub fn reload(&self) -> Result<String, ReloadError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Change::Reload(reply), answer)
    }

    /// Puts another configuration into force. What changed, in words.
    pub fn apply(&self, config: model::Config) -> Result<String, ReloadError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Change::Apply(Box::new(config), reply), answer)
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

    fn ask<T: Send>(
        &self,
        change: Change,
        answer: oneshot::Receiver<Result<T, ReloadError>>,
    ) -> Result<T, ReloadError> {
        self.order(Order::Change(change));
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
        self.shared.cache.end();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.order(Order::Leave);
        self.join();
    }
}
