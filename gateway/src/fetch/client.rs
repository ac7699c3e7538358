//! One GET after the other, over the gateway's own HTTP/1.1.
//!
//! In: an address. Out: the answer, whole, or why there is none. Bounds: the bytes of an answer, the redirects, and the time of
//! all that one client asks. What stands in `Authorization` is told to nobody but the server that was asked first.

use std::cell::OnceCell;
use std::future::poll_fn;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::address::Address;
use super::error::{FetchError, What};
use crate::config::model::{Timeouts, UpstreamProtocol, UpstreamTls as Settings};
use crate::http::h1::client::{Connection, Event, Park};
use crate::http::{Body, Fields, Frame, Method, RequestHead, ResponseHead, Scheme, Stream, Version, name};
use crate::limits::Limits;
use crate::tls::{self, UpstreamTls};

/// How often one is sent elsewhere.
const REDIRECTS: usize = 5;

/// Asks.
pub(super) struct Client<'a> {
    limits: Arc<Limits>,
    ca: Option<&'a Path>,
    /// Loaded with the first connection that needs it.
    tls: OnceCell<UpstreamTls>,
    /// When all of it must be over.
    deadline: Instant,
    /// Who may be asked without TLS.
    pub(super) plain: Plain,
}

/// Who may be asked without TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Plain {
    /// Nobody.
    Nobody,
    /// This machine.
    Loopback,
    /// Everybody, though it is dangerous.
    Everybody,
}

impl Plain {
    /// Whether this address may be asked.
    pub(super) fn takes(self, address: &Address) -> bool {
        !address.plain || self == Plain::Everybody || (self == Plain::Loopback && address.is_loopback())
    }
}

/// What is asked.
pub(super) struct Ask<'a> {
    /// Media types, as `Accept` has them.
    pub(super) accept: &'a str,
    /// `Authorization`.
    pub(super) authorization: Option<&'a str>,
    /// How many bytes an answer may have.
    pub(super) most: u64,
}

/// What is answered.
pub(super) struct Answer {
    /// By whom, behind all redirects.
    pub(super) address: Address,
    /// The status and the fields.
    pub(super) head: ResponseHead,
    /// The body; not read unless the status is 200.
    pub(super) body: Vec<u8>,
}

/// Connections are not kept.
struct Nowhere;

impl Park for Nowhere {
    fn park(&self, _: Box<Connection>) {}
}

impl Client<'_> {
    /// One whose time begins now.
    pub(super) fn new<'a>(limits: &Limits, ca: Option<&'a Path>, plain: Plain) -> Client<'a> {
        let deadline = Instant::now() + limits.plugin_download_time;
        Client { limits: Arc::new(limits.clone()), ca, tls: OnceCell::new(), deadline, plain }
    }

    /// Asks, and goes where it is sent.
    pub(super) async fn get(&self, address: &Address, ask: &Ask<'_>) -> Result<Answer, FetchError> {
        let answer = tokio::time::timeout_at(self.deadline, self.follow(address, ask)).await;
        answer.unwrap_or_else(|_| Err(What::Late(self.limits.plugin_download_time).at(address)))
    }

    async fn follow(&self, address: &Address, ask: &Ask<'_>) -> Result<Answer, FetchError> {
        let mut at = address.clone();
        for _ in 0..=REDIRECTS {
            let authorization = ask.authorization.filter(|_| at.is_of_same_origin(address));
            let answered = self.once(&at, &Ask { authorization, ..*ask }).await.map_err(|what| what.at(&at))?;
            if !matches!(answered.0.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                let (head, body) = answered;
                return Ok(Answer { address: at, head, body });
            }
            let location = answered.0.fields.text("location").unwrap_or_default();
            let next = at.join(location).filter(|next| self.plain.takes(next));
            at = next.ok_or_else(|| What::RedirectTo(location.chars().take(200).collect()).at(&at))?;
        }
        Err(What::Redirects(REDIRECTS).at(address))
    }

    async fn once(&self, address: &Address, ask: &Ask<'_>) -> Result<(ResponseHead, Vec<u8>), What> {
        let broken = |error: crate::error::Error| What::Broken(error.to_string());
        let stream = self.connect(address).await?;
        let head = request(address, ask).ok_or_else(|| What::Broken("it cannot be asked for".to_owned()))?;
        let connection = Box::new(Connection::new(stream));
        let mut exchange = connection.send(&head, Body::Empty, 0, self.limits.clone());
        let parsed = loop {
            match poll_fn(|cx| exchange.poll_event(cx)).await.map_err(broken)? {
                Event::Interim(_) => {}
                Event::Response(parsed) => break parsed,
            }
        };
        let mut bytes = Vec::new();
        if parsed.head.status.as_u16() == 200 {
            let mut body = exchange.into_body(parsed.framing, false, Rc::new(Nowhere));
            if body.length().is_some_and(|length| length > ask.most) {
                return Err(What::TooLarge(ask.most));
            }
            while let Some(frame) = body.frame().await {
                let Frame::Data(data) = frame.map_err(broken)? else { continue };
                if bytes.len() + data.len() > usize::try_from(ask.most).unwrap_or(usize::MAX) {
                    return Err(What::TooLarge(ask.most));
                }
                bytes.extend_from_slice(&data);
            }
        }
        Ok((parsed.head, bytes))
    }

    async fn connect(&self, address: &Address) -> Result<Stream, What> {
        let unreachable = |error: std::io::Error| What::NoConnection(error.to_string());
        let socket = address.socket().ok_or_else(|| What::NoConnection("it has no port that is one".to_owned()))?;
        let connecting = async {
            let addresses: Vec<_> = tokio::net::lookup_host(socket).await?.collect();
            TcpStream::connect(&*addresses).await
        };
        let tcp = tokio::time::timeout(Timeouts::CONNECT, connecting).await;
        let tcp = tcp.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map_err(unreachable)?;
        if address.plain {
            return Ok(Stream::cleartext(tcp));
        }
        let tls = match self.tls.get() {
            Some(tls) => tls,
            None => {
                let tls = self.load_tls()?;
                self.tls.get_or_init(|| tls)
            }
        };
        let connected = tls.connect(tcp, address.host()).await;
        connected
            .map(|(stream, _)| Stream::TlsClient(stream))
            .map_err(|error| What::Tls { why: tls::upstream_failure(&error), own: self.ca.is_some() })
    }

    fn load_tls(&self) -> Result<UpstreamTls, What> {
        let ca = self.ca.map(Path::to_owned);
        let settings = Settings { ca, name: None, certificate: None, accept_any: false };
        UpstreamTls::load(&settings, UpstreamProtocol::H1).map_err(|problem| What::Authorities(problem.to_string()))
    }
}

/// `None`: something of it cannot stand in a request.
fn request(address: &Address, ask: &Ask<'_>) -> Option<RequestHead> {
    let mut fields = Fields::new();
    fields.append(name::ACCEPT, ask.accept.as_bytes()).ok()?;
    // The hash is of the bytes as they are, so they are not to come packed.
    fields.append(name::ACCEPT_ENCODING, b"identity").ok()?;
    fields.append("user-agent", concat!("gatewright/", env!("CARGO_PKG_VERSION")).as_bytes()).ok()?;
    if let Some(authorization) = ask.authorization {
        fields.append(name::AUTHORIZATION, authorization.as_bytes()).ok()?;
    }
    Some(RequestHead {
        method: Method::GET,
        version: Version::Http11,
        scheme: if address.plain { Scheme::Http } else { Scheme::Https },
        authority: address.authority.clone(),
        target: address.target.clone(),
        upgrade: None,
        fields,
    })
}
