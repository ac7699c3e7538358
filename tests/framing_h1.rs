//! HTTP/1 requests byte by byte: where one ends and the next begins (RFC 9112), and what is refused.

use crate::harness::{Gateway, Message, Origin, Raw, RawOrigin};

/// Heads that two parsers might read in two ways, or that are simply wrong. Each is answered 400, the connection is
/// closed, and no origin hears of it.
const AMBIGUOUS: &[&str] = &[
    // Lengths.
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nx",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\nx",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 1\r\n\r\nx",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1.0\r\n\r\nx",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\nx",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nx",
    // A length beside chunks.
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    // Transfer codings.
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    // Ends of lines.
    "GET / HTTP/1.1\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\n",
    "GET / HTTP/1.1\rHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
    "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    // Fields.
    "GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX\t: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 1\r\n\r\nx",
    "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n",
    "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "GET / HTTP/1.1\r\n X: b\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: b\x01c\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: b\x7fc\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX(: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
    // The start line.
    "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a\x01b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /\r\nHost: a\r\n\r\n",
    "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "GET / HTTP/1\r\nHost: a\r\n\r\n",
    "GET / http/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/01.1\r\nHost: a\r\n\r\n",
    "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    // Host.
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
    "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
];

/// Requests that are right, with the target and the body that the origin sees.
const CLEAR: &[(&str, &str, &str)] = &[
    ("GET /a?b=c HTTP/1.1\r\nHost: a\r\n\r\n", "/a?b=c", ""),
    ("\r\nGET /blank HTTP/1.1\r\nHost: a\r\n\r\n", "/blank", ""),
    ("GET / HTTP/1.1\r\nHost:a\r\nX:\t b \t\r\nY:\r\n\r\n", "/", ""),
    ("GET / HTTP/1.1\r\nhOST: a\r\n\r\n", "/", ""),
    ("GET http://a/absolute?x HTTP/1.1\r\nHost: a\r\n\r\n", "/absolute?x", ""),
    ("GET http://a HTTP/1.1\r\nHost: A\r\n\r\n", "/", ""),
    ("GET //double//slash HTTP/1.1\r\nHost: a\r\n\r\n", "//double//slash", ""),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "/", ""),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 05\r\n\r\nhello", "/", "hello"),
    ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "/", "hello"),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "/", "hello"),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "/", ""),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n003\r\nllo\r\n00\r\n\r\n",
        "/",
        "hello",
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nA;x=y;z=\"q\"\r\n0123456789\r\n0;l\r\n\r\n",
        "/",
        "0123456789",
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\nX-U: 2\r\n\r\n",
        "/",
        "hello",
    ),
];

/// Bodies after a right head that break the rules of chunks.
const BAD_CHUNKS: &[&str] = &[
    "x\r\n",
    "-1\r\nh\r\n",
    "0x1\r\nh\r\n",
    " 1\r\nh\r\n",
    "1 1\r\nh\r\n",
    "\r\n0\r\n\r\n",
    "1\nh\r\n0\r\n\r\n",
    "1\rh\r\n0\r\n\r\n",
    "1\r\nh\n0\r\n\r\n",
    "1\r\nhh\r\n0\r\n\r\n",
    "2\r\nh\r\n0\r\n\r\n",
    "fffffffffffffffff\r\nh\r\n0\r\n\r\n",
    "8000000000000000\r\nh\r\n0\r\n\r\n",
    "1;a\x01b\r\nh\r\n0\r\n\r\n",
    "0\r\nX : y\r\n\r\n",
    "0\r\n X: y\r\n\r\n",
    "0\r\nX: y\n\r\n",
    "0\r\nX\r\n\r\n",
    "0\r\n\n",
];

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Sends it in two pieces; a gateway that has seen enough may close before the second.
async fn send_cut(client: &mut Raw, text: &str, at: usize) {
    client.send(&text.as_bytes()[..at]).await;
    // Gives the gateway a chance to read the first piece alone.
    tokio::task::yield_now().await;
    let _ = client.try_send(&text.as_bytes()[at..]).await;
}

/// A gateway with nothing behind it that a request could reach unseen.
async fn refuses(request: &str, status: u16) {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.raw().await;
    client.send(request).await;
    client.is_refused(status).await;
    origin.is_untouched();
}

#[tokio::test]
async fn ambiguous_requests_are_refused_and_reach_no_origin() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    for request in AMBIGUOUS {
        let mut client = gateway.raw().await;
        client.send(request).await;
        let (answer, _) = client.rest().await;
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{request:?} got {:?}", String::from_utf8_lossy(&answer));
        assert_eq!(answer.windows(13).filter(|window| window == b"HTTP/1.1 400 ").count(), 1, "{request:?}");
    }
    origin.is_untouched();
}

#[tokio::test]
async fn ambiguous_requests_are_refused_wherever_they_are_cut() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    for request in AMBIGUOUS {
        for at in 1..request.len() {
            let mut client = gateway.raw().await;
            send_cut(&mut client, request, at).await;
            let (answer, _) = client.rest().await;
            let text = String::from_utf8_lossy(&answer);
            assert!(answer.starts_with(b"HTTP/1.1 400 "), "{request:?} cut at {at} got {text:?}");
        }
    }
    origin.is_untouched();
}

#[tokio::test]
async fn clear_requests_arrive_wherever_they_are_cut() {
    let origin = Origin::echo().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.raw().await;
    for (request, target, body) in CLEAR {
        for at in 1..request.len() {
            send_cut(&mut client, request, at).await;
            let seen = client.response().await.seen();
            assert_eq!(seen["target"], *target, "{request:?} cut at {at}");
            assert_eq!(seen["body"], *body, "{request:?} cut at {at}");
        }
    }
    // One connection carried them all, so every end was found.
    assert!(client.buffer.is_empty());
}

#[tokio::test]
async fn clear_requests_arrive_byte_by_byte() {
    let origin = Origin::echo().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.raw().await;
    for (request, target, body) in CLEAR {
        for byte in request.as_bytes() {
            client.send([*byte]).await;
        }
        let seen = client.response().await.seen();
        assert_eq!((&seen["target"], &seen["body"]), (&(*target).into(), &(*body).into()), "{request:?}");
    }
}

#[tokio::test]
async fn bad_chunks_never_make_a_complete_request() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    let long = format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(300));
    for chunks in BAD_CHUNKS.iter().chain([&&*long]) {
        let request = format!("{CHUNKED}{chunks}");
        for at in [CHUNKED.len(), request.len() - 1] {
            let mut client = gateway.raw().await;
            send_cut(&mut client, &request, at).await;
            let (answer, _) = client.rest().await;
            let text = String::from_utf8_lossy(&answer);
            assert!(answer.starts_with(b"HTTP/1.1 400 "), "{chunks:?} cut at {at} got {text:?}");
            if let Some(mut upstream) = origin.accepted().await {
                let (forwarded, _) = upstream.rest().await;
                let text = String::from_utf8_lossy(&forwarded);
                assert!(!text.ends_with("\r\n0\r\n\r\n"), "{chunks:?} was forwarded as {text:?}");
            }
        }
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::echo().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.raw().await;
    client
        .send(
            "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\
             POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
             POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n\
             HEAD /4 HTTP/1.1\r\nHost: a\r\n\r\n\
             GET /5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\
             GET /6 HTTP/1.1\r\nHost: a\r\n\r\n",
        )
        .await;
    for (target, body) in [("/1", ""), ("/2", "hello"), ("/3", "x")] {
        let seen = client.response().await.seen();
        assert_eq!((&seen["target"], &seen["body"]), (&target.into(), &body.into()));
    }
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.response().await.seen()["target"], "/5");
    client.is_over().await;
    assert_eq!(origin.requests(), 5);
}

#[tokio::test]
async fn what_follows_a_refused_request_is_never_read_as_one() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.raw().await;
    client.send("GET / HTTP/1.1\r\nHost : a\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.is_refused(400).await;
    origin.is_untouched();
}

#[tokio::test]
async fn the_connection_field_decides_whether_a_connection_is_kept() {
    let origin = Origin::says("hi").await;
    let gateway = Gateway::to(&origin).start().await;
    for (version, connection, is_kept) in [
        ("1.1", "", true),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: CLOSE\r\n", false),
        ("1.1", "Connection: x, close\r\n", false),
        ("1.1", "Connection: x\r\nConnection: close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: close\r\n", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
    ] {
        let mut client = gateway.raw().await;
        let request = format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n");
        client.send(&request).await;
        let response = client.response().await;
        assert_eq!(response.text(), "hi");
        let says_close = response.has("connection", "close");
        assert!(says_close != is_kept || version == "1.0", "HTTP/{version} {connection:?}: {response:?}");
        if is_kept {
            client.send(&request).await;
            assert_eq!(client.response().await.text(), "hi");
        } else {
            client.is_over().await;
        }
    }
}

#[tokio::test]
async fn http_1_0_needs_no_host_and_gets_no_chunks() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.raw().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
    let response = client.response().await;
    assert_eq!(response.text(), "hello");
    assert_eq!(response.field("transfer-encoding"), None);
    client.is_over().await;
}

#[tokio::test]
async fn an_expectation_is_100_continue_or_nothing() {
    refuses("POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\nx", 417).await;
    for both in ["Expect: 100-continue\r\nExpect: x", "Expect: x\r\nExpect: 100-continue", "Expect: 100-continue, x"] {
        refuses(&format!("POST / HTTP/1.1\r\nHost: a\r\n{both}\r\nContent-Length: 1\r\n\r\nx"), 417).await;
    }
    let origin = Origin::echo().await;
    let gateway = Gateway::to(&origin).start().await;
    // Without a body, and in HTTP/1.0, there is nothing to wait for.
    let seen = gateway.ask("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n").await.seen();
    assert_eq!(seen["headers"]["expect"], serde_json::Value::Null);
    let request = "POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx";
    assert_eq!(gateway.ask(request).await.seen()["body"], "x");
    // A client need not wait.
    let mut client = gateway.raw().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\nx").await;
    let mut response = client.response().await;
    if response.status() == 100 {
        response = client.response().await;
    }
    assert_eq!(response.seen()["body"], "x");
}

#[tokio::test]
async fn what_is_too_long_is_refused_by_its_own_status() {
    let limits = "[limits]\nuri_size = '1KiB'\nheader_size = '4KiB'\nheader_fields = 10";
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).and(limits).start().await;
    let long = |length| "a".repeat(length);
    for (request, status) in [
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", long(1025)), 414),
        (format!("GET /{}", long(100_000)), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", long(4096)), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", long(100_000)), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(10)), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}", "X: y\r\n".repeat(10_000)), 431),
    ] {
        let mut client = gateway.raw().await;
        let _ = client.try_send(&request).await;
        let (answer, _) = client.rest().await;
        let start = format!("HTTP/1.1 {status} ");
        let (request, answer) = (&request[..50], String::from_utf8_lossy(&answer));
        assert!(answer.starts_with(&start), "{request:?}… got {answer:?}");
    }
    origin.is_untouched();
}

#[tokio::test]
async fn what_is_just_short_enough_passes() {
    let limits = "[limits]\nuri_size = '1KiB'\nheader_size = '4KiB'\nheader_fields = 10";
    let origin = Origin::echo().await;
    let gateway = Gateway::to(&origin).and(limits).start().await;
    let uri = "a".repeat(1023);
    assert_eq!(
        gateway.ask(&format!("GET /{uri} HTTP/1.1\r\nHost: a\r\n\r\n")).await.seen()["target"],
        format!("/{uri}")
    );
    let fields: String = (1..10).map(|number| format!("X-{number}: y\r\n")).collect();
    assert_eq!(gateway.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await.seen()["headers"]["x-9"], "y");
}

#[tokio::test]
async fn connect_is_refused() {
    for request in [
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nContent-Length: 1\r\n\r\nx",
    ] {
        let origin = RawOrigin::start().await;
        let gateway = Gateway::to(&origin).start().await;
        let mut client = gateway.raw().await;
        client.send(request).await;
        let response = client.response().await;
        assert!([400, 405, 501].contains(&response.status()), "{response:?}");
        origin.is_untouched();
    }
}

#[tokio::test]
async fn any_method_passes() {
    let origin = Origin::echo().await;
    let gateway = Gateway::to(&origin).start().await;
    for method in ["OPTIONS", "PATCH", "TRACE", "PROPFIND", "X", "get", "!#$%&'*+-.^_`|~09"] {
        let seen = gateway.ask(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).await.seen();
        assert_eq!(seen["method"], method);
    }
}

#[tokio::test]
async fn options_may_ask_for_the_server_as_a_whole() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.raw().await;
    client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut upstream = origin.accept().await;
    assert_eq!(upstream.request().await.start, "OPTIONS * HTTP/1.1");
    upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.response().await.status(), 204);
}

#[tokio::test]
async fn an_upgrade_to_http_2_is_ignored() {
    let origin = Origin::echo().await;
    let gateway = Gateway::to(&origin).start().await;
    let upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n";
    let seen = gateway.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n")).await.seen();
    for name in ["upgrade", "http2-settings", "connection"] {
        assert_eq!(seen["headers"][name], serde_json::Value::Null, "{seen}");
    }
}

/// What reaches the origin of a request that is passed on.
async fn passed_on(origin: &RawOrigin, gateway: &Gateway, request: &str) -> Message {
    let mut client = gateway.raw().await;
    client.send(request).await;
    let mut upstream = origin.accept().await;
    let seen = upstream.request().await;
    upstream.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
    assert_eq!(client.response().await.status(), 204, "{request:?}");
    seen
}

#[tokio::test]
async fn http_is_not_changed_into_http_however_it_is_spelled() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    for upgrade in
        ["h2c", "H2C", "h2c/1", "HTTP/2.0", "\"h2c\"", "h2c;x", "h2c x", "h3", "TLS/1.2", "/x", "x/", "foo/h2c/1"]
    {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: {upgrade}\r\n\r\n");
        let seen = passed_on(&origin, &gateway, &request).await;
        assert_eq!((seen.field("upgrade"), seen.field("connection")), (None, None), "{upgrade}");
    }
}

#[tokio::test]
async fn http_1_0_cannot_change_its_protocol() {
    let (upgrade, origin) = ("Connection: upgrade\r\nUpgrade: websocket", RawOrigin::start().await);
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.raw().await;
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13";
    client.send(format!("GET / HTTP/1.0\r\nHost: a\r\n{upgrade}\r\n{key}\r\n\r\n")).await;
    let mut upstream = origin.accept().await;
    let seen = upstream.request().await;
    assert_eq!((seen.field("upgrade"), seen.field("connection")), (None, None), "{seen:?}");
    upstream.send(format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}\r\n\r\n")).await;
    assert_eq!(client.response().await.status(), 502);
}

#[tokio::test]
async fn who_may_pass_on_a_question_about_the_way_is_counted_down() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    for method in ["OPTIONS", "TRACE"] {
        for (left, status) in [("0", 405), ("x", 400), ("", 400), ("-1", 400), ("1 2", 400), ("+1", 400)] {
            let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nMax-Forwards: {left}\r\n\r\n");
            let response = gateway.ask(&request).await;
            assert_eq!(response.status(), status, "{method} {left:?}: {response:?}");
        }
        origin.is_untouched();
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\n\r\n");
        let seen = passed_on(&origin, &gateway, &request).await;
        assert_eq!(seen.field("max-forwards").as_deref(), Some("2"), "{method}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_head_gets_no_answer_to_wait_for() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.raw().await;
    client.send("GET / HTTP/1.1\r\nHo").await;
    client.finish().await;
    client.rest().await;
    origin.is_untouched();
}
