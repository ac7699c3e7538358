//! Tells the registry where the backend is, for as long as it is.
//!
//! In: whether the backend is to be known. Out: a key under a lease that is prolonged three times in its time. A registry that does not
//! answer is asked again, by its next server; a lease that has ended is followed by another. When nobody prolongs it (we were
//! killed, or the machine has gone) the lease ends, and the key with it.

use std::time::Duration;

use tokio::sync::watch;

use super::Settings;
use crate::config::model::Etcd;
use crate::discovery::{Backoff, EtcdClient, entry};

/// How long leaving may take; after that the lease ends by itself.
const LEAVE: Duration = Duration::from_secs(3);

/// Whoever tells the registry.
pub(super) struct Registrar {
    wanted: watch::Sender<bool>,
    known: watch::Receiver<bool>,
}

/// The key, and what it says.
struct Entry {
    key: String,
    value: String,
    ttl: Duration,
}

impl Registrar {
    /// Begins; the backend is not to be known yet.
    pub(super) fn start(settings: &Settings) -> Registrar {
        let (wanted, wants) = watch::channel(false);
        let (knows, known) = watch::channel(false);
        let address = &settings.member.endpoint.address;
        let key = format!("{}{address}", settings.etcd.prefix);
        let entry = Entry { key, value: entry(&settings.member), ttl: settings.ttl };
        tokio::task::spawn_local(keep(settings.etcd.clone(), entry, wants, knows));
        Registrar { wanted, known }
    }

    /// The backend is to be known from now on.
    pub(super) fn join(&self) {
        self.wanted.send_replace(true);
    }

    /// It is not to be known any more; the future is over when it is not, or nobody can be told.
    pub(super) fn leave(&self) -> impl Future<Output = ()> + use<> {
        self.wanted.send_replace(false);
        let mut known = self.known.clone();
        async move {
            let _ = tokio::time::timeout(LEAVE, known.wait_for(|known| !known)).await;
        }
    }
}

async fn keep(etcd: Etcd, entry: Entry, mut wanted: watch::Receiver<bool>, known: watch::Sender<bool>) {
    let mut client = EtcdClient::new(&etcd);
    let mut backoff = Backoff::default();
    while wanted.wait_for(|wanted| *wanted).await.is_ok() {
        // Set before the registry is told: whoever leaves then waits until it is sure that nothing is known.
        known.send_replace(true);
        match enter(&mut client, &entry).await {
            Ok(lease) => {
                tracing::info!(key = entry.key, "the registry knows the backend");
                backoff.reset();
                prolong(&mut client, &entry, lease, &mut wanted).await;
            }
            Err(why) => {
                tracing::warn!(why, "the registry cannot be told of the backend");
                client.next();
                tokio::select! {
                    () = backoff.pause() => {}
                    _ = wanted.wait_for(|wanted| !wanted) => {}
                }
            }
        }
        if !*wanted.borrow() {
            known.send_replace(false);
        }
    }
}

async fn enter(client: &mut EtcdClient, entry: &Entry) -> Result<i64, String> {
    let lease = client.grant(entry.ttl.as_secs().max(1)).await?;
    client.put(&entry.key, &entry.value, lease).await?;
    Ok(lease)
}

/// Prolongs a lease until it has ended, or is ended since the backend is not to be known any more.
async fn prolong(client: &mut EtcdClient, entry: &Entry, lease: i64, wanted: &mut watch::Receiver<bool>) {
    let pause = entry.ttl / 3;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = wanted.wait_for(|wanted| !wanted) => {
                match client.revoke(lease).await {
                    Ok(()) => tracing::info!(key = entry.key, "the registry does not know the backend any more"),
                    Err(why) => tracing::warn!(why, "the registry could not be told that the backend leaves"),
                }
                return;
            }
        }
        match client.keep(lease).await {
            Ok(true) => {}
            Ok(false) => return tracing::warn!(key = entry.key, "the registry has forgotten the backend"),
            Err(why) => {
                tracing::warn!(why, "the registry does not answer");
                client.next();
            }
        }
    }
}
