//! An endpoint as all workers see it: where it is, and how busy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use tokio::sync::Semaphore;

use super::{Changes, Stats};
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
            connections: max_connections.map(|most| Arc::new(Semaphore::new(most as usize))),
            waiting: AtomicU32::new(0),
        }
    }

    /// The same, for a pool where others follow what changes.
    pub fn followed(endpoint: &model::Endpoint, max_connections: Option<u32>, changes: &Arc<Changes>) -> Endpoint {
        Endpoint { stats: Stats::followed(changes), ..Endpoint::new(endpoint, max_connections) }
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
