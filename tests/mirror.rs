//! Copies of requests for another pool: they are the same, and whatever becomes of them is not noticed by clients.

use std::fmt::Display;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{HeaderMap, Response};

use crate::harness::{Gateway, Origin, RawOrigin, Wire, empty, eventually, full, stream, with_trailers};
use crate::plugins::ADMIN;

/// A gateway that mirrors with these further keys, and speaks so to both.
async fn gateway(wire: Wire, main: impl Display, shadow: impl Display, keys: &str) -> Gateway {
    let text = "
        [pool.main]
        endpoints = ['<main>']
        protocol = '<protocol>'
        [pool.shadow]
        endpoints = ['<shadow>']
        protocol = '<protocol>'
        [[route]]
        pool = 'main'
        mirror = { pool = 'shadow'<keys> }";
    let gateway = Gateway::of(text).with("main", main).with("shadow", shadow).with("keys", keys).and(ADMIN);
    gateway.with("protocol", if wire.is_h2() { "h2" } else { "h1" }).start().await
}

async fn count(gateway: &Gateway, result: &str) -> f64 {
    gateway.metric(&format!("gatewright_mirrored_requests_total{{pool=\"shadow\",result=\"{result}\"}}")).await
}

/// Whatever became of them.
async fn all(gateway: &Gateway) -> f64 {
    gateway.metric("gatewright_mirrored_requests_total{pool=\"shadow\"").await
}

/// What an origin got: the request in one line, its fields, its body, its trailers.
type Got = (String, HeaderMap, Bytes, Option<HeaderMap>);

/// An origin that keeps what it gets.
async fn keeper(wire: Wire) -> (Origin, Arc<Mutex<Vec<Got>>>) {
    let got = Arc::<Mutex<Vec<Got>>>::default();
    let kept = got.clone();
    let origin = Origin::start(wire, move |request| {
        let kept = kept.clone();
        async move {
            let (head, body) = request.into_parts();
            if let Ok(body) = body.collect().await {
                let trailers = body.trailers().cloned();
                let line = format!("{} {}", head.method, head.uri.path_and_query().expect("a path"));
                kept.lock().expect("whole").push((line, head.headers, body.to_bytes(), trailers));
            }
            Response::new(full("thrown away"))
        }
    });
    (origin.await, got)
}

/// No client request fails.
#[tokio::test]
async fn a_copy_is_the_same_request_with_a_mark() {
    for wire in [Wire::H1, Wire::H2] {
        let (main, (shadow, got)) = (Origin::start(wire, crate::harness::echo).await, keeper(wire).await);
        // As much as one request has, so that no copy is too slow on a busy machine.
        let gateway = gateway(wire, &main, &shadow, ", buffer = '8MiB'").await;
        let mut client = gateway.client(wire).await;
        let seen = client.get("/a?b=c").await.seen();
        assert!(seen["headers"].get("x-mirrored").is_none());
        let large: Vec<u8> = (0..4u32 << 20).map(|at| b'a' + (at % 23) as u8).collect();
        let pieces = large.chunks(60_000).map(Bytes::copy_from_slice).collect::<Vec<_>>();
        let text = String::from_utf8(large.clone()).expect("text");
        assert!(client.call("POST", "/large", full(large.clone())).await.seen()["body"] == text.as_str());
        assert!(client.call("PUT", "/pieces", pieces_of(pieces)).await.seen()["body"] == text.as_str());
        let request = client.request("POST", "/end").header("trailer", "x-sum").header("te", "trailers");
        let request = request.body(with_trailers("data", &[("x-sum", "1")])).expect("a request");
        client.exchange(request).await.expect("a response");
        eventually("all copies", async || count(&gateway, "answered").await == 4.0).await;
        let got = std::mem::take(&mut *got.lock().expect("whole"));
        let line = |line: &str| got.iter().find(|got| got.0 == line).expect("its copy");
        let (_, fields, body, _) = line("GET /a?b=c");
        assert_eq!((&fields["x-mirrored"], body.len()), (&"1".parse().expect("a value"), 0), "{wire:?}");
        assert_eq!(fields["x-request-id"], seen["headers"]["x-request-id"].as_str().expect("an id"));
        assert!(line("POST /large").2 == large && line("PUT /pieces").2 == large, "{wire:?}");
        let (_, _, body, trailers) = line("POST /end");
        assert_eq!(
            (&body[..], trailers.as_ref().map(|fields| &fields["x-sum"])),
            (&b"data"[..], Some(&"1".parse().expect("a value")))
        );
        assert_eq!(all(&gateway).await, 4.0);
    }
}

/// A body in pieces, without a length.
fn pieces_of(pieces: Vec<Bytes>) -> crate::harness::Body {
    let (sender, body) = stream();
    tokio::spawn(async move {
        for piece in pieces {
            sender.data(piece).await;
        }
    });
    body
}

/// No client request fails.
#[tokio::test]
async fn a_mirror_that_is_dead_or_hangs_is_not_noticed() {
    let main = Origin::says("main").await;
    let dead = RawOrigin::start().await.to_string();
    let gateway_to_dead = gateway(Wire::H1, &main, &dead, "").await;
    let mut client = gateway_to_dead.client(Wire::H1).await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.text(), "main");
        assert_eq!(client.call("POST", "/", full("body")).await.text(), "main");
    }
    eventually("their counts", async || count(&gateway_to_dead, "failed").await == 6.0).await;
    let errors = gateway_to_dead.metric("gatewright_upstream_errors_total{pool=\"main\"").await;
    assert_eq!((errors, gateway_to_dead.log_lines(6).await[0]["status"].clone()), (0.0, 200.into()));
    // One that hangs has so many requests and no more.
    let hung = RawOrigin::start().await;
    let gateway = gateway(Wire::H1, &main, &hung, ", max_requests = 2").await;
    let mut client = gateway.client(Wire::H1).await;
    for _ in 0..5 {
        assert_eq!(client.get("/").await.text(), "main");
    }
    let (mut first, mut second) = (hung.accept().await, hung.accept().await);
    assert_eq!(count(&gateway, "full").await, 3.0);
    for upstream in [&mut first, &mut second] {
        upstream.request().await;
        upstream.send("HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n").await;
    }
    eventually("both answers", async || count(&gateway, "answered").await == 2.0).await;
    assert_eq!(client.get("/").await.text(), "main");
    tokio::select! {
        _ = first.request() => {}
        _ = second.request() => {}
    }
    hung.is_untouched();
}

/// No client request fails.
#[tokio::test]
async fn a_mirror_that_takes_bodies_more_slowly_is_given_up() {
    let ((main, got), slow) = (keeper(Wire::H1).await, RawOrigin::start().await);
    let gateway = gateway(Wire::H1, &main, &slow, ", buffer = '64KiB'").await;
    let mut client = gateway.client(Wire::H1).await;
    // More than two sockets hold.
    let large = vec![b'x'; 16 << 20];
    assert_eq!(client.call("POST", "/", full(large.clone())).await.status, 200);
    assert!(got.lock().expect("whole")[0].2 == large);
    eventually("it to be given up", async || count(&gateway, "slow").await == 1.0).await;
    // What it got does not look complete.
    let (rest, _) = slow.accept().await.rest().await;
    assert!(rest.len() < large.len(), "{}", rest.len());
    assert_eq!(client.call("POST", "/", full("small")).await.status, 200);
}

/// One client request of two fails, as it must.
#[tokio::test]
async fn what_was_not_sent_is_not_copied_nor_are_tunnels() {
    let (dead, shadow) = (RawOrigin::start().await.to_string(), RawOrigin::start().await);
    let gateway_to_dead = gateway(Wire::H1, &dead, &shadow, "").await;
    let mut client = gateway_to_dead.client(Wire::H1).await;
    assert_eq!(client.get("/").await.status, 502);
    assert_eq!(client.call("POST", "/", full("body")).await.status, 502);
    let main = RawOrigin::start().await;
    let gateway = gateway(Wire::H1, &main, &shadow, "").await;
    let mut socket = gateway.raw().await;
    socket.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n").await;
    let mut tunnel = main.accept().await;
    tunnel.request().await;
    tunnel.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    socket.until("\r\n\r\n").await;
    shadow.is_untouched();
    assert!(all(&gateway).await == 0.0 && all(&gateway_to_dead).await == 0.0);
}

/// The client leaves in the middle of its upload: so does the copy.
#[tokio::test]
async fn a_request_that_breaks_off_breaks_its_copy_off() {
    let (main, shadow) = (RawOrigin::start().await, RawOrigin::start().await);
    let gateway = gateway(Wire::H1, &main, &shadow, "").await;
    let mut client = gateway.raw().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").await;
    let (mut upstream, mut copied) = (main.accept().await, shadow.accept().await);
    upstream.until("half").await;
    copied.until("half").await;
    client.reset();
    eventually("the copy to end", async || count(&gateway, "broken").await == 1.0).await;
    copied.is_over().await;
}

/// No client request fails.
#[tokio::test]
async fn a_share_of_the_requests_is_copied() {
    let (main, shadow) = (Origin::says("main").await, Origin::says("shadow").await);
    let gateway = gateway(Wire::H1, &main, &shadow, ", share = '25%'").await;
    let mut client = gateway.client(Wire::H1).await;
    for _ in 0..800 {
        assert_eq!(client.call("GET", "/", empty()).await.text(), "main");
    }
    // Six deviations to either side.
    eventually("the copies", async || count(&gateway, "answered").await as usize == shadow.requests()).await;
    assert!((126..=274).contains(&shadow.requests()), "{}", shadow.requests());
}
