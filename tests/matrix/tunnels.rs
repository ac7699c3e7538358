//! Connections that change their protocol: WebSocket by upgrade and by extended CONNECT.

use aws_lc_rs::digest;
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::{Method, Request, Response, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Sides, over_everything};
use crate::harness::{Body, Client, empty, full, within};

over_everything! {
    a_websocket_carries_bytes_both_ways
    a_refused_websocket_is_an_ordinary_response
}

/// From RFC 6455 section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What a WebSocket server answers to a key (RFC 6455 section 4.2.2).
fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |sum, at| sum << 8 | usize::from(*group.get(at).unwrap_or(&0)));
        for at in 0..4 {
            let letter = if at > group.len() { b'=' } else { LETTERS[bits >> (18 - 6 * at) & 63] };
            text.push(char::from(letter));
        }
    }
    text
}

/// A WebSocket server, as far as its handshake goes, that sends every byte back.
async fn echoing(mut request: Request<Incoming>) -> Response<Body> {
    if request.uri().path() != "/chat" {
        return Response::builder().status(404).body(full("no chat here")).expect("a response");
    }
    let response = if request.version() == Version::HTTP_2 {
        assert_eq!(request.method(), Method::CONNECT);
        assert_eq!(request.extensions().get::<Protocol>().map(Protocol::as_str), Some("websocket"));
        Response::builder()
    } else {
        assert_eq!(request.headers()["upgrade"], "websocket");
        let key = request.headers()["sec-websocket-key"].to_str().expect("text");
        Response::builder()
            .status(101)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-accept", accept(key))
    };
    assert_eq!(request.headers()["sec-websocket-version"], "13");
    assert_eq!(request.headers()["sec-websocket-protocol"], "chat");
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let (mut from, mut to) = tokio::io::split(TokioIo::new(upgrade.await.expect("an upgrade")));
        // The test ends it.
        let _ = tokio::io::copy(&mut from, &mut to).await;
        let _ = to.shutdown().await;
    });
    response.header("sec-websocket-protocol", "chat").body(empty()).expect("a response")
}

/// The request for a WebSocket in the client's protocol.
fn handshake(sides: Sides, client: &Client, path: &str) -> Request<Body> {
    let request = if sides.client.is_h2() {
        client.request("CONNECT", path).extension(Protocol::from_static("websocket"))
    } else {
        let request = client.request("GET", path).header("connection", "upgrade").header("upgrade", "websocket");
        request.header("sec-websocket-key", KEY)
    };
    let request = request.header("sec-websocket-version", "13").header("sec-websocket-protocol", "chat");
    request.body(empty()).expect("a request")
}

async fn a_websocket_carries_bytes_both_ways(sides: Sides) {
    let mut client = sides.start(echoing).await;
    // An answer shows that an HTTP/2 client knows our settings, without which it may not ask.
    client.get("/").await;
    let request = handshake(sides, &client, "/chat");
    let mut response = client.send(request).await.expect("a response");
    let status = if sides.client.is_h2() { 200 } else { 101 };
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    if !sides.client.is_h2() {
        assert_eq!(response.headers()["upgrade"], "websocket");
        assert_eq!(response.headers()["sec-websocket-accept"], ACCEPT);
    }
    let mut tunnel = TokioIo::new(hyper::upgrade::on(&mut response).await.expect("an upgrade"));
    let large = "x".repeat(300_000);
    for text in ["hello", "again", &large] {
        let (mut from, mut to) = tokio::io::split(&mut tunnel);
        let mut back = vec![0; text.len()];
        let (sent, read) = within("an echo", async {
            tokio::join!(
                async {
                    to.write_all(text.as_bytes()).await?;
                    to.flush().await
                },
                from.read_exact(&mut back)
            )
        })
        .await;
        sent.expect("to send");
        read.expect("to read");
        assert!(back == text.as_bytes(), "other bytes came back");
    }
    tunnel.shutdown().await.expect("to end it");
    let mut rest = Vec::new();
    within("the end", tunnel.read_to_end(&mut rest)).await.expect("a proper end");
    assert_eq!(rest, b"");
}

async fn a_refused_websocket_is_an_ordinary_response(sides: Sides) {
    let mut client = sides.start(echoing).await;
    client.get("/").await;
    let request = handshake(sides, &client, "/nothing");
    let reply = client.exchange(request).await.expect("a response");
    assert_eq!((reply.status.as_u16(), reply.text()), (404, "no chat here"));
    assert_eq!(client.get("/").await.status, 404);
}
