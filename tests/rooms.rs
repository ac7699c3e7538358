//! How many requests there may be at the same time, at an endpoint and in a pool: who waits, who goes elsewhere, who is refused.

use crate::harness::{Gateway, Origin, RawOrigin, eventually};
use crate::plugins::ADMIN;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";

/// A gateway before these endpoints, asked in turn, whose pool has these further keys.
async fn gateway(endpoints: &[String], keys: &str) -> Gateway {
    let text = format!("[pool.a]\nendpoints = {endpoints:?}\nbalance = 'round-robin'\n{keys}\n[[route]]\npool = 'a'");
    Gateway::of(&text).and(ADMIN).start().await
}

/// How many requests found no room by this limit, and how many were refused for that.
async fn counts(gateway: &Gateway, limit: &str) -> (f64, f64) {
    let count =
        async |name| gateway.metric(&format!("gatewright_upstream_{name}_total{{pool=\"a\",limit=\"{limit}\"}}")).await;
    (count("full").await, count("refused").await)
}

/// One client request of three fails for each limit, as it must: one is at work and one waits.
#[tokio::test]
async fn who_finds_no_room_waits_until_a_response_is_over_and_too_many_are_refused() {
    let origin = RawOrigin::start().await;
    for limit in ["max_requests", "max_pool_requests"] {
        let gateway = gateway(&[origin.to_string()], &format!("{limit} = 1\nmax_waiting = 1")).await;
        let mut first = gateway.raw().await;
        first.send(GET).await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        let mut second = gateway.raw().await;
        second.send(GET).await;
        eventually("one to wait", async || counts(&gateway, limit).await == (1.0, 0.0)).await;
        let refused = gateway.ask(GET).await;
        assert_eq!((refused.status(), refused.field("retry-after").as_deref()), (503, Some("1")), "{limit}");
        assert_eq!(counts(&gateway, limit).await, (2.0, 1.0));
        upstream.send(format!("{OK}h")).await;
        first.until("h").await;
        // The response has begun and is not over.
        origin.is_untouched();
        upstream.send("i").await;
        upstream.request().await;
        upstream.send(format!("{OK}on")).await;
        assert_eq!(second.response().await.text(), "on");
        assert_eq!(gateway.log_lines(3).await[0]["error"], "overloaded");
    }
}

/// No client request fails.
#[tokio::test]
async fn an_endpoint_without_room_is_passed_over() {
    let (stuck, free) = (RawOrigin::start().await, Origin::says("free").await);
    let gateway = gateway(&[stuck.to_string(), free.to_string()], "max_requests = 1").await;
    // Until the one that hangs has its request.
    let mut held = gateway.raw().await;
    held.send(GET).await;
    let mut upstream = tokio::select! {
        upstream = stuck.accept() => upstream,
        response = held.response() => {
            assert_eq!(response.text(), "free");
            held.send(GET).await;
            stuck.accept().await
        }
    };
    upstream.request().await;
    for _ in 0..6 {
        assert_eq!(gateway.ask(GET).await.text(), "free");
    }
    stuck.is_untouched();
    assert_eq!(counts(&gateway, "max_requests").await, (0.0, 0.0));
    upstream.send(format!("{OK}on")).await;
    assert_eq!(held.response().await.text(), "on");
}

/// One client request of two fails for each limit, as it must.
#[tokio::test]
async fn who_waits_too_long_for_room_is_told_so() {
    let origin = RawOrigin::start().await;
    for limit in ["max_requests", "max_pool_requests"] {
        let gateway = gateway(&[origin.to_string()], &format!("{limit} = 1\ntimeouts = {{ queue = '20ms' }}")).await;
        let mut first = gateway.raw().await;
        first.send(GET).await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        assert_eq!(gateway.ask(GET).await.status(), 503);
        assert_eq!(counts(&gateway, limit).await, (1.0, 1.0));
        upstream.send(format!("{OK}hi")).await;
        assert_eq!(first.response().await.text(), "hi");
        assert_eq!(gateway.log_lines(2).await[0]["error"], "queue-timeout");
    }
}

/// No client request fails: one client leaves while it waits, and its place is free for another.
#[tokio::test]
async fn a_client_that_leaves_waits_no_more() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&[origin.to_string()], "max_requests = 1\nmax_waiting = 1").await;
    let mut first = gateway.raw().await;
    first.send(GET).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    let mut leaves = gateway.raw().await;
    leaves.send(GET).await;
    eventually("one to wait", async || counts(&gateway, "max_requests").await.0 == 1.0).await;
    leaves.reset();
    eventually("its line", async || gateway.metric("gatewright_requests_in_flight").await == 1.0).await;
    let mut waits = gateway.raw().await;
    waits.send(GET).await;
    eventually("another to wait", async || counts(&gateway, "max_requests").await.0 == 2.0).await;
    upstream.send(format!("{OK}hi")).await;
    assert_eq!(first.response().await.text(), "hi");
    upstream.request().await;
    upstream.send(format!("{OK}on")).await;
    assert_eq!(waits.response().await.text(), "on");
    assert_eq!(counts(&gateway, "max_requests").await, (2.0, 0.0));
}
