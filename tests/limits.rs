//! Bounds of time, size and number: what happens beyond them, and that everybody else goes on.

use crate::harness::{End, Gateway, Origin, RawOrigin, Wire, empty, full, stream};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A gateway before this origin with these limits, and an admin address.
async fn limited(origin: impl std::fmt::Display, limits: &str) -> Gateway {
    Gateway::to(origin).and(&format!("[admin]\naddress = '127.0.0.1:0'\n[limits]\n{limits}")).start().await
}

#[tokio::test]
async fn a_head_that_takes_too_long_is_answered_408() {
    let origin = RawOrigin::start().await;
    let gateway = limited(&origin, "header_time = '100ms'").await;
    let mut client = gateway.raw().await;
    client.send("GET / HTTP/1.1\r\nHo").await;
    client.is_refused(408).await;
    assert!(gateway.metric("gatewright_limits_hit_total{limit=\"header_time\"").await >= 1.0);
    origin.is_untouched();
}

#[tokio::test]
async fn a_head_that_trickles_in_takes_too_long_all_the_same() {
    let origin = RawOrigin::start().await;
    let gateway = limited(&origin, "header_time = '100ms'").await;
    let mut client = gateway.raw().await;
    client.send("GET / HTTP/1.1\r\n").await;
    // Every byte comes in time, all of them together do not.
    while client.try_send("X").await.is_ok() && client.peek().await.is_none() {}
    let (answer, _) = client.rest().await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    origin.is_untouched();
}

#[tokio::test]
async fn a_body_that_stops_is_answered_408() {
    let origin = RawOrigin::start().await;
    let gateway = limited(&origin, "body_idle_time = '100ms'").await;
    let mut client = gateway.raw().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\npart").await;
    client.is_refused(408).await;
    let mut h2 = gateway.client(Wire::H2).await;
    let (feed, body) = stream();
    let request = h2.request("POST", "/").body(body).expect("a request");
    feed.data("part").await;
    match h2.exchange(request).await {
        Ok(reply) => assert_eq!(reply.status, 408),
        Err(error) => assert!(!error.is_timeout(), "{error}"),
    }
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_after_a_while() {
    let origin = Origin::says("hi").await;
    let gateway = limited(&origin, "idle_time = '100ms'").await;
    let mut fresh = gateway.raw().await;
    fresh.is_over().await;
    let mut used = gateway.raw().await;
    used.send(GET).await;
    assert_eq!(used.response().await.text(), "hi");
    used.is_over().await;
    let mut h2 = gateway.frames().await;
    h2.get(1, "/").await;
    assert_eq!(h2.outcome(1).await.status(), Some(200));
    assert_eq!(h2.farewell().await, Some(0));
}

#[tokio::test]
async fn a_client_that_stops_reading_is_given_up() {
    let body: &'static str = Box::leak("x".repeat(32 << 20).into_boxed_str());
    let origin = Origin::says(body).await;
    let gateway = limited(&origin, "body_idle_time = '100ms'").await;
    let mut client = gateway.raw().await;
    client.send(GET).await;
    crate::harness::eventually("the request to end", async || {
        origin.requests() == 1 && gateway.metric("gatewright_requests_in_flight").await == 0.0
    })
    .await;
    assert!(client.try_response().await.is_err());
}

#[tokio::test]
async fn a_connection_ends_politely_after_its_last_request() {
    let origin = Origin::says("hi").await;
    let gateway = limited(&origin, "keepalive_requests = 3").await;
    let mut client = gateway.raw().await;
    for number in 1..=3 {
        client.send(GET).await;
        let response = client.response().await;
        assert_eq!(response.text(), "hi");
        assert_eq!(response.has("connection", "close"), number == 3);
    }
    client.is_over().await;
    let mut h2 = gateway.frames().await;
    for stream in [1, 3, 5] {
        h2.get(stream, "/").await;
        assert_eq!(h2.outcome(stream).await.status(), Some(200));
    }
    assert_eq!(h2.farewell().await, Some(0));
}

#[tokio::test]
async fn one_address_has_so_many_connections() {
    let origin = Origin::says("hi").await;
    let gateway = limited(&origin, "connections_per_address = 2").await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut client = gateway.raw().await;
        client.send(GET).await;
        assert_eq!(client.response().await.text(), "hi");
        kept.push(client);
    }
    gateway.raw().await.is_over().await;
    crate::harness::eventually("the count", async || {
        gateway.metric("gatewright_limits_hit_total{limit=\"connections_per_address\"").await >= 1.0
    })
    .await;
    drop(kept);
    crate::harness::eventually("a place", async || {
        let mut client = gateway.raw().await;
        let _ = client.try_send("GET / HTTP/1.0\r\n\r\n").await;
        client.rest().await.0.starts_with(b"HTTP/1.1 200")
    })
    .await;
}

#[tokio::test]
async fn there_are_so_many_connections_in_all() {
    let origin = Origin::says("hi").await;
    let gateway = limited(&origin, "connections = 1").await;
    let mut first = gateway.raw().await;
    first.send(GET).await;
    assert_eq!(first.response().await.text(), "hi");
    gateway.raw().await.is_over().await;
    first.send(GET).await;
    assert_eq!(first.response().await.text(), "hi");
}

#[tokio::test]
async fn too_large_a_body_is_answered_413() {
    let origin = Origin::echo().await;
    let gateway = limited(&origin, "body_size = '10B'").await;
    for wire in [Wire::H1, Wire::H2] {
        let mut client = gateway.client(wire).await;
        assert_eq!(client.call("POST", "/", full("0123456789")).await.seen()["body"], "0123456789");
        assert_eq!(client.call("POST", "/", full("0123456789a")).await.status, 413, "{wire:?}");
        // Without a length it is seen only when it has come so far.
        let mut client = gateway.client(wire).await;
        let (feed, body) = stream();
        let request = client.request("POST", "/").body(body).expect("a request");
        tokio::spawn(async move { while feed.data("01234").await {} });
        let reply = client.exchange(request).await;
        assert!(reply.as_ref().map_or(true, |reply| reply.status == 413), "{wire:?}: {reply:?}");
    }
}

#[tokio::test]
async fn a_client_that_expects_100_hears_413_before_it_sends() {
    let origin = RawOrigin::start().await;
    let gateway = limited(&origin, "body_size = '10B'").await;
    let mut client = gateway.raw().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n").await;
    client.is_refused(413).await;
    origin.is_untouched();
}

#[tokio::test]
async fn a_tls_handshake_has_its_time() {
    let origin = RawOrigin::start().await;
    let listener = "[[listener]]\naddress = '127.0.0.1:0'\ntls = [{ certificate = 'server.pem', key = 'server.key' }]";
    let text = format!("[admin]\naddress = '127.0.0.1:0'\n[limits]\ntls_handshake_time = '100ms'\n{listener}");
    let gateway = Gateway::to(&origin).and(&text).start().await;
    let mut client = gateway.raw().await;
    client.send([22, 3, 1]).await;
    client.rest().await;
    crate::harness::eventually("the count", async || {
        gateway.metric("gatewright_limits_hit_total{limit=\"tls_handshake_time\"").await == 1.0
    })
    .await;
}

#[tokio::test]
async fn a_tunnel_in_which_nothing_moves_is_closed() {
    let origin = RawOrigin::start().await;
    let gateway = limited(&origin, "tunnel_idle_time = '100ms'").await;
    let mut client = gateway.raw().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    let mut upstream = origin.accept().await;
    upstream.head().await;
    upstream.send("HTTP/1.1 101 Now\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhi").await;
    assert_eq!(client.head().await.status(), 101);
    assert_eq!(client.exactly(2).await, b"hi");
    client.is_over().await;
    upstream.is_over().await;
}

/// Lets this process have more files, and says how many connections with both ends in it may stand beside all else.
fn room_for_connections() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where it may not be raised, fewer will do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(1000) / 2).unwrap_or(usize::MAX)
}

#[tokio::test]
async fn five_thousand_idle_connections_hold_nobody_up() {
    let count = room_for_connections().min(5000);
    let origin = Origin::says("hi").await;
    let gateway = limited(&origin, "connections_per_address = 10000\nheader_time = '10m'\nidle_time = '10m'").await;
    let mut busy = gateway.client(Wire::H2).await;
    let mut idle = Vec::new();
    for number in 0..count {
        let mut client = gateway.raw().await;
        match number % 3 {
            // Has said nothing, has said half, waits between two requests.
            0 => {}
            1 => client.send("GET / HTTP/1.1\r\nHost").await,
            _ => {
                client.send(GET).await;
                assert_eq!(client.response().await.text(), "hi");
            }
        }
        idle.push(client);
        if number % 100 == 0 {
            assert_eq!(busy.get("/").await.text(), "hi");
        }
    }
    let mut client = gateway.client(Wire::H1).await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.text(), "hi");
    }
    assert!(gateway.metric("gatewright_connections_open").await >= count as f64);
    // All of them are still served.
    for (number, client) in idle.iter_mut().enumerate() {
        client.send(if number % 3 == 1 { ": a\r\n\r\n" } else { GET }).await;
        assert_eq!(client.response().await.text(), "hi");
    }
}

#[tokio::test]
async fn what_nobody_wants_of_a_body_is_read_only_if_it_is_little() {
    let gateway = Gateway::of("[[route]]\nrespond = 'no'\n[limits]\ndiscard_size = '1KiB'").start().await;
    let mut client = gateway.client(Wire::H1).await;
    assert_eq!(client.call("POST", "/", full(vec![b'x'; 1000])).await.text(), "no");
    assert_eq!(client.call("GET", "/", empty()).await.text(), "no");
    let mut raw = gateway.raw().await;
    raw.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n").await;
    assert_eq!(raw.response().await.text(), "no");
    let block = vec![b'x'; 64 << 10];
    for _ in 0..1000 {
        if raw.try_send(&block).await.is_err() {
            return;
        }
    }
    let (_, end) = raw.rest().await;
    assert_eq!(end, End::Broken, "64 MB of nothing were read");
}
