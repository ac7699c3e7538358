//! A new connection to an endpoint: name, TCP, PROXY header, TLS.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::failure::{self, Step};
use super::pool::PoolState;
use crate::balance::Endpoint;
use crate::config::model::UpstreamProtocol;
use crate::error::Error;
use crate::http::Stream;
use crate::proxy_protocol;

/// A connection that stands.
pub(super) struct Connected {
    /// The transport.
    pub(super) stream: Stream,
    /// HTTP/2 is spoken on it.
    pub(super) h2: bool,
}

/// The two ends of the client's connection, as a PROXY header tells them.
#[derive(Clone, Copy, Debug)]
pub struct ClientEnds {
    /// Where the client is.
    pub source: SocketAddr,
    /// Where it connected to.
    pub destination: SocketAddr,
}

/// Connects. The caller bounds the time.
pub(super) async fn connect(endpoint: &Endpoint, pool: &PoolState, client: ClientEnds) -> Result<Connected, Error> {
    let failing = |step, error: io::Error| {
        failure::no_connection(pool, &endpoint.address, step, &error);
        failure::blame(step, &error)
    };
    let failed = |error| failing(Step::Connect, error);
    let mut tcp = match endpoint.socket {
        Some(address) => TcpStream::connect(address).await,
        // Looked up on the blocking pool, each time: the system's resolver knows how long an answer holds.
        None => {
            let addresses = tokio::net::lookup_host(&*endpoint.address).await;
            let addresses: Vec<_> = addresses.map_err(|error| failing(Step::Resolve, error))?.collect();
            TcpStream::connect(&*addresses).await
        }
    }
    .map_err(failed)?;
    tcp.set_nodelay(true).map_err(failed)?;
    if let Some(version) = pool.model.proxy_protocol {
        let header = proxy_protocol::encode(version, client.source, client.destination);
        tcp.write_all(&header).await.map_err(failed)?;
    }
    let Some(tls) = &pool.tls else {
        return Ok(Connected { stream: Stream::cleartext(tcp), h2: pool.model.protocol == UpstreamProtocol::H2 });
    };
    let (stream, h2) = tls.connect(tcp, endpoint.host()).await.map_err(|error| failing(Step::Tls, error))?;
    Ok(Connected { stream: Stream::TlsClient(stream), h2 })
}
