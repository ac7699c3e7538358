//! Pools that find out by themselves how many requests they can have.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::Response;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::harness::{Client, Gateway, Origin, RawOrigin, Wire, eventually, full};
use crate::plugins::ADMIN;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A gateway before this origin, whose pool has these further keys.
async fn gateway(origin: impl std::fmt::Display, keys: &str) -> Gateway {
    let text = format!("[pool.a]\nendpoints = ['<origin>']\n{keys}\n[[route]]\npool = 'a'");
    Gateway::of(&text).with("origin", origin).and(ADMIN).start().await
}

async fn shed(gateway: &Gateway, reason: &str) -> f64 {
    gateway.metric(&format!("gatewright_upstream_shed_total{{pool=\"a\",reason=\"{reason}\"}}")).await
}

/// Sixteen times as many clients as there are places to work: most of them are told to come back, and what the origin has never becomes
/// much more than it works on.
#[tokio::test]
async fn too_many_are_told_to_come_back_and_the_others_are_quick() {
    let (places, there, most) =
        (Arc::new(Semaphore::new(4)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (there.clone(), most.clone());
    let origin = Origin::start(Wire::H1, move |_| {
        let (places, there, most) = (places.clone(), there.clone(), most.clone());
        async move {
            most.fetch_max(there.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let place = places.acquire().await.expect("it stays open");
            tokio::time::sleep(Duration::from_millis(20)).await;
            drop(place);
            there.fetch_sub(1, Ordering::SeqCst);
            Response::new(full("done"))
        }
    });
    let origin = origin.await;
    let gateway = gateway(&origin, "adaptive = { least = 4 }").await;
    let (served, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..64 {
        let (address, served, refused) = (gateway.address(), served.clone(), refused.clone());
        clients.spawn(async move {
            let mut client = Client::connect(address, Wire::H1).await;
            loop {
                let reply = client.get("/").await;
                if reply.status == 200 {
                    served.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, Some("1")));
                refused.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }
    let settled = async {
        let limit = async || gateway.metric("gatewright_pool_concurrency_limit{pool=\"a\"}").await;
        while limit().await > 20.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // What was let through before is done.
        while now.load(Ordering::SeqCst) > 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        peak.store(0, Ordering::SeqCst);
        let before = served.load(Ordering::SeqCst);
        while served.load(Ordering::SeqCst) < before + 300 {
            assert!(!clients.is_empty());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // It goes by times, of which a machine that others use has to show enough that can be told apart.
    tokio::time::timeout(Duration::from_secs(300), settled).await.expect("a limit that fits");
    assert!((4..40).contains(&peak.load(Ordering::SeqCst)), "{peak:?}");
    assert!(refused.load(Ordering::SeqCst) > 0 && shed(&gateway, "queue").await > 0.0);
    clients.abort_all();
    while let Some(ended) = clients.join_next().await {
        assert!(ended.is_err_and(|error| error.is_cancelled()));
    }
}

/// One client request of four fails, as it must.
#[tokio::test]
async fn who_waits_for_the_first_byte_counts_and_who_streams_or_tunnels_does_not() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "adaptive = { least = 1, most = 1 }").await;
    let mut first = gateway.raw().await;
    first.send(GET).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    let refused = gateway.ask(GET).await;
    assert_eq!((refused.status(), refused.field("retry-after").as_deref()), (503, Some("1")));
    assert_eq!((shed(&gateway, "queue").await, gateway.log_lines(1).await[0]["error"].clone()), (1.0, "shed".into()));
    let status = gateway.admin("GET", "/status").await.1;
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let concurrency = &status["pools"][0]["concurrency"];
    assert_eq!((&concurrency["limit"], &concurrency["active"]), (&1.into(), &1.into()));
    // A WebSocket passes, and leaves room.
    let mut socket = gateway.raw().await;
    socket.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n").await;
    let mut tunnel = origin.accept().await;
    tunnel.request().await;
    tunnel.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    socket.until("\r\n\r\n").await;
    // The response has begun and is not over.
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh").await;
    first.until("h").await;
    let mut second = gateway.raw().await;
    second.send(GET).await;
    let mut other = origin.accept().await;
    other.request().await;
    other.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\non").await;
    assert_eq!(second.response().await.text(), "on");
    upstream.send("i").await;
}

/// No client request fails.
#[tokio::test]
async fn a_place_is_free_again_when_a_client_leaves_or_an_endpoint_fails() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "adaptive = { least = 1, most = 1 }").await;
    let there = async || gateway.metric("gatewright_pool_concurrency{pool=\"a\"}").await;
    let mut leaves = gateway.raw().await;
    leaves.send(GET).await;
    origin.accept().await.request().await;
    leaves.reset();
    eventually("its place to be free", async || there().await == 0.0).await;
    let mut fails = gateway.raw().await;
    fails.send(GET).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    drop(upstream);
    assert_eq!(fails.response().await.status(), 502);
    assert_eq!((there().await, shed(&gateway, "queue").await), (0.0, 0.0));
    // A reload takes the bounds over, and what is known.
    let text = "[pool.a]\nendpoints = ['<origin>']\nadaptive = { least = 2, most = 2 }\n[[route]]\npool = 'a'\n";
    gateway.apply(&format!("{text}{ADMIN}")).await.expect("a reload");
    let limit = async || gateway.metric("gatewright_pool_concurrency_limit{pool=\"a\"}").await;
    eventually("the other limit", async || limit().await == 2.0).await;
}
