//! When a connection may carry another message: what is left over from one is never taken for the next.

use crate::harness::{End, Frames, Gateway, Outcome, RawOrigin, Wire, flag, kind};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

async fn start() -> (RawOrigin, Gateway) {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    (origin, gateway)
}

#[tokio::test]
async fn the_rest_of_a_body_is_never_read_as_a_request() {
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let gateway = Gateway::of("[[route]]\nrespond = 'no'").start().await;
    let mut client = gateway.raw().await;
    for _ in 0..3 {
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", smuggled.len() + 4)).await;
        assert_eq!(client.response().await.text(), "no");
        client.send(format!("body{smuggled}")).await;
    }
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(client.response().await.text(), "no");
    client.is_over().await;
}

#[tokio::test]
async fn an_origin_that_answers_early_gets_the_next_request_elsewhere() {
    let (origin, gateway) = start().await;
    let mut client = gateway.raw().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\npart").await;
    let mut early = origin.accept().await;
    early.until("part").await;
    early.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");
    let mut other = gateway.raw().await;
    other.send(GET).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.send(OK).await;
    assert_eq!(other.response().await.text(), "ok");
}

#[tokio::test]
async fn bytes_behind_a_response_without_content_are_no_response() {
    let (origin, gateway) = start().await;
    for (method, answer) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok"),
    ] {
        let mut client = gateway.raw().await;
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        upstream.send(answer).await;
        let head = client.head().await;
        assert!(answer.contains(&head.status().to_string()), "{head:?}");
        upstream.is_over().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        upstream.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nnew").await;
        assert_eq!(client.response().await.text(), "new");
        client.is_over().await;
    }
}

#[tokio::test]
async fn a_post_goes_on_a_new_connection_when_the_kept_one_was_closed_before() {
    let (origin, gateway) = start().await;
    let mut client = gateway.raw().await;
    client.send(GET).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");
    drop(upstream);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\ndata").await;
    let mut upstream = origin.accept().await;
    assert_eq!(upstream.request().await.text(), "data");
    upstream.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");
}

#[tokio::test]
async fn a_client_that_sends_no_more_is_still_answered() {
    let (origin, gateway) = start().await;
    let mut client = gateway.raw().await;
    client.send(GET).await;
    client.finish().await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");
    client.is_over().await;
}

#[tokio::test]
async fn interim_responses_are_not_for_http_1_0() {
    let (origin, gateway) = start().await;
    let mut client = gateway.raw().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.send(format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{OK}")).await;
    assert_eq!(client.response().await.status(), 200);
}

#[tokio::test]
async fn bytes_behind_an_upgrade_wait_for_the_answer() {
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let (origin, gateway) = start().await;
    let mut client = gateway.raw().await;
    client.send(format!("{upgrade}first")).await;
    let mut upstream = origin.accept().await;
    upstream.head().await;
    assert!(upstream.buffer.is_empty(), "sent before the upgrade was accepted: {:?}", upstream.buffer);
    upstream.send("HTTP/1.1 101 Now\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello").await;
    assert_eq!(client.head().await.status(), 101);
    assert_eq!(client.exactly(5).await, b"hello");
    assert_eq!(upstream.exactly(5).await, b"first");
    upstream.finish().await;
    assert_eq!(client.rest().await, (vec![], End::Closed));
    // Refused, they are the next request.
    let mut client = gateway.raw().await;
    client.send(format!("{upgrade}{GET}")).await;
    let mut upstream = origin.accept().await;
    for _ in 0..2 {
        upstream.request().await;
        upstream.send(OK).await;
        assert_eq!(client.response().await.text(), "ok");
    }
}

#[tokio::test]
async fn an_http_2_origin_that_says_goodbye_gets_no_new_requests() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::between(Wire::H1, Wire::H2, &origin).await;
    let mut client = gateway.raw().await;
    client.send(GET).await;
    let mut upstream = Frames::accept(origin.accept().await).await;
    let stream = upstream.next_of(kind::HEADERS).await.stream;
    let payload = [stream.to_be_bytes(), 0u32.to_be_bytes()].concat();
    upstream.send(kind::GOAWAY, 0, 0, &payload).await;
    upstream.headers(stream, &[(":status", "204")], true).await;
    assert_eq!(client.response().await.status(), 204);
    client.send(GET).await;
    let mut upstream = Frames::accept(origin.accept().await).await;
    let stream = upstream.next_of(kind::HEADERS).await.stream;
    upstream.headers(stream, &[(":status", "204")], true).await;
    assert_eq!(client.response().await.status(), 204);
}

#[tokio::test]
async fn an_http_2_origin_gets_no_more_streams_than_it_takes() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::between(Wire::H1, Wire::H2, &origin).await;
    let mut first = gateway.raw().await;
    first.send(GET).await;
    let mut upstream = Frames::accept(origin.accept().await).await;
    let one = upstream.next_of(kind::HEADERS).await.stream;
    // SETTINGS_MAX_CONCURRENT_STREAMS = 1; the answer to a PING behind it shows that it is known.
    upstream.send(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]).await;
    upstream.send(kind::PING, 0, 0, &[7; 8]).await;
    while upstream.next_of(kind::PING).await.flags & flag::ACK == 0 {}
    let mut second = gateway.raw().await;
    second.send(GET).await;
    // The second request comes on another connection.
    let mut other = Frames::accept(origin.accept().await).await;
    let stream = other.next_of(kind::HEADERS).await.stream;
    other.headers(stream, &[(":status", "204")], true).await;
    assert_eq!(second.response().await.status(), 204);
    upstream.headers(one, &[(":status", "204")], true).await;
    assert_eq!(first.response().await.status(), 204);
}

#[tokio::test]
async fn a_stream_that_an_http_2_client_gives_up_leaves_the_others_alone() {
    let (origin, gateway) = start().await;
    let mut client = gateway.frames().await;
    client.get(1, "/1").await;
    let mut given_up = origin.accept().await;
    given_up.request().await;
    client.get(3, "/3").await;
    let mut kept = origin.accept().await;
    kept.request().await;
    client.send(kind::RST_STREAM, 0, 1, &8u32.to_be_bytes()).await;
    // Its upstream connection cannot be used again.
    given_up.is_over().await;
    kept.send(OK).await;
    assert_eq!(client.outcome(3).await, Outcome::Response(vec![], 200, b"ok".to_vec()));
}
