//! An endpoint that goes bad when the test says so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::eventually;

/// An endpoint whose mood the test sets. It tells checks from requests of clients, and counts the latter.
pub(crate) struct Moody {
    pub(crate) address: String,
    mood: Arc<AtomicUsize>,
    served: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    task: AbortHandle,
}

/// How an endpoint behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mood {
    /// Answers 200.
    Well,
    /// Answers 500 to clients and to checks.
    Failing,
    /// Answers 500 to clients only.
    FailingClients,
    /// Accepts, reads, and never answers.
    Hung,
    /// Closes connections as they come.
    Closing,
    /// Closes in the middle of the body of its answers to clients.
    Breaking,
    /// Takes its time for clients.
    Slow,
    /// Answers 500 to two requests of clients, then 200 to two, and so on.
    Flapping,
}

const MOODS: [Mood; 8] = [
    Mood::Well,
    Mood::Failing,
    Mood::FailingClients,
    Mood::Hung,
    Mood::Closing,
    Mood::Breaking,
    Mood::Slow,
    Mood::Flapping,
];

impl Moody {
    pub(crate) async fn start() -> Moody {
        Moody::at("127.0.0.1:0").await
    }

    /// One that listens there.
    pub(crate) async fn at(address: &str) -> Moody {
        Moody::on(TcpListener::bind(address).await.expect("a port"))
    }

    fn on(listener: TcpListener) -> Moody {
        let address = listener.local_addr().expect("an address").to_string();
        let [mood, served, failed] = [const { AtomicUsize::new(0) }; 3].map(Arc::new);
        let (set, count, bad) = (mood.clone(), served.clone(), failed.clone());
        let accepting = async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((tcp, _)) = listener.accept().await else { continue };
                connections.spawn(converse(tcp, set.clone(), count.clone(), bad.clone()));
            }
        };
        Moody { address, mood, served, failed, task: tokio::spawn(accepting).abort_handle() }
    }

    pub(crate) fn becomes(&self, mood: Mood) {
        let at = MOODS.iter().position(|one| *one == mood).expect("a mood");
        self.mood.store(at, Ordering::Relaxed);
    }

    /// Requests of clients so far.
    pub(crate) fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    /// Those of them that it answered with 500.
    pub(crate) fn failed(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }

    /// Its process ends: the port is closed, and so is every connection. The port stays reserved, so that nobody else gets it.
    pub(crate) async fn dies(&self) -> Socket {
        self.task.abort();
        let address: SocketAddr = self.address.parse().expect("an address");
        let mut reserved = None;
        let free = async || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.set_reuse_address(true).expect("a socket");
            reserved = socket.bind(&address.into()).is_ok().then_some(socket);
            reserved.is_some()
        };
        eventually("a closed port", free).await;
        reserved.expect("a socket")
    }

    /// It is started again.
    pub(crate) fn back(reserved: Socket) -> Moody {
        reserved.listen(128).and_then(|()| reserved.set_nonblocking(true)).expect("a socket");
        Moody::on(TcpListener::from_std(reserved.into()).expect("a socket"))
    }
}

impl Drop for Moody {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(mut tcp: TcpStream, mood: Arc<AtomicUsize>, served: Arc<AtomicUsize>, failed: Arc<AtomicUsize>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mood = || MOODS[mood.load(Ordering::Relaxed)];
    if mood() == Mood::Closing {
        return;
    }
    let mut read = Vec::new();
    loop {
        while !read.windows(4).any(|end| end == b"\r\n\r\n") {
            if !matches!(tcp.read_buf(&mut read).await, Ok(1..)) {
                return;
            }
        }
        let is_check = read.starts_with(b"GET /healthz");
        read.clear();
        let before = if is_check { 0 } else { served.fetch_add(1, Ordering::Relaxed) };
        let answer = match (mood(), is_check) {
            (Mood::Well, _) | (Mood::FailingClients | Mood::Breaking | Mood::Slow | Mood::Flapping, true) => "200 OK",
            (Mood::Failing | Mood::FailingClients, _) => "500 Internal Server Error",
            (Mood::Hung, _) => std::future::pending().await,
            (Mood::Closing, _) => return,
            (Mood::Breaking, false) => {
                let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart").await;
                return;
            }
            (Mood::Slow, false) => {
                tokio::time::sleep(Duration::from_millis(60)).await;
                "200 OK"
            }
            (Mood::Flapping, false) if before % 4 < 2 => "500 Internal Server Error",
            (Mood::Flapping, false) => "200 OK",
        };
        if answer.starts_with("500") && !is_check {
            failed.fetch_add(1, Ordering::Relaxed);
        }
        if tcp.write_all(format!("HTTP/1.1 {answer}\r\nContent-Length: 2\r\n\r\nhi").as_bytes()).await.is_err() {
            return;
        }
    }
}
