//! What the gateway counts.
//!
//! In: facts from the workers and the control path. Out: Prometheus text, when somebody asks. Each worker counts in
//! cells of its own, which only it writes, so counting takes no lock and shares no cache line; the sums are made when
//! they are read. Routes, pools and listeners are known by number: a name keeps its number and its counts for the life
//! of the process, also when a reload takes it away. Limits: [`NAMES`] routes and pools, [`LISTENERS`] listeners; further
//! names are counted together as `other`. Cells take memory when they are first used, not when a name is registered.

mod cells;
mod disk;
mod endpoints;
mod families;
mod plugins;
mod pools;
mod recoding;
mod render;
mod searches;

use std::collections::HashMap;
use std::hash::Hash;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::http::{Ending, StatusCode, Version};
use cells::{Counter, Histogram, Labelled, Table};
pub use disk::{CacheRow, DiskRow};
pub use endpoints::{EachEndpoint, EndpointsRow};
pub use families::{Family, TABLE, Type};
pub use plugins::{PluginRow, Sample, SampleValue};
pub use pools::{ENDPOINT_STATES, PoolRow};
pub use recoding::Recoding;
use recoding::RecodingCells;
pub use render::CONTENT_TYPE;
pub use searches::SearchRow;

/// How many names of routes, and of pools, have counts of their own.
pub const NAMES: usize = 20_000;
/// How many listeners have counts of their own.
pub const LISTENERS: usize = 1_000;

/// All counts of the process.
pub struct Metrics {
    shards: Vec<Arc<Shard>>,
    routes: Mutex<Names<(Box<str>, Box<str>)>>,
    pools: Mutex<Names<Box<str>>>,
    listeners: Mutex<Names<(Box<str>, bool)>>,
    checked: Mutex<endpoints::Counts>,
    started: SystemTime,
    reloads_ok: Counter,
    reloads_failed: Counter,
    log_lines_dropped: Counter,
    config: Mutex<ConfigState>,
}

/// A worker's right to count. There is one for each worker at a time, and it stays on its thread.
pub struct Worker {
    shard: Arc<Shard>,
    stays: PhantomData<Rc<()>>,
}

/// The number of a route together with the pool it leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RouteId(u32);

/// The number of a pool.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct PoolId(u32);

/// The number of a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ListenerId(u32);

/// What is counted of a request when it is over.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    /// Its route; [`RouteId::UNMATCHED`] when none was found.
    pub route: RouteId,
    /// What the client was told; `None` when nobody was left to be told, or no time.
    pub status: Option<StatusCode>,
    /// The client's protocol.
    pub version: Version,
    /// From the first byte of the request head to the last byte of the response.
    pub duration: Duration,
    /// Of the request body.
    pub bytes_in: u64,
    /// Of the response body.
    pub bytes_out: u64,
}

/// How a TLS handshake ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handshake {
    /// With a new session.
    Full,
    /// With a session that was known.
    Resumed,
    /// Not at all; the word for why.
    Failed(&'static str),
}

/// What became of an upstream connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Connection {
    /// It stands.
    Opened,
    /// It serves another request.
    Reused,
    /// It could not be opened.
    Failed,
    /// It is gone.
    Closed,
}

/// What became of a request that two endpoints may get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hedge {
    /// The second got it too.
    Sent,
    /// The second answered it.
    Won,
    /// There were too many.
    Refused,
}

/// The counts of one worker. The alignment keeps two workers off one cache line.
#[repr(align(128))]
struct Shard {
    taken: AtomicBool,
    routes: Table<RouteCells>,
    pools: Table<PoolCells>,
    listeners: Table<ListenerCells>,
    requests_begun: Counter,
    requests_ended: Counter,
    tunnels_opened: Counter,
    tunnels_closed: Counter,
    files: Labelled<4>,
    closed: Labelled<32>,
    handshakes_full: Counter,
    handshakes_resumed: Counter,
    handshakes_failed: Labelled<32>,
    limits: Labelled<64>,
    cache: Labelled<8>,
    log_lines_dropped: Counter,
    recoding: RecodingCells,
}

#[derive(Default)]
#[repr(align(128))]
struct RouteCells {
    /// By protocol (h1, h2) and first digit of the status, 0 when there is none.
    requests: [[Counter; 6]; 2],
    bytes_in: Counter,
    bytes_out: Counter,
    duration: Histogram,
}

#[derive(Default)]
#[repr(align(128))]
struct PoolCells {
    opened: Counter,
    reused: Counter,
    failed: Counter,
    closed: Counter,
    retries: Counter,
    retries_refused: Counter,
    first_byte: Histogram,
    errors: Labelled<48>,
    hedges: Labelled<4>,
    full: Labelled<2>,
    refused: Labelled<2>,
    shed: Labelled<4>,
    mirrored: Labelled<8>,
}

#[derive(Default)]
#[repr(align(128))]
struct ListenerCells {
    opened: Counter,
    closed: Counter,
}

#[derive(Default)]
struct ConfigState {
    hash: String,
    loaded: Option<SystemTime>,
    last_failed: bool,
}

struct Names<K> {
    numbers: HashMap<K, u32>,
    keys: Vec<K>,
    capacity: usize,
}

impl PoolId {
    /// The same for the life of the process, as its name is.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl RouteId {
    /// Requests that no route matched, or that were too broken to look for one. Printed with an empty name.
    pub const UNMATCHED: RouteId = RouteId(1);
}

impl Metrics {
    /// Counts for so many workers, all zero.
    pub fn new(workers: usize) -> Arc<Metrics> {
        let mut routes = Names::new(NAMES, ("other".into(), "".into()));
        routes.number(("".into(), "".into()));
        Arc::new(Metrics {
            shards: (0..workers).map(|_| Arc::new(Shard::new())).collect(),
            routes: Mutex::new(routes),
            pools: Mutex::new(Names::new(NAMES, "other".into())),
            listeners: Mutex::new(Names::new(LISTENERS, ("other".into(), false))),
            checked: Mutex::default(),
            started: SystemTime::now(),
            reloads_ok: Counter::default(),
            reloads_failed: Counter::default(),
            log_lines_dropped: Counter::default(),
            config: Mutex::default(),
        })
    }

    /// The counts of worker number `index`; none when there is no such worker or its counts are in use. To be called
    /// on the worker's thread.
    pub fn worker(&self, index: usize) -> Option<Worker> {
        let shard = self.shards.get(index)?;
        if shard.taken.swap(true, Ordering::AcqRel) {
            return None;
        }
        Some(Worker { shard: shard.clone(), stays: PhantomData })
    }

    /// The number of a route and the pool it leads to (none: it is answered here). The same names give the same number.
    pub fn register_route(&self, name: &str, pool: Option<&str>) -> RouteId {
        RouteId(lock(&self.routes).number((name.into(), pool.unwrap_or_default().into())))
    }

    /// The number of a pool.
    pub fn register_pool(&self, name: &str) -> PoolId {
        PoolId(lock(&self.pools).number(name.into()))
    }

    /// The number of a listener, by its address as configured.
    pub fn register_listener(&self, address: &str, tls: bool) -> ListenerId {
        ListenerId(lock(&self.listeners).number((address.into(), tls)))
    }

    /// A configuration took effect; `hash` names it.
    pub fn config_loaded(&self, hash: &str, now: SystemTime) {
        let mut config = lock(&self.config);
        *config = ConfigState { hash: hash.into(), loaded: Some(now), last_failed: false };
    }

    /// A reload took effect; `hash` names the new configuration.
    pub fn reload_succeeded(&self, hash: &str, now: SystemTime) {
        self.reloads_ok.add_shared(1);
        self.config_loaded(hash, now);
    }

    /// A reload was refused and everything is as it was.
    pub fn reload_failed(&self) {
        self.reloads_failed.add_shared(1);
        lock(&self.config).last_failed = true;
    }

    /// The log thread could not write so many lines.
    pub fn log_lines_dropped(&self, lines: u64) {
        self.log_lines_dropped.add_shared(lines);
    }

    /// How many access-log lines were lost so far.
    pub fn dropped_log_lines(&self) -> u64 {
        self.log_lines_dropped.value() + self.sum(|shard| shard.log_lines_dropped.value())
    }

    /// How many requests have begun and not ended.
    pub fn requests_in_flight(&self) -> u64 {
        let begun = self.sum(|shard| shard.requests_begun.value());
        begun.saturating_sub(self.sum(|shard| shard.requests_ended.value()))
    }

    /// How many client connections are open.
    pub fn connections_open(&self) -> u64 {
        let listeners = lock(&self.listeners).keys.len() as u32;
        (0..listeners)
            .map(|number| {
                let cells = || self.shards.iter().filter_map(move |shard| shard.listeners.existing(number));
                let opened: u64 = cells().map(|cell| cell.opened.value()).sum();
                opened.saturating_sub(cells().map(|cell| cell.closed.value()).sum())
            })
            .sum()
    }

    fn sum(&self, count: impl Fn(&Shard) -> u64) -> u64 {
        self.shards.iter().map(|shard| count(shard)).sum()
    }
}

impl Worker {
    /// A request head has begun to arrive.
    pub fn request_begun(&self) {
        self.shard.requests_begun.add(1);
    }

    /// A request is over, however it ended. Goes with one [`Worker::request_begun`].
    pub fn request_finished(&self, facts: &Finished) {
        self.shard.requests_ended.add(1);
        let cells = self.shard.routes.cell(facts.route.0);
        let protocol = usize::from(facts.version == Version::Http2);
        let class = facts.status.map_or(0, |status| usize::from(status.as_u16() / 100).clamp(1, 5));
        if let Some(cell) = cells.requests.get(protocol).and_then(|classes| classes.get(class)) {
            cell.add(1);
        }
        cells.bytes_in.add(facts.bytes_in);
        cells.bytes_out.add(facts.bytes_out);
        cells.duration.record(facts.duration);
    }

    /// A request that was begun turned out to be none (the connection was idle after all).
    pub fn request_forgotten(&self) {
        self.shard.requests_ended.add(1);
    }

    /// A client connected.
    pub fn connection_opened(&self, listener: ListenerId) {
        self.shard.listeners.cell(listener.0).opened.add(1);
    }

    /// A client connection ended for this reason, which may be a bound.
    pub fn connection_closed(&self, listener: ListenerId, ending: Ending) {
        self.shard.listeners.cell(listener.0).closed.add(1);
        self.shard.closed.add(ending.reason());
        if let Some(limit) = ending.limit() {
            self.limit_hit(limit);
        }
    }

    /// A TLS handshake with a client ended.
    pub fn handshake(&self, result: Handshake) {
        match result {
            Handshake::Full => self.shard.handshakes_full.add(1),
            Handshake::Resumed => self.shard.handshakes_resumed.add(1),
            Handshake::Failed(label) => self.shard.handshakes_failed.add(label),
        }
    }

    /// A connection became a tunnel.
    pub fn tunnel_opened(&self) {
        self.shard.tunnels_opened.add(1);
    }

    /// A tunnel ended.
    pub fn tunnel_closed(&self) {
        self.shard.tunnels_closed.add(1);
    }

    /// A static file was found, by whom.
    pub fn file_found(&self, knew: &'static str) {
        self.shard.files.add(knew);
    }

    /// An upstream answered after this time.
    pub fn upstream_first_byte(&self, pool: PoolId, time: Duration) {
        self.shard.pools.cell(pool.0).first_byte.record(time);
    }

    /// Something became of an upstream connection.
    pub fn upstream_connection(&self, pool: PoolId, what: Connection) {
        let cells = self.shard.pools.cell(pool.0);
        match what {
            Connection::Opened => cells.opened.add(1),
            Connection::Reused => cells.reused.add(1),
            Connection::Failed => cells.failed.add(1),
            Connection::Closed => cells.closed.add(1),
        }
    }

    /// An attempt failed; the label is [`crate::error::Error::label`].
    pub fn upstream_error(&self, pool: PoolId, label: &'static str) {
        self.shard.pools.cell(pool.0).errors.add(label);
    }

    /// A request is sent once more.
    pub fn upstream_retry(&self, pool: PoolId) {
        self.shard.pools.cell(pool.0).retries.add(1);
    }

    /// A request is not sent once more, since the budget is spent.
    pub fn upstream_retry_refused(&self, pool: PoolId) {
        self.shard.pools.cell(pool.0).retries_refused.add(1);
    }

    /// A request finds no room, by this limit, and waits.
    pub fn upstream_full(&self, pool: PoolId, limit: &'static str) {
        self.shard.pools.cell(pool.0).full.add(limit);
    }

    /// It waits in vain, or not at all.
    pub fn upstream_refused(&self, pool: PoolId, limit: &'static str) {
        self.shard.pools.cell(pool.0).refused.add(limit);
    }

    /// It is refused by the limit that the pool has found, for this reason.
    pub fn upstream_shed(&self, pool: PoolId, reason: &'static str) {
        self.shard.pools.cell(pool.0).shed.add(reason);
    }

    /// This became of a copy of a request that was for the pool.
    pub fn mirrored(&self, pool: PoolId, result: &'static str) {
        self.shard.pools.cell(pool.0).mirrored.add(result);
    }

    /// A second endpoint got a request, or answered it.
    pub fn upstream_hedge(&self, pool: PoolId, what: Hedge) {
        let event = match what {
            Hedge::Sent => "sent",
            Hedge::Won => "won",
            Hedge::Refused => "refused",
        };
        self.shard.pools.cell(pool.0).hedges.add(event);
    }

    /// A request on a route with a cache was answered; the word is one of Cache-Status.
    pub fn cache(&self, status: &'static str) {
        self.shard.cache.add(status);
    }

    /// A bound was met; the name is that of the bound in [`crate::limits`].
    pub fn limit_hit(&self, name: &'static str) {
        self.shard.limits.add(name);
    }

    /// A bound was met so often.
    pub fn limit_hits(&self, name: &'static str, count: u64) {
        (0..count).for_each(|_| self.shard.limits.add(name));
    }

    /// So many access-log lines were lost.
    pub fn log_lines_dropped(&self, lines: u64) {
        self.shard.log_lines_dropped.add(lines);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shard.taken.store(false, Ordering::Release);
    }
}

impl Shard {
    fn new() -> Shard {
        Shard {
            taken: AtomicBool::new(false),
            routes: Table::new(NAMES),
            pools: Table::new(NAMES),
            listeners: Table::new(LISTENERS),
            requests_begun: Counter::default(),
            requests_ended: Counter::default(),
            tunnels_opened: Counter::default(),
            tunnels_closed: Counter::default(),
            files: Labelled::default(),
            closed: Labelled::default(),
            handshakes_full: Counter::default(),
            handshakes_resumed: Counter::default(),
            handshakes_failed: Labelled::default(),
            limits: Labelled::default(),
            cache: Labelled::default(),
            log_lines_dropped: Counter::default(),
            recoding: RecodingCells::default(),
        }
    }
}

impl<K: Clone + Eq + Hash> Names<K> {
    /// Number 0 is for the names that find no room.
    fn new(capacity: usize, other: K) -> Names<K> {
        Names { numbers: HashMap::from([(other.clone(), 0)]), keys: vec![other], capacity }
    }

    fn number(&mut self, key: K) -> u32 {
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let number = self.keys.len();
        if number >= self.capacity {
            return 0;
        }
        self.keys.push(key.clone());
        self.numbers.insert(key, number as u32);
        number as u32
    }
}

/// Nothing panics while one of these locks is held, and the names would be whole if it did.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
