//! Origins: one that speaks HTTP properly and answers by a function, and one whose bytes the test sends itself.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Map, Value, json};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::{Body, Raw, Wire, full, tls, within};

/// An origin that answers by a function.
pub(crate) struct Origin {
    address: SocketAddr,
    counts: Arc<Counts>,
    task: AbortHandle,
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

/// An origin whose connections the test accepts and speaks on.
pub(crate) struct RawOrigin {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Origin {
    /// One that answers so.
    pub(crate) async fn start<F>(wire: Wire, answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static) -> Origin
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Origin::listen("127.0.0.1:0", wire, answer).await
    }

    /// One that answers at all addresses of this machine.
    pub(crate) async fn start_everywhere<F>(
        wire: Wire,
        answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    ) -> Origin
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Origin::listen("0.0.0.0:0", wire, answer).await
    }

    async fn listen<F>(at: &str, wire: Wire, answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static) -> Origin
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind(at).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let counts = Arc::new(Counts::default());
        let acceptor = wire.is_tls().then(|| TlsAcceptor::from(tls::server(&[wire.alpn()])));
        let counting = counts.clone();
        let accepting = async move {
            let mut connections = JoinSet::new();
            loop {
                let (tcp, _) = listener.accept().await.expect("a connection");
                counting.connections.fetch_add(1, Ordering::Relaxed);
                let (answer, acceptor, counts) = (answer.clone(), acceptor.clone(), counting.clone());
                connections.spawn(async move {
                    let Some(raw) = greet(tcp, acceptor.as_ref()).await else { return };
                    let service = service_fn(move |request| {
                        counts.requests.fetch_add(1, Ordering::Relaxed);
                        let answering = answer(request);
                        async { Ok::<_, Infallible>(answering.await) }
                    });
                    let io = TokioIo::new(raw.into_stream());
                    // How a connection ends is for the test to see at the other end.
                    if wire.is_h2() {
                        let mut builder = http2::Builder::new(TokioExecutor::new());
                        let _ = builder.enable_connect_protocol().serve_connection(io, service).await;
                    } else {
                        let _ = http1::Builder::new().serve_connection(io, service).with_upgrades().await;
                    }
                });
            }
        };
        Origin { address, counts, task: tokio::spawn(accepting).abort_handle() }
    }

    /// One over HTTP/1.1 that tells what it saw; see [`echo`].
    pub(crate) async fn echo() -> Origin {
        Origin::start(Wire::H1, echo).await
    }

    /// One that answers every request with this text.
    pub(crate) async fn says(text: &'static str) -> Origin {
        Origin::start(Wire::H1, move |_| async move { Response::new(full(text)) }).await
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RawOrigin {
    pub(crate) async fn start() -> RawOrigin {
        RawOrigin { listener: TcpListener::bind("127.0.0.1:0").await.expect("a port"), tls: None }
    }

    /// At an IPv6 address; none where there is no IPv6.
    pub(crate) async fn start_v6() -> Option<RawOrigin> {
        Some(RawOrigin { listener: TcpListener::bind("[::1]:0").await.ok()?, tls: None })
    }

    /// Over TLS, with this protocol by ALPN.
    pub(crate) async fn start_tls(alpn: &str) -> RawOrigin {
        RawOrigin { tls: Some(TlsAcceptor::from(tls::server(&[alpn]))), ..RawOrigin::start().await }
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> Raw {
        let (tcp, _) = within("a connection to the origin", self.listener.accept()).await.expect("a connection");
        greet(tcp, self.tls.as_ref()).await.expect("a TLS handshake")
    }

    /// A connection that has been made, if there is one.
    pub(crate) async fn accepted(&self) -> Option<Raw> {
        // Asks the system itself: the runtime might not have looked yet.
        let (socket, _) = SockRef::from(&self.listener).accept().ok()?;
        socket.set_nonblocking(true).expect("a socket");
        greet(TcpStream::from_std(socket.into()).expect("a socket"), self.tls.as_ref()).await
    }

    /// Nobody has connected since the last [`RawOrigin::accept`].
    pub(crate) fn is_untouched(&self) {
        assert!(SockRef::from(&self.listener).accept().is_err(), "somebody connected to the origin");
    }
}

impl fmt::Display for RawOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.listener.local_addr().expect("an address").fmt(f)
    }
}

async fn greet(tcp: TcpStream, acceptor: Option<&TlsAcceptor>) -> Option<Raw> {
    match acceptor {
        Some(acceptor) => Some(Raw::new(acceptor.accept(tcp).await.ok()?)),
        None => Some(Raw::new(tcp)),
    }
}

/// Answers with what was seen, as JSON: method, target, version, headers (a list when there are several of a name), body,
/// trailers.
pub(crate) async fn echo(request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Response::new(full("the request was cut short")) };
    let trailers = body.trailers().map(fields);
    let seen = json!({
        "method": head.method.as_str(),
        "target": head.uri.path_and_query().map_or("", |target| target.as_str()),
        "authority": head.uri.authority().map(|authority| authority.as_str()),
        "version": format!("{:?}", head.version),
        "headers": fields(&head.headers),
        "trailers": trailers,
        "body": String::from_utf8_lossy(&body.to_bytes()),
    });
    Response::new(full(seen.to_string()))
}

fn fields(headers: &hyper::HeaderMap) -> Value {
    let mut object = Map::new();
    for name in headers.keys() {
        let mut values: Vec<Value> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into()).collect();
        let value = if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
        object.insert(name.to_string(), value);
    }
    Value::Object(object)
}
