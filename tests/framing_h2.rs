//! HTTP/2 frame by frame: what may not become HTTP/1.1 behind us, and what may not wear us out (RFC 9113).

use crate::harness::{
    Frames, GET, Gateway, Origin, Outcome, Raw, RawOrigin, Wire, block, eventually, flag, frame, kind,
};

/// Heads of GETs that are refused, by what is wrong with them.
const BAD_HEADS: &[(&str, &[(&str, &str)])] = &[
    ("a new line in a value", &[(":path", "/"), ("x", "a\r\nevil: b")]),
    ("LF in a value", &[(":path", "/"), ("x", "a\nb")]),
    ("CR in a value", &[(":path", "/"), ("x", "a\rb")]),
    ("NUL in a value", &[(":path", "/"), ("x", "a\0b")]),
    ("a new line in a name", &[(":path", "/"), ("x\r\nevil", "b")]),
    ("a colon in a name", &[(":path", "/"), ("x: y", "b")]),
    ("a space in a name", &[(":path", "/"), ("x y", "b")]),
    ("upper case", &[(":path", "/"), ("X", "b")]),
    ("no name", &[(":path", "/"), ("", "b")]),
    ("space before a value", &[(":path", "/"), ("x", " b")]),
    ("space after a value", &[(":path", "/"), ("x", "b\t")]),
    ("a new line in the path", &[(":path", "/ HTTP/1.1\r\nevil: b")]),
    ("a space in the path", &[(":path", "/a b")]),
    ("an empty path", &[(":path", "")]),
    ("a path without a slash", &[(":path", "a")]),
    ("a star for GET", &[(":path", "*")]),
    ("no path", &[]),
    ("two paths", &[(":path", "/"), (":path", "/b")]),
    ("an unknown pseudo-field", &[(":path", "/"), (":x", "b")]),
    ("a pseudo-field of responses", &[(":path", "/"), (":status", "200")]),
    ("a pseudo-field after a field", &[("x", "b"), (":path", "/")]),
    ("connection", &[(":path", "/"), ("connection", "close")]),
    ("keep-alive", &[(":path", "/"), ("keep-alive", "timeout=5")]),
    ("proxy-connection", &[(":path", "/"), ("proxy-connection", "close")]),
    ("transfer-encoding", &[(":path", "/"), ("transfer-encoding", "chunked")]),
    ("upgrade", &[(":path", "/"), ("upgrade", "websocket")]),
    ("te", &[(":path", "/"), ("te", "gzip")]),
    ("another host", &[(":path", "/"), ("host", "other")]),
    ("two hosts", &[(":path", "/"), ("host", "localhost"), ("host", "localhost")]),
    ("a length without a body", &[(":path", "/"), ("content-length", "1")]),
    ("a length that is no number", &[(":path", "/"), ("content-length", "+0")]),
    ("two lengths", &[(":path", "/"), ("content-length", "0"), ("content-length", "0")]),
];

/// Heads that lack or double what [`GET`] has.
const BAD_STARTS: &[(&str, &[(&str, &str)])] = &[
    ("no method", &[(":scheme", "http"), (":authority", "localhost"), (":path", "/")]),
    ("no scheme", &[(":method", "GET"), (":authority", "localhost"), (":path", "/")]),
    ("no authority", &[(":method", "GET"), (":scheme", "http"), (":path", "/")]),
    ("an empty authority", &[(":method", "GET"), (":scheme", "http"), (":authority", ""), (":path", "/")]),
    ("userinfo", &[(":method", "GET"), (":scheme", "http"), (":authority", "u@localhost"), (":path", "/")]),
    (
        "a new line in the authority",
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a\r\nb: c"), (":path", "/")],
    ),
    ("a path in the authority", &[(":method", "GET"), (":scheme", "http"), (":authority", "a/b"), (":path", "/")]),
    (
        "a new line in the method",
        &[(":method", "GET / HTTP/1.1\r\nX:"), (":scheme", "http"), (":authority", "a"), (":path", "/")],
    ),
    ("a space in the method", &[(":method", "GE T"), (":scheme", "http"), (":authority", "a"), (":path", "/")]),
    ("connect", &[(":method", "CONNECT"), (":authority", "a:443")]),
];

/// A POST's head, with this length.
fn post(length: &str) -> Vec<(&'static str, &str)> {
    vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", "/"),
        ("content-length", length),
    ]
}

#[tokio::test]
async fn heads_that_http_1_would_read_in_another_way_are_refused() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    let heads = BAD_HEADS.iter().map(|(name, fields)| (name, [&GET[..], fields].concat()));
    for (name, fields) in heads.chain(BAD_STARTS.iter().map(|(name, fields)| (name, fields.to_vec()))) {
        let mut client = gateway.frames().await;
        client.headers(1, &fields, true).await;
        let outcome = client.outcome(1).await;
        assert!(outcome.is_refusal() || outcome.status() == Some(501), "{name}: {outcome:?}");
    }
    origin.is_untouched();
}

#[tokio::test]
async fn a_body_that_differs_from_its_length_never_makes_a_complete_request() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    for (length, body) in [("5", "four"), ("3", "four"), ("0", "four"), ("5", "")] {
        let mut client = gateway.frames().await;
        client.headers(1, &post(length), false).await;
        client.data(1, body.as_bytes(), true).await;
        let outcome = client.outcome(1).await;
        assert!(outcome.is_refusal(), "{length} for {body:?}: {outcome:?}");
        if let Some(mut upstream) = origin.accepted().await {
            let (forwarded, _) = upstream.rest().await;
            let forwarded = String::from_utf8_lossy(&forwarded).into_owned();
            let body = forwarded.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            assert!(body.len() < length.parse::<usize>().unwrap().max(1), "{forwarded:?}");
        }
    }
}

#[tokio::test]
async fn a_request_that_could_have_a_body_and_has_none_says_so() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.frames().await;
    let mut upstream = None;
    for (stream, method, length) in
        [(1, "POST", Some("0")), (3, "PUT", Some("0")), (5, "PATCH", Some("0")), (7, "GET", None)]
    {
        let head = [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", "/")];
        client.headers(stream, &head, true).await;
        let upstream = match &mut upstream {
            Some(upstream) => upstream,
            none => none.insert(origin.accept().await),
        };
        assert_eq!(upstream.request().await.field("content-length").as_deref(), length, "{method}");
        upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(client.outcome(stream).await.status(), Some(204), "{method}");
    }
}

#[tokio::test]
async fn authority_and_host_may_both_stand_when_they_agree() {
    let origin = Origin::echo().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.frames().await;
    client.headers(1, &[&GET[..], &[(":path", "/"), ("host", "localhost")]].concat(), true).await;
    let Outcome::Response(_, 200, body) = client.outcome(1).await else { panic!("no response") };
    let seen: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(seen["headers"]["host"], "localhost");
    // Host alone is enough (RFC 9113 section 8.3.1).
    client.headers(3, &[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "localhost")], true).await;
    assert_eq!(client.outcome(3).await.status(), Some(200));
}

/// An extended CONNECT for this protocol (RFC 8441 section 4).
fn connect(protocol: &str) -> Vec<(&'static str, &str)> {
    vec![
        (":method", "CONNECT"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", "/chat"),
        (":protocol", protocol),
        ("sec-websocket-version", "13"),
    ]
}

#[tokio::test]
async fn a_websocket_with_a_length_is_refused() {
    const PROTOCOL_ERROR: u32 = 1;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.frames().await;
    for (stream, length) in [(1, "0"), (3, "5"), (5, &*smuggled.len().to_string())] {
        client.headers(stream, &[connect("websocket"), vec![("content-length", length)]].concat(), false).await;
        client.data(stream, smuggled.as_bytes(), false).await;
        assert_eq!(client.outcome(stream).await, Outcome::Reset(PROTOCOL_ERROR, None), "length {length}");
    }
    origin.is_untouched();
    client.get(7, "/next").await;
    assert_eq!(origin.accept().await.request().await.start, "GET /next HTTP/1.1");
}

#[tokio::test]
async fn an_extended_connect_is_for_websockets_only() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.frames().await;
    for (stream, protocol) in (1..).step_by(2).zip(["h2c", "foo", "connect-udp"]) {
        client.headers(stream, &connect(protocol), false).await;
        assert_eq!(client.next_status(stream).await, 501, "{protocol}");
    }
    origin.is_untouched();
}

#[tokio::test]
async fn an_authority_is_looked_at_like_a_host() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    for authority in ["s%65cret.example", "a%00b", "a:99999", "a:b", ".", "a..b", ".a", "a, b", "[::1"] {
        let head = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", authority)];
        for head in [head.to_vec(), [&head[..], &[("host", authority)]].concat()] {
            let mut client = gateway.frames().await;
            client.headers(1, &head, true).await;
            let outcome = client.outcome(1).await;
            assert!(outcome.is_refusal(), "{authority}: {outcome:?}");
        }
    }
    origin.is_untouched();
}

#[tokio::test]
async fn the_usual_port_makes_no_difference_between_authority_and_host() {
    let origin = Origin::echo().await;
    let gateway = Gateway::to(&origin).start().await;
    for (host, is_same) in [("a.example", true), ("a.example:80", true), ("a.example:443", false)] {
        let mut client = gateway.frames().await;
        let head = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a.example")];
        client.headers(1, &[&head[..], &[("host", host)]].concat(), true).await;
        let outcome = client.outcome(1).await;
        if is_same {
            let Outcome::Response(_, 200, body) = outcome else { panic!("{host}: {outcome:?}") };
            let seen: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(seen["headers"]["host"], "a.example", "{host}");
        } else {
            assert!(outcome.is_refusal(), "{host}: {outcome:?}");
        }
    }
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn cookies_in_pieces_become_one_field() {
    let origin = Origin::echo().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.frames().await;
    client.headers(1, &[&GET[..], &[(":path", "/"), ("cookie", "a=1"), ("cookie", "b=2")]].concat(), true).await;
    let Outcome::Response(_, 200, body) = client.outcome(1).await else { panic!("no response") };
    let seen: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(seen["headers"]["cookie"], "a=1; b=2");
}

#[tokio::test]
async fn requests_arrive_wherever_their_frames_are_cut() {
    let origin = Origin::echo().await;
    let gateway = Gateway::to(&origin).start().await;
    let head = block(&post("5"));
    let (first, second) = head.split_at(10);
    for at in 1.. {
        let mut client = gateway.frames().await;
        let bytes = [
            frame(kind::HEADERS, 0, 1, first),
            frame(kind::CONTINUATION, flag::END_HEADERS, 1, second),
            frame(kind::DATA, 0, 1, b"he"),
            frame(kind::DATA, flag::END_STREAM, 1, b"llo"),
        ]
        .concat();
        if at == bytes.len() {
            break;
        }
        client.raw().send(&bytes[..at]).await;
        tokio::task::yield_now().await;
        client.raw().send(&bytes[at..]).await;
        let Outcome::Response(_, 200, body) = client.outcome(1).await else { panic!("no response, cut at {at}") };
        let seen: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(seen["body"], "hello", "cut at {at}");
    }
}

#[tokio::test]
async fn a_response_waits_for_its_window_byte_by_byte() {
    let origin = Origin::says("hello").await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.frames().await;
    // SETTINGS_INITIAL_WINDOW_SIZE = 0, for streams to come.
    client.send(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).await;
    client.get(1, "/").await;
    client.next_of(kind::HEADERS).await;
    for byte in b"hello" {
        client.send(kind::WINDOW_UPDATE, 0, 1, &1u32.to_be_bytes()).await;
        assert_eq!(client.next_of(kind::DATA).await.payload, [*byte]);
    }
    // A window that settings make smaller than what was sent may be negative (RFC 9113 section 6.9.2).
    client.send(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 2]).await;
    client.get(3, "/").await;
    assert_eq!(client.next_of(kind::DATA).await.payload, b"he");
    client.send(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).await;
    client.send(kind::WINDOW_UPDATE, 0, 3, &3u32.to_be_bytes()).await;
    assert_eq!(client.next_of(kind::DATA).await.payload, b"l");
    client.send(kind::WINDOW_UPDATE, 0, 3, &9u32.to_be_bytes()).await;
    assert_eq!(client.next_of(kind::DATA).await.payload, b"lo");
}

#[tokio::test]
async fn padding_and_priorities_mean_nothing() {
    const PADDED: u8 = 8;
    const PRIORITY: u8 = 32;
    let origin = Origin::echo().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.frames().await;
    let head = [&[3, 0, 0, 0, 0, 15][..], &block(&post("5")), &[0; 3]].concat();
    client.send(kind::HEADERS, flag::END_HEADERS | PADDED | PRIORITY, 1, &head).await;
    client.send(kind::DATA, PADDED, 1, b"\x02he\0\0").await;
    client.send(99, 255, 1, b"an unknown frame").await;
    client.send(kind::DATA, PADDED | flag::END_STREAM, 1, b"\0llo").await;
    let Outcome::Response(_, 200, body) = client.outcome(1).await else { panic!("no response") };
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).expect("JSON")["body"], "hello");
}

#[tokio::test]
async fn a_head_larger_than_a_frame_is_sent_in_several() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.frames().await;
    client.get(1, "/").await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.send(format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "~".repeat(40_000))).await;
    let first = client.next_of(kind::HEADERS).await;
    assert_eq!(first.flags & flag::END_HEADERS, 0);
    let mut size = first.payload.len();
    loop {
        let next = client.next().await.expect("a continuation");
        assert_eq!((next.kind, next.stream), (kind::CONTINUATION, 1), "nothing may come between");
        assert!(next.payload.len() <= 16_384);
        size += next.payload.len();
        if next.flags & flag::END_HEADERS != 0 {
            break;
        }
    }
    assert!(size > 40_000);
}

#[tokio::test]
async fn errors_of_framing_end_the_connection_with_their_code() {
    const PROTOCOL_ERROR: u32 = 1;
    const FLOW_CONTROL_ERROR: u32 = 3;
    const STREAM_CLOSED: u32 = 5;
    const FRAME_SIZE_ERROR: u32 = 6;
    const COMPRESSION_ERROR: u32 = 9;
    let origin = Origin::says("hi").await;
    let gateway = Gateway::to(&origin).start().await;
    let get = block(&[&GET[..], &[(":path", "/")]].concat());
    let done = flag::END_HEADERS | flag::END_STREAM;
    let cases: Vec<(&str, Vec<u8>, &[u32])> = vec![
        ("data on stream 0", frame(kind::DATA, 0, 0, b"x"), &[PROTOCOL_ERROR]),
        ("headers on stream 0", frame(kind::HEADERS, done, 0, &get), &[PROTOCOL_ERROR]),
        ("an even stream", frame(kind::HEADERS, done, 2, &get), &[PROTOCOL_ERROR]),
        ("data on an idle stream", frame(kind::DATA, 0, 1, b"x"), &[PROTOCOL_ERROR, STREAM_CLOSED]),
        ("a reset of an idle stream", frame(kind::RST_STREAM, 0, 1, &[0; 4]), &[PROTOCOL_ERROR]),
        ("a continuation of nothing", frame(kind::CONTINUATION, flag::END_HEADERS, 1, b""), &[PROTOCOL_ERROR]),
        ("a ping of seven bytes", frame(kind::PING, 0, 0, &[0; 7]), &[FRAME_SIZE_ERROR]),
        ("settings of five bytes", frame(kind::SETTINGS, 0, 0, &[0; 5]), &[FRAME_SIZE_ERROR]),
        ("settings on a stream", frame(kind::SETTINGS, 0, 1, &[]), &[PROTOCOL_ERROR]),
        ("acknowledged settings with a payload", frame(kind::SETTINGS, flag::ACK, 0, &[0; 6]), &[FRAME_SIZE_ERROR]),
        ("a push", frame(5, done, 1, &[0, 0, 0, 2]), &[PROTOCOL_ERROR]),
        ("a window of zero", frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4]), &[PROTOCOL_ERROR]),
        ("a window that overflows", frame(kind::WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]), &[FLOW_CONTROL_ERROR]),
        (
            "an initial window that overflows",
            frame(kind::SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]),
            &[FLOW_CONTROL_ERROR],
        ),
        ("a frame size out of range", frame(kind::SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]), &[PROTOCOL_ERROR]),
        ("push neither on nor off", frame(kind::SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]), &[PROTOCOL_ERROR]),
        ("too large a frame", frame(kind::DATA, 0, 1, &vec![0; 16_385]), &[FRAME_SIZE_ERROR]),
        ("an index beyond the table", frame(kind::HEADERS, done, 1, &[0xff, 0x7f]), &[COMPRESSION_ERROR]),
        ("a head without its end", frame(kind::HEADERS, done, 1, &[0x00, 0x05]), &[COMPRESSION_ERROR]),
        ("too large a table", frame(kind::HEADERS, done, 1, &[0x3f, 0xff, 0xff, 0x7f]), &[COMPRESSION_ERROR]),
        ("padding beyond the frame", frame(kind::DATA, 8, 1, &[9, 0]), &[PROTOCOL_ERROR]),
        (
            "another frame inside a head",
            [frame(kind::HEADERS, 0, 1, &get), frame(kind::PING, 0, 0, &[0; 8])].concat(),
            &[PROTOCOL_ERROR],
        ),
        (
            "a stream number that goes back",
            [frame(kind::HEADERS, done, 3, &get), frame(kind::HEADERS, done, 1, &get)].concat(),
            &[PROTOCOL_ERROR, STREAM_CLOSED],
        ),
    ];
    for (name, bytes, codes) in cases {
        let mut client = gateway.frames().await;
        client.raw().send(bytes).await;
        let code = client.farewell().await;
        assert!(code.is_some_and(|code| codes.contains(&code)), "{name}: {code:?}");
    }
    assert_eq!(gateway.client(Wire::H2).await.get("/").await.text(), "hi");
}

#[tokio::test]
async fn something_else_than_the_preface_is_not_taken_for_http_2() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    for preface in ["PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX"] {
        let mut client = gateway.raw().await;
        client.send(preface).await;
        client.finish().await;
        client.rest().await;
    }
    origin.is_untouched();
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused_one_by_one() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).and("[limits]\nhttp2_streams = 2").start().await;
    let mut client = gateway.frames().await;
    for stream in [1, 3, 5] {
        client.get(stream, "/").await;
    }
    assert_eq!(client.outcome(5).await, Outcome::Reset(7, None));
    for stream in [1, 3] {
        let mut upstream = origin.accept().await;
        upstream.request().await;
        upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        drop((upstream, stream));
    }
    for stream in [1, 3] {
        assert_eq!(client.outcome(stream).await.status(), Some(204));
    }
}

#[tokio::test]
async fn too_large_a_head_is_answered_431() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).and("[limits]\nhttp2_header_list_size = '4KiB'").start().await;
    let mut client = gateway.frames().await;
    let value = "a".repeat(5000);
    client.headers(1, &[&GET[..], &[(":path", "/"), ("x", &value)]].concat(), true).await;
    let outcome = client.outcome(1).await;
    assert!(outcome.status() == Some(431) || matches!(outcome, Outcome::Reset(..) | Outcome::GoAway(_)), "{outcome:?}");
    origin.is_untouched();
}

/// One client floods while another asks; the flood's connection ends, the other goes on.
async fn flood(limit: &str, mut next: impl FnMut(u32) -> Vec<u8>) {
    let origin = Origin::says("hi").await;
    let text = "[admin]\naddress = '127.0.0.1:0'\n[limits]\nhttp2_small_frames_per_second = 1000";
    let gateway = Gateway::to(&origin).and(text).start().await;
    let mut good = gateway.client(Wire::H2).await;
    let mut bad: Frames = gateway.frames().await;
    let (mut is_over, mut number) = (false, 0);
    while !is_over && number < 100_000 {
        let bytes: Vec<u8> = (0..100).flat_map(|more| next(number + more)).collect();
        number += 100;
        is_over = bad.raw().try_send(&bytes).await.is_err() || bad.is_given_up().await;
        if number % 1000 == 0 {
            assert_eq!(good.get("/").await.text(), "hi");
        }
    }
    assert!(is_over, "{number} frames were taken");
    assert_eq!(good.get("/").await.text(), "hi");
    drop(bad);
    let hits = format!("gatewright_limits_hit_total{{limit=\"{limit}\"");
    eventually("the limit to be counted", async || gateway.metric(&hits).await >= 1.0).await;
}

#[tokio::test]
async fn a_rapid_reset_flood_ends() {
    let head = block(&[&GET[..], &[(":path", "/")]].concat());
    flood("http2_resets_per_second", |number| {
        let stream = number * 2 + 1;
        let done = flag::END_HEADERS | flag::END_STREAM;
        [frame(kind::HEADERS, done, stream, &head), frame(kind::RST_STREAM, 0, stream, &8u32.to_be_bytes())].concat()
    })
    .await;
}

#[tokio::test]
async fn a_continuation_flood_ends() {
    flood("http2_continuation_frames", |number| match number {
        0 => frame(kind::HEADERS, 0, 1, &block(&GET)),
        _ => frame(kind::CONTINUATION, 0, 1, &block(&[("x", "y")])),
    })
    .await;
}

#[tokio::test]
async fn an_empty_continuation_flood_ends() {
    flood("http2_continuation_frames", |number| match number {
        0 => frame(kind::HEADERS, 0, 1, &block(&GET)),
        _ => frame(kind::CONTINUATION, 0, 1, &[]),
    })
    .await;
}

#[tokio::test]
async fn a_settings_flood_ends() {
    flood("http2_control_frames_per_second", |_| frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])).await;
}

#[tokio::test]
async fn a_ping_flood_ends() {
    flood("http2_control_frames_per_second", |_| frame(kind::PING, 0, 0, &[7; 8])).await;
}

#[tokio::test]
async fn a_priority_flood_ends() {
    flood("http2_control_frames_per_second", |number| frame(kind::PRIORITY, 0, number * 2 + 1, &[0, 0, 0, 0, 1])).await;
}

#[tokio::test]
async fn an_empty_data_flood_ends() {
    flood("http2_empty_frames_per_second", |number| match number {
        0 => frame(kind::HEADERS, flag::END_HEADERS, 1, &block(&[&GET[..], &[(":path", "/")]].concat())),
        _ => frame(kind::DATA, 0, 1, &[]),
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_single_bytes_ends() {
    flood("http2_small_frames_per_second", single_bytes).await;
}

#[tokio::test]
async fn single_bytes_in_reason_are_a_body() {
    let origin = Origin::echo().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.frames().await;
    let bytes: Vec<u8> = (0..5000).flat_map(single_bytes).collect();
    client.raw().send(&bytes).await;
    client.data(1, b"", true).await;
    let Outcome::Response(_, 200, body) = client.outcome(1).await else { panic!("no response") };
    assert!(String::from_utf8_lossy(&body).contains(&"x".repeat(4999)));
}

/// A request, and then its body, byte by byte.
fn single_bytes(number: u32) -> Vec<u8> {
    match number {
        0 => frame(kind::HEADERS, flag::END_HEADERS, 1, &block(&[&GET[..], &[(":path", "/")]].concat())),
        _ => frame(kind::DATA, 0, 1, b"x"),
    }
}

#[tokio::test]
async fn a_reset_by_faulty_frames_flood_ends() {
    // The client makes the gateway reset its streams instead of resetting them itself.
    let head = block(&[&GET[..], &[(":path", "/")]].concat());
    flood("http2_resets_per_second", |number| {
        let stream = number * 2 + 1;
        let update = frame(kind::WINDOW_UPDATE, 0, stream, &[0; 4]);
        [frame(kind::HEADERS, flag::END_HEADERS, stream, &head), update].concat()
    })
    .await;
}

#[tokio::test]
async fn a_client_that_never_reads_does_not_hold_others_up() {
    let body: &'static str = Box::leak("x".repeat(1 << 20).into_boxed_str());
    let origin = Origin::says(body).await;
    let gateway = Gateway::to(&origin).start().await;
    let mut lazy = Frames::connect(Raw::connect(gateway.address()).await).await;
    for number in 0..50 {
        lazy.get(number * 2 + 1, "/").await;
    }
    let mut good = gateway.client(Wire::H2).await;
    for _ in 0..5 {
        assert_eq!(good.get("/").await.body.len(), 1 << 20);
    }
}

#[tokio::test]
async fn a_request_that_is_answered_before_its_end_is_heard_out() {
    let origin = RawOrigin::start().await;
    let text = "[[route]]\nmatch.path = '/fixed'\nrespond = 'no'\n\
                [[route]]\nmatch.path = '/redirect'\nredirect = 'https://a/'\n\
                [[route]]\nmatch.path = '/static/'\nstatic = '.'\n\
                [[route]]\nmatch.path = '/little'\nbody_limit = '1KiB'\npool = 'app'\n\
                [[route]]\nmatch.path = '/upstream'\npool = 'app'";
    let gateway = Gateway::of(&format!("{text}\n[pool.app]\nendpoints = ['{origin}']")).start().await;
    let mut client = gateway.frames().await;
    let cases =
        [("/fixed", 200), ("/redirect", 308), ("/static/", 405), ("/little", 413), ("/none", 404), ("/upstream", 401)];
    for (number, (path, status)) in cases.into_iter().enumerate() {
        let stream = number as u32 * 2 + 1;
        let mut head = post("100000");
        head.retain(|(name, _)| *name != ":path");
        client.headers(stream, &[&head[..3], &[(":path", path)], &head[3..]].concat(), false).await;
        if path == "/upstream" {
            let mut upstream = origin.accept().await;
            upstream.head().await;
            upstream.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
        }
        assert_eq!(client.outcome(stream).await.status(), Some(status), "{path}");
        for piece in 1..=10 {
            client.data(stream, &[b'x'; 10_000], piece == 10).await;
        }
        let is_reset = async |client: &mut Frames| {
            client.send(kind::PING, 0, 0, b"the end?").await;
            loop {
                let frame = client.next().await.expect("the connection to live");
                match frame.kind {
                    kind::RST_STREAM => return true,
                    kind::PING => return false,
                    _ => {}
                }
            }
        };
        assert!(!is_reset(&mut client).await, "{path}");
    }
}

#[tokio::test]
async fn a_request_that_does_not_end_after_its_answer_is_reset() {
    let text = "[admin]\naddress = '127.0.0.1:0'\n[[route]]\nrespond = 'no'\n\
                [limits]\nbody_idle_time = '50ms'\ndiscard_size = '10B'";
    let gateway = Gateway::of(text).start().await;
    let mut client = gateway.frames().await;
    let hits = "gatewright_limits_hit_total{limit=\"discard_size\"";
    // Too slow; too much; too much from the beginning.
    for (stream, body, length) in [(1, &b"x"[..], "9"), (3, &[b'x'; 11], "20"), (5, b"", "1000000")] {
        client.headers(stream, &post(length), false).await;
        assert_eq!(client.outcome(stream).await.status(), Some(200));
        if !body.is_empty() {
            client.data(stream, body, false).await;
        }
        let reset = client.next_of(kind::RST_STREAM).await;
        assert_eq!((reset.stream, &reset.payload[..]), (stream, &[0; 4][..]));
        let too_much = if stream == 1 { 0.0 } else { 1.0 };
        eventually("the limit to be counted", async || gateway.metric(hits).await >= too_much).await;
    }
    assert_eq!(gateway.metric(hits).await, 2.0);
}

#[tokio::test]
async fn requests_that_do_not_end_after_their_answers_count_as_streams_and_not_as_resets() {
    const REFUSED_STREAM: u32 = 7;
    let text = "[[route]]\nrespond = 'no'\n[limits]\nhttp2_streams = 3\nhttp2_resets_per_second = 2";
    let gateway = Gateway::of(text).start().await;
    let mut client = gateway.frames().await;
    for round in 0..5 {
        let streams = [0, 2, 4].map(|number| round * 8 + 1 + number);
        for stream in streams {
            client.headers(stream, &post("9"), false).await;
            assert_eq!(client.outcome(stream).await.status(), Some(200));
        }
        if round == 0 {
            client.get(7, "/").await;
            assert_eq!(client.outcome(7).await, Outcome::Reset(REFUSED_STREAM, None));
        }
        for stream in streams {
            client.send(kind::RST_STREAM, 0, stream, &[0; 4]).await;
        }
    }
}
