//! Room: what is stale, where the pool has none for a request, and what comes, where memory has none for it.

use super::response;
use crate::harness::{Gateway, RawOrigin};
use crate::plugins::ADMIN;

const TEXT: &str = "
    [pool.a]
    endpoints = ['<origin>']
    <keys>
    [[route]]
    match.path = '/held'
    pool = 'a'
    [[route]]
    pool = 'a'
    cache = true";

fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// No client request fails, but those that must: 503 where nothing is kept, or it may not be given stale.
#[tokio::test]
async fn what_is_stale_is_given_when_there_is_no_room_for_a_request() {
    for (keys, error) in [
        ("adaptive = { least = 1, most = 1 }", "shed"),
        ("max_requests = 1\ntimeouts = { queue = '20ms' }", "queue-timeout"),
        ("max_pool_requests = 1\ntimeouts = { queue = '20ms' }", "queue-timeout"),
        ("max_connections = 1\ntimeouts = { queue = '20ms' }", "queue-timeout"),
        ("max_requests = 1\nmax_waiting = 0", "overloaded"),
    ] {
        let origin = RawOrigin::start().await;
        let gateway = Gateway::of(TEXT).with("origin", &origin).with("keys", keys).and(ADMIN).start().await;
        for (path, more) in [("/loose", ""), ("/strict", ", must-revalidate")] {
            let mut client = gateway.raw().await;
            client.send(request("GET", path)).await;
            let mut upstream = origin.accept().await;
            upstream.request().await;
            let head = format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60{more}\r\nAge: 70\r\nConnection: close");
            upstream.send(format!("{head}\r\nContent-Length: 3\r\n\r\nold")).await;
            assert_eq!(client.response().await.text(), "old", "{keys}");
        }
        let mut held = gateway.raw().await;
        held.send(request("GET", "/held")).await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        let stale = gateway.ask(&request("GET", "/loose")).await;
        assert_eq!((stale.status(), stale.text()), (200, "old".to_owned()), "{keys}");
        let told = stale.field("cache-status").unwrap_or_default();
        assert!(told.starts_with("gatewright; fwd=stale"), "{keys}: {told}");
        let mut client = gateway.raw().await;
        client.send(request("HEAD", "/loose")).await;
        assert_eq!(client.head().await.status(), 200, "{keys}");
        for path in ["/strict", "/new"] {
            assert_eq!(gateway.ask(&request("GET", path)).await.status(), 503, "{keys}: {path}");
        }
        origin.is_untouched();
        assert_eq!(gateway.log_lines(6).await[5]["error"], error, "{keys}");
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await;
        assert_eq!(held.response().await.text(), "hi", "{keys}");
    }
}

/// No client request fails.
#[tokio::test]
async fn what_finds_no_room_while_others_come_is_kept_the_next_time() {
    let origin = RawOrigin::start().await;
    let text = "[pool.a]\nendpoints = ['<origin>']\n[[route]]\npool = 'a'\ncache = true\n[limits]\ncache_size = '1MiB'";
    let gateway = Gateway::of(text).with("origin", &origin).start().await;
    let (large, middle) = ("x".repeat(250 << 10), "y".repeat(100 << 10));
    let answer = |more: &str| response(&format!("200 | cache-control: max-age=60{more} | body: {middle}"), 0, false);
    let ask = async |path: &str, answer: String, demand: &str| {
        let mut client = gateway.raw().await;
        client.send(request("GET", path)).await;
        let mut upstream = origin.accept().await;
        let asked = upstream.request().await;
        assert_eq!(asked.field("if-none-match").unwrap_or_default(), demand, "{path}");
        let (_, got) = tokio::join!(upstream.try_send(answer), client.response());
        (got.text(), got.field("cache-status").unwrap_or_default())
    };
    let old = response("200 | cache-control: max-age=60 | age: 70 | etag: \"a\" | body: old", 0, false);
    assert_eq!(ask("/stale", old, "").await.0, "old");
    let mut slow = gateway.raw().await;
    slow.send(request("GET", "/slow")).await;
    let mut coming = origin.accept().await;
    coming.request().await;
    let head = format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: max-age=60\r\nContent-Length: {}\r\n\r\n",
        large.len()
    );
    coming.send(head + &large[1..]).await;
    assert_eq!(slow.head().await.status(), 200);
    for (path, demand) in [("/new", ""), ("/stale", "\"a\"")] {
        let (text, told) = ask(path, answer(" | etag: \"b\""), demand).await;
        assert!(text == middle && told.ends_with("detail=no-room"), "{path}: {told}");
    }
    coming.send("x").await;
    slow.exactly(large.len()).await;
    for (path, demand) in [("/new", ""), ("/stale", "\"a\"")] {
        let (text, told) = ask(path, answer(""), demand).await;
        assert!(text == middle && told.ends_with("stored"), "{path}: {told}");
        assert_eq!(gateway.ask(&request("GET", path)).await.text(), middle, "{path}");
    }
    origin.is_untouched();
}
