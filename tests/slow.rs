//! Clients that are slow on purpose, and clients that are slow for a reason.

use std::time::{Duration, Instant};

use crate::harness::{Frames, GET, Gateway, Raw, RawOrigin, eventually};

/// How long a slow client may be waited for here, and how long one that may be slow is.
const PATIENCE: Duration = Duration::from_millis(400);

/// A gateway that asks for far more than a byte now and then.
async fn hurried(origin: &RawOrigin) -> Gateway {
    let limits = "[admin]\naddress = '127.0.0.1:0'\n[limits]\nbody_idle_time = '400ms'\nbody_min_rate = '100MiB'";
    Gateway::to(origin).and(limits).start().await
}

async fn is_counted(gateway: &Gateway) {
    eventually("the limit to be counted", async || {
        gateway.metric("gatewright_limits_hit_total{limit=\"body_min_rate\"").await >= 1.0
    })
    .await;
}

/// Sends these bytes again and again, until the time has passed or something is heard.
async fn trickle(client: &mut Raw, bytes: &str, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end && client.peek().await.is_none() {
        if client.try_send(bytes).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_body_that_trickles_in_is_answered_408() {
    for (head, piece) in [("Content-Length: 1000000", "x"), ("Transfer-Encoding: chunked", "1\r\nx\r\n")] {
        let origin = RawOrigin::start().await;
        let gateway = hurried(&origin).await;
        let mut client = gateway.raw().await;
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n")).await;
        trickle(&mut client, piece, 20 * PATIENCE).await;
        assert_eq!(client.response().await.status(), 408, "{head}");
        is_counted(&gateway).await;
        // The origin was not made to believe that the body is complete.
        let mut upstream = origin.accept().await;
        upstream.head().await;
        let (body, _) = upstream.rest().await;
        assert!(!body.ends_with(b"0\r\n\r\n"));
    }
}

#[tokio::test]
async fn a_body_that_trickles_in_over_http_2_is_answered_408() {
    let origin = RawOrigin::start().await;
    let gateway = hurried(&origin).await;
    let mut client = gateway.frames().await;
    post(&mut client, &[]).await;
    let end = Instant::now() + 20 * PATIENCE;
    while Instant::now() < end && gateway.metric("gatewright_limits_hit_total{limit=\"body_min_rate\"").await == 0.0 {
        client.data(1, b"x", false).await;
    }
    assert_eq!(client.outcome(1).await.status(), Some(408));
    // The connection goes on.
    client.get(3, "/").await;
    origin.accept().await.head().await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.outcome(3).await.status(), Some(204));
}

async fn post(client: &mut Frames, fields: &[(&str, &str)]) {
    let [_, scheme, authority] = GET;
    let head = [(":method", "POST"), scheme, authority, (":path", "/")];
    client.headers(1, &[&head[..], fields].concat(), false).await;
}

#[tokio::test]
async fn a_client_that_talks_with_the_origin_may_take_its_time() {
    let origin = RawOrigin::start().await;
    let gateway = hurried(&origin).await;
    let mut client = gateway.raw().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let mut upstream = origin.accept().await;
    upstream.head().await;
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 200);
    let end = Instant::now() + 3 * PATIENCE;
    while Instant::now() < end {
        for text in ["1\r\nx\r\n", "1\r\ny\r\n"] {
            client.send(text).await;
            upstream.until(text).await;
            upstream.send(text).await;
            client.until(text).await;
        }
    }
    client.send("0\r\n\r\n").await;
    upstream.until("0\r\n\r\n").await;
    upstream.send("0\r\n\r\n").await;
    client.until("0\r\n\r\n").await;
}

/// What a request says of itself lifts no limit.
#[tokio::test]
async fn a_client_that_only_claims_to_speak_grpc_is_too_slow_like_any_other() {
    let origin = RawOrigin::start().await;
    let gateway = hurried(&origin).await;
    let mut client = gateway.frames().await;
    post(&mut client, &[("content-type", "application/grpc")]).await;
    let is_hit = async || gateway.metric("gatewright_limits_hit_total{limit=\"body_min_rate\"").await >= 1.0;
    eventually("it to be told so", async || {
        client.data(1, b"x", false).await;
        is_hit().await
    })
    .await;
}

#[tokio::test]
async fn a_grpc_client_speaks_when_it_has_something_to_say_where_the_route_lets_it() {
    let origin = RawOrigin::start().await;
    let text = "[pool.origin]\nendpoints = ['<origin>']\n[[route]]\npool = 'origin'\nbody_min_rate = 0\n";
    let limits = "[limits]\nbody_idle_time = '400ms'\nbody_min_rate = '100MiB'";
    let gateway = Gateway::of(text).with("origin", &origin).and(limits).start().await;
    let mut client = gateway.frames().await;
    post(&mut client, &[("content-type", "application/grpc+proto")]).await;
    let mut upstream = origin.accept().await;
    let end = Instant::now() + 3 * PATIENCE;
    while Instant::now() < end {
        client.data(1, &[b'x'; 20], false).await;
        // Each when the one before has arrived.
        upstream.until("14\r\nxxxxxxxxxxxxxxxxxxxx\r\n").await;
    }
    client.data(1, b"", true).await;
    upstream.until("0\r\n\r\n").await;
    upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.outcome(1).await.status(), Some(204));
}

#[tokio::test]
async fn without_a_rate_any_pace_will_do() {
    let origin = RawOrigin::start().await;
    let limits = "[limits]\nbody_idle_time = '400ms'\nbody_min_rate = 0";
    let gateway = Gateway::to(&origin).and(limits).start().await;
    let mut client = gateway.raw().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let mut upstream = origin.accept().await;
    trickle(&mut client, "1\r\nx\r\n", 3 * PATIENCE).await;
    client.send("0\r\n\r\n").await;
    upstream.request().await;
    upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.response().await.status(), 204);
}
