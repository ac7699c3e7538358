//! An endpoint as all workers see it: where it is, and how busy.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gatewright_abi::flag;
use tokio::sync::Semaphore;

use super::report::{Report, Reported};
use super::start::Start;
use super::{Changes, Outcomes, Room, Standing, Stats, UNCHECKED};
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
    /// Since when it has been there.
    pub(super) start: Start,
    /// What it says of its load.
    pub(super) reported: Reported,
    /// Who takes it out of use: bits of [`Drain`].
    drains: AtomicU8,
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

/// Who takes an endpoint out of use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Drain {
    /// The configuration.
    File = 1,
    /// An operator.
    Order = 2,
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
            start: Start::default(),
            reported: Reported::default(),
            drains: AtomicU8::new(0),
            outcomes: Outcomes::default(),
            standing: Arc::default(),
            room: Arc::default(),
            connections: max_connections.map(|most| Arc::new(Semaphore::new(most as usize))),
            waiting: AtomicU32::new(0),
        }
    }

    /// Takes in what it says of its load.
    pub fn reports(&self, report: Report, now: Duration) {
        self.reported.take(report, &self.stats, now);
    }

    /// Notes that it has just come to its pool.
    pub fn is_new(&self) {
        self.start.is_new();
    }

    /// Takes it out of use, or no longer does. It is in use when nobody takes it out.
    pub fn drain(&self, by: Drain, wanted: bool) {
        let bit = by as u8;
        // Nearly always nothing changes, of very many.
        if (self.drains.load(Ordering::Acquire) & bit != 0) == wanted {
            return;
        }
        let before = match wanted {
            true => self.drains.fetch_or(bit, Ordering::AcqRel),
            false => self.drains.fetch_and(!bit, Ordering::AcqRel),
        };
        let after = if wanted { before | bit } else { before & !bit };
        if (before == 0) != (after == 0) {
            let (set, clear) = if after == 0 { (0, flag::DRAINING) } else { (flag::DRAINING, 0) };
            self.stats.change_flags(set, clear);
        }
    }

    /// Whether this one takes it out of use.
    pub fn is_drained_by(&self, by: Drain) -> bool {
        self.drains.load(Ordering::Acquire) & by as u8 != 0
    }

    /// The same, for a pool where others follow what changes.
    pub fn followed(endpoint: &model::Endpoint, max_connections: Option<u32>, changes: &Arc<Changes>) -> Endpoint {
        Endpoint { stats: Stats::followed(changes), ..Endpoint::new(endpoint, max_connections) }
    }

    /// The same one, with another limit: what is known of its health stays known, and what operators ordered stays so.
    pub fn after(self, before: &Endpoint) -> Endpoint {
        let of_health = flag::HEALTHY | flag::EJECTED | UNCHECKED;
        self.stats.change_flags(before.stats.flags() & of_health, !before.stats.flags() & of_health);
        self.start.follow(&before.start);
        self.drain(Drain::Order, before.is_drained_by(Drain::Order));
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
