//! What a registry is told, and believes as long as whoever told it is there.

use std::time::Duration;

use super::etcd::Leased;
use super::members::entry;
use super::zookeeper::Ephemeral;
use crate::config::model::{Member, Registry};

/// A member that a registry knows for as long as we say so.
pub struct Registration {
    /// As the registry calls it.
    key: String,
    entry: Entry,
}

enum Entry {
    /// A key under a lease.
    Etcd(Leased),
    /// A node that goes with a session.
    ZooKeeper(Ephemeral),
}

impl Registration {
    /// Nothing of it is known yet; `time` is how long etcd believes it without hearing of us.
    pub fn with_etcd(etcd: &Registry, member: &Member, time: Duration) -> Registration {
        let key = format!("{}{}", etcd.prefix, member.endpoint.address);
        let leased = Leased::new(etcd, time, key.clone(), entry(member));
        Registration { key, entry: Entry::Etcd(leased) }
    }

    /// The same with ZooKeeper, whose servers have a say in the time.
    pub fn with_zookeeper(zookeeper: &Registry, member: &Member, time: Duration) -> Registration {
        let key = format!("{}/{}", zookeeper.prefix, member.endpoint.address);
        let ephemeral = Ephemeral::new(zookeeper, time, key.clone(), entry(member).into_bytes());
        Registration { key, entry: Entry::ZooKeeper(ephemeral) }
    }

    /// As the registry calls it.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Tells the registry; when it is done, it is known there.
    pub async fn make(&mut self) -> Result<(), String> {
        match &mut self.entry {
            Entry::Etcd(leased) => leased.make().await,
            Entry::ZooKeeper(ephemeral) => ephemeral.make().await,
        }
    }

    /// Says that we are there, until the registry has forgotten it; an error: it does not answer.
    pub async fn stands(&mut self) -> Result<(), String> {
        match &mut self.entry {
            Entry::Etcd(leased) => leased.stands().await,
            Entry::ZooKeeper(ephemeral) => ephemeral.stands().await,
        }
    }

    /// The registry is to forget it at once.
    pub async fn end(&mut self) -> Result<(), String> {
        match &mut self.entry {
            Entry::Etcd(leased) => leased.end().await,
            Entry::ZooKeeper(ephemeral) => ephemeral.end().await,
        }
    }

    /// From now on the next server is asked.
    pub fn next(&mut self) {
        match &mut self.entry {
            Entry::Etcd(leased) => leased.next(),
            Entry::ZooKeeper(ephemeral) => ephemeral.next(),
        }
    }
}
