//! Requests without an end, of which none may fail.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::task::JoinHandle;

use crate::harness::{Client, Gateway, Wire, eventually};

/// Clients that ask again and again.
pub(super) struct Load {
    done: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    pub(super) fn on(gateway: &Gateway, clients: usize) -> Load {
        let (done, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let start = |_| tokio::spawn(ask(gateway.address(), done.clone(), stop.clone()));
        let clients = (0..clients).map(start).collect();
        Load { done, stop, clients }
    }

    /// Waits for so many more of them.
    pub(super) async fn goes_on(&self, more: usize) {
        let before = self.done.load(Ordering::Relaxed);
        eventually("requests to be answered", async || {
            assert!(!self.clients.iter().any(JoinHandle::is_finished), "a request failed");
            self.done.load(Ordering::Relaxed) >= before + more
        })
        .await;
    }

    /// Ends it; none has failed.
    pub(super) async fn ends_well(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("no failed request");
        }
    }
}

async fn ask(gateway: SocketAddr, done: Arc<AtomicUsize>, stop: Arc<AtomicBool>) {
    let mut client = Client::connect(gateway, Wire::H1).await;
    while !stop.load(Ordering::Relaxed) {
        let reply = client.get("/").await;
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        done.fetch_add(1, Ordering::Relaxed);
    }
}
