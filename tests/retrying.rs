//! Requests that are sent again because the configuration says so: after what, how often, and which of them never.

use crate::harness::modules::plugin;
use crate::harness::{Frames, Gateway, Origin, RawOrigin, Wire, eventually, full, kind};
use crate::plugins::ADMIN;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3600\r\nContent-Length: 4\r\n\r\nbusy";

/// A gateway before one endpoint that tries again like this, without a pause that a test would have to wait for.
async fn gateway(origin: impl std::fmt::Display, retry: &str) -> Gateway {
    let text = "[pool.a]\nendpoints = ['<origin>']\nretry = { pause = '1ms', <retry> }\n[[route]]\npool = 'a'";
    Gateway::of(text).with("origin", origin).with("retry", retry).and(ADMIN).start().await
}

async fn retries(gateway: &Gateway) -> (f64, f64) {
    let refused = gateway.metric("gatewright_upstream_retries_refused_total").await;
    (gateway.metric("gatewright_upstream_retries_total").await, refused)
}

/// No client request fails.
#[tokio::test]
async fn a_request_goes_again_after_a_reset_a_status_or_its_time() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "on = ['reset', 'timeout'], status = [503], try_time = '300ms'").await;
    for answer in [Some(""), Some("HTTP/1.1 200"), Some(BUSY), None] {
        let mut client = gateway.raw().await;
        client.send(GET).await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        match answer {
            Some(answer) => {
                upstream.send(answer).await;
                drop(upstream);
            }
            None => upstream.is_over().await,
        }
        let mut upstream = origin.accept().await;
        upstream.request().await;
        upstream.send(OK).await;
        drop(upstream);
        assert_eq!(client.response().await.text(), "ok", "{answer:?}");
    }
    assert_eq!(retries(&gateway).await, (4.0, 0.0));
}

/// Five client requests fail, all of them as they must.
#[tokio::test]
async fn what_is_not_asked_for_or_may_have_had_an_effect_goes_once() {
    let origin = RawOrigin::start().await;
    let upgrade = "GET /u HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let all = "on = ['reset'], status = [503], buffer = '1KiB'";
    for (retry, request, answer, status) in [
        ("status = [503]", GET, "", 502),
        ("on = ['reset']", GET, BUSY, 503),
        (all, POST, "", 502),
        (all, POST, BUSY, 503),
        (all, upgrade, "", 502),
    ] {
        let gateway = gateway(&origin, retry).await;
        let mut client = gateway.raw().await;
        client.send(request).await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        upstream.send(answer).await;
        drop(upstream);
        assert_eq!(client.response().await.status(), status, "{retry} {request}");
        origin.is_untouched();
        assert_eq!(retries(&gateway).await, (0.0, 0.0));
    }
}

/// No client request fails.
#[tokio::test]
async fn another_endpoint_is_asked_where_there_is_one() {
    let (bad, good) = (RawOrigin::start().await, Origin::says("good").await);
    let text = "[pool.a]\nendpoints = ['<bad>', '<good>']\nbalance = 'round-robin'\n\
                [[route]]\npool = 'a'\nretry = { status = [503], pause = '1ms' }";
    let gateway = Gateway::of(text).with("bad", &bad).with("good", &good).and(ADMIN).start().await;
    let failing = async {
        loop {
            let mut upstream = bad.accept().await;
            upstream.request().await;
            upstream.send(BUSY).await;
        }
    };
    let asking = async {
        for _ in 0..6 {
            assert_eq!(gateway.ask(GET).await.text(), "good");
        }
    };
    tokio::select! {
        () = asking => {}
        () = failing => {}
    }
    // As many as were sent to the other one first.
    assert!(retries(&gateway).await.0 >= 3.0);
    let lines = gateway.log_lines(6).await;
    assert!(lines.iter().all(|line| line["upstream"] == good.to_string()), "{lines:?}");
}

/// No client request fails.
#[tokio::test]
async fn a_body_that_was_sent_goes_again_as_far_as_it_is_kept() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "on = ['reset'], buffer = '8B'").await;
    for wire in [Wire::H1, Wire::H2] {
        let mut client = gateway.client(wire).await;
        let asking = tokio::spawn(async move { client.call("PUT", "/", full("12345678")).await });
        let mut upstream = origin.accept().await;
        assert_eq!(upstream.request().await.text(), "12345678");
        drop(upstream);
        let mut upstream = origin.accept().await;
        let request = upstream.request().await;
        assert_eq!((request.text(), request.field("content-length").as_deref()), ("12345678".to_owned(), Some("8")));
        upstream.send(OK).await;
        drop(upstream);
        assert_eq!(asking.await.expect("an answer").text(), "ok");
    }
}

/// Two client requests fail, as they must: their bodies are not kept.
#[tokio::test]
async fn a_body_that_is_not_kept_goes_once() {
    let origin = RawOrigin::start().await;
    for (retry, body) in [("on = ['reset'], buffer = '7B'", "12345678"), ("on = ['reset']", "1")] {
        let gateway = gateway(&origin, retry).await;
        // Of a length that is not known before, so that it is kept until it is too long.
        let request = format!(
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        );
        let mut client = gateway.raw().await;
        client.send(request).await;
        let mut upstream = origin.accept().await;
        assert_eq!(upstream.request().await.text(), body);
        drop(upstream);
        assert_eq!(client.response().await.status(), 502);
        origin.is_untouched();
    }
}

/// No client request fails.
#[tokio::test]
async fn any_method_goes_again_where_that_is_said() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "status = [503], buffer = '1KiB', any_method = true").await;
    let mut client = gateway.raw().await;
    client.send(POST).await;
    for answer in [BUSY, OK] {
        let mut upstream = origin.accept().await;
        assert_eq!(upstream.request().await.text(), "hi");
        upstream.send(answer.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await;
    }
    assert_eq!(client.response().await.text(), "ok");
}

/// One client request fails: the endpoint fails every try.
#[tokio::test]
async fn there_are_so_many_tries_and_the_last_answer_is_the_clients() {
    let origin = Origin::start(Wire::H1, |_| async {
        let mut response = hyper::Response::new(full("busy"));
        *response.status_mut() = hyper::StatusCode::BAD_GATEWAY;
        response
    })
    .await;
    let gateway = gateway(&origin, "status = [502], tries = 5").await;
    let response = gateway.ask(GET).await;
    assert_eq!((response.status(), response.text()), (502, "busy".to_owned()));
    assert_eq!((origin.requests(), retries(&gateway).await), (5, (4.0, 0.0)));
    assert_eq!(gateway.log_lines(1).await[0]["retries"], 4);
}

/// One client request fails, as it must: no try is answered.
#[tokio::test]
async fn all_tries_together_have_the_time_of_the_request() {
    let origin = RawOrigin::start().await;
    let text = "[pool.a]\nendpoints = ['<origin>']\n[[route]]\npool = 'a'\ntimeouts = { request = '300ms' }\n\
                retry = { on = ['timeout'], try_time = '50ms', tries = 10, pause = '1ms' }";
    let gateway = Gateway::of(text).with("origin", &origin).and(ADMIN).start().await;
    assert_eq!(gateway.ask(GET).await.status(), 504);
    let line = &gateway.log_lines(1).await[0];
    assert_eq!(line["error"], "request-timeout");
    // On a machine that is busy it may have come to one only.
    assert!(line["retries"].as_u64() < Some(6), "{line}");
}

/// Three client requests of four fail, as they must: one may be tried again, and that fails too.
#[tokio::test]
async fn tries_beyond_the_budget_are_refused_and_counted() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "on = ['reset'], budget = '0.01%', budget_least = 1").await;
    let mut first = gateway.raw().await;
    first.send(GET).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    drop(upstream);
    // Its second try is under way for as long as it is not answered.
    let mut held = origin.accept().await;
    held.request().await;
    for refused in 1..=3 {
        let mut client = gateway.raw().await;
        client.send(GET).await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        drop(upstream);
        assert_eq!(client.response().await.status(), 502);
        assert_eq!(retries(&gateway).await, (1.0, f64::from(refused)));
    }
    origin.is_untouched();
    held.send(OK).await;
    assert_eq!(first.response().await.text(), "ok");
    // Once that is over, the next one may.
    first.send(GET).await;
    held.request().await;
    drop(held);
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.send(OK).await;
    assert_eq!(first.response().await.text(), "ok");
    assert_eq!(retries(&gateway).await, (2.0, 3.0));
}

/// A fifth of the client requests' number comes on top, not twice that; all of them fail, as they must.
#[tokio::test]
async fn an_outage_is_not_made_worse() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "on = ['reset'], budget = '20%', budget_least = 1, tries = 10").await;
    let mut clients = Vec::new();
    let mut held = Vec::new();
    for _ in 0..20 {
        let mut client = gateway.raw().await;
        client.send(GET).await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        held.push(upstream);
        clients.push(client);
    }
    // All break at the same time, and whatever comes again is left hanging.
    drop(held);
    let mut again = Vec::new();
    eventually("all to be tried again or refused", async || {
        again.extend(origin.accepted().await);
        retries(&gateway).await.1 + again.len() as f64 >= 20.0
    })
    .await;
    assert!((1..=4).contains(&again.len()), "{} tries again", again.len());
}

/// No client request fails.
#[tokio::test]
async fn a_status_of_grpc_counts_when_there_is_nothing_else() {
    let origin = RawOrigin::start().await;
    let text = "[pool.a]\nendpoints = ['<origin>']\nprotocol = 'h2'\n\
                retry = { grpc_status = [14], pause = '1ms', any_method = true, buffer = '1KiB' }\n[[route]]\npool = 'a'";
    let gateway = Gateway::of(text).with("origin", &origin).and(ADMIN).start().await;
    let mut client = gateway.client(Wire::H2).await;
    let asking = tokio::spawn(async move { client.call("POST", "/s/m", full("hi")).await });
    let mut upstream = Frames::accept(origin.accept().await).await;
    let stream = upstream.next_of(kind::HEADERS).await.stream;
    upstream.headers(stream, &[(":status", "200"), ("grpc-status", "14")], true).await;
    let again = upstream.next_of(kind::HEADERS).await.stream;
    assert!(again > stream);
    upstream.headers(again, &[(":status", "200"), ("grpc-status", "0")], true).await;
    assert_eq!(asking.await.expect("an answer").header("grpc-status"), Some("0"));
}

/// One client request fails: its plugin lists one endpoint, which refuses it.
#[tokio::test]
async fn an_answer_that_nobody_can_better_is_the_clients() {
    let origin = RawOrigin::start().await;
    // It lists the first endpoint, and counts the outcomes it is told by refusing with 401 after the second one.
    let module = plugin(
        "(global $told (mut i32) (i32.const 0))",
        r#"(func (export "gw_pick") (param i32) (result i64)
            (i32.store (i32.const 1024) (i32.const 1))
            (i32.store (i32.const 1028) (i32.const 0))
            (select (i64.const 0x200000191) (i64.const 0x300000400) (i32.gt_u (global.get $told) (i32.const 1))))
        (func (export "gw_outcome") (param i32 i32 i32 i64 i64)
            (global.set $told (i32.add (global.get $told) (i32.const 1))))"#,
    );
    let text = "[plugin.mine]\nsource = 'mine.wasm'\n[pool.a]\nendpoints = ['<origin>']\nbalance = 'mine'\n\
                retry = { status = [503], pause = '1ms' }\n[[route]]\npool = 'a'";
    let gateway = Gateway::of(text).with("origin", &origin).file("mine.wasm", module).and(ADMIN).start_file().await;
    let mut client = gateway.raw().await;
    for answer in [BUSY, OK] {
        client.send(GET).await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        upstream.send(answer.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await;
        let response = client.response().await;
        assert_eq!(
            (response.start.clone(), response.text()),
            match answer {
                BUSY => ("HTTP/1.1 503 Service Unavailable".to_owned(), "busy".to_owned()),
                _ => ("HTTP/1.1 200 OK".to_owned(), "ok".to_owned()),
            }
        );
    }
    // Two requests, two outcomes.
    assert_eq!(gateway.ask(GET).await.status(), 401);
    origin.is_untouched();
    assert_eq!(retries(&gateway).await, (0.0, 0.0));
}
