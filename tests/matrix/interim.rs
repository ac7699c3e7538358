//! Responses before the response. Both ends are raw, since libraries hide these.

use super::{Sides, over_everything};
use crate::harness::{Frames, Gateway, Message, Raw, RawOrigin, Wire, kind};

over_everything! {
    early_hints_are_passed_on
    interim_responses_frame_nothing
    a_client_that_waits_for_100_gets_it
    a_client_that_waits_for_100_may_be_refused
}

/// Either end of a connection, frame by frame or line by line.
enum Peer {
    H1(Raw),
    H2(Frames),
}

impl Peer {
    async fn client(gateway: &Gateway, wire: Wire) -> Peer {
        let raw = match wire.is_tls() {
            true => Raw::connect_tls(gateway.address(), &[wire.alpn()]).await,
            false => gateway.raw().await,
        };
        if wire.is_h2() { Peer::H2(Frames::connect(raw).await) } else { Peer::H1(raw) }
    }

    async fn origin(origin: &RawOrigin, wire: Wire) -> Peer {
        let raw = origin.accept().await;
        if wire.is_h2() { Peer::H2(Frames::accept(raw).await) } else { Peer::H1(raw) }
    }

    /// Sends the head of a POST with a body of four bytes.
    async fn post_head(&mut self, fields: &[(&str, &str)]) {
        match self {
            Peer::H1(raw) => {
                let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                raw.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n{fields}\r\n")).await;
            }
            Peer::H2(frames) => {
                let mut all =
                    vec![(":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", "/")];
                all.extend([("content-length", "4")].iter().chain(fields));
                frames.headers(1, &all, false).await;
            }
        }
    }

    async fn post_body(&mut self) {
        match self {
            Peer::H1(raw) => raw.send("data").await,
            Peer::H2(frames) => frames.data(1, b"data", true).await,
        }
    }

    /// Waits for the head of the request.
    async fn request_head(&mut self) -> Option<Message> {
        match self {
            Peer::H1(raw) => Some(raw.head().await),
            Peer::H2(frames) => {
                frames.next_of(kind::HEADERS).await;
                None
            }
        }
    }

    async fn request_body(&mut self) {
        match self {
            Peer::H1(raw) => assert_eq!(raw.exactly(4).await, b"data"),
            Peer::H2(frames) => assert_eq!(frames.next_of(kind::DATA).await.payload, b"data"),
        }
    }

    /// Sends an interim response that says more than it may, or not.
    async fn hint(&mut self, is_framed: bool) {
        match self {
            Peer::H1(raw) => {
                let framing = if is_framed { "Content-Length: 7\r\nKeep-Alive: timeout=5\r\n" } else { "" };
                raw.send(format!("HTTP/1.1 103 It\r\n{framing}Link: </a.css>\r\n\r\n")).await;
            }
            Peer::H2(frames) => {
                let framing: &[_] = if is_framed { &[("content-length", "7")] } else { &[] };
                frames.headers(1, &[&[(":status", "103")], framing, &[("link", "</a.css>")]].concat(), false).await;
            }
        }
    }

    /// The next head as it came. The first of HTTP/2 may change the table's size.
    async fn head(&mut self) -> Vec<u8> {
        match self {
            Peer::H1(raw) => raw.until("\r\n\r\n").await.into_bytes(),
            Peer::H2(frames) => frames.next_of(kind::HEADERS).await.payload,
        }
    }

    /// Sends a head without a body, which is the response unless the status is 1xx.
    async fn respond(&mut self, status: u16) {
        match self {
            Peer::H1(raw) => {
                let length = if status < 200 { "" } else { "Content-Length: 0\r\n" };
                raw.send(format!("HTTP/1.1 {status} It\r\nLink: </a.css>\r\n{length}\r\n")).await;
            }
            Peer::H2(frames) => {
                let fields = [(":status", &*status.to_string()), ("link", "</a.css>")];
                frames.headers(1, &fields, status >= 200).await;
            }
        }
    }

    /// The next status, interim or not.
    async fn status(&mut self) -> u16 {
        match self {
            Peer::H1(raw) => raw.head().await.status(),
            Peer::H2(frames) => frames.next_status(1).await,
        }
    }
}

async fn start(sides: Sides) -> (Peer, RawOrigin, Gateway) {
    let origin = match sides.upstream.is_tls() {
        true => RawOrigin::start_tls(sides.upstream.alpn()).await,
        false => RawOrigin::start().await,
    };
    let gateway = Gateway::between(sides.client, sides.upstream, &origin).await;
    (Peer::client(&gateway, sides.client).await, origin, gateway)
}

async fn early_hints_are_passed_on(sides: Sides) {
    let (mut client, origin, _gateway) = start(sides).await;
    client.post_head(&[]).await;
    client.post_body().await;
    let mut upstream = Peer::origin(&origin, sides.upstream).await;
    upstream.request_head().await;
    for _ in 0..2 {
        upstream.respond(103).await;
        assert_eq!(client.status().await, 103);
    }
    upstream.request_body().await;
    upstream.respond(200).await;
    assert_eq!(client.status().await, 200);
}

async fn interim_responses_frame_nothing(sides: Sides) {
    let (mut client, origin, _gateway) = start(sides).await;
    client.post_head(&[]).await;
    client.post_body().await;
    let mut upstream = Peer::origin(&origin, sides.upstream).await;
    upstream.request_head().await;
    upstream.hint(false).await;
    client.head().await;
    upstream.hint(false).await;
    let plain = client.head().await;
    upstream.hint(true).await;
    let framed = client.head().await;
    assert_eq!(framed, plain, "{:?}", String::from_utf8_lossy(&framed));
    upstream.request_body().await;
    upstream.respond(200).await;
    assert_eq!(client.status().await, 200);
}

async fn a_client_that_waits_for_100_gets_it(sides: Sides) {
    let (mut client, origin, _gateway) = start(sides).await;
    client.post_head(&[("expect", "100-continue")]).await;
    let mut upstream = Peer::origin(&origin, sides.upstream).await;
    let head = upstream.request_head().await;
    assert!(head.is_none_or(|head| head.has("expect", "100-continue")), "the origin cannot know that somebody waits");
    upstream.respond(100).await;
    assert_eq!(client.status().await, 100);
    client.post_body().await;
    upstream.request_body().await;
    upstream.respond(200).await;
    assert_eq!(client.status().await, 200);
}

async fn a_client_that_waits_for_100_may_be_refused(sides: Sides) {
    let (mut client, origin, _gateway) = start(sides).await;
    client.post_head(&[("expect", "100-continue")]).await;
    let mut upstream = Peer::origin(&origin, sides.upstream).await;
    upstream.request_head().await;
    upstream.respond(403).await;
    assert_eq!(client.status().await, 403);
}
