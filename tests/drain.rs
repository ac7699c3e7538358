//! The end: what runs is finished, nothing new begins, and a deadline cuts the rest.

use serde_json::Value;

use crate::harness::{Gateway, Origin, Outcome, RawOrigin, Wire, eventually, kind, within};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn running_requests_finish_and_their_connections_are_closed_politely() {
    let origin = RawOrigin::start().await;
    let mut gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.raw().await;
    client.send(GET).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    let address = gateway.address();
    let stopping = tokio::spawn(gateway.stop());
    eventually("the port to be closed", async || tokio::net::TcpStream::connect(address).await.is_err()).await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let response = client.response().await;
    assert_eq!(response.text(), "ok");
    assert!(response.has("connection", "close"), "{response:?}");
    client.is_over().await;
    drop(client);
    within("the end", stopping).await.expect("no panic");
}

#[tokio::test]
async fn http_2_connections_hear_goaway_and_finish_their_streams() {
    let origin = RawOrigin::start().await;
    let mut gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.frames().await;
    client.get(1, "/").await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    let stopping = tokio::spawn(gateway.stop());
    client.next_of(kind::GOAWAY).await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(client.outcome(1).await, Outcome::Response(vec![], 200, b"ok".to_vec()));
    assert_eq!(client.farewell().await, Some(0));
    drop(client);
    within("the end", stopping).await.expect("no panic");
}

#[tokio::test]
async fn idle_connections_are_closed_at_once() {
    let origin = Origin::says("hi").await;
    let mut gateway = Gateway::to(&origin).start().await;
    let mut h1 = gateway.raw().await;
    h1.send(GET).await;
    h1.response().await;
    let mut h2 = gateway.frames().await;
    h2.get(1, "/").await;
    h2.outcome(1).await;
    let stopping = tokio::spawn(gateway.stop());
    h1.is_over().await;
    assert_eq!(h2.farewell().await, Some(0));
    drop((h1, h2));
    within("the end", stopping).await.expect("no panic");
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut_and_told_of() {
    let origin = RawOrigin::start().await;
    let text = "[limits]\ndrain_time = '50ms'\n[access_log]\noutput = 'access.log'";
    let mut gateway = Gateway::to(&origin).and(text).start().await;
    let mut begun = gateway.raw().await;
    begun.send(GET).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart").await;
    begun.until("part").await;
    let mut waiting = gateway.frames().await;
    waiting.get(1, "/").await;
    let mut second = origin.accept().await;
    second.request().await;
    gateway.stop().await;
    let (rest, _) = begun.rest().await;
    assert!(rest.is_empty());
    let mut lines = gateway.log_lines(2).await;
    lines.sort_by_key(|line| line["protocol"].to_string());
    for (line, status, bytes) in [(&lines[0], 200.into(), 4), (&lines[1], Value::Null, 0)] {
        assert_eq!((&line["error"], &line["status"], &line["bytes_out"]), (&"cut".into(), &status, &bytes.into()));
    }
}

#[tokio::test]
async fn a_gateway_that_is_dropped_ends_at_once() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.raw().await;
    client.send(GET).await;
    let _upstream = origin.accept().await;
    drop(gateway);
    client.rest().await;
}

#[tokio::test]
async fn a_new_gateway_may_take_the_port_at_once() {
    let text = "[[route]]\nrespond = 'hi'";
    let mut gateway = Gateway::of(text).start().await;
    let address = gateway.address();
    assert_eq!(gateway.client(Wire::H1).await.get("/").await.text(), "hi");
    gateway.stop().await;
    let gateway = Gateway::of(&format!("[[listener]]\naddress = '{address}'\n{text}")).start().await;
    assert_eq!(gateway.client(Wire::H1).await.get("/").await.text(), "hi");
}
