//! One request to the origin for many clients, whoever of them comes, goes, or is slow.

use super::{gateway, response};
use crate::harness::{Gateway, Raw, RawOrigin, eventually};

const GET: &str = "GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// A client that has asked.
async fn asking(gateway: &Gateway) -> Raw {
    let mut client = gateway.raw().await;
    client.send(GET).await;
    client
}

/// All who ask have reached the gateway when it has so many requests under way.
async fn under_way(gateway: &Gateway, count: usize) {
    eventually("the requests", async || gateway.metric("gatewright_requests_in_flight").await >= count as f64).await;
}

/// No client request fails.
#[tokio::test]
async fn one_request_is_for_all_and_a_body_is_read_as_it_comes() {
    let origin = RawOrigin::start().await;
    let text = "workers = 2\n[pool.a]\nendpoints = ['<origin>']\n[[route]]\npool = 'a'\ncache = true\n[admin]\naddress = '127.0.0.1:0'";
    let gateway = Gateway::of(text).with("origin", &origin).start().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(asking(&gateway).await);
    }
    let mut upstream = origin.accept().await;
    upstream.request().await;
    under_way(&gateway, 20).await;
    upstream.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\n01234").await;
    for client in &mut clients {
        assert_eq!(client.head().await.status(), 200);
        assert_eq!(client.exactly(5).await, b"01234");
    }
    // Who comes while it is filled has its begin at once.
    let mut late = asking(&gateway).await;
    assert!(late.head().await.field("cache-status").unwrap().contains("collapsed"));
    assert_eq!(late.exactly(5).await, b"01234");
    upstream.send("56789").await;
    for client in clients.iter_mut().chain([&mut late]) {
        assert_eq!(client.exactly(5).await, b"56789");
    }
    origin.is_untouched();
}

/// One client leaves before its answer, one in the middle; no other client request fails.
#[tokio::test]
async fn a_client_that_leaves_takes_nobody_along() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "true").await;
    let first = asking(&gateway).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    let (mut second, mut third) = (asking(&gateway).await, asking(&gateway).await);
    under_way(&gateway, 3).await;
    first.reset();
    upstream.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\n01234").await;
    second.until("01234").await;
    second.reset();
    third.until("01234").await;
    upstream.send("56789").await;
    third.until("56789").await;
    assert_eq!(gateway.get("a.example/x", &[]).await.text(), "0123456789");
    origin.is_untouched();
}

/// The clients of a body that breaks have a response that is cut; nothing of it is kept.
#[tokio::test]
async fn what_breaks_is_not_kept_and_looks_complete_to_nobody() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "true").await;
    let mut first = asking(&gateway).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    let mut second = asking(&gateway).await;
    under_way(&gateway, 2).await;
    upstream.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\n01234").await;
    first.until("01234").await;
    drop(upstream);
    assert!(first.rest().await.0.is_empty());
    assert!(second.try_response().await.is_err());
    let mut third = asking(&gateway).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.send(response("200", 7, false)).await;
    assert_eq!(third.response().await.text(), "7");
}

/// No client request fails.
#[tokio::test]
async fn who_waits_for_what_cannot_be_kept_goes_on_at_once() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "true").await;
    let mut first = asking(&gateway).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    let mut second = asking(&gateway).await;
    under_way(&gateway, 2).await;
    upstream.send("HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: private\r\nContent-Length: 2\r\n\r\n0").await;
    // The first answer is not over yet.
    let mut other = origin.accept().await;
    other.request().await;
    other.send(response("200 | cache-control: private", 1, false)).await;
    assert_eq!(second.response().await.text(), "1");
    upstream.send("0").await;
    assert_eq!(first.response().await.text(), "00");
    // It is remembered: nobody waits any more.
    let (mut third, mut fourth) = (asking(&gateway).await, asking(&gateway).await);
    let (mut one, mut two) = (origin.accept().await, origin.accept().await);
    for upstream in [&mut one, &mut two] {
        upstream.request().await;
    }
    for upstream in [&mut one, &mut two] {
        upstream.send(response("200 | cache-control: private", 2, false)).await;
    }
    assert_eq!((third.response().await.text(), fourth.response().await.text()), ("2".into(), "2".into()));
}

/// No client request fails.
#[tokio::test]
async fn who_waits_for_what_is_not_kept_because_of_who_asked_waits_for_one_of_the_others() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "true").await;
    let mut first = gateway.raw().await;
    first.send(GET.replace("\r\n\r\n", "\r\nAuthorization: x\r\n\r\n")).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(asking(&gateway).await);
    }
    under_way(&gateway, 6).await;
    upstream.send(response("200 | cache-control: max-age=60", 1, false)).await;
    let mut upstream = origin.accept().await;
    assert_eq!(upstream.request().await.field("authorization"), None);
    assert_eq!(first.response().await.text(), "1");
    upstream.send(response("200 | cache-control: max-age=60", 2, false)).await;
    let mut collapsed = 0;
    for other in &mut others {
        let response = other.response().await;
        assert_eq!(response.text(), "2");
        collapsed += usize::from(response.field("cache-status").unwrap_or_default().contains("collapsed"));
    }
    assert_eq!(collapsed, 4);
    origin.is_untouched();
}

/// The request of each client fails, since the origin does.
#[tokio::test]
async fn an_error_is_for_all_who_wait() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "true").await;
    let mut first = asking(&gateway).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    let mut second = asking(&gateway).await;
    under_way(&gateway, 2).await;
    drop(upstream);
    for client in [&mut first, &mut second] {
        let response = client.response().await;
        response.is(502);
        assert!(response.field("cache-status").unwrap().starts_with("gatewright; fwd=uri-miss"));
    }
    origin.is_untouched();
}

/// No client request fails.
#[tokio::test]
async fn what_is_too_large_streams_on() {
    let origin = RawOrigin::start().await;
    let text = "[pool.a]\nendpoints = ['<origin>']\n[[route]]\npool = 'a'\ncache = true\n[limits]\ncache_size = '1MiB'";
    let gateway = Gateway::of(text).with("origin", &origin).start().await;
    let large = "x".repeat(3 << 20);
    for framing in [format!("Content-Length: {}", large.len()), "Transfer-Encoding: chunked".to_owned()] {
        for _ in 0..2 {
            let mut client = asking(&gateway).await;
            let mut upstream = origin.accept().await;
            upstream.request().await;
            let body = if framing.ends_with("chunked") {
                format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len())
            } else {
                large.clone()
            };
            let head =
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: max-age=60\r\n{framing}\r\n\r\n");
            let (sent, response) = tokio::join!(upstream.try_send(head + &body), client.response());
            sent.unwrap();
            assert_eq!(response.body.len(), large.len());
        }
    }
}

/// No client request fails.
#[tokio::test]
async fn interim_responses_and_trailers_go_on_and_only_trailers_are_kept() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "true").await;
    let mut client = asking(&gateway).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").await;
    let interim = client.head().await;
    assert_eq!((interim.status(), interim.field("link")), (103, Some("</a>".to_owned())));
    upstream.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n").await;
    let first = client.response().await;
    let second = gateway.get("a.example/x", &[]).await;
    for response in [first, second] {
        assert_eq!((response.status(), response.text()), (200, "ok".to_owned()));
        assert_eq!(response.field("link"), None);
        assert_eq!(response.trailers, [("x-sum".to_owned(), "1".to_owned())], "{response:?}");
    }
    origin.is_untouched();
}

/// No client request fails.
#[tokio::test]
async fn what_is_thrown_away_while_it_comes_is_not_kept() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "true").await;
    let mut client = asking(&gateway).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    let mut changing = gateway.raw().await;
    changing.send("POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n").await;
    let mut other = origin.accept().await;
    other.request().await;
    other.send(response("200", 0, false)).await;
    changing.response().await.is(200);
    upstream.send(response("200 | cache-control: max-age=60", 1, false)).await;
    assert_eq!(client.response().await.text(), "1");
    let mut client = asking(&gateway).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.send(response("200 | cache-control: max-age=60", 2, false)).await;
    assert_eq!(client.response().await.text(), "2");
}

/// The client of the pool that fails gets its error, and no other.
#[tokio::test]
async fn who_is_sent_elsewhere_does_not_wait_for_it() {
    let (one, other) = (RawOrigin::start().await, RawOrigin::start().await);
    let text = "[pool.one]\nendpoints = ['<one>']\n[pool.other]\nendpoints = ['<other>']\n\
                [[route]]\npool = 'one'\ncache = true\n[[route]]\nmatch.header = { x-other = true }\npool = 'other'\ncache = true";
    let gateway = Gateway::of(text).with("one", &one).with("other", &other).start().await;
    let mut first = asking(&gateway).await;
    let mut upstream = one.accept().await;
    upstream.request().await;
    let mut second = gateway.raw().await;
    second.send(GET.replace("\r\n\r\n", "\r\nX-Other: 1\r\n\r\n")).await;
    let mut elsewhere = other.accept().await;
    elsewhere.request().await;
    drop(upstream);
    first.response().await.is(502);
    elsewhere.send(response("200 | cache-control: max-age=60", 1, false)).await;
    assert_eq!(second.response().await.text(), "1");
    let mut third = asking(&gateway).await;
    let mut upstream = one.accept().await;
    upstream.request().await;
    upstream.send(response("200 | cache-control: max-age=60", 2, false)).await;
    assert_eq!(third.response().await.text(), "2");
}
