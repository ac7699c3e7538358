//! How many connections there are, in all and by client address.
//!
//! Asked once for each connection, never for a request. Addresses are spread over several locked maps, so that workers
//! that accept at the same time seldom meet.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::Limits;

const SHARDS: usize = 16;

/// The counts.
#[derive(Clone, Default)]
pub struct Admission(Arc<Counts>);

#[derive(Default)]
struct Counts {
    all: AtomicU32,
    by_address: [Mutex<HashMap<IpAddr, u32>>; SHARDS],
    spread: RandomState,
}

/// One admitted connection, until it is dropped.
pub struct Admitted {
    admission: Admission,
    address: Option<IpAddr>,
}

impl Admission {
    /// Counts a connection in; the name of the limit that it would exceed otherwise.
    pub fn admit(&self, limits: &Limits) -> Result<Admitted, &'static str> {
        if self.0.all.fetch_add(1, Ordering::Relaxed) >= limits.connections {
            self.0.all.fetch_sub(1, Ordering::Relaxed);
            return Err("connections");
        }
        Ok(Admitted { admission: self.clone(), address: None })
    }

    fn shard(&self, address: &IpAddr) -> &Mutex<HashMap<IpAddr, u32>> {
        let index = self.0.spread.hash_one(address) as usize % SHARDS;
        &self.0.by_address[index]
    }
}

impl Admitted {
    /// Counts it for its client's address, as soon as that is known.
    pub fn count_address(&mut self, address: IpAddr, limits: &Limits) -> Result<(), &'static str> {
        let address = network(address);
        let mut shard = self.admission.shard(&address).lock().unwrap_or_else(PoisonError::into_inner);
        let count = shard.entry(address).or_insert(0);
        if *count >= limits.connections_per_address {
            return Err("connections_per_address");
        }
        *count += 1;
        drop(shard);
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.0.all.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut shard = self.admission.shard(&address).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = shard.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&address);
            }
        }
    }
}

/// Whom an address stands for: one host in IPv4, the /64 of one site in IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_and_places_are_given_back() {
        let limits = Limits { connections: 3, connections_per_address: 1, ..Limits::default() };
        let admission = Admission::default();
        let mut first = admission.admit(&limits).unwrap();
        first.count_address("10.0.0.1".parse().unwrap(), &limits).unwrap();
        let mut second = admission.admit(&limits).unwrap();
        let same = second.count_address("::ffff:10.0.0.1".parse().unwrap(), &limits);
        assert_eq!(same, Err("connections_per_address"));
        let _third = admission.admit(&limits).unwrap();
        assert_eq!(admission.admit(&limits).err(), Some("connections"));
        drop(first);
        second.count_address("10.0.0.1".parse().unwrap(), &limits).unwrap();
        drop(second);
        assert!(admission.0.by_address.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn an_ipv6_site_is_one_client() {
        let (a, b) = ("2001:db8::1".parse().unwrap(), "2001:db8::2:3".parse().unwrap());
        assert_eq!(network(a), network(b));
        assert_ne!(network(a), network("2001:db8:0:1::1".parse().unwrap()));
    }
}
