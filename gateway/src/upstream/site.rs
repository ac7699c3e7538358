//! One worker's connections to one endpoint.
//!
//! Invariant: what lies idle here is complete and silent (the last one used goes first, so that the others can age and be
//! closed). Where connections are limited, whoever waits gets one that is given back, before it is kept.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};

use super::pool::Manner;
use crate::balance::Endpoint;
use crate::clock;
use crate::error::{Error, Kind};
use crate::http::h1::client::{Connection, Park};
use crate::http::h2;
use crate::metrics;

/// One worker's connections to one endpoint.
pub struct Site {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    manner: Arc<Manner>,
    metrics: Rc<metrics::Worker>,
    idle: RefCell<Vec<Idle>>,
    waiting: RefCell<VecDeque<oneshot::Sender<Box<Connection>>>>,
    multiplexed: RefCell<Vec<Multiplexed>>,
    /// Told when a connection comes that requests may share.
    kept: Notify,
    /// Held while a connection that many requests may share is being made.
    pub connecting: tokio::sync::Mutex<()>,
    /// What ALPN chose last, where that decides.
    pub speaks_h2: Cell<Option<bool>>,
}

struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

struct Multiplexed {
    handle: h2::client::Handle,
    client: Option<SocketAddr>,
    idle_since: Cell<Option<Instant>>,
    _held: Box<dyn Any>,
}

impl Site {
    pub(super) fn new(endpoint: Arc<Endpoint>, manner: Arc<Manner>, metrics: Rc<metrics::Worker>) -> Site {
        Site {
            endpoint,
            manner,
            metrics,
            idle: RefCell::default(),
            waiting: RefCell::default(),
            multiplexed: RefCell::default(),
            kept: Notify::new(),
            connecting: tokio::sync::Mutex::new(()),
            speaks_h2: Cell::new(None),
        }
    }

    pub(super) fn take_over(&self, old: &Site) {
        self.idle.swap(&old.idle);
        self.multiplexed.swap(&old.multiplexed);
        self.speaks_h2.set(old.speaks_h2.get());
    }

    /// A connection that waits for a request of this client.
    pub fn reuse(&self, client: Option<SocketAddr>) -> Option<Box<Connection>> {
        let mut idle = self.idle.borrow_mut();
        loop {
            let at = idle.iter().rposition(|idle| idle.connection.client == client)?;
            let mut connection = idle.remove(at).connection;
            if connection.is_alive() {
                return Some(connection);
            }
        }
    }

    /// A connection that takes one more request beside others.
    pub fn share(&self, client: Option<SocketAddr>) -> Option<h2::client::Handle> {
        let mut multiplexed = self.multiplexed.borrow_mut();
        multiplexed.retain(|one| self.is_usable(one));
        let usable = |one: &&Multiplexed| one.client == client && one.handle.can_open();
        multiplexed.iter().find(usable).map(|one| one.handle.clone())
    }

    /// Keeps a connection that requests may share.
    pub fn keep(&self, handle: h2::client::Handle, client: Option<SocketAddr>, held: Box<dyn Any>) {
        let one = Multiplexed { handle, client, idle_since: Cell::new(None), _held: held };
        self.multiplexed.borrow_mut().push(one);
        self.kept.notify_waiters();
    }

    /// A connection that takes one more request beside others, as soon as there is one.
    async fn shared(&self, client: Option<SocketAddr>) -> h2::client::Handle {
        loop {
            let mut kept = pin!(self.kept.notified());
            kept.as_mut().enable();
            if let Some(handle) = self.share(client) {
                return handle;
            }
            poll_fn(|cx| {
                let multiplexed = self.multiplexed.borrow();
                let mut fitting = multiplexed.iter().filter(|one| one.client == client);
                // Those that are no more of use are not waited for.
                match fitting.any(|one| matches!(one.handle.poll_ready(cx), Poll::Ready(Ok(())))) {
                    true => Poll::Ready(()),
                    false => kept.as_mut().poll(cx),
                }
            })
            .await;
        }
    }

    /// The right to make a connection; or, for a request that may have one that was used before, one that became free or
    /// has room meanwhile.
    pub async fn wait_for_turn(&self, client: Option<SocketAddr>, reuse: bool) -> Result<Turn, Error> {
        let Some(limit) = &self.endpoint.connections else { return Ok(Turn::Connect(None)) };
        if let Ok(permit) = limit.clone().try_acquire_owned() {
            return Ok(Turn::Connect(Some(permit)));
        }
        let _waiting = Waiting::begin(&self.endpoint, self.manner.max_waiting)?;
        self.manner.wanted.notify_waiters();
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().push_back(sender);
        tokio::select! {
            biased;
            Ok(connection) = receiver => Ok(Turn::Reuse(connection)),
            handle = self.shared(client), if reuse => Ok(Turn::Share(handle)),
            Ok(permit) = limit.clone().acquire_owned() => Ok(Turn::Connect(Some(permit))),
            else => Err(Error::gateway(Kind::Overloaded)),
        }
    }

    /// Closes what is idle when others wait for a connection to the endpoint.
    pub(super) fn trim(&self) {
        if self.endpoint.waiting.load(Ordering::Relaxed) > 0 {
            self.idle.borrow_mut().clear();
            self.multiplexed.borrow_mut().retain(|one| one.handle.is_in_use());
        }
    }

    /// Whether it takes requests; what bounds its server met is counted.
    fn is_usable(&self, one: &Multiplexed) -> bool {
        for (limit, count) in one.handle.take_hits().iter() {
            self.metrics.limit_hits(limit, count);
        }
        one.handle.is_usable()
    }

    pub(super) fn sweep(&self, now: Instant) {
        self.trim();
        let idle_time = self.manner.limits.upstream_idle_time;
        let old = |is_old: bool| {
            if is_old {
                self.metrics.limit_hit("upstream_idle_time");
            }
            is_old
        };
        self.idle
            .borrow_mut()
            .retain_mut(|idle| idle.connection.is_alive() && !old(now.duration_since(idle.since) >= idle_time));
        self.multiplexed.borrow_mut().retain(|one| self.is_usable(one) && !old(one.is_stale(now, idle_time)));
        self.waiting.borrow_mut().retain(|sender| !sender.is_closed());
    }
}

impl Multiplexed {
    fn is_stale(&self, now: Instant, idle_time: Duration) -> bool {
        if self.handle.open_streams() > 0 {
            self.idle_since.set(None);
            return false;
        }
        let since = self.idle_since.get().unwrap_or(now);
        self.idle_since.set(Some(since));
        now.duration_since(since) >= idle_time
    }
}

/// What a request that waited for a connection got.
pub enum Turn {
    /// It may make one.
    Connect(Option<OwnedSemaphorePermit>),
    /// It has one.
    Reuse(Box<Connection>),
    /// It has one, beside other requests.
    Share(h2::client::Handle),
}

/// Counts a request that waits, until it is dropped.
struct Waiting<'a>(&'a Endpoint);

impl Waiting<'_> {
    fn begin(endpoint: &Endpoint, most: u32) -> Result<Waiting<'_>, Error> {
        let waiting = Waiting(endpoint);
        if endpoint.waiting.fetch_add(1, Ordering::Relaxed) >= most {
            return Err(Error::gateway(Kind::Overloaded));
        }
        Ok(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Park for Site {
    fn park(&self, connection: Box<Connection>) {
        let mut connection = connection;
        while let Some(sender) = self.waiting.borrow_mut().pop_front() {
            match sender.send(connection) {
                Ok(()) => return,
                Err(back) => connection = back,
            }
        }
        // Somebody in another worker waits for the right to connect: closing this one gives it to them.
        if self.endpoint.waiting.load(Ordering::Relaxed) > 0 {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.manner.limits.upstream_idle_connections as usize {
            idle.push(Idle { connection, since: clock::coarse() });
        } else {
            self.metrics.limit_hit("upstream_idle_connections");
        }
    }
}
