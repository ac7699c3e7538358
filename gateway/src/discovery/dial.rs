//! Connections to servers of registries, and who we say that we are.
//!
//! In: a server as the configuration names it. Out: a stream, encrypted if need be. Limits: [`CONNECT`]; a server that is switched
//! off is noticed by the system after [`SILENCE`] and a few questions.

use std::path::Path;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::config::model::RegistryServer;
use crate::http::Stream;
use crate::tls::{self, UpstreamTls};

/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(3);
/// How long nothing is heard before the system asks whether the other side is there.
const SILENCE: Duration = Duration::from_secs(10);
/// The largest file of credentials.
const SIZE: u64 = 4096;

/// Connects.
pub(super) async fn dial(server: &RegistryServer, tls: Option<&UpstreamTls>) -> Result<Stream, String> {
    let stream = tokio::time::timeout(CONNECT, connect(server, tls)).await;
    stream.unwrap_or_else(|_| Err("no connection in time".to_owned()))
}

async fn connect(server: &RegistryServer, tls: Option<&UpstreamTls>) -> Result<Stream, String> {
    let tcp = TcpStream::connect(&*server.address).await.map_err(|error| error.to_string())?;
    let keepalive = socket2::TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE / 4).with_retries(4);
    // Without it a server that is switched off is noticed later.
    let _ = socket2::SockRef::from(&tcp).set_tcp_keepalive(&keepalive);
    if !server.tls {
        return Ok(Stream::cleartext(tcp));
    }
    let tls = tls.ok_or("TLS is not set up")?;
    let host = crate::http::head::host_of(&server.address).trim_start_matches('[').trim_end_matches(']');
    let connected = tls.connect(tcp, host).await;
    connected.map(|(stream, _)| Stream::TlsClient(stream)).map_err(|error| tls::upstream_failure(&error).to_owned())
}

/// One line `USER:PASSWORD`. Nothing of it stands in any message.
pub(super) fn credentials(file: &Path) -> Result<(String, String), String> {
    use std::io::Read;
    let mut text = String::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(SIZE).read_to_string(&mut text));
    read.map_err(|error| format!("{}: {error}", file.display()))?;
    let pair = text.trim().split_once(':').ok_or_else(|| format!("{}: takes USER:PASSWORD", file.display()))?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}
