//! One connection from accept to close: PROXY header, TLS, protocol, then its requests.
//!
//! In: an accepted socket. Out: requests for [`crate::proxy`]. The task of a connection that waits is kept small: whatever needs
//! much room is boxed while it runs.

use std::fmt::Display;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::{Listener, Settings, canonical};
use crate::clock::{Deadline, Watchdog};
use crate::config::model::Protocols;
use crate::error::{Error, Kind, Phase, Side};
use crate::http::h1::io::Io;
use crate::http::h1::parse;
use crate::http::{Control, Ending, Scheme, Stream};
use crate::limits::Limits;
use crate::metrics::Handshake;
use crate::notice;
use crate::proxy::forwarded::Peer;
use crate::proxy::{self, Client};
use crate::proxy_protocol::{self, Parsed};
use crate::tls::{self, HandshakeFailure};
use crate::worker::{Admitted, Worker};

/// What an HTTP/2 connection opens with (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a client that was refused may go on sending.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// Serves a connection until it ends.
pub(super) async fn serve(
    worker: Rc<Worker>,
    listener: Arc<Listener>,
    tcp: TcpStream,
    peer: SocketAddr,
    mut admitted: Admitted,
) {
    let limits = worker.view().snapshot.limits.clone();
    let registered = worker.register();
    let opened = Box::pin(open(&worker, &listener, tcp, peer, &limits, &registered.control, &mut admitted)).await;
    let ending = match opened {
        Ok(opened) => {
            if opened.h2 {
                proxy::serve_h2(&worker, opened.io, opened.client, &registered.control).await
            } else {
                proxy::serve_h1(&worker, opened.io, opened.client, &registered.control, opened.refuse).await
            }
        }
        Err(ending) => ending,
    };
    worker.metrics.connection_closed(listener.id, ending);
}

struct Opened {
    io: Io,
    client: Rc<Client>,
    h2: bool,
    /// Why no request of it is served.
    refuse: Option<&'static str>,
}

/// Everything before the first request; an error is the reason why there will be none.
async fn open(
    worker: &Rc<Worker>,
    listener: &Arc<Listener>,
    mut tcp: TcpStream,
    peer: SocketAddr,
    limits: &Arc<Limits>,
    control: &Control,
    admitted: &mut Admitted,
) -> Result<Opened, Ending> {
    let settings = listener.settings.load_full();
    let mut watchdog = Watchdog::default();
    let deadline = Deadline::after(limits.tls_handshake_time, Phase::Head, Side::Client);
    // Refused only when the client is gone.
    let _ = tcp.set_nodelay(true);
    let local = canonical(tcp.local_addr().unwrap_or(listener.address));
    let (source, destination) = match watchdog.within(deadline, told_ends(&settings, &mut tcp, peer)).await {
        Ok(ends) => ends.map_or((peer, local), |(source, destination)| (canonical(source), canonical(destination))),
        Err(error) => return Err(proxy_header_failure(worker, listener, peer, error)),
    };
    if let Err(limit) = admitted.count_address(source.ip(), limits) {
        return Err(Ending::Limit(limit));
    }
    let mut refuse = None;
    let (stream, tls, alpn_h2) = match &settings.tls {
        None => (Stream::cleartext(tcp), None, None),
        Some(server) => {
            let handshake = async {
                match speaks_http(&tcp).await {
                    true => Ok(Err(tcp)),
                    false => Ok(Ok(tls::accept(tcp, server).await)),
                }
            };
            match watchdog.within(deadline, handshake).await {
                Ok(Err(tcp)) => {
                    worker.metrics.handshake(Handshake::Failed(HandshakeFailure::NotTls.label()));
                    refuse = Some(parse::CLEARTEXT);
                    (Stream::cleartext(tcp), None, Some(false))
                }
                Ok(Ok(Ok(accepted))) => {
                    let resumed = accepted.facts.resumed;
                    worker.metrics.handshake(if resumed { Handshake::Resumed } else { Handshake::Full });
                    let h2 = accepted.facts.alpn_h2;
                    (Stream::TlsServer(accepted.stream), Some(accepted.facts), Some(h2))
                }
                Ok(Ok(Err((error, tcp)))) => {
                    let failure = HandshakeFailure::of(&error);
                    // Whoever looks whether the port is open goes like this, again and again.
                    if failure != HandshakeFailure::Closed {
                        warn(listener, source, "TLS handshake failed", failure.words(), Some(&error));
                    }
                    worker.metrics.handshake(Handshake::Failed(failure.label()));
                    // What a client asks before it knows that it was refused would make the system reset the connection, and
                    // the alert with the reason would be lost: in TLS 1.3 that is so with every client certificate.
                    let deadline = Deadline::after(LINGER_TIME, Phase::Head, Side::Client);
                    let hanging_up = async {
                        tcp.hang_up(limits.discard_size).await;
                        Ok(())
                    };
                    let _ = watchdog.within(deadline, hanging_up).await;
                    return Err(Ending::Handshake);
                }
                Err(error) => {
                    let reason = "it took longer than `limits.tls_handshake_time`";
                    warn(listener, source, "TLS handshake failed", reason, Some(&error));
                    worker.metrics.handshake(Handshake::Failed("handshake-timeout"));
                    worker.metrics.limit_hit("tls_handshake_time");
                    return Err(Ending::Handshake);
                }
            }
        }
    };
    let scheme = if tls.is_some() { Scheme::Https } else { Scheme::Http };
    let mut io = Io::new(stream, BytesMut::new());
    let h2 = match alpn_h2 {
        Some(h2) => h2,
        None => sniff(&mut io, settings.model.protocols, &mut watchdog, limits, control).await?,
    };
    let forwarded = Peer::new(&worker.view().snapshot.config.forwarded, source.ip());
    let client = Client { peer, source, forwarded, destination, scheme, tls, listener: listener.clone() };
    Ok(Opened { io, client: Rc::new(client), h2, refuse })
}

fn proxy_header_failure(worker: &Worker, listener: &Listener, peer: SocketAddr, error: Error) -> Ending {
    let mut what = "bad PROXY header";
    let reason = match error.kind {
        Kind::Timeout(_) => {
            what = "no PROXY header";
            worker.metrics.limit_hit("tls_handshake_time");
            "it took longer than `limits.tls_handshake_time`"
        }
        Kind::Malformed(reason) => {
            if reason == proxy_protocol::NONE {
                what = "no PROXY header";
            }
            reason
        }
        // Whoever looks whether the port is open goes like this, again and again.
        _ => return Ending::ProxyHeader,
    };
    warn(listener, peer, what, reason, None);
    Ending::ProxyHeader
}

/// Says in the log what became of a client, now and then.
fn warn(
    listener: &Listener,
    client: SocketAddr,
    what: &'static str,
    reason: &'static str,
    error: Option<&dyn Display>,
) {
    let error = error.map(tracing::field::display);
    if let Some(suppressed) = notice::due((listener.address, what, reason)) {
        tracing::warn!(listener = %listener.address, %client, reason, error, suppressed, "{what}");
    }
}

/// The ends of the connection that a trusted proxy tells; `None`: our own.
async fn told_ends(
    settings: &Settings,
    tcp: &mut TcpStream,
    peer: SocketAddr,
) -> Result<Option<(SocketAddr, SocketAddr)>, Error> {
    let ip = peer.ip();
    if !settings.model.proxy_protocol.iter().any(|network| network.contains(&ip)) {
        return Ok(None);
    }
    let failed = |error: io::Error| Error::io(&error, Side::Client);
    // Looked at before it is taken, so that nothing of what follows the header is lost.
    let mut seen = vec![0; proxy_protocol::MAX_V2];
    let mut known = 0;
    loop {
        let count = tcp.peek(seen.get_mut(known..).unwrap_or_default()).await.map_err(failed)?;
        let bytes = seen.get(..known + count).unwrap_or_default();
        let take = match proxy_protocol::parse(bytes) {
            Ok(Parsed::NeedMore) if count == 0 => return Err(Error::client(Kind::Closed)),
            Ok(Parsed::NeedMore) => known + count,
            Ok(Parsed::Header { source, destination, consumed }) => {
                tcp.read_exact(seen.get_mut(known..consumed).unwrap_or_default()).await.map_err(failed)?;
                return Ok(source.zip(destination));
            }
            Err(problem) => return Err(Error::client(Kind::Malformed(problem.0))),
        };
        tcp.read_exact(seen.get_mut(known..take).unwrap_or_default()).await.map_err(failed)?;
        known = take;
    }
}

/// Whether the client, where TLS is to be spoken, speaks HTTP: a method begins with a letter, a TLS record with a small number.
async fn speaks_http(tcp: &TcpStream) -> bool {
    let mut first = [0];
    // When nothing comes, the handshake finds out.
    tcp.peek(&mut first).await.is_ok_and(|count| count == 1) && first[0].is_ascii_uppercase()
}

/// Decides between HTTP/1 and HTTP/2 by prior knowledge from the first bytes.
async fn sniff(
    io: &mut Io,
    protocols: Protocols,
    watchdog: &mut Watchdog,
    limits: &Limits,
    control: &Control,
) -> Result<bool, Ending> {
    if !protocols.h2 {
        return Ok(false);
    }
    let mut deadline = Deadline::after(limits.idle_time, Phase::Head, Side::Client);
    let mut leaving = false;
    let first = poll_fn(|cx| {
        loop {
            let seen = io.read.len().min(PREFACE.len());
            if seen > 0 && io.read.get(..seen) != PREFACE.get(..seen) {
                return Poll::Ready(Ok(false));
            }
            if seen == PREFACE.len() {
                return Poll::Ready(Ok(true));
            }
            if seen == 0 && !leaving && control.poll_draining(cx) {
                leaving = true;
                deadline = Deadline::after(Control::GRACE, Phase::Head, Side::Client);
            }
            match io.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => {
                    deadline = Deadline::after(limits.header_time, Phase::Head, Side::Client);
                }
                Poll::Ready(_) => return Poll::Ready(Err(Ending::Client)),
                Poll::Pending => {
                    let ending = match (seen, leaving) {
                        (1.., _) => Ending::Limit("header_time"),
                        (0, true) => Ending::Drained,
                        (0, false) => Ending::Limit("idle_time"),
                    };
                    return watchdog.poll_passed(deadline.at, cx).map(|()| Err(ending));
                }
            }
        }
    })
    .await?;
    if !first && !protocols.h1 { Err(Ending::Protocol) } else { Ok(first) }
}
