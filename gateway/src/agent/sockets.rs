//! Connections to the backend, and on how many of them a request is under way, as the kernel tells of its sockets.
//!
//! In: a port. Out: two counts. A request is under way where bytes wait to be read or to be delivered, or where the last that happened
//! is that bytes came. So one whose response has begun and pauses is not seen, and of those that share a connection one is.

use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

/// Numbers of the kernel: `linux/netlink.h`, `linux/sock_diag.h`, `linux/inet_diag.h`, `linux/tcp.h`.
const DIAG_BY_FAMILY: u16 = 20;
const REQUEST_DUMP: u16 = 0x301;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const TCP: u8 = 6;
/// The attribute with what TCP knows, which is asked for by its bit.
const INFO: u16 = 2;
const ESTABLISHED: u32 = 1 << 1;
/// Of one message, and of what stands before its attributes.
const HEADER: usize = 16;
const SOCKET: usize = 72;
/// Where in those the lengths of the queues stand.
const QUEUES: usize = 56;
/// Where in what TCP knows it stands how many milliseconds ago something was sent and received, and how much of it.
const LAST_SENT: usize = 44;
const LAST_RECEIVED: usize = 52;
const RECEIVED: usize = 152;
const SENT: usize = 156;
/// Messages are read in pieces of this size.
const PIECE: usize = 64 << 10;
/// The kernel answers at once, or not at all.
const TIME: Duration = Duration::from_secs(1);

/// What stands at a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sockets {
    /// Connections that stand.
    pub(super) connections: u64,
    /// Those on which a request is under way.
    pub(super) requests: u64,
}

/// What stands at a port; `None` where the kernel does not tell.
pub(super) fn count(port: u16) -> Option<Sockets> {
    let protocol = Some(netlink::SOCK_DIAG);
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, protocol).ok()?;
    set_socket_timeout(&socket, Timeout::Recv, Some(TIME)).ok()?;
    let mut sockets = Sockets::default();
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        let family = u8::try_from(family.as_raw()).ok()?;
        send(&socket, &question(family, port), SendFlags::empty()).ok()?;
        let mut piece = vec![0; PIECE];
        loop {
            let (length, _) = recv(&socket, &mut piece[..], RecvFlags::empty()).ok()?;
            if read(piece.get(..length)?, &mut sockets)? {
                break;
            }
        }
    }
    Some(sockets)
}

/// All connections of a family that stand at this port of ours.
fn question(family: u8, port: u16) -> Vec<u8> {
    let mut question = Vec::with_capacity(72);
    question.extend_from_slice(&72u32.to_ne_bytes());
    question.extend_from_slice(&DIAG_BY_FAMILY.to_ne_bytes());
    question.extend_from_slice(&REQUEST_DUMP.to_ne_bytes());
    question.extend_from_slice(&[0; 8]);
    question.extend_from_slice(&[family, TCP, 1 << (INFO - 1), 0]);
    question.extend_from_slice(&ESTABLISHED.to_ne_bytes());
    question.extend_from_slice(&port.to_be_bytes());
    question.resize(72, 0);
    question
}

/// Adds what a piece of the answer tells; whether it was the last. `None`: it is no answer.
fn read(mut piece: &[u8], sockets: &mut Sockets) -> Option<bool> {
    while !piece.is_empty() {
        let length = number(piece, 0)? as usize;
        let kind = u16::from_ne_bytes(piece.get(4..6)?.try_into().ok()?);
        let message = piece.get(HEADER..length)?;
        match kind {
            DONE => return Some(true),
            ERROR => return None,
            DIAG_BY_FAMILY => {
                sockets.connections += 1;
                sockets.requests += u64::from(is_busy(message)?);
            }
            _ => {}
        }
        piece = piece.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(false)
}

fn is_busy(message: &[u8]) -> Option<bool> {
    if number(message, QUEUES)? > 0 || number(message, QUEUES + 4)? > 0 {
        return Some(true);
    }
    let mut attributes = message.get(SOCKET..)?;
    while let Some(length) = attributes.first_chunk().map(|length| usize::from(u16::from_ne_bytes(*length))) {
        let kind = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?);
        let value = attributes.get(4..length)?;
        if kind == INFO {
            let last_sent = number(value, LAST_SENT)?;
            let last_received = number(value, LAST_RECEIVED)?;
            // The first request may come with the connection. Old kernels do not count.
            let only_received = number(value, RECEIVED).unwrap_or(0) > 0 && number(value, SENT) == Some(0);
            return Some(only_received || last_received < last_sent);
        }
        attributes = attributes.get(length.next_multiple_of(4).max(4)..).unwrap_or_default();
    }
    Some(false)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// Asks until it is so: what was sent arrives in its own time.
    fn becomes(port: u16, connections: u64, requests: u64) {
        let until = std::time::Instant::now() + Duration::from_secs(10);
        let expected = Sockets { connections, requests };
        loop {
            let Some(sockets) = count(port) else {
                eprintln!("SKIPPED: the kernel does not tell of its sockets");
                return;
            };
            if sockets == expected {
                return;
            }
            assert!(std::time::Instant::now() < until, "{sockets:?} instead of {expected:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_request_is_under_way_from_its_first_byte_to_the_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        becomes(address.port(), 0, 0);
        let mut client = TcpStream::connect(address).unwrap();
        let _other = TcpStream::connect(address).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        becomes(address.port(), 2, 0);
        for _ in 0..2 {
            client.write_all(b"question").unwrap();
            becomes(address.port(), 2, 1);
            server.read_exact(&mut [0; 8]).unwrap();
            becomes(address.port(), 2, 1);
            server.write_all(b"answer").unwrap();
            client.read_exact(&mut [0; 6]).unwrap();
            becomes(address.port(), 2, 0);
            // The clock of the kernel goes on.
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(client);
        drop(server);
        becomes(address.port(), 1, 0);
    }

    #[test]
    fn what_is_cut_short_is_no_answer() {
        let mut sockets = Sockets::default();
        let mut message = question(2, 80);
        message.resize(HEADER + SOCKET, 0);
        message[..4].copy_from_slice(&((HEADER + SOCKET) as u32).to_ne_bytes());
        assert_eq!(read(&message, &mut sockets), Some(false));
        assert_eq!(sockets, Sockets { connections: 1, requests: 0 });
        for length in 1..message.len() {
            assert_eq!(read(&message[..length], &mut sockets), None);
        }
        let mut endless = message.clone();
        endless.extend_from_slice(&[0; 8]);
        endless[..4].copy_from_slice(&((HEADER + SOCKET + 8) as u32).to_ne_bytes());
        assert_eq!(read(&endless, &mut sockets), None);
        assert_eq!(read(&[0; 16], &mut sockets), None);
    }
}
