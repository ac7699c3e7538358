//! One check of one endpoint.
//!
//! In: the pool's settings and the endpoint. Out: what was found, in words, good or bad. Limits: the time of the check, and so many
//! bytes of a body. Each check makes a connection of its own: an endpoint that takes none any more is what is to be found out.

mod grpc;
mod http;

use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use crate::balance::Endpoint;
use crate::config::model::{Check, Health, HostHeader, UpstreamProtocol};
use crate::error::Error;
use crate::http::h1::client::{Connection, Event, Park};
use crate::http::h2;
use crate::http::{Body, Fields, Method, RequestHead, ResponseHead, Scheme, Stream, Version};
use crate::proxy_protocol;
use crate::tls;
use crate::upstream::{self, PoolState};

/// Why a check was bad.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Bad {
    /// As metrics spell it.
    pub(super) label: &'static str,
    /// In words.
    pub(super) reason: String,
}

/// What is spoken on a connection.
struct Connected {
    stream: Stream,
    h2: bool,
}

/// An answer, and what keeps its connection.
struct Answer {
    head: ResponseHead,
    body: Body,
    _driver: Option<Driver>,
}

/// Moves the bytes of an HTTP/2 connection until it is dropped.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Connections are not kept.
struct Nowhere;

impl Park for Nowhere {
    fn park(&self, _: Box<Connection>) {}
}

impl Bad {
    /// The label of what says nothing of the endpoint: we lack what a check takes.
    pub(super) const OURS: &'static str = "not-made";

    fn new(label: &'static str, reason: impl fmt::Display) -> Bad {
        Bad { label, reason: reason.to_string() }
    }
}

/// Checks an endpoint. What it found, in words.
pub(super) async fn run(pool: &PoolState, endpoint: &Endpoint, settings: &Health) -> Result<String, Bad> {
    let deadline = Instant::now() + settings.timeout;
    let connecting = timeout_at(deadline, connect(pool, endpoint, settings)).await;
    let connected =
        connecting.map_err(|_| Bad::new("timeout", format_args!("no connection in {}", time(settings))))??;
    match &settings.check {
        Check::Tcp => Ok("it takes connections".to_owned()),
        Check::Http(check) => {
            let asked = timeout_at(deadline, http::ask(connected, pool, endpoint, check)).await;
            asked.unwrap_or_else(|_| Err(late(&http::what(check), settings)))
        }
        Check::Grpc { service, host } => {
            let asked = timeout_at(deadline, grpc::ask(connected, pool, endpoint, service, host.as_deref())).await;
            asked.unwrap_or_else(|_| Err(late(&grpc::what(service), settings)))
        }
    }
}

fn late(what: &str, settings: &Health) -> Bad {
    Bad::new("timeout", format_args!("no answer to {what} in {}", time(settings)))
}

/// The time of a check as one would say it.
fn time(settings: &Health) -> String {
    match settings.timeout.subsec_millis() {
        0 => format!("{} s", settings.timeout.as_secs()),
        _ => format!("{} ms", settings.timeout.as_millis()),
    }
}

async fn connect(pool: &PoolState, endpoint: &Endpoint, settings: &Health) -> Result<Connected, Bad> {
    let failed = |error: io::Error| {
        let label = if upstream::is_shortage(&error) { Bad::OURS } else { "connect" };
        Bad::new(label, format_args!("connect: {}", upstream::refusal(&error)))
    };
    let mut tcp = match (endpoint.socket, settings.port) {
        (Some(mut address), port) => {
            address.set_port(port.unwrap_or(address.port()));
            TcpStream::connect(address).await
        }
        (None, port) => {
            let own = endpoint.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            let place = (endpoint.host(), port.or(own).unwrap_or_default());
            let found = tokio::net::lookup_host(place).await;
            let found = found.map_err(|_| Bad::new("connect", "its name cannot be resolved"))?.collect::<Vec<_>>();
            TcpStream::connect(&*found).await
        }
    }
    .map_err(failed)?;
    // What is written is small and waits for nothing.
    let _ = tcp.set_nodelay(true);
    // Another port is one of its own, of which the proxy's header is not known to be wanted.
    if let Some(version) = pool.model.proxy_protocol.filter(|_| settings.port.is_none()) {
        tcp.write_all(&proxy_protocol::encode_own(version)).await.map_err(failed)?;
    }
    let protocol = settings.protocol(pool.model.protocol);
    let Some(tls) = &pool.check_tls else {
        return Ok(Connected { stream: Stream::cleartext(tcp), h2: protocol == UpstreamProtocol::H2 });
    };
    let shaken = tls.connect(tcp, endpoint.host()).await;
    let (stream, h2) =
        shaken.map_err(|error| Bad::new("tls", format_args!("TLS: {}", tls::upstream_failure(&error))))?;
    Ok(Connected { stream: Stream::TlsClient(stream), h2 })
}

/// A request of a check.
fn request(connected: &Connected, method: Method, target: &str, authority: String) -> RequestHead {
    let mut fields = Fields::new();
    // Both are names and values as they may be.
    let _ = fields.append("user-agent", concat!("gatewright/", env!("CARGO_PKG_VERSION")).as_bytes());
    if !connected.h2 {
        let _ = fields.append("connection", b"close");
    }
    RequestHead {
        method,
        version: if connected.h2 { Version::Http2 } else { Version::Http11 },
        scheme: if connected.stream.is_tls() { Scheme::Https } else { Scheme::Http },
        authority,
        target: target.to_owned(),
        upgrade: None,
        fields,
    }
}

/// The Host of a check: its own, the one that the pool has for all requests, or else the endpoint's.
fn authority(pool: &PoolState, endpoint: &Endpoint, own: Option<&str>) -> String {
    match (own, &pool.model.host) {
        (Some(own), _) => own.to_owned(),
        (None, HostHeader::Fixed(host)) => host.clone(),
        (None, HostHeader::Preserve | HostHeader::Endpoint) => endpoint.address.clone(),
    }
}

/// Sends it and waits for the head of the answer.
async fn send(connected: Connected, pool: &PoolState, head: &RequestHead, body: Body) -> Result<Answer, Error> {
    if connected.h2 {
        let (handle, driver) = h2::client::start(connected.stream, bytes::BytesMut::new(), &pool.limits);
        let driver = Driver(tokio::task::spawn_local(driver).abort_handle());
        handle.ready().await?;
        let sent = h2::exchange::Exchange::send(&handle, head, body, u64::MAX);
        let mut exchange = sent.map_err(|(error, _)| error)?;
        loop {
            match std::future::poll_fn(|cx| exchange.poll_event(false, cx)).await? {
                h2::Event::Informational(_) => {}
                h2::Event::Response(head, body) => {
                    return Ok(Answer { head, body: exchange.into_body(body), _driver: Some(driver) });
                }
            }
        }
    }
    let connection = Box::new(Connection::new(connected.stream));
    let mut exchange = connection.send(head, body, u64::MAX, Arc::clone(&pool.limits));
    loop {
        match std::future::poll_fn(|cx| exchange.poll_event(cx)).await? {
            Event::Interim(_) => {}
            Event::Response(parsed) => {
                let body = exchange.into_body(parsed.framing, false, Rc::new(Nowhere));
                return Ok(Answer { head: parsed.head, body, _driver: None });
            }
        }
    }
}

/// What went wrong on the way to an answer.
fn broken(what: &str, error: Error) -> Bad {
    let why = upstream::failure_reason(&error).unwrap_or("the connection failed");
    Bad::new("broken", format_args!("{what}: {why}"))
}

/// Sets a field that is known to be right.
fn set(head: &mut RequestHead, name: &str, value: &str) {
    let _ = head.fields.set(name, value.as_bytes());
}
