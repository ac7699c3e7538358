//! Responses that are compressed on their way: for whom, how, what their heads say, and what is left as it is.

use std::io::Read;

use gatewright::http::encoding::Coding;
use hyper::Response;
use hyper::header::HeaderValue;

use crate::harness::{Body, Client, Gateway, Origin, RawOrigin, Reply, Wire, empty, full, stream, with_trailers};

const WIRES: [Wire; 4] = [Wire::H1, Wire::H1Tls, Wire::H2, Wire::H2Tls];

fn text() -> String {
    (0..500).map(|number| format!("{{\"number\":{number},\"name\":\"somebody {}\"}},\n", number % 7)).collect()
}

/// What a client makes of a body.
fn decode(coding: &str, mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).expect("gzip"),
        "deflate" => flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut out).expect("deflate"),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out).expect("br"),
        "zstd" => {
            out.resize(1 << 20, 0);
            let length = zstd_safe::decompress(&mut out[..], bytes).expect("zstd");
            out.truncate(length);
            length
        }
        "" => bytes.read_to_end(&mut out).expect("bytes"),
        other => panic!("{other}?"),
    };
    out
}

fn encode(coding: &str, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "gzip" => flate2::read::GzEncoder::new(plain, flate2::Compression::new(6)).read_to_end(&mut out).expect("gzip"),
        "br" => brotli::CompressorReader::new(plain, 4096, 5, 18).read_to_end(&mut out).expect("br"),
        other => panic!("{other}?"),
    };
    out
}

/// With these fields, as a list of `name: value`.
fn answer(status: u16, fields: &[&str], body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status.try_into().expect("a status");
    for field in fields {
        let (name, value) = field.split_once(": ").expect("a field");
        let name = hyper::header::HeaderName::from_bytes(name.as_bytes()).expect("a name");
        response.headers_mut().append(name, HeaderValue::from_str(value).expect("a value"));
    }
    response
}

/// Always the same answer.
async fn origin(fields: &'static [&'static str], body: impl Into<bytes::Bytes>) -> Origin {
    let body = body.into();
    Origin::start(Wire::H1, move |_| {
        let body = body.clone();
        async move { answer(200, fields, full(body)) }
    })
    .await
}

async fn compressing(origin: impl std::fmt::Display) -> Gateway {
    Gateway::to(origin).and("compress = true").start().await
}

async fn get(client: &mut Client, fields: &[&str]) -> Reply {
    call(client, "GET", fields).await
}

async fn call(client: &mut Client, method: &str, fields: &[&str]) -> Reply {
    let mut request = client.request(method, "/");
    for field in fields {
        let (name, value) = field.split_once(": ").expect("a field");
        request = request.header(name, value);
    }
    client.exchange(request.body(empty()).expect("a request")).await.expect("a response")
}

const JSON: &[&str] = &["content-type: application/json", "etag: \"a\"", "accept-ranges: bytes", "vary: origin"];

#[tokio::test]
async fn a_client_gets_the_encoding_that_it_likes_best() {
    let origin = origin(JSON, text()).await;
    for wire in WIRES {
        let listener = if wire.is_tls() { "tls = [{ certificate = 'server.pem', key = 'server.key' }]" } else { "" };
        let config = "
            [[listener]]
            address = '127.0.0.1:0'
            <listener>
            [pool.origin]
            endpoints = ['<origin>']
            [[route]]
            pool = 'origin'
            compress = { encodings = ['zstd', 'br', 'gzip', 'deflate'] }";
        let gateway = Gateway::of(config).with("listener", listener).with("origin", &origin).start().await;
        let mut client = gateway.client(wire).await;
        for (accepted, expected) in [
            ("gzip, deflate, br, zstd", "zstd"),
            ("gzip, deflate, br", "br"),
            ("gzip;q=1, br;q=0.5", "gzip"),
            ("deflate", "deflate"),
            ("*", "zstd"),
            ("identity", ""),
            ("identity;q=0", ""),
            ("compress, nonsense;q=x", ""),
        ] {
            let reply = get(&mut client, &[&format!("accept-encoding: {accepted}")]).await;
            let coding = reply.header("content-encoding").unwrap_or_default();
            assert_eq!((reply.status.as_u16(), coding), (200, expected), "{wire:?} {accepted}");
            assert_eq!(decode(coding, &reply.body), text().as_bytes(), "{wire:?} {accepted}");
            assert_eq!(reply.header("vary"), Some("origin, Accept-Encoding"), "{wire:?} {accepted}");
            let (tag, length, ranges) = match expected {
                "" => ("\"a\"", Some(text().len().to_string()), Some("bytes")),
                _ => ("W/\"a\"", None, None),
            };
            assert_eq!(reply.header("etag"), Some(tag), "{wire:?} {accepted}");
            assert_eq!(reply.header("content-length").map(str::to_owned), length, "{wire:?} {accepted}");
            assert_eq!(reply.header("accept-ranges"), ranges, "{wire:?} {accepted}");
            assert!(expected.is_empty() || reply.body.len() < text().len() / 4, "{}", reply.body.len());
        }
    }
}

#[tokio::test]
async fn the_origin_sees_what_the_client_takes() {
    let origin = Origin::echo().await;
    let gateway = compressing(&origin).await;
    let seen = gateway.get("a/", &["Accept-Encoding: br;q=0.5, gzip"]).await.seen();
    assert_eq!(seen["headers"]["accept-encoding"], "br;q=0.5, gzip");
}

/// RFC 9110 section 9.3.2: as a GET would have said.
#[tokio::test]
async fn head_says_what_get_says() {
    for (fields, body) in [(JSON, text()), (JSON, "small".to_owned()), (&["content-type: image/png"], text())] {
        let origin = origin(fields, body).await;
        let gateway = compressing(&origin).await;
        for wire in [Wire::H1, Wire::H2] {
            let mut client = gateway.client(wire).await;
            for accepted in ["accept-encoding: gzip", "accept-encoding: identity"] {
                let (get, head) = (get(&mut client, &[accepted]).await, call(&mut client, "HEAD", &[accepted]).await);
                let said = |reply: &Reply| {
                    let mut headers = reply.headers.clone();
                    // A GET over HTTP/1.1 says how it is framed.
                    for name in ["date", "x-request-id", "transfer-encoding"] {
                        headers.remove(name);
                    }
                    headers
                };
                assert_eq!(said(&get), said(&head), "{wire:?} {fields:?} {accepted}");
                assert!(head.body.is_empty());
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_to_be_changed_is_passed_on_as_it_is() {
    let raw = RawOrigin::start().await;
    let gateway = compressing(&raw).await;
    let mut client = gateway.raw().await;
    let mut upstream = None;
    let body = "x".repeat(2000);
    for (request, status, fields) in [
        ("", "200 OK", "Content-Type: image/png\r\nETag: \"a\"\r\n"),
        ("", "200 OK", "ETag: \"a\"\r\n"),
        ("", "200 OK", "Content-Type: text/html\r\nCache-Control: no-transform\r\nETag: \"a\"\r\n"),
        ("", "200 OK", "Content-Type: text/html\r\nContent-Encoding: exi\r\nETag: \"a\"\r\n"),
        ("", "200 OK", "Content-Type: text/html\r\nRepr-Digest: sha-256=:x:\r\nETag: \"a\"\r\n"),
        ("Cache-Control: no-transform\r\n", "200 OK", "Content-Type: text/html\r\nETag: \"a\"\r\n"),
        (
            "Range: bytes=0-1999\r\n",
            "206 Partial Content",
            "Content-Type: text/html\r\nContent-Range: bytes 0-1999/4000\r\nETag: \"a\"\r\n",
        ),
        ("", "416 Range Not Satisfiable", "Content-Type: text/html\r\nContent-Range: bytes */2000\r\nETag: \"a\"\r\n"),
        ("", "200 OK", "Content-Type: application/grpc\r\nETag: \"a\"\r\n"),
        ("", "200 OK", "Content-Type: text/event-stream\r\nETag: \"a\"\r\n"),
    ] {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n{request}\r\n")).await;
        if upstream.is_none() {
            upstream = Some(raw.accept().await);
        }
        let upstream = upstream.as_mut().expect("a connection");
        let asked = upstream.request().await;
        assert!(request.is_empty() || asked.fields.iter().any(|(name, _)| request.to_lowercase().starts_with(name)));
        upstream.send(format!("HTTP/1.1 {status}\r\n{fields}Content-Length: 2000\r\n\r\n{body}")).await;
        let response = client.response().await;
        assert_eq!(response.text(), body, "{fields}");
        assert!(response.has("etag", "\"a\"") && response.has("content-length", "2000"), "{fields}");
        assert_eq!(response.field("content-encoding"), fields.contains("exi").then(|| "exi".to_owned()));
        let varies = request.contains("no-transform") || status.starts_with("206");
        assert_eq!(response.field("vary").is_some(), varies, "{fields} {request}");
    }
}

#[tokio::test]
async fn an_answer_without_a_body_keeps_its_head() {
    let raw = RawOrigin::start().await;
    let gateway = compressing(&raw).await;
    let mut client = gateway.raw().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nIf-None-Match: W/\"a\"\r\n\r\n").await;
    let mut upstream = raw.accept().await;
    assert!(upstream.request().await.has("if-none-match", "W/\"a\""));
    upstream.send("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n").await;
    let response = client.response().await;
    response.is(304);
    // The client has it compressed, under the weak tag.
    assert!(response.has("etag", "W/\"a\"") && response.has("vary", "Accept-Encoding"), "{response:?}");
    client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n").await;
    upstream.request().await;
    upstream.send("HTTP/1.1 204 No Content\r\nContent-Type: text/html\r\nETag: \"a\"\r\n\r\n").await;
    let response = client.response().await;
    response.is(204);
    assert!(response.has("etag", "\"a\"") && response.field("vary").is_none(), "{response:?}");
}

/// What the client has may be compressed, and the range would be of what is not.
#[tokio::test]
async fn a_download_is_not_resumed_by_its_date() {
    let origin = Origin::echo().await;
    let gateway = compressing(&origin).await;
    let (range, date) = ("Range: bytes=5-", "If-Range: Sun, 06 Nov 1994 08:49:37 GMT");
    for (fields, passed) in [
        (&["Accept-Encoding: gzip", range, date][..], false),
        (&[range, date], true),
        (&["Accept-Encoding: gzip", range, "If-Range: \"a\""], true),
        (&["Accept-Encoding: gzip", range], true),
    ] {
        let seen = gateway.get("a/", fields).await.seen();
        assert_eq!(seen["headers"]["range"].is_string(), passed, "{fields:?}");
    }
}

#[tokio::test]
async fn events_arrive_one_by_one_and_a_body_that_pauses_is_flushed() {
    for (kind, coding) in
        [("text/event-stream", "gzip"), ("text/event-stream", "zstd"), ("text/plain", "br"), ("text/plain", "gzip")]
    {
        for wire in [Wire::H1, Wire::H2] {
            let raw = RawOrigin::start().await;
            let gateway = Gateway::to(&raw).and("compress = { types = ['text/event-stream', 'text/*'] }").start().await;
            let mut client = gateway.client(wire).await;
            let request =
                client.request("GET", "/").header("accept-encoding", coding).body(empty()).expect("a request");
            let (mut upstream, response) = tokio::join!(
                async {
                    let mut upstream = raw.accept().await;
                    upstream.request().await;
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n");
                    upstream.send(head).await;
                    upstream
                },
                client.send(request)
            );
            let response = response.expect("a response");
            assert_eq!(response.headers()["content-encoding"], coding, "{kind}");
            let mut body = response.into_body();
            let coding = Coding::named(coding.as_bytes()).expect("a coding");
            let mut decoder = gatewright::compress::codec::Decoder::new(coding).expect("a decoder");
            for event in ["data: one\n\n", "data: two\n\n", "data: three\n\n"] {
                upstream.send(format!("{:x}\r\n{event}\r\n", event.len())).await;
                let mut got = Vec::new();
                while got.len() < event.len() {
                    let data = next_data(&mut body).await;
                    feed(&mut decoder, &data, &mut got);
                }
                assert_eq!(String::from_utf8_lossy(&got), event, "{kind} {coding:?} {wire:?}");
            }
        }
    }
}

async fn next_data(body: &mut hyper::body::Incoming) -> bytes::Bytes {
    use http_body_util::BodyExt;
    let frame = crate::harness::within("an event", body.frame()).await.expect("more").expect("a frame");
    frame.into_data().expect("data")
}

fn feed(decoder: &mut gatewright::compress::codec::Decoder, mut data: &[u8], into: &mut Vec<u8>) {
    use gatewright::compress::codec::{Codec, Push};
    let mut room = vec![0; 1000];
    loop {
        let step = decoder.step(data, &mut room, Push::More).expect("content");
        into.extend_from_slice(&room[..step.made]);
        data = &data[step.taken..];
        if step.done && data.is_empty() {
            return;
        }
    }
}

#[tokio::test]
async fn what_the_origin_compressed_is_decompressed_only_for_those_who_cannot() {
    const FIELDS: &[&str] = &["content-type: text/html", "etag: \"a\"", "content-encoding: br"];
    let origin = origin(FIELDS, encode("br", text().as_bytes())).await;
    let gateway = compressing(&origin).await;
    for wire in [Wire::H1, Wire::H2] {
        let mut client = gateway.client(wire).await;
        for (accepted, expected) in [
            (&["accept-encoding: br, gzip"][..], "br"),
            (&[], "br"),
            (&["accept-encoding: gzip"], "gzip"),
            (&["accept-encoding: identity"], ""),
            (&["accept-encoding: gzip", "cache-control: no-transform"], "br"),
        ] {
            let reply = get(&mut client, accepted).await;
            let coding = reply.header("content-encoding").unwrap_or_default();
            assert_eq!(coding, expected, "{wire:?} {accepted:?}");
            assert_eq!(decode(coding, &reply.body), text().as_bytes(), "{wire:?} {accepted:?}");
            assert_eq!(reply.header("vary"), Some("Accept-Encoding"), "{accepted:?}");
            let tag = if expected == "br" { "\"a\"" } else { "W/\"a\"" };
            assert_eq!(reply.header("etag"), Some(tag), "{accepted:?}");
            assert_eq!(reply.header("content-length").is_some(), expected == "br", "{accepted:?}");
        }
    }
}

#[tokio::test]
async fn content_that_cannot_be_decoded_breaks_the_response() {
    for (body, label) in [
        (b"\x1f\x8b and then no gzip".to_vec(), "upstream-malformed"),
        (encode("gzip", text().as_bytes())[..500].to_vec(), "upstream-malformed"),
        (encode("gzip", &vec![0; 3_000_000]), "decoded-too-large"),
    ] {
        let origin = origin(&["content-type: text/html", "content-encoding: gzip"], body).await;
        let config = "compress = true\n[limits]\ndecoded_size = '1MB'\n[access_log]\noutput = 'access.log'";
        let gateway = Gateway::to(&origin).and(config).and("[admin]\naddress = '127.0.0.1:0'").start().await;
        let mut client = gateway.raw().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: identity\r\n\r\n").await;
        assert!(client.try_response().await.is_err());
        let line = &gateway.log_lines(1).await[0];
        assert_eq!((&line["error"], &line["encoding"]), (&label.into(), &"identity".into()), "{line}");
        let hits = gateway.metric("gatewright_limits_hit_total{limit=\"decoded_size\"}").await;
        assert_eq!(hits, f64::from(u8::from(label == "decoded-too-large")));
    }
}

#[tokio::test]
async fn a_response_that_breaks_does_not_look_whole_when_it_is_compressed() {
    for (accepted, wire) in [("gzip", Wire::H1), ("br", Wire::H1), ("zstd", Wire::H2)] {
        let raw = RawOrigin::start().await;
        let gateway = compressing(&raw).await;
        let mut client = gateway.client(wire).await;
        let request = client.request("GET", "/").header("accept-encoding", accepted).body(empty()).expect("a request");
        let upstream = async {
            let mut upstream = raw.accept().await;
            upstream.request().await;
            upstream.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5000\r\n\r\nonly this").await;
        };
        let ((), reply) = tokio::join!(upstream, client.exchange(request));
        assert!(reply.is_err(), "{accepted} {reply:?}");
    }
}

#[tokio::test]
async fn trailers_come_behind_a_compressed_body() {
    let origin = Origin::start(Wire::H2, |_| async {
        answer(200, &["content-type: text/html", "trailer: x-sum"], with_trailers(text(), &[("x-sum", "1")]))
    })
    .await;
    let config =
        "[pool.origin]\nendpoints = ['<origin>']\nprotocol = 'h2'\n[[route]]\npool = 'origin'\ncompress = true";
    let gateway = Gateway::of(config).with("origin", &origin).start().await;
    for wire in [Wire::H1, Wire::H2] {
        let mut client = gateway.client(wire).await;
        let reply = get(&mut client, &["accept-encoding: gzip", "te: trailers"]).await;
        assert_eq!(decode("gzip", &reply.body), text().as_bytes());
        assert_eq!(reply.trailer("x-sum"), Some("1"), "{wire:?}");
    }
}

#[tokio::test]
async fn files_and_fixed_answers_are_compressed_like_any_other() {
    let body = text();
    let config = "
        [[route]]
        match.path = '/files/'
        static = 'public'
        compress = true
        [[route]]
        match.path = '/fixed'
        respond = { body = '''<body>''', type = 'application/json' }
        compress = { at_least = 1, encodings = ['gzip'], level = { gzip = 9 } }
        [[route]]
        match.path = '/plain'
        respond = { body = '''<body>''', type = 'application/json' }";
    let gateway = Gateway::of(config).with("body", &body).file("public/a.json", &body).start().await;
    let mut client = gateway.client(Wire::H1).await;
    for (path, expected) in [("/files/a.json", "zstd"), ("/fixed", "gzip"), ("/plain", "")] {
        let request =
            client.request("GET", path).header("accept-encoding", "gzip, zstd").body(empty()).expect("a request");
        let reply = client.exchange(request).await.expect("a response");
        let coding = reply.header("content-encoding").unwrap_or_default();
        assert_eq!((coding, reply.status.as_u16()), (expected, 200), "{path}");
        assert_eq!(decode(coding, &reply.body), body.as_bytes(), "{path}");
        assert_eq!(reply.header("vary").is_some(), !expected.is_empty(), "{path}");
        // A file answers to the weak tag, too.
        if let Some(tag) = reply.header("etag") {
            let request = client.request("GET", path).header("accept-encoding", "zstd").header("if-none-match", tag);
            let reply = client.exchange(request.body(empty()).expect("a request")).await.expect("a response");
            assert_eq!((reply.status.as_u16(), reply.header("etag")), (304, Some(tag)));
        }
    }
}

/// HTTP/1.0 knows no chunks; the end of the connection is that of the body.
#[tokio::test]
async fn an_old_client_gets_what_it_asked_for() {
    let origin = origin(JSON, text()).await;
    let gateway = compressing(&origin).await;
    let response = gateway.ask("GET / HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n").await;
    assert_eq!(decode("gzip", &response.body), text().as_bytes());
}

#[tokio::test]
async fn a_websocket_is_left_alone() {
    let raw = RawOrigin::start().await;
    let gateway = compressing(&raw).await;
    let mut client = gateway.raw().await;
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n{upgrade}\r\n")).await;
    let mut upstream = raw.accept().await;
    upstream.request().await;
    upstream.send(format!("HTTP/1.1 101 Switching Protocols\r\nContent-Type: text/html\r\n{upgrade}\r\nhello")).await;
    let head = client.head().await;
    assert!(head.status() == 101 && head.field("content-encoding").is_none(), "{head:?}");
    assert_eq!(client.exactly(5).await, b"hello");
    client.send("there").await;
    assert_eq!(upstream.exactly(5).await, b"there");
}

#[tokio::test]
async fn what_was_done_is_counted_and_logged() {
    let origin = origin(JSON, text()).await;
    let config = "compress = true\n[access_log]\noutput = 'access.log'\n[admin]\naddress = '127.0.0.1:0'";
    let gateway = Gateway::to(&origin).and(config).start().await;
    let mut client = gateway.client(Wire::H1).await;
    let sizes = [get(&mut client, &["accept-encoding: br"]).await, get(&mut client, &["accept-encoding: br"]).await];
    get(&mut client, &[]).await;
    let of = async |name: &str| gateway.metric(&format!("{name}{{encoding=\"br\",action=\"compress\"}}")).await;
    assert_eq!(of("gatewright_compression_responses_total").await, 2.0);
    assert_eq!(of("gatewright_compression_bytes_in_total").await, 2.0 * text().len() as f64);
    let out: usize = sizes.iter().map(|reply| reply.body.len()).sum();
    assert_eq!(of("gatewright_compression_bytes_out_total").await, out as f64);
    assert!(of("gatewright_compression_seconds_total").await > 0.0);
    let lines = gateway.log_lines(3).await;
    let told: Vec<_> = lines.iter().map(|line| line.get("encoding").and_then(|word| word.as_str())).collect();
    assert_eq!(told, [Some("br"), Some("br"), None]);
    assert_eq!(lines[0]["bytes_out"], sizes[0].body.len());
}

#[tokio::test]
async fn without_memory_responses_stay_as_they_are() {
    const CODED: &[&str] = &["content-type: text/html", "content-encoding: gzip"];
    let (plain, coded) = (origin(JSON, text()).await, origin(CODED, encode("gzip", text().as_bytes())).await);
    let config = "
        [pool.plain]
        endpoints = ['<plain>']
        [pool.coded]
        endpoints = ['<coded>']
        [[route]]
        match.path = '/plain'
        pool = 'plain'
        compress = true
        [[route]]
        match.path = '/coded'
        pool = 'coded'
        compress = true
        [limits]
        compression_memory = '1KiB'
        [admin]
        address = '127.0.0.1:0'";
    let gateway = Gateway::of(config).with("plain", &plain).with("coded", &coded).start().await;
    let response = gateway.get("a/plain", &["Accept-Encoding: gzip"]).await;
    assert!(response.field("content-encoding").is_none() && response.has("etag", "\"a\""), "{response:?}");
    assert_eq!(response.text(), text());
    gateway.get("a/coded", &["Accept-Encoding: br"]).await.is(503);
    gateway.get("a/coded", &["Accept-Encoding: gzip"]).await.is(200);
    assert_eq!(gateway.metric("gatewright_limits_hit_total{limit=\"compression_memory\"}").await, 2.0);
}

/// A client that reads slowly holds its origin back, whatever lies between.
#[tokio::test]
async fn a_slow_client_holds_the_origin_back() {
    let (feed, body) = stream();
    let body = std::sync::Arc::new(std::sync::Mutex::new(Some(body)));
    let origin = Origin::start(Wire::H1, move |_| {
        let body = body.lock().expect("no panic").take().expect("one request");
        async move { answer(200, &["content-type: text/html"], body) }
    })
    .await;
    let gateway = compressing(&origin).await;
    let mut client = gateway.raw().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n").await;
    // Noise does not become smaller.
    let noise = |_| (0..65536).map(|_| fastrand::u8(..)).collect::<Vec<u8>>();
    let sending = async {
        let mut sent = 0usize;
        while tokio::time::timeout(std::time::Duration::from_millis(300), feed.data(noise(sent))).await.is_ok() {
            sent += 65536;
            assert!(sent < 64 << 20, "nobody holds the origin back");
        }
    };
    sending.await;
    client.head().await.is(200);
}

/// A gateway that keeps and compresses, before an origin that counts.
async fn keeping(origin: &Origin, keys: &str) -> Gateway {
    let admin = "\n[admin]\naddress = '127.0.0.1:0'";
    Gateway::to(origin).and("cache = true\ncompress = true").and(keys).and(admin).start().await
}

const KEPT: &[&str] =
    &["content-type: application/json", "etag: \"a\"", "cache-control: max-age=60", "vary: accept-encoding"];

async fn times(gateway: &Gateway, coding: &str) -> f64 {
    let name = "gatewright_compression_responses_total";
    gateway.metric(&format!("{name}{{encoding=\"{coding}\",action=\"compress\"}}")).await
}

#[tokio::test]
async fn what_is_kept_is_compressed_once_for_each_encoding() {
    let origin = origin(KEPT, text()).await;
    let gateway = keeping(&origin, "").await;
    for wire in [Wire::H1, Wire::H2] {
        let mut client = gateway.client(wire).await;
        for _ in 0..3 {
            for accepted in ["gzip", "br, gzip", "gzip;q=0.5,  zstd", "identity", ""] {
                let reply = get(&mut client, &[&format!("accept-encoding: {accepted}")]).await;
                let coding = reply.header("content-encoding").unwrap_or_default();
                let expected = ["zstd", "br", "gzip"].into_iter().find(|coding| accepted.contains(coding));
                assert_eq!(coding, expected.unwrap_or_default(), "{accepted}");
                assert_eq!(decode(coding, &reply.body), text().as_bytes(), "{accepted}");
                assert_eq!(reply.header("etag"), Some(if coding.is_empty() { "\"a\"" } else { "W/\"a\"" }));
                assert_eq!(reply.header("vary"), Some("accept-encoding"), "{accepted}");
            }
        }
    }
    // The origin was asked once, although it says that it varies.
    assert_eq!(origin.requests(), 1);
    for coding in ["gzip", "br", "zstd"] {
        assert_eq!(times(&gateway, coding).await, 1.0, "{coding}");
    }
    // Once it is there, its length is known, for HEAD too.
    let mut client = gateway.client(Wire::H1).await;
    let (got, head) =
        (get(&mut client, &["accept-encoding: br"]).await, call(&mut client, "HEAD", &["accept-encoding: br"]).await);
    assert_eq!(got.header("content-length"), Some(&*got.body.len().to_string()));
    assert_eq!(head.header("content-length"), got.header("content-length"));
}

#[tokio::test]
async fn however_many_want_it_at_once_it_is_compressed_once() {
    let body: String = (0..20).map(|_| text()).collect();
    let origin = origin(KEPT, body.clone()).await;
    let gateway = Gateway::of(
        "workers = 2\n[pool.origin]\nendpoints = ['<origin>']\n[[route]]\npool = 'origin'\ncache = true\ncompress = true\n[admin]\naddress = '127.0.0.1:0'",
    );
    let gateway = gateway.with("origin", &origin).start().await;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let mut client = gateway.client(Wire::H1).await;
        asking.spawn(async move { get(&mut client, &["accept-encoding: gzip"]).await });
    }
    while let Some(reply) = asking.join_next().await {
        assert_eq!(decode("gzip", &reply.expect("a reply").body), body.as_bytes());
    }
    assert_eq!((origin.requests(), times(&gateway, "gzip").await), (1, 1.0));
}

#[tokio::test]
async fn conditions_and_ranges_meet_what_is_kept_and_compressed() {
    let origin = origin(KEPT, text()).await;
    let gateway = keeping(&origin, "").await;
    let mut client = gateway.client(Wire::H1).await;
    let first = get(&mut client, &["accept-encoding: gzip"]).await;
    assert_eq!((first.header("content-encoding"), first.header("accept-ranges")), (Some("gzip"), None));
    let known = get(&mut client, &["accept-encoding: gzip", "if-none-match: W/\"a\""]).await;
    assert_eq!(
        (known.status.as_u16(), known.header("etag"), known.header("vary")),
        (304, Some("W/\"a\""), Some("accept-encoding"))
    );
    let known = get(&mut client, &["if-none-match: \"a\""]).await;
    assert_eq!((known.status.as_u16(), known.header("etag")), (304, Some("\"a\"")));
    // Ranges are of what was not compressed, and join nothing that was.
    let part = get(&mut client, &["accept-encoding: gzip", "range: bytes=10-19"]).await;
    assert_eq!(
        (part.status.as_u16(), part.header("content-encoding"), part.header("etag")),
        (206, None, Some("\"a\""))
    );
    assert_eq!(part.body, text().as_bytes()[10..20]);
    let part = get(&mut client, &["accept-encoding: gzip", "range: bytes=10-19", "if-range: \"a\""]).await;
    assert_eq!(part.status.as_u16(), 206);
    let all = get(&mut client, &["accept-encoding: gzip", "range: bytes=10-19", "if-range: W/\"a\""]).await;
    assert_eq!((all.status.as_u16(), all.header("content-encoding")), (200, Some("gzip")));
    assert_eq!(decode("gzip", &all.body), text().as_bytes());
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn what_is_freshened_is_not_compressed_again_and_what_is_purged_is() {
    let version = std::sync::Arc::new(std::sync::Mutex::new("\"a\""));
    let now = version.clone();
    let origin = Origin::start(Wire::H1, move |request| {
        let tag = *now.lock().expect("no panic");
        async move {
            let fields = [
                "content-type: application/json",
                "cache-control: max-age=60, stale-if-error=0",
                &format!("etag: {tag}"),
            ];
            let is_known = request.headers().get("if-none-match").is_some_and(|known| known == tag);
            if is_known { answer(304, &fields, empty()) } else { answer(200, &fields, full(text() + tag)) }
        }
    })
    .await;
    let gateway = keeping(&origin, "").await;
    let mut client = gateway.client(Wire::H1).await;
    let gzip = "accept-encoding: gzip";
    get(&mut client, &[gzip]).await;
    // A request that changes something makes stale what is kept; the origin says that it holds.
    call(&mut client, "DELETE", &[]).await;
    let same = get(&mut client, &[gzip]).await;
    assert_eq!((origin.requests(), times(&gateway, "gzip").await), (3, 1.0));
    assert_eq!(decode("gzip", &same.body), (text() + "\"a\"").into_bytes());
    // And then that it does not.
    *version.lock().expect("no panic") = "\"b\"";
    call(&mut client, "DELETE", &[]).await;
    let other = get(&mut client, &[gzip]).await;
    assert_eq!(decode("gzip", &other.body), (text() + "\"b\"").into_bytes());
    assert_eq!((other.header("etag"), times(&gateway, "gzip").await), (Some("W/\"b\""), 2.0));
}

#[tokio::test]
async fn a_kept_response_that_breaks_off_is_not_compressed_to_a_whole() {
    let raw = RawOrigin::start().await;
    let gateway = Gateway::to(&raw).and("cache = true\ncompress = true").start().await;
    let mut client = gateway.client(Wire::H1).await;
    for round in 0..2 {
        let request = client.request("GET", "/").header("accept-encoding", "gzip").body(empty()).expect("a request");
        let upstream = async {
            let mut upstream = raw.accept().await;
            upstream.request().await;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nCache-Control: max-age=60\r\n";
            let body = text();
            match round {
                0 => upstream.send(format!("{head}Content-Length: 90000\r\n\r\n{body}")).await,
                _ => upstream.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await,
            }
        };
        let ((), reply) = tokio::join!(upstream, client.exchange(request));
        match round {
            0 => assert!(reply.is_err(), "{reply:?}"),
            _ => assert_eq!(decode("gzip", &reply.expect("a response").body), text().as_bytes()),
        }
        client = gateway.client(Wire::H1).await;
    }
}
