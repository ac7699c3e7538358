//! Members from etcd: a key for each under a prefix, with an address or a small table in JSON.
//!
//! In: the keys as they are, then what becomes of them from that revision on. Out: members, by key. When the connection breaks,
//! everything is read again from the next server; so it is when the revision to go on from was compacted away. That there is no
//! member left is believed when it was read so, and not because the last key went.

mod client;
mod leased;
mod wire;

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::BATCH;
use super::backoff::Backoff;
use super::members;
use super::search::Search;
use crate::config::model::{Member, Registry};

use client::{Client, Watch};
pub(super) use leased::Leased;
use wire::{Change, Key};

/// Members by key.
type Known = BTreeMap<Vec<u8>, Member>;

pub(super) async fn look(search: &Search, etcd: &Registry) {
    let mut backoff = Backoff::default();
    let mut client = Client::new(etcd);
    let mut known = Known::new();
    loop {
        let why = match session(search, etcd, &mut client, &mut known, &mut backoff).await {
            // The revision is gone, or there seem to be no keys left: read anew.
            Ok(()) => continue,
            Err(why) => why,
        };
        search.failed(&why);
        client.next();
        backoff.pause().await;
    }
}

/// Reads everything and follows the changes until they end: well, when everything is to be read again at once.
async fn session(
    search: &Search,
    etcd: &Registry,
    client: &mut Client,
    known: &mut Known,
    backoff: &mut Backoff,
) -> Result<(), String> {
    let (keys, revision) = client.range(&etcd.prefix, search.most()).await?;
    let mut before = std::mem::take(known);
    for key in keys {
        let old = before.remove(&key.key);
        take(search, known, key, old);
    }
    search.found(known.values().cloned().collect());
    let mut watch: Watch = client.watch(&etcd.prefix, revision + 1).await?;
    backoff.reset();
    let mut told = Instant::now();
    let mut untold = false;
    loop {
        // Of many changes at once the list is made once.
        let next = watch.next();
        let changes = match untold {
            false => next.await?,
            true => match tokio::time::timeout_at(told + BATCH, next).await {
                Ok(changes) => changes?,
                Err(_) => {
                    search.found(known.values().cloned().collect());
                    (told, untold) = (Instant::now(), false);
                    continue;
                }
            },
        };
        let Some(changes) = changes else { return Ok(()) };
        if changes.is_empty() {
            continue;
        }
        for change in changes {
            match change {
                Change::Put(key) => {
                    let old = known.remove(&key.key);
                    take(search, known, key, old);
                }
                Change::Delete(key) => drop(known.remove(&key)),
            }
        }
        if known.is_empty() {
            return Ok(());
        }
        untold = true;
    }
}

/// Takes a key's member in; one that cannot be read stays what it was.
fn take(search: &Search, known: &mut Known, Key { key, value }: Key, old: Option<Member>) {
    let member = members::of_entry(&value);
    if let Err(why) = &member {
        search.passed_over(format_args!("key {:?}: {why}", String::from_utf8_lossy(&key)));
    }
    if let Some(member) = member.ok().or(old) {
        known.insert(key, member);
    }
}
