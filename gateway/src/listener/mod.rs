//! Where clients connect: sockets, accepting, and who is let in.
//!
//! In: addresses of the configuration. Out: connections, each in a task of its own. Each worker has its own socket on each
//! address, and the system spreads connections over them. A listener's settings can change while it accepts; its
//! sockets stay.

mod connection;
mod descriptors;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
pub use descriptors::prepare;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::config::model;
use crate::metrics::ListenerId;
use crate::notice;
use crate::tls::ServerTls;
use crate::worker::Worker;

/// An address on which clients connect.
pub struct Listener {
    /// The address as configured.
    pub configured: SocketAddr,
    /// The address as it is, when the system chose the port.
    pub address: SocketAddr,
    /// Its counters.
    pub id: ListenerId,
    /// What may change while it accepts.
    pub settings: ArcSwap<Settings>,
}

/// What may change while a listener accepts.
pub struct Settings {
    /// The configuration.
    pub model: model::Listener,
    /// Its certificates, read.
    pub tls: Option<ServerTls>,
}

/// A worker's open listeners.
pub struct Doors {
    worker: Rc<Worker>,
    open: Vec<Door>,
}

struct Door {
    listener: Arc<Listener>,
    socket: Rc<tokio::net::TcpListener>,
    accepting: JoinHandle<()>,
}

/// How many connections the system holds until they are accepted.
const BACKLOG: i32 = 4096;
/// Waiting time after a failed accept, which mostly means that there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(50);

/// One socket for each worker on this address. A port of 0 becomes the same free port for all. `ours`: where this gateway
/// listens already.
pub fn bind(address: SocketAddr, workers: usize, ours: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    if address.port() != 0 {
        ask(address, ours)?;
    }
    let first = bind_one(address, Use::Serve)?;
    let actual = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(bind_one(actual, Use::Serve)?);
    }
    Ok(sockets)
}

/// Fails when a stranger listens there: sockets that share a port would share it with another gateway too, and half of the
/// clients would be the other's.
fn ask(address: SocketAddr, ours: &[SocketAddr]) -> io::Result<()> {
    let mut beside = ours.iter().filter(|open| overlap(**open, address)).peekable();
    if beside.peek().is_none() {
        return bind_one(address, Use::Ask { only_v6: false }).map(drop);
    }
    // The system would name ourselves. What is left is the half of [::] that no socket of ours has: the rest was asked for
    // when that was bound.
    if address.ip().to_canonical().is_ipv6() && beside.all(|open| open.ip().to_canonical().is_ipv4()) {
        return bind_one(address, Use::Ask { only_v6: true }).map(drop);
    }
    Ok(())
}

/// Whether a connection could be for both.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    // [::] takes IPv4 too.
    let covers = |all: IpAddr, ip: IpAddr| all.is_unspecified() && (all.is_ipv6() || ip.is_ipv4());
    one.port() == other.port() && (a == b || covers(a, b) || covers(b, a))
}

/// What a socket is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// To find out whether the address is free.
    Ask { only_v6: bool },
    /// To take connections, beside those of other workers.
    Serve,
}

fn bind_one(address: SocketAddr, purpose: Use) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(purpose == Use::Serve)?;
    if address.is_ipv6() {
        // [::] takes IPv4 too, as people expect of it. Beside it the system prefers a socket on an IPv4 address, 0.0.0.0 included,
        // for what comes to that; and when that one goes, [::] has it all again.
        socket.set_only_v6(purpose == Use::Ask { only_v6: true })?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    // The one that only asks whether the port is free takes no connections.
    if purpose == Use::Serve {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

impl Doors {
    /// None open.
    pub fn new(worker: Rc<Worker>) -> Doors {
        Doors { worker, open: Vec::new() }
    }

    /// Begins to accept.
    pub fn open(&mut self, listener: Arc<Listener>, socket: TcpListener) {
        let socket = match tokio::net::TcpListener::from_std(socket) {
            Ok(socket) => Rc::new(socket),
            Err(error) => {
                tracing::error!(address = %listener.address, %error, "cannot listen");
                return;
            }
        };
        let accepting = tokio::task::spawn_local(accept(self.worker.clone(), listener.clone(), socket.clone()));
        self.open.push(Door { listener, socket, accepting });
    }

    /// Ends accepting on this listener; what it accepted goes on.
    pub async fn close(&mut self, listener: &Arc<Listener>) {
        if let Some(at) = self.open.iter().position(|door| Arc::ptr_eq(&door.listener, listener)) {
            let door = self.open.swap_remove(at);
            door.close(&self.worker).await;
        }
    }

    /// Ends accepting everywhere.
    pub async fn close_all(&mut self) {
        for door in self.open.drain(..) {
            door.close(&self.worker).await;
        }
    }
}

impl Door {
    /// Connections that the system has taken for us would be reset with the socket, so they are accepted first.
    async fn close(self, worker: &Rc<Worker>) {
        self.accepting.abort();
        let _ = self.accepting.await;
        while let Ok(Ok((tcp, peer))) = tokio::time::timeout(Duration::ZERO, self.socket.accept()).await {
            welcome(worker, &self.listener, tcp, peer);
        }
    }
}

async fn accept(worker: Rc<Worker>, listener: Arc<Listener>, socket: Rc<tokio::net::TcpListener>) {
    loop {
        match socket.accept().await {
            Ok((tcp, peer)) => welcome(&worker, &listener, tcp, peer),
            // The client was gone before we came to it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if let Some(suppressed) = notice::due((listener.address, "accept", error.raw_os_error())) {
                    tracing::warn!(listener = %listener.address, %error, suppressed, "cannot accept connections");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// An address as everybody else writes it: what a socket on `[::]` shows of an IPv4 client is an IPv6 address that holds the
/// client's.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

fn welcome(worker: &Rc<Worker>, listener: &Arc<Listener>, tcp: TcpStream, peer: SocketAddr) {
    let peer = canonical(peer);
    // Dropping the stream closes it: whoever is over the limit costs nothing more.
    if descriptors::is_kept(tcp.as_raw_fd()) {
        if let Some(suppressed) = notice::due((listener.address, "descriptors")) {
            let (listener, reason) = (listener.address, "the rest of the open files is kept for upstreams");
            tracing::warn!(%listener, client = %peer, reason, suppressed, "connection refused");
        }
        return worker.metrics.limit_hit("connections");
    }
    match worker.shared.admission.admit(&worker.view().snapshot.limits) {
        Ok(admitted) => {
            worker.metrics.connection_opened(listener.id);
            tokio::task::spawn_local(connection::serve(worker.clone(), listener.clone(), tcp, peer, admitted));
        }
        Err(limit) => worker.metrics.limit_hit(limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_a_port_and_strangers_do_not() {
        let ours = bind(([127, 0, 0, 1], 0).into(), 3, &[]).unwrap();
        let address = ours[0].local_addr().unwrap();
        assert!(ours.iter().all(|socket| socket.local_addr().unwrap() == address));
        assert_eq!(bind(address, 1, &[]).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(ours);
        assert!(bind(address, 2, &[]).is_ok());
    }

    #[test]
    fn strangers_are_noticed_beside_our_own() {
        // Without IPv6 there is nothing to see.
        let Ok(theirs) = bind_one("[::1]:0".parse().unwrap(), Use::Serve) else { return };
        let port = theirs.local_addr().unwrap().port();
        let every = |text: &str| SocketAddr::new(text.parse().unwrap(), port);
        let Ok(_ours) = bind(every("0.0.0.0"), 1, &[]) else { return };
        let both = [every("0.0.0.0")];
        assert_eq!(bind(every("::"), 1, &both).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(theirs);
        assert!(bind(every("::"), 2, &both).is_ok());
    }

    #[test]
    fn addresses_overlap_when_a_connection_could_be_for_both() {
        let overlap = |one: &str, other: &str| {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(super::overlap(one, other), super::overlap(other, one));
            super::overlap(one, other)
        };
        for (one, other) in [
            ("[::]:1", "0.0.0.0:1"),
            ("[::]:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("127.0.0.1:1", "[::ffff:127.0.0.1]:1"),
        ] {
            assert!(overlap(one, other), "{one} {other}");
        }
        for (one, other) in [("[::]:1", "[::]:2"), ("0.0.0.0:1", "[::1]:1"), ("127.0.0.1:1", "127.0.0.2:1")] {
            assert!(!overlap(one, other), "{one} {other}");
        }
    }
}
