//! A key that etcd keeps as long as somebody prolongs its lease.

use std::time::Duration;

use super::client::Client;
use crate::config::model::Registry;

/// A key under a lease, which is prolonged three times in its time.
pub(in super::super) struct Leased {
    client: Client,
    key: String,
    value: String,
    time: Duration,
    lease: Option<i64>,
}

impl Leased {
    /// Nothing of it is known yet.
    pub(in super::super) fn new(settings: &Registry, time: Duration, key: String, value: String) -> Leased {
        Leased { client: Client::new(settings), key, value, time, lease: None }
    }

    /// From now on the next server is asked.
    pub(in super::super) fn next(&mut self) {
        self.client.next();
    }

    /// Writes the key, under the lease that there is or another.
    pub(in super::super) async fn make(&mut self) -> Result<(), String> {
        let lease = match self.lease {
            Some(lease) if self.client.keep(lease).await? => lease,
            _ => {
                self.lease = None;
                self.client.grant(self.time.as_secs().max(1)).await?
            }
        };
        self.lease = Some(lease);
        self.client.put(&self.key, &self.value, lease).await
    }

    /// Prolongs the lease until it is over; an error: the server does not answer.
    pub(in super::super) async fn stands(&mut self) -> Result<(), String> {
        while let Some(lease) = self.lease {
            tokio::time::sleep(self.time / 3).await;
            if !self.client.keep(lease).await? {
                self.lease = None;
            }
        }
        Ok(())
    }

    /// Ends the lease, and the key with it.
    pub(in super::super) async fn end(&mut self) -> Result<(), String> {
        if let Some(lease) = self.lease {
            self.client.revoke(lease).await?;
            self.lease = None;
        }
        Ok(())
    }
}
