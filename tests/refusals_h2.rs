//! HTTP/2 requests and connections that are turned away by resets: an operator sees each of them.

use serde_json::Value;

use crate::harness::{Frames, GET, Gateway, Outcome, RawOrigin, flag, kind, log};

const PROTOCOL_ERROR: u32 = 1;
const LOG: &str = "[access_log]\noutput = 'access.log'\n[admin]\naddress = '127.0.0.1:0'";

/// Error, status, method and target of the lines of the log, in their order.
async fn lines(gateway: &Gateway, count: usize) -> Vec<(Value, Value, Value, Value)> {
    let lines = gateway.log_lines(count).await.into_iter();
    lines.map(|line| ["error", "status", "method", "target"].map(|key| line[key].clone()).into()).collect()
}

/// How many requests were counted as answered by nothing.
async fn unanswered(gateway: &Gateway, route: &str) -> f64 {
    gateway.metric(&format!("gatewright_requests_total{{{route},status=\"none\",protocol=\"h2\"}}")).await
}

const NOWHERE: &str = "route=\"\",pool=\"\"";

/// An HTTP/2 connection whose settings both sides know.
async fn settled(gateway: &Gateway) -> Frames {
    let mut client = gateway.frames().await;
    while client.next_of(kind::SETTINGS).await.flags & flag::ACK == 0 {}
    client
}

#[tokio::test]
async fn a_malformed_request_has_a_line_and_a_count() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).and(LOG).start().await;
    let mut client = gateway.frames().await;
    let wrong: &[&[(&str, &str)]] =
        &[&[("X", "y")], &[("content-length", "5")], &[(":unknown", "x")], &[("te", "gzip")]];
    for (stream, fields) in (1..).step_by(2).zip(wrong) {
        client.headers(stream, &[&GET[..], &[(":path", "/a")], fields].concat(), true).await;
        assert_eq!(client.outcome(stream).await, Outcome::Reset(PROTOCOL_ERROR, None));
    }
    client.headers(99, &[(":method", "G T"), (":scheme", "http")], true).await;
    let known = ("malformed".into(), Value::Null, "GET".into(), "/a".into());
    let lines = lines(&gateway, wrong.len() + 1).await;
    assert_eq!(lines[..wrong.len()], vec![known; wrong.len()]);
    let (error, status, method, _) = &lines[wrong.len()];
    assert_eq!((error, status, method), (&"malformed".into(), &Value::Null, &Value::Null));
    assert_eq!(unanswered(&gateway, NOWHERE).await, 5.0);
    origin.is_untouched();
}

#[tokio::test]
async fn a_body_that_turns_out_malformed_has_one_line_and_no_status() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).and(LOG).start().await;
    let mut client = gateway.frames().await;
    client
        .headers(
            1,
            &[(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/"), ("content-length", "5")],
            false,
        )
        .await;
    let mut upstream = origin.accept().await;
    upstream.head().await;
    client.data(1, b"four", true).await;
    assert_eq!(client.outcome(1).await, Outcome::Reset(PROTOCOL_ERROR, None));
    upstream.rest().await;
    assert_eq!(lines(&gateway, 1).await, [("malformed".into(), Value::Null, "POST".into(), "/".into())]);
}

#[tokio::test]
async fn a_request_beyond_the_streams_has_a_line_and_a_count() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).and(LOG).and("[limits]\nhttp2_streams = 1").start().await;
    let mut client = settled(&gateway).await;
    client.get(1, "/first").await;
    client.get(3, "/second").await;
    assert_eq!(client.outcome(3).await, Outcome::Reset(7, None), "REFUSED_STREAM");
    assert_eq!(lines(&gateway, 1).await, [("too-many-streams".into(), Value::Null, "GET".into(), "/second".into())]);
    assert_eq!(unanswered(&gateway, NOWHERE).await, 1.0);
    assert_eq!(gateway.metric("gatewright_limits_hit_total{limit=\"http2_streams\"}").await, 1.0);
}

#[tokio::test]
async fn a_connection_that_is_given_up_is_told_of_and_its_requests_are_departures() {
    log::listen();
    let broken: [(&str, u8, u8, &[u8]); 3] = [
        ("header block interrupted", kind::PING, 0, &[0; 8]),
        ("CONTINUATION without HEADERS", kind::CONTINUATION, flag::END_HEADERS, b""),
        ("index out of range", kind::HEADERS, flag::END_HEADERS, &[0xff, 0xff, 0xff, 0x07]),
    ];
    for (violation, last, flags, payload) in broken {
        let origin = RawOrigin::start().await;
        let gateway = Gateway::to(&origin).and(LOG).start().await;
        let mut client = gateway.frames().await;
        client.get(1, "/").await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        if violation == "header block interrupted" {
            client.send(kind::HEADERS, 0, 3, b"").await;
        }
        client.send(last, flags, if last == kind::PING { 0 } else { 3 }, payload).await;
        assert!(client.farewell().await.is_some_and(|code| code != 0), "{violation}");
        upstream.is_over().await;
        log::says(&[&gateway.address().to_string(), violation, "HTTP/2 connection given up"]).await;
        assert_eq!(lines(&gateway, 1).await, [("client-closed".into(), Value::Null, "GET".into(), "/".into())]);
        assert_eq!(gateway.metric("gatewright_connections_closed_total{reason=\"violation\"}").await, 1.0);
    }
}
