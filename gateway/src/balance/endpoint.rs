//! An endpoint as all workers see it: where it is, and how busy.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use super::{Changes, Outcomes, Room, Standing, Stats};
use crate::config::model;

/// A member of a pool; lives on over reloads while its address does.
#[derive(Debug)]
pub struct Endpoint {
    /// Host and port, as configured.
    pub address: String,
    /// When the address needs no look-up.
    pub socket: Option<SocketAddr>,
    /// A number that is the same wherever this address is.
    pub id: u64,
    /// What is known of it.
    pub stats: Stats,
    /// What it did to requests, for those who judge it.
    pub outcomes: Outcomes,
    standing: Arc<Mutex<Standing>>,
    /// How many requests it may have at the same time.
    pub room: Arc<Room>,
    /// The right to connect, when connections are limited.
    pub connections: Option<Arc<Semaphore>>,
    /// Requests that wait for that right, in all workers.
    pub waiting: AtomicU32,
}

/// Counts one request on an endpoint until it is dropped.
#[derive(Debug)]
pub struct Active(Arc<Endpoint>);

impl Endpoint {
    /// From its configuration and that of its pool.
    pub fn new(endpoint: &model::Endpoint, max_connections: Option<u32>) -> Endpoint {
        Endpoint {
            socket: endpoint.address.parse().ok(),
            id: gatewright_abi::hash64(endpoint.address.as_bytes(), 0),
            address: endpoint.address.clone(),
            stats: Stats::default(),
            outcomes: Outcomes::default(),
            standing: Arc::default(),
            room: Arc::default(),
            connections: max_connections.map(|most| Arc::new(Semaphore::new(most as usize))),
            waiting: AtomicU32::new(0),
        }
    }

    /// The same, for a pool where others follow what changes.
    pub fn followed(endpoint: &model::Endpoint, max_connections: Option<u32>, changes: &Arc<Changes>) -> Endpoint {
        Endpoint { stats: Stats::followed(changes), ..Endpoint::new(endpoint, max_connections) }
    }

    /// The same one, with another limit: what is known of its health stays known.
    pub fn after(self, before: &Endpoint) -> Endpoint {
        self.stats.change_flags(before.stats.flags(), !before.stats.flags());
        Endpoint { standing: before.standing.clone(), room: before.room.clone(), ..self }
    }

    /// What is known of its health. Not for the path of requests.
    pub fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host of the address, without brackets.
    pub fn host(&self) -> &str {
        crate::http::head::host_of(&self.address).trim_start_matches('[').trim_end_matches(']')
    }

    /// Requests that it works on, from all workers.
    #[inline]
    pub fn active(&self) -> u32 {
        self.stats.active()
    }

    /// Counts a request until the guard is dropped.
    pub fn begin(self: &Arc<Endpoint>) -> Active {
        self.stats.begin();
        Active(self.clone())
    }
}

impl Active {
    /// The endpoint that works on it.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.stats.end();
    }
}
