//! What the log says of upstreams and clients that fail: why, and not too often.

use std::fmt::Display;

use crate::harness::{Gateway, Origin, Raw, RawOrigin, Wire, certs, log, tls};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A gateway before this endpoint, whose pool has these further keys.
async fn pool(endpoint: impl Display, keys: &str) -> Gateway {
    log::listen();
    let text = "[[route]]\npool = 'app'\n[pool.app]\nendpoints = ['<endpoint>']\n<keys>";
    let other = certs::authority().pem();
    Gateway::of(text).with("endpoint", endpoint).with("keys", keys).file("other.pem", other).start().await
}

#[tokio::test]
async fn that_nobody_listens_is_said_once() {
    let origin = RawOrigin::start().await;
    let address = origin.to_string();
    drop(origin);
    let gateway = pool(&address, "").await;
    for _ in 0..20 {
        gateway.get("a/", &[]).await.is(502);
    }
    let line = log::says(&[&address]).await;
    for text in [" WARN ", "pool=\"app\"", "connection refused", "no connection to the upstream"] {
        assert!(line.contains(text), "{text}: {line}");
    }
    assert!(!line.contains("suppressed"), "{line}");
    assert_eq!(log::lines(&[&address]).len(), 1);
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_called_that() {
    // RFC 6761 section 6.4: nobody ever will.
    let name = "nobody.invalid:80";
    let gateway = pool(name, "[pool.app.timeouts]\nconnect = '60s'").await;
    gateway.get("a/", &[]).await.is(502);
    log::says(&[name, "its name cannot be resolved"]).await;
}

#[tokio::test]
async fn why_a_certificate_is_not_believed_is_said() {
    for (keys, words) in [
        ("tls = { ca = 'ca.pem', name = 'other.example' }", "its certificate is for another name"),
        ("tls = { ca = 'other.pem', name = 'localhost' }", "signed by nobody that is trusted"),
    ] {
        let origin = Origin::start(Wire::H1Tls, crate::harness::echo).await;
        let gateway = pool(&origin, keys).await;
        gateway.get("a/", &[]).await.is(502);
        log::says(&[&origin.to_string(), words]).await;
    }
    let origin = Origin::echo().await;
    let gateway = pool(&origin, "tls = { ca = 'ca.pem', name = 'localhost' }").await;
    gateway.get("a/", &[]).await.is(502);
    log::says(&[&origin.to_string(), "no connection to the upstream"]).await;
}

#[tokio::test]
async fn what_an_origin_does_wrong_is_said() {
    let timeouts = "[pool.app.timeouts]\nfirst_byte = '50ms'\nidle_body = '50ms'";
    for (answer, cut, words) in [
        ("nonsense\r\n\r\n", false, "not an HTTP/1 response"),
        ("", false, "no response in time"),
        ("", true, "closed the connection without a response"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", true, "in the middle of a response"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", false, "stopped in the middle of a body"),
    ] {
        let origin = RawOrigin::start().await;
        let gateway = pool(&origin, timeouts).await;
        let mut client = gateway.raw().await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        upstream.send(answer).await;
        if cut {
            drop(upstream);
        }
        let _ = client.try_response().await;
        log::says(&[&origin.to_string(), words, "pool=\"app\""]).await;
    }
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_nothing_to_speak_of() {
    let origin = RawOrigin::start().await;
    let gateway = pool(&origin, "").await;
    let mut client = gateway.raw().await;
    client.send(GET).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    client.response().await.is(204);
    // It takes the second request, and closes as if it had been idle for too long.
    client.send(GET).await;
    upstream.request().await;
    drop(upstream);
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    client.response().await.is(204);
    assert_eq!(log::lines(&[&origin.to_string()]), [""; 0]);
}

#[tokio::test]
async fn a_handshake_that_fails_is_said_once_for_each_reason() {
    log::listen();
    let text = "
        [[route]]
        respond = 'x'
        [[listener]]
        address = '127.0.0.1:0'
        tls = [{ certificate = 'server.pem', key = 'server.key' }]";
    let gateway = Gateway::of(text).start().await;
    let listener = gateway.address().to_string();
    for _ in 0..5 {
        let mut raw = gateway.raw().await;
        raw.send([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).await;
        raw.rest().await;
        let strange = Raw::connect_tls_with(gateway.address(), tls::client(&["spdy/3"]), tls::NAME).await;
        assert!(strange.is_err());
    }
    let line = log::says(&[&listener, "not TLS"]).await;
    assert!(line.contains("TLS handshake failed") && line.contains("client=127.0.0.1:"), "{line}");
    log::says(&[&listener, "neither of the protocols"]).await;
    assert_eq!(log::lines(&[&listener]).len(), 2, "{:?}", log::lines(&[&listener]));
}

#[tokio::test]
async fn a_missing_proxy_header_is_said_once() {
    log::listen();
    let listener = "[[route]]\nrespond = 'x'\n[[listener]]\naddress = '127.0.0.1:0'\nproxy_protocol = ['127.0.0.1']";
    let gateway = Gateway::of(listener).start().await;
    let listener = gateway.address().to_string();
    for _ in 0..5 {
        let mut raw = gateway.raw().await;
        raw.send(GET).await;
        raw.is_over().await;
    }
    let mut raw = gateway.raw().await;
    raw.send("PROXY TCP4 1.2.3 4.5.6.7 1 2\r\n").await;
    raw.is_over().await;
    let line = log::says(&[&listener, "the first bytes are something else"]).await;
    assert!(line.contains(" no PROXY header") && line.contains("client=127.0.0.1:"), "{line}");
    assert!(!line.contains("error="), "the reason says it all: {line}");
    let line = log::says(&[&listener, "bad address"]).await;
    assert!(line.contains(" bad PROXY header"), "{line}");
    assert_eq!(log::lines(&[&listener]).len(), 2);
}

#[tokio::test]
async fn tls_on_a_cleartext_port_is_answered_at_once() {
    log::listen();
    let gateway = Gateway::of("[[route]]\nrespond = 'x'").start().await;
    let hello = [&[0x16, 3, 1, 0, 5][..], b"\n\r\nabc\r\n\r\n"].concat();
    for bytes in [&hello[..], &hello[..2], &hello[..1]] {
        // The time for a head is longer than any test waits.
        let mut raw = gateway.raw().await;
        raw.send(bytes).await;
        let answer = raw.response().await;
        answer.is(400);
        assert!(answer.text().contains("TLS on a cleartext port"), "{}", answer.text());
        raw.is_over().await;
    }
    let line = log::says(&[&gateway.address().to_string(), "TLS on a cleartext port"]).await;
    assert!(line.contains("wrong protocol") && line.contains("client=127.0.0.1:"), "{line}");
    assert!(Raw::connect_tls_with(gateway.address(), tls::client(&[]), tls::NAME).await.is_err());
    assert_eq!(log::lines(&[&gateway.address().to_string()]).len(), 1);
}

#[tokio::test]
async fn what_can_be_no_request_is_answered_at_once() {
    let gateway = Gateway::of("[[route]]\nrespond = 'x'").start().await;
    for bytes in [&b"\0"[..], b"\x80\x2e\x01", b"SSH-2.0-OpenSSH_9.2\r\n", b"GET / HTTP/3\r\n", b"<policy", b"\rG"] {
        let mut raw = gateway.raw().await;
        raw.send(bytes).await;
        raw.is_refused(400).await;
    }
    // A request may still come byte by byte.
    let mut raw = gateway.raw().await;
    for byte in "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".bytes() {
        raw.send([byte]).await;
        tokio::task::yield_now().await;
    }
    raw.response().await.is(200);
}

#[tokio::test]
async fn plain_http_on_a_tls_port_is_answered_400_and_goes_no_further() {
    log::listen();
    let origin = Origin::echo().await;
    let listener = "[[listener]]\naddress = '127.0.0.1:0'\ntls = [{ certificate = 'server.pem', key = 'server.key' }]";
    let gateway = Gateway::to(&origin).and(listener).start().await;
    for request in
        [GET, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let mut raw = gateway.raw().await;
        raw.send([request, GET].concat()).await;
        let answer = raw.response().await;
        answer.is(400);
        if !request.starts_with("PRI") {
            assert!(answer.text().contains("a plain HTTP request was sent to an HTTPS port"), "{}", answer.text());
        }
        raw.is_over().await;
    }
    let mut head = gateway.raw().await;
    head.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(head.head().await.status(), 400);
    head.is_over().await;
    log::says(&[&gateway.address().to_string(), "wrong protocol", "HTTPS port"]).await;
    assert_eq!(origin.requests(), 0);
    let mut raw = Raw::connect_tls(gateway.address(), &["http/1.1"]).await;
    raw.send(GET).await;
    raw.response().await.is(200);
}
