//! Responses byte by byte: what an origin may not send, and what becomes of the request, the client and the connection.

use crate::harness::{Client, Frames, Gateway, Outcome, Raw, RawOrigin, Wire, collect, empty, flag, kind};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";

/// Heads that are refused before anything of them reaches the client.
const BAD_HEADS: &[&str] = &[
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: nonsense\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok",
    "HTTP/1.1 200 OK\r\nX: a\rY: b\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
    "HTTP/1.1 200 O\0K\r\n\r\n",
    "HTTP/1.1 20 OK\r\n\r\n",
    "HTTP/1.1 2000 OK\r\n\r\n",
    "HTTP/1.1 099 OK\r\n\r\n",
    "HTTP/1.1 abc OK\r\n\r\n",
    "HTTP/2.0 200 OK\r\n\r\n",
    "ICY 200 OK\r\n\r\n",
    "SSH-2.0-OpenSSH_9.9\r\n\r\n",
    "\0\0\0\x04\x08\0\0\0\0\0\0\0\0\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
];

/// Bodies after a chunked head that are never complete.
const BAD_CHUNKS: &[&str] = &[
    "x\r\n",
    "2\nok\r\n0\r\n\r\n",
    "2\r\nokay\r\n0\r\n\r\n",
    "fffffffffffffffff\r\n",
    "2\r\nok\r\n0\r\nX : y\r\n\r\n",
    "-2\r\nok\r\n",
];

/// Responses that end too early, wherever the connection is cut in them.
const WHOLE: &[&str] = &[
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
];

/// Responses after which their connection is not used again.
const LAST: &[(&str, &str)] = &[
    ("bytes behind it", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokx"),
    ("an empty line behind it", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n"),
    (
        "a response behind it",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
    ),
    ("the origin's word", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
    ("an old version", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
];

/// Requests on a kept connection, what is said of their response before the connection is closed, and whether they are sent
/// once more.
const CLOSED: &[(&str, &str, bool)] = &[
    (GET, "", true),
    (POST, "", false),
    (GET, "HTTP/1.1 200 OK\r\nConte", false),
    (GET, "HTTP/1.1 100 Continue\r\n\r\n", false),
    (GET, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", false),
];

/// A gateway before an origin that the test speaks for.
async fn start() -> (RawOrigin, Gateway) {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    (origin, gateway)
}

/// The origin's next connection, with one request read from it.
async fn asked(origin: &RawOrigin) -> Raw {
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream
}

/// The same for a request that this client sends.
async fn asked_by(client: &mut Raw, request: &str, origin: &RawOrigin) -> Raw {
    client.send(request).await;
    asked(origin).await
}

/// A client that was answered, and the connection that is kept.
async fn answered(gateway: &Gateway, origin: &RawOrigin) -> (Raw, Raw) {
    let mut client = gateway.raw().await;
    let mut upstream = asked_by(&mut client, GET, origin).await;
    upstream.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");
    (client, upstream)
}

#[tokio::test]
async fn a_malformed_head_becomes_a_502_and_its_connection_is_not_used_again() {
    let (origin, gateway) = start().await;
    let mut client = gateway.raw().await;
    for head in BAD_HEADS {
        let mut upstream = asked_by(&mut client, GET, &origin).await;
        upstream.send(head).await;
        let response = client.response().await;
        assert_eq!(response.status(), 502, "{head:?} became {response:?}");
        upstream.rest().await;
    }
}

#[tokio::test]
async fn a_malformed_head_is_seen_wherever_it_is_cut() {
    let (origin, gateway) = start().await;
    let mut client = gateway.raw().await;
    for head in BAD_HEADS {
        for at in (1..head.len()).step_by(3) {
            let mut upstream = asked_by(&mut client, GET, &origin).await;
            upstream.send(&head[..at]).await;
            tokio::task::yield_now().await;
            let _ = upstream.try_send(&head[at..]).await;
            assert_eq!(client.response().await.status(), 502, "{head:?} cut at {at}");
        }
    }
}

#[tokio::test]
async fn a_response_arrives_wherever_it_is_cut() {
    let (origin, gateway) = start().await;
    let mut client = gateway.raw().await;
    let mut upstream = asked_by(&mut client, GET, &origin).await;
    for response in WHOLE {
        for at in 1..response.len() {
            upstream.send(&response[..at]).await;
            tokio::task::yield_now().await;
            upstream.send(&response[at..]).await;
            assert_eq!(client.response().await.text(), "hello", "{response:?} cut at {at}");
            client.send(GET).await;
            upstream.request().await;
        }
    }
}

#[tokio::test]
async fn a_response_cut_short_is_never_complete_to_http_1() {
    let (origin, gateway) = start().await;
    for response in WHOLE {
        for at in 0..response.len() {
            let mut client = gateway.raw().await;
            let mut upstream = asked_by(&mut client, POST, &origin).await;
            upstream.send(&response[..at]).await;
            drop(upstream);
            match client.try_response().await {
                Ok(answer) => assert_eq!(answer.status(), 502, "{response:?} cut at {at} became {answer:?}"),
                Err(_) => assert!(at >= response.find("\r\n\r\n").expect("a head") + 4, "cut at {at}"),
            }
        }
    }
}

#[tokio::test]
async fn a_response_cut_short_is_never_complete_to_http_2() {
    let (origin, gateway) = start().await;
    let mut client = gateway.client(Wire::H2).await;
    for response in WHOLE {
        for at in 0..response.len() {
            let request = client.request("PATCH", "/").body(empty()).expect("a request");
            let mut sender = client.another();
            let sending = tokio::spawn(async move { sender.exchange(request).await });
            let mut upstream = asked(&origin).await;
            upstream.send(&response[..at]).await;
            drop(upstream);
            if let Ok(reply) = sending.await.expect("no panic") {
                assert_eq!(reply.status, 502, "{response:?} cut at {at} became {reply:?}");
            }
        }
    }
    // The connection itself has not suffered.
    let request = client.request("GET", "/").body(empty()).expect("a request");
    let sending = tokio::spawn(async move { client.exchange(request).await });
    asked(&origin).await.send(OK).await;
    assert_eq!(sending.await.expect("no panic").expect("a response").text(), "ok");
}

#[tokio::test]
async fn a_reset_in_a_body_without_a_length_is_never_its_end() {
    let (origin, gateway) = start().await;
    let mut client = gateway.raw().await;
    let mut upstream = asked_by(&mut client, GET, &origin).await;
    upstream.send("HTTP/1.1 200 OK\r\n\r\npart").await;
    assert!(client.until("part").await.contains("chunked"));
    upstream.reset();
    let (rest, _) = client.rest().await;
    assert!(!String::from_utf8_lossy(&rest).contains("0\r\n\r\n"), "a broken response looked whole");
}

#[tokio::test]
async fn tls_without_a_farewell_does_not_end_a_body_without_a_length() {
    let origin = RawOrigin::start_tls("http/1.1").await;
    let gateway = Gateway::between(Wire::H1, Wire::H1Tls, &origin).await;
    let mut client = gateway.raw().await;
    let mut upstream = asked_by(&mut client, GET, &origin).await;
    upstream.send("HTTP/1.1 200 OK\r\n\r\npart").await;
    client.until("part").await;
    upstream.cut();
    let (rest, _) = client.rest().await;
    assert!(!String::from_utf8_lossy(&rest).contains("0\r\n\r\n"), "a broken response looked whole");
}

#[tokio::test]
async fn malformed_chunks_break_the_response() {
    let (origin, gateway) = start().await;
    for chunks in BAD_CHUNKS {
        let mut client = gateway.raw().await;
        let mut upstream = asked_by(&mut client, GET, &origin).await;
        upstream.send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")).await;
        match client.try_response().await {
            Ok(answer) => assert_eq!(answer.status(), 502, "{chunks:?} became {answer:?}"),
            // And the connection ended.
            Err(_) => {
                upstream.rest().await;
            }
        }
    }
}

#[tokio::test]
async fn a_connection_is_kept_only_when_nothing_speaks_against_it() {
    let (origin, gateway) = start().await;
    let mut client = gateway.raw().await;
    for (what, response) in LAST {
        let mut upstream = asked_by(&mut client, GET, &origin).await;
        upstream.send(response).await;
        assert_eq!(client.response().await.text(), "ok", "{what}");
        upstream.is_over().await;
    }
}

#[tokio::test]
async fn bytes_that_nobody_asked_for_end_a_waiting_connection() {
    let (origin, gateway) = start().await;
    let (mut client, mut upstream) = answered(&gateway, &origin).await;
    upstream.send(OK).await;
    let mut upstream = asked_by(&mut client, GET, &origin).await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew").await;
    assert_eq!(client.response().await.text(), "new");
}

#[tokio::test]
async fn a_body_may_be_ended_by_the_connection() {
    let (origin, gateway) = start().await;
    let mut client = gateway.raw().await;
    let mut upstream = asked_by(&mut client, GET, &origin).await;
    upstream.send("HTTP/1.1 200 OK\r\n\r\nhello").await;
    drop(upstream);
    let response = client.response().await;
    assert_eq!((response.status(), response.text().as_str()), (200, "hello"));
    assert!(response.has("transfer-encoding", "chunked"));
}

#[tokio::test]
async fn an_endless_row_of_interim_responses_ends() {
    let (origin, gateway) = start().await;
    let mut client = gateway.raw().await;
    let mut upstream = asked_by(&mut client, GET, &origin).await;
    let flood = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(100);
    // More than the system's buffers hold.
    let mut is_over = async || {
        for _ in 0..20_000 {
            if upstream.try_send(&flood).await.is_err() {
                return true;
            }
        }
        false
    };
    assert!(is_over().await, "two million interim responses were taken");
    let answer = client.until("HTTP/1.1 502 ").await;
    assert!(answer.contains("HTTP/1.1 103 "), "the first ones are passed on");
}

#[tokio::test]
async fn a_request_is_sent_once_more_only_when_it_was_not_answered_and_may_be_repeated() {
    for (request, said, is_repeated) in CLOSED {
        let (origin, gateway) = start().await;
        let (mut client, mut upstream) = answered(&gateway, &origin).await;
        client.send(request).await;
        upstream.request().await;
        upstream.send(said).await;
        drop(upstream);
        if *is_repeated {
            asked(&origin).await.send(OK).await;
        }
        let mut response = client.response().await;
        if response.status() < 200 {
            response = client.response().await;
        }
        assert_eq!(response.status(), if *is_repeated { 200 } else { 502 }, "{request:?} after {said:?}");
        origin.is_untouched();
    }
}

#[tokio::test]
async fn a_request_is_sent_once_more_only_once() {
    let (origin, gateway) = start().await;
    let (mut client, mut upstream) = answered(&gateway, &origin).await;
    client.send(GET).await;
    upstream.request().await;
    drop(upstream);
    drop(asked(&origin).await);
    assert_eq!(client.response().await.status(), 502);
    origin.is_untouched();
}

#[tokio::test]
async fn too_large_a_head_becomes_a_502() {
    let (origin, gateway) = start().await;
    let mut client = gateway.raw().await;
    for head in [
        format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(100_000)),
        "HTTP/1.1 200 OK\r\n".to_owned() + &"X: y\r\n".repeat(200),
    ] {
        let mut upstream = asked_by(&mut client, GET, &origin).await;
        let _ = upstream.try_send(&head).await;
        assert_eq!(client.response().await.status(), 502);
    }
}

/// A client and an HTTP/2 origin that the test speaks for, with one request read.
async fn h2(
    gateway: &Gateway,
    origin: &RawOrigin,
) -> (tokio::task::JoinHandle<Result<crate::harness::Reply, hyper::Error>>, Frames, u32) {
    let mut client: Client = gateway.client(Wire::H1).await;
    let request = client.request("POST", "/").body(empty()).expect("a request");
    let sending = tokio::spawn(async move { collect(client.send(request).await?).await });
    let mut upstream = Frames::accept(origin.accept().await).await;
    let stream = upstream.next_of(kind::HEADERS).await.stream;
    (sending, upstream, stream)
}

#[tokio::test]
async fn an_http_2_response_that_breaks_the_rules_is_never_complete() {
    type Misdeed = (&'static str, &'static [(&'static str, &'static str)], &'static [u8]);
    const MISDEEDS: &[Misdeed] = &[
        ("too short", &[(":status", "200"), ("content-length", "5")], b"hi"),
        ("too long", &[(":status", "200"), ("content-length", "1")], b"hi"),
        ("two lengths", &[(":status", "200"), ("content-length", "2"), ("content-length", "3")], b"hi"),
        ("no status", &[("x", "y")], b"hi"),
        ("two statuses", &[(":status", "200"), (":status", "201")], b"hi"),
        ("pseudo-field last", &[("x", "y"), (":status", "200")], b"hi"),
        ("request field", &[(":status", "200"), (":path", "/")], b"hi"),
        ("upper case", &[(":status", "200"), ("X-Y", "z")], b"hi"),
        ("new line", &[(":status", "200"), ("x", "a\r\nSet-Cookie: b")], b"hi"),
        ("nul", &[(":status", "200"), ("x", "a\0b")], b"hi"),
        ("connection", &[(":status", "200"), ("connection", "close")], b"hi"),
        ("transfer-encoding", &[(":status", "200"), ("transfer-encoding", "chunked")], b"hi"),
        ("odd status", &[(":status", "2000")], b"hi"),
        ("switching", &[(":status", "101")], b"hi"),
    ];
    let origin = RawOrigin::start().await;
    for (name, head, body) in MISDEEDS {
        let gateway = Gateway::between(Wire::H1, Wire::H2, &origin).await;
        let (sending, mut upstream, stream) = h2(&gateway, &origin).await;
        upstream.headers(stream, head, false).await;
        let _ = upstream.try_send(kind::DATA, flag::END_STREAM, stream, body).await;
        if let Ok(reply) = sending.await.expect("no panic") {
            assert_eq!(reply.status, 502, "{name}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn an_http_2_response_cut_short_is_never_complete() {
    let origin = RawOrigin::start().await;
    for how in ["reset", "goaway", "close"] {
        for is_begun in [false, true] {
            let gateway = Gateway::between(Wire::H1, Wire::H2, &origin).await;
            let (sending, mut upstream, stream) = h2(&gateway, &origin).await;
            if is_begun {
                upstream.headers(stream, &[(":status", "200")], false).await;
                upstream.data(stream, b"part", false).await;
            }
            match how {
                "reset" => upstream.send(kind::RST_STREAM, 0, stream, &2u32.to_be_bytes()).await,
                // The last stream that was looked at is ours.
                "goaway" => {
                    let payload = [stream.to_be_bytes(), 2u32.to_be_bytes()].concat();
                    upstream.send(kind::GOAWAY, 0, 0, &payload).await;
                }
                _ => {}
            }
            drop(upstream);
            if let Ok(reply) = sending.await.expect("no panic") {
                assert_eq!(reply.status, 502, "{how}, begun {is_begun}: {reply:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_request_that_an_http_2_origin_refused_unseen_is_sent_again() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::between(Wire::H1, Wire::H2, &origin).await;
    let (sending, mut upstream, stream) = h2(&gateway, &origin).await;
    // REFUSED_STREAM: nothing was done, so even a POST may be tried again (RFC 9113 section 8.7).
    upstream.send(kind::RST_STREAM, 0, stream, &7u32.to_be_bytes()).await;
    let stream = upstream.next_of(kind::HEADERS).await.stream;
    upstream.headers(stream, &[(":status", "204")], true).await;
    assert_eq!(sending.await.expect("no panic").expect("a response").status, 204);
}

#[tokio::test]
async fn an_http_2_client_sees_a_reset_when_the_origin_breaks_off() {
    let (origin, gateway) = start().await;
    let mut client = gateway.frames().await;
    client.get(1, "/").await;
    let mut upstream = asked(&origin).await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart").await;
    drop(upstream);
    assert!(matches!(client.outcome(1).await, Outcome::Reset(_, Some(200))));
}

#[tokio::test]
async fn an_http_2_status_without_a_meaning_becomes_a_502() {
    let origin = RawOrigin::start().await;
    for status in ["999", "600", "099", "000"] {
        let gateway = Gateway::between(Wire::H1, Wire::H2, &origin).await;
        let (sending, mut upstream, stream) = h2(&gateway, &origin).await;
        upstream.headers(stream, &[(":status", status)], true).await;
        assert_eq!(sending.await.expect("no panic").expect("a response").status, 502, "{status}");
    }
}
