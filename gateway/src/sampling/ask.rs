//! One question to one endpoint, over a connection of its own.
//!
//! In: an endpoint, and a path. Out: the body of a response with the status 200, or in words why there is none. The caller bounds the time.

use std::future::poll_fn;
use std::rc::Rc;

use tokio::net::TcpStream;

use crate::balance::Endpoint;
use crate::config::model::HostHeader;
use crate::error::Error;
use crate::http::h1::client::{Connection, Event, Park};
use crate::http::{Body, Fields, Frame, Method, RequestHead, Scheme, Stream, Version, name};
use crate::upstream::PoolState;

/// No report is longer.
const MOST: usize = 64 * 1024;

/// Connections are not kept.
struct Nowhere;

impl Park for Nowhere {
    fn park(&self, _: Box<Connection>) {}
}

pub(super) async fn ask(
    pool: &PoolState,
    endpoint: &Endpoint,
    path: &str,
    port: Option<u16>,
) -> Result<Vec<u8>, String> {
    let broken = |error: Error| error.to_string();
    let stream = connect(pool, endpoint, port).await.map_err(|error| error.to_string())?;
    let head = request(pool, endpoint, path).ok_or("it cannot be asked for that")?;
    let mut exchange = Box::new(Connection::new(stream)).send(&head, Body::Empty, 0, pool.limits.clone());
    let parsed = loop {
        match poll_fn(|cx| exchange.poll_event(cx)).await.map_err(broken)? {
            Event::Interim(_) => {}
            Event::Response(parsed) => break parsed,
        }
    };
    if parsed.head.status.as_u16() != 200 {
        return Err(format!("it answers {}", parsed.head.status.as_u16()));
    }
    let mut body = exchange.into_body(parsed.framing, false, Rc::new(Nowhere));
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Frame::Data(data) = frame.map_err(broken)? else { continue };
        if bytes.len() + data.len() > MOST {
            return Err(format!("it answers more than {MOST} bytes"));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

async fn connect(pool: &PoolState, endpoint: &Endpoint, port: Option<u16>) -> std::io::Result<Stream> {
    let tcp = match endpoint.socket {
        Some(mut address) => {
            address.set_port(port.unwrap_or(address.port()));
            TcpStream::connect(address).await?
        }
        None => {
            let own = endpoint.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            let place = (endpoint.host(), port.or(own).unwrap_or_default());
            let addresses: Vec<_> = tokio::net::lookup_host(place).await?.collect();
            TcpStream::connect(&*addresses).await?
        }
    };
    match &pool.load_tls {
        None => Ok(Stream::cleartext(tcp)),
        Some(tls) => tls.connect(tcp, endpoint.host()).await.map(|(stream, _)| Stream::TlsClient(stream)),
    }
}

/// `None`: something of it cannot stand in a request.
fn request(pool: &PoolState, endpoint: &Endpoint, path: &str) -> Option<RequestHead> {
    let mut fields = Fields::new();
    fields.append(name::ACCEPT, b"application/json, text/plain").ok()?;
    fields.append(name::ACCEPT_ENCODING, b"identity").ok()?;
    fields.append("user-agent", concat!("gatewright/", env!("CARGO_PKG_VERSION")).as_bytes()).ok()?;
    let authority = match &pool.model.host {
        HostHeader::Fixed(host) => host.clone(),
        HostHeader::Preserve | HostHeader::Endpoint => endpoint.address.clone(),
    };
    let scheme = if pool.load_tls.is_some() { Scheme::Https } else { Scheme::Http };
    let target = path.to_owned();
    Some(RequestHead {
        method: Method::GET,
        version: Version::Http11,
        scheme,
        authority,
        target,
        upgrade: None,
        fields,
    })
}
