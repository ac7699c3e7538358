//! A worker: one thread, one runtime, one share of the connections.
//!
//! In: commands of the control path. Out: served connections. Invariant: what belongs to a worker is touched by its thread only;
//! of the shared state it reads one number for each request, to learn whether there is a new snapshot.

mod admission;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use gatewright_abi::flag;
use slab::Slab;
use tokio::sync::{Notify, mpsc, watch};

pub use admission::{Admission, Admitted};

use crate::access_log;
use crate::balance::Candidate;
use crate::cache::Store;
use crate::cache::disk::{self, Disk};
use crate::clock;
use crate::compress::Press;
use crate::discovery::Discovery;
use crate::files::Files;
use crate::http::Control;
use crate::listener::{self, Listener};
use crate::metrics::{self, CacheRow, DiskRow, EachEndpoint, EndpointsRow, Metrics, PluginRow, Sample, SampleValue};
use crate::plugin::{BOUNDS, House, Plugin, Seat, Series, Value};
use crate::snapshot::{CompiledPool, Snapshot};
use crate::upstream::Pool;

/// What all threads share.
pub struct Shared {
    snapshot: ArcSwap<Snapshot>,
    number: AtomicU64,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Who may connect.
    pub admission: Admission,
    /// The plugins.
    pub house: House,
    /// Where members of pools are looked for.
    pub discovery: Discovery,
    /// Responses that are kept.
    pub cache: Arc<Store>,
    cut: AtomicU64,
    replaced: watch::Sender<()>,
}

/// One worker.
pub struct Worker {
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// Its counters.
    pub metrics: Rc<metrics::Worker>,
    /// Its end of the access log.
    pub access_log: RefCell<access_log::Writer>,
    /// Its cache of files.
    pub files: Files,
    /// What it compresses with.
    pub press: Rc<Press>,
    view: RefCell<Rc<View>>,
    connections: RefCell<Slab<Rc<Control>>>,
    draining: Cell<bool>,
    last_gone: Notify,
}

/// A snapshot with what this worker has made for it.
pub struct View {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// Our side of its pools, in the same order.
    pub pools: Vec<Rc<Pool>>,
    /// Our places among the routers and filters, in the order of its plugins.
    pub seats: Rc<[RefCell<Option<Seat>>]>,
}

/// What the control path tells a worker.
pub enum Command {
    /// Take connections from this socket.
    Listen(Arc<Listener>, std::net::TcpListener),
    /// Take none from this listener any more.
    Unlisten(Arc<Listener>),
    /// There is a new snapshot.
    Refresh,
    /// End politely, then leave.
    Drain(Duration),
    /// Leave now.
    Leave,
}

/// A connection in the worker's list, until it is dropped.
pub struct Registered {
    worker: Rc<Worker>,
    key: usize,
    /// How the worker reaches it.
    pub control: Rc<Control>,
}

/// How often idle upstream connections are looked at.
const SWEEP: Duration = Duration::from_secs(1);
/// How often access-log lines are handed on at the least.
const LOG_TICK: Duration = Duration::from_millis(100);

impl Shared {
    /// With a first snapshot.
    pub fn new(snapshot: Snapshot, metrics: Arc<Metrics>, house: House, discovery: Discovery) -> Shared {
        let admission = Admission::default();
        let disk = snapshot.disk().map(|settings| Disk::start(settings, clock::second));
        let cache = Arc::new(Store::new(snapshot.limits.cache_size).with_disk(disk));
        Shared {
            cache,
            number: AtomicU64::new(snapshot.number),
            snapshot: ArcSwap::from_pointee(snapshot),
            metrics,
            admission,
            house,
            discovery,
            cut: AtomicU64::new(0),
            replaced: watch::Sender::new(()),
        }
    }

    /// How many requests were cut since workers had to leave before them.
    pub fn requests_cut(&self) -> u64 {
        self.cut.load(Ordering::Acquire)
    }

    /// The current snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Everything that is counted, as Prometheus reads it.
    pub fn metrics_text(&self) -> String {
        let snapshot = self.snapshot();
        let version = |name: &str| snapshot.plugin(name).map(|deployed| deployed.version.name());
        let trial = |name: &str| {
            let trial = snapshot.plugin(name)?.trial.as_ref()?;
            Some((trial.candidate.name(), trial.stage.text()))
        };
        let row = |plugin: &Arc<Plugin>| PluginRow {
            name: plugin.name().to_owned(),
            version: version(plugin.name()),
            trial: trial(plugin.name()),
            swaps: plugin.swaps().collect(),
            faults: plugin.faults().collect(),
            lines_dropped: plugin.services.lines_dropped(),
            series_refused: plugin.services.series_refused(),
            samples: plugin.services.all_series().iter().map(|series| sample(series)).collect(),
        };
        let each = |candidate: &Candidate| {
            let flags = candidate.endpoint.stats.flags();
            let (healthy, ejected) = (flags & flag::HEALTHY != 0, flags & flag::EJECTED != 0);
            EachEndpoint { address: candidate.endpoint.address.clone(), healthy, ejected }
        };
        let endpoints = |pool: &CompiledPool| EndpointsRow {
            pool: pool.state.model.name.clone(),
            endpoints: pool.state.everyone.iter().map(each).collect(),
        };
        let endpoints: Vec<_> = snapshot.pools.iter().map(endpoints).collect();
        let plugins: Vec<_> = self.house.plugins().iter().map(row).collect();
        let pools: Vec<_> = snapshot.pools.iter().map(|pool| pool.state.row()).collect();
        let (entries, bytes) = self.cache.size();
        let disk = self.cache.disk().map(|disk| disk_row(&disk.stats()));
        let cache = CacheRow { entries, bytes, coming: self.cache.coming(), disk };
        self.metrics.render(&plugins, &endpoints, &pools, &self.discovery.rows(), &cache)
    }

    /// Puts a new snapshot in its place. Requests in flight keep theirs.
    pub fn replace(&self, snapshot: Snapshot) {
        let number = snapshot.number;
        self.snapshot.store(Arc::new(snapshot));
        self.number.store(number, Ordering::Release);
        self.replaced.send_replace(());
    }

    /// Tells whenever there is another snapshot.
    pub fn replaced(&self) -> watch::Receiver<()> {
        self.replaced.subscribe()
    }
}

/// How the cache on disk stands.
fn disk_row(stats: &disk::Stats) -> DiskRow {
    let (entries, bytes, index) = stats.size;
    let (_, waiting) = stats.waiting;
    DiskRow { stage: stats.stage.word(), entries, bytes, index, waiting, events: stats.events.clone() }
}

/// A plugin's series as it is now.
fn sample(series: &Series) -> Sample {
    let number = |bits: &AtomicU64| f64::from_bits(bits.load(Ordering::Relaxed));
    let value = match &series.value {
        Value::Counter(bits) => SampleValue::Counter(number(bits)),
        Value::Gauge(bits) => SampleValue::Gauge(number(bits)),
        Value::Histogram(buckets, sum) => {
            let mut counts = buckets.iter().map(|count| count.load(Ordering::Relaxed));
            let below = BOUNDS.iter().copied().zip(counts.by_ref()).collect();
            SampleValue::Histogram(below, counts.next().unwrap_or(0), number(sum))
        }
    };
    Sample { name: series.name.clone(), label: series.label.clone(), value }
}

impl View {
    fn new(snapshot: Arc<Snapshot>, before: Option<&View>, metrics: &Rc<metrics::Worker>) -> View {
        let pools = snapshot.pools.iter().enumerate().map(|(index, pool)| {
            let same = |old: &&Rc<Pool>| old.state.model.name == pool.state.model.name;
            // Mostly it stands where it stood.
            let same = before.and_then(|v| v.pools.get(index).filter(same).or_else(|| v.pools.iter().find(same)));
            match same {
                Some(same) if Arc::ptr_eq(&same.state, &pool.state) => same.clone(),
                same => Pool::new(pool.state.clone(), same.map(|pool| &**pool), metrics),
            }
        });
        if let Some(before) = before.filter(|before| Arc::ptr_eq(&before.snapshot.plugins, &snapshot.plugins)) {
            return View { pools: pools.collect(), seats: before.seats.clone(), snapshot };
        }
        let now = Instant::now();
        let seats = snapshot.plugins.iter().map(|plugin| {
            let name = plugin.version.plugin.name();
            let old = before.and_then(|view| {
                let at = view.snapshot.plugins.iter().position(|old| old.version.plugin.name() == name)?;
                view.seats.get(at)
            });
            RefCell::new(Seat::taken(plugin.crew.as_ref(), plugin.trying.as_ref(), old, now))
        });
        View { pools: pools.collect(), seats: seats.collect(), snapshot }
    }
}

impl Worker {
    fn new(shared: Arc<Shared>, metrics: metrics::Worker) -> Worker {
        let snapshot = shared.snapshot();
        let metrics = Rc::new(metrics);
        let writer = access_log::Writer::new(snapshot.access_log.clone(), metrics.clone());
        Worker {
            files: Files::new(&snapshot.limits),
            press: Rc::new(Press::new(metrics.clone())),
            view: RefCell::new(Rc::new(View::new(snapshot, None, &metrics))),
            access_log: RefCell::new(writer),
            connections: RefCell::default(),
            draining: Cell::new(false),
            last_gone: Notify::new(),
            metrics,
            shared,
        }
    }

    /// The current snapshot as this worker sees it: one atomic load, unless there is a new one.
    pub fn view(&self) -> Rc<View> {
        let view = self.view.borrow();
        if view.snapshot.number == self.shared.number.load(Ordering::Acquire) {
            return view.clone();
        }
        drop(view);
        self.refresh()
    }

    fn refresh(&self) -> Rc<View> {
        let before = self.view.borrow().clone();
        let view = Rc::new(View::new(self.shared.snapshot(), Some(&before), &self.metrics));
        self.access_log.borrow_mut().use_sink(view.snapshot.access_log.as_ref());
        *self.view.borrow_mut() = view.clone();
        view
    }

    /// Puts a connection on the list of those that are told to drain.
    pub fn register(self: &Rc<Worker>) -> Registered {
        let control = Rc::new(Control::default());
        if self.draining.get() {
            control.drain();
        }
        let key = self.connections.borrow_mut().insert(control.clone());
        Registered { worker: self.clone(), key, control }
    }

    /// Counts a request that could not be finished.
    pub fn cut_one(&self) {
        self.shared.cut.fetch_add(1, Ordering::AcqRel);
    }

    fn drain(&self) {
        self.draining.set(true);
        for (_, control) in &*self.connections.borrow() {
            control.drain();
        }
    }

    /// Lets time pass for the plugins.
    fn pass_time(&self, now: Instant) {
        let view = self.view.borrow().clone();
        view.pools.iter().for_each(|pool| pool.tick(now));
        for seat in &*view.seats {
            if let Some(seat) = seat.borrow_mut().as_mut() {
                seat.tick(now);
            }
        }
    }

    async fn tick(&self) {
        let mut swept = Instant::now();
        let runtime = tokio::runtime::Handle::current().metrics();
        let mut timer = tokio::time::interval(LOG_TICK);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            self.access_log.borrow_mut().flush();
            let now = Instant::now();
            self.pass_time(now);
            self.press.note_load(now, runtime.worker_total_busy_duration(0));
            if now.duration_since(swept) >= SWEEP {
                swept = now;
                let view = self.view();
                view.pools.iter().for_each(|pool| pool.sweep(now));
            }
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut connections = self.worker.connections.borrow_mut();
        connections.remove(self.key);
        if connections.is_empty() {
            self.worker.last_gone.notify_waiters();
        }
    }
}

/// Runs a worker on the current thread until it is told to leave.
pub fn run(shared: Arc<Shared>, metrics: metrics::Worker, mut commands: mpsc::UnboundedReceiver<Command>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
    match runtime {
        Ok(runtime) => {
            let worker = runtime.block_on(work(shared, metrics, &mut commands));
            // What still runs ends with the runtime, and is told of.
            drop(runtime);
            worker.access_log.borrow_mut().flush();
        }
        Err(error) => tracing::error!(%error, "a worker cannot start"),
    }
}

async fn work(
    shared: Arc<Shared>,
    metrics: metrics::Worker,
    commands: &mut mpsc::UnboundedReceiver<Command>,
) -> Rc<Worker> {
    let worker = Rc::new(Worker::new(shared, metrics));
    let ticking = worker.clone();
    tokio::task::spawn_local(async move { ticking.tick().await });
    let mut doors = listener::Doors::new(worker.clone());
    while let Some(command) = commands.recv().await {
        match command {
            Command::Listen(listener, socket) => doors.open(listener, socket),
            Command::Unlisten(listener) => doors.close(&listener).await,
            Command::Refresh => drop(worker.view()),
            Command::Drain(time) => {
                doors.close_all().await;
                worker.drain();
                let all_gone = async {
                    while !worker.connections.borrow().is_empty() {
                        worker.last_gone.notified().await;
                    }
                };
                tokio::select! {
                    () = all_gone => {}
                    () = tokio::time::sleep(time) => {}
                    _ = commands.recv() => {}
                }
                break;
            }
            Command::Leave => break,
        }
    }
    worker
}
