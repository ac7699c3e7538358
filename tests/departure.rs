//! Clients that leave before they have their response: the upstream is not kept busy for them, and the log says so.

use std::time::{Duration, Instant};

use crate::harness::{Gateway, Raw, RawOrigin, eventually, kind};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const LOG: &str = "[access_log]\noutput = 'access.log'\n[admin]\naddress = '127.0.0.1:0'";
const IMPATIENT: &str = "[limits]\nhalf_close_time = '50ms'";

/// The one line of the log tells of a client that left without an answer.
async fn tells_of_a_departure(gateway: &Gateway, error: &str) {
    let line = &gateway.log_lines(1).await[0];
    assert_eq!((&line["error"], &line["status"]), (&error.into(), &serde_json::Value::Null), "{line}");
    let protocol = if line["protocol"] == "HTTP/2" { "h2" } else { "h1" };
    let labels = format!(
        "route=\"/\",pool=\"{}\",status=\"none\",protocol=\"{protocol}\"",
        line["pool"].as_str().expect("a pool")
    );
    let told_nothing = format!("gatewright_requests_total{{{labels}}}");
    assert_eq!(gateway.metric(&told_nothing).await, 1.0);
    assert_eq!(gateway.metric("gatewright_upstream_errors_total").await, 0.0);
}

#[tokio::test]
async fn a_client_that_shut_down_its_sending_side_is_served_when_the_response_comes_soon() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.raw().await;
    client.send(GET).await;
    client.finish().await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n").await;
    client.until("ok").await;
    upstream.send("0\r\n\r\n").await;
    client.until("0\r\n\r\n").await;
    client.is_over().await;
}

#[tokio::test]
async fn one_that_gets_nothing_for_a_while_is_taken_to_be_gone() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).and(LOG).and(IMPATIENT).start().await;
    let mut client = gateway.raw().await;
    client.send(GET).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    client.finish().await;
    upstream.is_over().await;
    client.is_over().await;
    tells_of_a_departure(&gateway, "client-closed").await;
    assert_eq!(gateway.metric("gatewright_limits_hit_total{limit=\"half_close_time\"}").await, 1.0);
}

#[tokio::test]
async fn one_that_leaves_in_the_middle_of_a_stream_of_events_is_noticed_between_two() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).and(LOG).and(IMPATIENT).start().await;
    let mut client = gateway.raw().await;
    client.send(GET).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nevent\r\n").await;
    client.until("event").await;
    client.finish().await;
    upstream.is_over().await;
    let line = &gateway.log_lines(1).await[0];
    assert_eq!(
        (&line["error"], &line["status"], &line["bytes_out"]),
        (&"client-closed".into(), &200.into(), &5.into())
    );
}

#[tokio::test]
async fn a_reset_is_noticed_at_once() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).and(LOG).start().await;
    let mut client = gateway.raw().await;
    client.send(GET).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    client.reset();
    upstream.is_over().await;
    tells_of_a_departure(&gateway, "client-io").await;
}

#[tokio::test]
async fn a_tls_client_that_leaves_is_noticed_with_and_without_a_farewell() {
    for farewell in [true, false] {
        let origin = RawOrigin::start().await;
        let listener =
            "[[listener]]\naddress = '127.0.0.1:0'\ntls = [{ certificate = 'server.pem', key = 'server.key' }]";
        let gateway = Gateway::to(&origin).and(listener).and(LOG).and(IMPATIENT).start().await;
        let mut client = Raw::connect_tls(gateway.address(), &["http/1.1"]).await;
        client.send(GET).await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        match farewell {
            true => client.finish().await,
            false => client.cut(),
        }
        upstream.is_over().await;
        tells_of_a_departure(&gateway, "client-closed").await;
    }
}

#[tokio::test]
async fn an_http_2_client_that_leaves_takes_its_requests_along() {
    for (farewell, error) in [(true, "client-reset"), (false, "client-closed")] {
        let origin = RawOrigin::start().await;
        let gateway = Gateway::to(&origin).and(LOG).start().await;
        let mut client = gateway.frames().await;
        client.get(1, "/").await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        if farewell {
            client.send(kind::RST_STREAM, 0, 1, &8u32.to_be_bytes()).await;
        } else {
            client.raw().finish().await;
        }
        upstream.is_over().await;
        tells_of_a_departure(&gateway, error).await;
    }
}

#[tokio::test]
async fn an_http_2_client_that_leaves_in_the_middle_of_its_body_is_no_malformed_request() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).and(LOG).start().await;
    let mut client = gateway.frames().await;
    let fields = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
    client.headers(1, &fields, false).await;
    client.data(1, b"part", false).await;
    let mut upstream = origin.accept().await;
    upstream.until("part").await;
    client.raw().finish().await;
    upstream.rest().await;
    tells_of_a_departure(&gateway, "client-closed").await;
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_for_a_connection_gives_its_place_up() {
    let origin = RawOrigin::start().await;
    let text = "[pool.a]\nendpoints = ['<origin>']\nmax_connections = 1\n[[route]]\npool = 'a'";
    let gateway = Gateway::of(text).with("origin", &origin).and(LOG).start().await;
    let mut first = gateway.raw().await;
    first.send(GET).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    let mut second = gateway.raw().await;
    second.send(GET).await;
    let in_flight = async |count: f64| gateway.metric("gatewright_requests_in_flight").await == count;
    eventually("the second to wait", async || in_flight(2.0).await).await;
    second.reset();
    eventually("the second to be gone", async || in_flight(1.0).await).await;
    tells_of_a_departure(&gateway, "client-io").await;
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_turn() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.raw().await;
    client.send(GET).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    client.send(GET.replace("/ ", "/2 ")).await;
    client.finish().await;
    for body in ["1", "2"] {
        upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{body}")).await;
        assert_eq!(client.response().await.text(), body);
        if body == "1" {
            assert!(upstream.request().await.start.starts_with("GET /2"), "the second request");
        }
    }
    client.is_over().await;
}

#[tokio::test]
async fn patience_is_for_each_request_of_a_client_that_sends_no_more() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).and(LOG).and("[limits]\nhalf_close_time = '1s'").start().await;
    let mut client = gateway.raw().await;
    client.send(GET.repeat(10)).await;
    client.finish().await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    // The first answer takes longer than that, but never stands still.
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(1500) {
        upstream.send("1\r\nx\r\n").await;
        client.until("x\r\n").await;
    }
    upstream.send("0\r\n\r\n").await;
    client.until("0\r\n\r\n").await;
    for _ in 1..10 {
        upstream.request().await;
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        assert_eq!(client.response().await.text(), "ok");
    }
    client.is_over().await;
    assert_eq!(gateway.metric("gatewright_limits_hit_total{limit=\"half_close_time\"}").await, 0.0);
}

#[tokio::test]
async fn one_that_has_sent_more_than_is_read_ahead_is_noticed_too() {
    for reset in [true, false] {
        let origin = RawOrigin::start().await;
        let gateway = Gateway::to(&origin).and(LOG).and(IMPATIENT).start().await;
        let mut client = gateway.raw().await;
        client.send(GET.repeat(2000)).await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        match reset {
            true => client.reset(),
            false => client.finish().await,
        }
        upstream.is_over().await;
        tells_of_a_departure(&gateway, if reset { "client-io" } else { "client-closed" }).await;
    }
}
