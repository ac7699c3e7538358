//! A client that speaks HTTP properly: the same calls over HTTP/1.1 and HTTP/2, cleartext and TLS.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::HOST;
use hyper::http::request::Builder;
use hyper::{HeaderMap, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{Body, Raw, Wire, empty, within};

/// One connection.
pub(crate) struct Client {
    sender: Sender,
    wire: Wire,
}

enum Sender {
    H1(http1::SendRequest<Body>),
    H2(http2::SendRequest<Body>),
}

/// A response that came whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Client {
    /// Connects to localhost at this address.
    pub(crate) async fn connect(address: SocketAddr, wire: Wire) -> Client {
        let raw = match wire.is_tls() {
            true => Raw::connect_tls(address, &[wire.alpn()]).await,
            false => Raw::connect(address).await,
        };
        Client::over(raw, wire).await
    }

    /// Speaks over this connection.
    pub(crate) async fn over(raw: Raw, wire: Wire) -> Client {
        let io = TokioIo::new(raw.into_stream());
        let sender = if wire.is_h2() {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.expect("a handshake");
            tokio::spawn(connection);
            Sender::H2(sender)
        } else {
            let (sender, connection) = http1::handshake(io).await.expect("a handshake");
            tokio::spawn(connection.with_upgrades());
            Sender::H1(sender)
        };
        Client { sender, wire }
    }

    /// A request for `localhost`, to be completed with a body.
    pub(crate) fn request(&self, method: &str, target: &str) -> Builder {
        let builder = Request::builder().method(method);
        if self.wire.is_h2() {
            let scheme = if self.wire.is_tls() { "https" } else { "http" };
            builder.uri(format!("{scheme}://localhost{target}")).version(Version::HTTP_2)
        } else {
            builder.uri(target).header(HOST, "localhost")
        }
    }

    /// Sends it; the response's body is still to come.
    pub(crate) async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, hyper::Error> {
        let sending = async {
            match &mut self.sender {
                Sender::H1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Sender::H2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        };
        within("a response", sending).await
    }

    /// Sends it and waits for all of the response.
    pub(crate) async fn exchange(&mut self, request: Request<Body>) -> Result<Reply, hyper::Error> {
        collect(self.send(request).await?).await
    }

    /// The response to a request that must work.
    pub(crate) async fn call(&mut self, method: &str, target: &str, body: Body) -> Reply {
        let request = self.request(method, target).body(body).expect("a request");
        self.exchange(request).await.expect("a response")
    }

    /// The response to a GET that must work.
    pub(crate) async fn get(&mut self, target: &str) -> Reply {
        self.call("GET", target, empty()).await
    }

    /// A second user of the same HTTP/2 connection.
    pub(crate) fn another(&self) -> Client {
        match &self.sender {
            Sender::H1(_) => panic!("an HTTP/1.1 connection has one user"),
            Sender::H2(sender) => Client { sender: Sender::H2(sender.clone()), wire: self.wire },
        }
    }
}

impl Reply {
    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// A trailer as text.
    pub(crate) fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.as_ref()?.get(name).map(|value| value.to_str().expect("text"))
    }

    /// The body of an origin that tells what it saw.
    pub(crate) fn seen(&self) -> serde_json::Value {
        assert_eq!(self.status, 200, "{}", self.text());
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// Waits for the rest of a response.
pub(crate) async fn collect(response: Response<Incoming>) -> Result<Reply, hyper::Error> {
    let (head, body) = response.into_parts();
    let body = within("the end of a body", body.collect()).await?;
    let trailers = body.trailers().cloned();
    Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes(), trailers })
}
