//! A request that a second endpoint gets beside the first, as a plugin wants it: who answers, what becomes of the other attempt, and
//! which requests are never sent twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::Response;

use crate::harness::modules::plugin;
use crate::harness::{Frames, Gateway, Origin, RawOrigin, Wire, eventually, flag, full, kind};
use crate::plugins::ADMIN;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";

/// At once, for all that matters here; never, for all that matters here.
const SOON: u32 = 1_000;
const LATE: u32 = 600_000_000;

/// A balancer that sends to the first of two endpoints, and after so many microseconds to the second too; once it was told that the attempt
/// at the first was given up, to the second alone.
fn hedges(micros: u32) -> Vec<u8> {
    plugin(
        "(global $first_was_slow (mut i32) (i32.const 0))",
        &format!(
            r#"(func (export "gw_pick") (param i32) (result i64)
                (i32.store (i32.const 1024) (i32.const 0))
                (i32.store (i32.const 1028) (i32.const 1))
                (i32.store (i32.const 1032) (i32.const {micros}))
                (select (i64.const 1) (i64.const 0x400000400) (global.get $first_was_slow)))
            (func (export "gw_outcome") (param $endpoint i32) (param $status i32) (param i32) (param i64) (param i64)
                (if (i32.and (i32.eqz (local.get $endpoint)) (i32.eq (local.get $status) (i32.const 1)))
                    (then (global.set $first_was_slow (i32.const 1)))))"#
        ),
    )
}

/// A gateway before these two endpoints with such a balancer.
async fn gateway(one: impl std::fmt::Display, two: impl std::fmt::Display, micros: u32, keys: &str) -> Gateway {
    let text = "
        [plugin.mine]
        source = 'mine.wasm'
        [pool.a]
        endpoints = ['<one>', '<two>']
        balance = 'mine'
        <keys>
        [[route]]
        pool = 'a'";
    let gateway = Gateway::of(text).with("one", one).with("two", two).with("keys", keys).and(ADMIN);
    gateway.file("mine.wasm", hedges(micros)).start_file().await
}

/// Hedges so far: sent, won.
async fn counts(gateway: &Gateway) -> (f64, f64) {
    let count = async |event| {
        gateway.metric(&format!("gatewright_upstream_hedges_total{{pool=\"a\",event=\"{event}\"}}")).await
    };
    (count("sent").await, count("won").await)
}

/// No client request fails.
#[tokio::test]
async fn the_second_endpoint_answers_when_the_first_is_slow_and_the_first_is_given_up() {
    let slow = RawOrigin::start().await;
    let quick = Origin::echo().await;
    let gateway = gateway(&slow, &quick, SOON, "host = 'endpoint'").await;
    let mut client = gateway.raw().await;
    client.send(GET).await;
    let mut upstream = slow.accept().await;
    assert!(upstream.request().await.has("host", &slow.to_string()));
    assert_eq!(client.response().await.seen()["headers"]["host"], quick.to_string());
    upstream.is_over().await;
    assert_eq!(counts(&gateway).await, (1.0, 1.0));
    // The plugin was told that the first was given up, which is no error.
    client.send(GET).await;
    assert_eq!(client.response().await.status(), 200);
    assert_eq!((counts(&gateway).await, quick.requests()), ((1.0, 1.0), 2));
    slow.is_untouched();
    assert_eq!(gateway.metric("gatewright_upstream_errors_total").await, 0.0);
    let lines = gateway.log_lines(2).await;
    assert_eq!((&lines[0]["hedge"], &lines[0]["retries"]), (&"won".into(), &0.into()));
    assert_eq!(lines[0]["upstream"], quick.to_string());
    assert!(lines[1].get("hedge").is_none(), "{lines:?}");
}

/// No client request fails.
#[tokio::test]
async fn the_first_endpoint_may_still_answer_and_the_second_is_given_up() {
    let (one, two) = (RawOrigin::start().await, RawOrigin::start().await);
    let gateway = gateway(&one, &two, SOON, "").await;
    let mut client = gateway.raw().await;
    client.send(GET).await;
    let (mut first, mut second) = (one.accept().await, two.accept().await);
    first.request().await;
    second.request().await;
    first.send(format!("{OK}hi")).await;
    assert_eq!(client.response().await.text(), "hi");
    second.is_over().await;
    assert_eq!(counts(&gateway).await, (1.0, 0.0));
    assert_eq!(gateway.log_lines(1).await[0]["hedge"], "lost");
    // The one that answered keeps its connection.
    client.send(GET).await;
    first.request().await;
    first.send(format!("{OK}on")).await;
    assert_eq!(client.response().await.text(), "on");
}

/// No client request fails.
#[tokio::test]
async fn a_first_endpoint_that_answers_in_time_is_the_only_one() {
    let one = Origin::says("one").await;
    let two = RawOrigin::start().await;
    let gateway = gateway(&one, &two, LATE, "").await;
    for _ in 0..3 {
        assert_eq!(gateway.ask(GET).await.text(), "one");
    }
    two.is_untouched();
    assert_eq!(counts(&gateway).await, (0.0, 0.0));
}

/// No client request fails.
#[tokio::test]
async fn a_first_endpoint_that_fails_hands_over_at_once() {
    let one = RawOrigin::start().await;
    let two = Origin::says("two").await;
    let gateway = gateway(&one, &two, LATE, "").await;
    for answer in ["", "HTTP/1.1 200 OK\r\nno field\r\n\r\n", "SSH-2.0\r\n"] {
        let mut client = gateway.raw().await;
        client.send(GET).await;
        let mut upstream = one.accept().await;
        upstream.request().await;
        upstream.send(answer).await;
        drop(upstream);
        assert_eq!(client.response().await.text(), "two");
    }
    drop(one);
    assert_eq!(gateway.ask(GET).await.text(), "two");
    assert_eq!(counts(&gateway).await, (0.0, 0.0));
    assert_eq!(gateway.log_lines(4).await[0]["retries"], 1);
}

/// No client request fails.
#[tokio::test]
async fn one_that_fails_in_the_race_leaves_it_to_the_other() {
    for the_second_fails in [false, true] {
        let (one, two) = (RawOrigin::start().await, RawOrigin::start().await);
        let gateway = gateway(&one, &two, SOON, "").await;
        let mut client = gateway.raw().await;
        client.send(GET).await;
        let (mut first, mut second) = (one.accept().await, two.accept().await);
        first.request().await;
        second.request().await;
        let (mut lives, fails) = if the_second_fails { (first, second) } else { (second, first) };
        drop(fails);
        eventually("the failure", async || gateway.metric("gatewright_upstream_errors_total").await == 1.0).await;
        lives.send(format!("{OK}hi")).await;
        assert_eq!(client.response().await.text(), "hi");
        assert_eq!(counts(&gateway).await, (1.0, f64::from(u8::from(!the_second_fails))));
    }
}

/// One client request, the only one, fails.
#[tokio::test]
async fn when_both_fail_the_client_is_told_once() {
    let (one, two) = (RawOrigin::start().await, RawOrigin::start().await);
    let gateway = gateway(&one, &two, SOON, "").await;
    let mut client = gateway.raw().await;
    client.send(GET).await;
    let (mut first, mut second) = (one.accept().await, two.accept().await);
    first.request().await;
    second.request().await;
    drop((first, second));
    assert_eq!(client.response().await.status(), 502);
    let line = gateway.log_lines(1).await.remove(0);
    assert_eq!((&line["hedge"], &line["error"]), (&"lost".into(), &"upstream-closed".into()));
}

/// No client request fails: the one client leaves.
#[tokio::test]
async fn a_client_that_leaves_ends_both_attempts() {
    let (one, two) = (RawOrigin::start().await, RawOrigin::start().await);
    let gateway = gateway(&one, &two, SOON, "").await;
    let mut client = gateway.raw().await;
    client.send(GET).await;
    let (mut first, mut second) = (one.accept().await, two.accept().await);
    first.request().await;
    second.request().await;
    client.reset();
    first.is_over().await;
    second.is_over().await;
}

/// No client request fails.
#[tokio::test]
async fn over_http_2_the_stream_of_the_loser_is_reset_and_its_connection_serves_on() {
    let slow = RawOrigin::start().await;
    let quick = Origin::start(Wire::H2, |_| async { Response::new(full("quick")) }).await;
    let gateway = gateway(&slow, &quick, SOON, "protocol = 'h2'").await;
    let mut client = gateway.client(Wire::H2).await;
    let asking = tokio::spawn(async move { client.get("/").await.text().to_owned() });
    let mut upstream = Frames::accept(slow.accept().await).await;
    let stream = upstream.next_of(kind::HEADERS).await.stream;
    assert_eq!(upstream.next_of(kind::RST_STREAM).await.stream, stream);
    assert_eq!(asking.await.expect("an answer"), "quick");
    upstream.send(kind::PING, 0, 0, b"still on").await;
    while upstream.next_of(kind::PING).await.flags & flag::ACK == 0 {}
}

/// No client request fails.
#[tokio::test]
async fn what_may_have_an_effect_or_is_a_stream_goes_to_one_endpoint() {
    let one = RawOrigin::start().await;
    let two = Origin::says("two").await;
    let gateway = gateway(&one, &two, SOON, "").await;
    let upgrade = "GET /u HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let requests = [
        "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        "PUT /b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
        upgrade,
    ];
    let mut waiting = Vec::new();
    for request in requests {
        let mut client = gateway.raw().await;
        client.send(request).await;
        let mut upstream = one.accept().await;
        upstream.request().await;
        waiting.push((client, upstream));
    }
    // One that came later went to the second after its time.
    assert_eq!(gateway.ask(GET).await.text(), "two");
    assert_eq!((two.requests(), counts(&gateway).await), (1, (1.0, 1.0)));
    for (mut client, mut upstream) in waiting {
        upstream.send(format!("{OK}hi")).await;
        assert_eq!(client.response().await.text(), "hi");
    }
    // Such a request takes the two as a list.
    drop(one);
    let (one, two) = (RawOrigin::start().await.to_string(), Origin::says("two").await);
    let gateway = self::gateway(&one, &two, LATE, "").await;
    assert_eq!(gateway.ask(requests[0]).await.text(), "two");
}

/// A gateway before these two endpoints, asked in turn, whose pool hedges like this.
async fn hedging(one: impl std::fmt::Display, two: impl std::fmt::Display, hedge: &str) -> Gateway {
    let text =
        "[pool.a]\nendpoints = ['<one>', '<two>']\nbalance = 'round-robin'\nhedge = <hedge>\n[[route]]\npool = 'a'";
    Gateway::of(text).with("one", one).with("two", two).with("hedge", hedge).and(ADMIN).start().await
}

/// No client request fails.
#[tokio::test]
async fn a_pool_hedges_by_itself_whoever_is_asked_first() {
    let slow = RawOrigin::start().await;
    let quick = Origin::says("quick").await;
    let gateway = hedging(&slow, &quick, "{ after = '1ms', at_most = '100%' }").await;
    for _ in 0..4 {
        assert_eq!(gateway.ask(GET).await.text(), "quick");
    }
    let (sent, won) = counts(&gateway).await;
    assert!(sent >= 2.0 && won >= 2.0, "{sent} {won}");
}

/// No client request fails.
#[tokio::test]
async fn no_more_than_its_share_goes_to_a_second_endpoint() {
    let (one, two) = (RawOrigin::start().await, RawOrigin::start().await);
    let gateway = hedging(&one, &two, "{ after = '1ms', at_most = '1%' }").await;
    let closing = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
    let mut client = gateway.raw().await;
    client.send(GET).await;
    let (mut first, _second) = (one.accept().await, two.accept().await);
    first.request().await;
    first.send(closing).await;
    assert_eq!(client.response().await.status(), 204);
    client.send(GET).await;
    let (mut upstream, other) = tokio::select! {
        upstream = one.accept() => (upstream, &two),
        upstream = two.accept() => (upstream, &one),
    };
    let refused = "gatewright_upstream_hedges_total{pool=\"a\",event=\"refused\"}";
    eventually("the refusal", async || gateway.metric(refused).await == 1.0).await;
    other.is_untouched();
    upstream.request().await;
    upstream.send(closing).await;
    assert_eq!(client.response().await.status(), 204);
}

/// No client request fails.
#[tokio::test]
async fn a_percentile_is_known_after_a_hundred_answers() {
    let slow = Arc::new(AtomicUsize::new(0));
    let answer = move |request: hyper::Request<hyper::body::Incoming>| {
        let hangs = request.uri().path() == "/slow" && slow.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            Response::new(full("here"))
        }
    };
    let (one, two) = (Origin::start(Wire::H1, answer.clone()).await, Origin::start(Wire::H1, answer).await);
    let gateway = hedging(&one, &two, "{ after = 'p90', at_least = '1ms', at_most = '100%' }").await;
    let mut client = gateway.client(Wire::H1).await;
    for _ in 0..100 {
        assert_eq!(client.get("/").await.text(), "here");
    }
    assert_eq!(counts(&gateway).await, (0.0, 0.0));
    assert_eq!(client.get("/slow").await.text(), "here");
    assert_eq!(counts(&gateway).await, (1.0, 1.0));
}
