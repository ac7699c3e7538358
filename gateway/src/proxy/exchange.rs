//! One request and everything that is known of it.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::forwarded::{Peer, RequestId};
use super::incoming::Received;
use super::plugins::Later;
use crate::balance::{Active, Endpoint, Stay};
use crate::cache::wishes::Wishes;
use crate::cache::{Entry, Told};
use crate::clock::{Deadline, Watchdog};
use crate::compress;
use crate::error::{Error, Kind};
use crate::http::{Body, Control, Duplex, RequestHead, Responder, ResponseHead, Scheme, StatusCode};
use crate::listener::Listener;
use crate::plugin::Part;
use crate::respond;
use crate::snapshot::CompiledRoute;
use crate::tls::TlsFacts;
use crate::worker::{View, Worker};

/// A client's connection.
pub struct Client {
    /// Who connected to us.
    pub peer: SocketAddr,
    /// Where the client is, as a PROXY header told; else the peer.
    pub source: SocketAddr,
    /// Where it connected to, as a PROXY header told; else our end.
    pub destination: SocketAddr,
    /// Whether it speaks TLS to us.
    pub scheme: Scheme,
    /// What is believed of it and said of it to upstreams.
    pub forwarded: Peer,
    /// What TLS told.
    pub tls: Option<TlsFacts>,
    /// By which listener it came.
    pub listener: Arc<Listener>,
}

/// One request on its way.
pub struct Exchange<'a> {
    /// Whose it is.
    pub worker: &'a Rc<Worker>,
    /// The configuration that it keeps to its end.
    pub view: Rc<View>,
    /// Whose request it is.
    pub client: &'a Rc<Client>,
    /// How the connection is told to end.
    pub control: &'a Control,
    /// The request, changed on its way.
    pub request: RequestHead,
    /// Its body, until an upstream has it.
    pub body: Body,
    /// Why it must not go further, when its head was already wrong.
    pub refused: Option<Error>,
    /// How it is answered.
    pub responder: Responder,
    /// The one timer.
    pub watchdog: &'a mut Watchdog,
    /// When all of it must be over.
    pub deadline: Option<Deadline>,
    /// What is told of it afterwards.
    pub facts: Facts,
}

/// What the log, the metrics and later stages are told of a request.
pub struct Facts {
    /// When its head was there.
    pub began: Instant,
    /// The head could be read, at least its method.
    pub known: bool,
    /// The scheme that the client used, as trusted proxies tell.
    pub scheme: Scheme,
    /// The client, as trusted proxies tell.
    pub client: IpAddr,
    /// Its name in logs and towards upstreams.
    pub request_id: RequestId,
    /// The target as the client sent it, when it was rewritten.
    pub original_target: Option<String>,
    /// The authority as the client sent it, when it was replaced.
    pub original_authority: Option<String>,
    /// Bytes of its body that came.
    pub bytes_in: Option<Rc<Received>>,
    /// The index of its route.
    pub route: Option<usize>,
    /// The index of its pool.
    pub pool: Option<usize>,
    /// Who answered.
    pub endpoint: Option<Arc<Endpoint>>,
    /// Its index in the pool, once it has answered.
    pub answered: Option<usize>,
    /// What it answered with.
    pub answer: Option<StatusCode>,
    /// From the last attempt's begin to the first byte of the response.
    pub latency: Duration,
    /// From its begin to the first byte of the upstream's response.
    pub first_byte: Option<Duration>,
    /// How often it was sent again.
    pub retries: u32,
    /// What became of a second endpoint that got it beside the first.
    pub hedge: Option<Hedged>,
    /// How long its body may be.
    pub body_limit: u64,
    /// What the client was told, once the head of its response is on its way.
    pub status: Option<StatusCode>,
    /// Bytes of the response's body that went to the client.
    pub bytes_out: Cell<u64>,
    /// What the cache had to do with it; `None` where there is none.
    pub cache: Option<Told>,
    /// What plugins want of the cache, if anything.
    pub wishes: Option<Box<Wishes>>,
    /// What plugins want done to its response, which is still to come.
    pub later: Option<Box<Later>>,
    /// Whether its response was compressed or decompressed here.
    pub recoded: Option<compress::Done>,
    /// What plugins say of it.
    pub tags: SmallVec<[(String, String); 2]>,
    /// Which versions of plugins on trial it took part in.
    pub parts: Vec<Part>,
    /// A random number of its own, by which it belongs to a share of all requests.
    pub draw: u32,
    /// What went wrong.
    pub error: Option<Error>,
    /// Whether all this has been told.
    pub told: bool,
}

/// What became of a request that a second endpoint got beside the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hedged {
    /// The second answered.
    Won,
    /// It did not.
    Lost,
}

/// A response, not sent yet.
pub struct Response {
    /// Its head.
    pub head: ResponseHead,
    /// Its body.
    pub body: Body,
    /// What it was made of, on a route that keeps and compresses.
    pub kept: Option<Arc<Entry>>,
    /// The upstream's connection, when it is to carry another protocol from now on.
    pub tunnel: Option<Box<dyn Duplex>>,
    /// Keeps the endpoint's count until the response is over.
    pub active: Option<Active>,
    /// The rights to be in the pool and at the endpoint, likewise.
    pub stays: [Option<Stay>; 2],
    /// Whether the client's connection may go on.
    pub keep: bool,
}

impl Facts {
    /// A request that comes in now.
    pub fn new(client: &Client) -> Facts {
        Facts {
            began: Instant::now(),
            known: true,
            scheme: client.scheme,
            client: client.source.ip(),
            request_id: RequestId::none(),
            original_target: None,
            original_authority: None,
            bytes_in: None,
            route: None,
            pool: None,
            endpoint: None,
            answered: None,
            answer: None,
            latency: Duration::ZERO,
            first_byte: None,
            retries: 0,
            hedge: None,
            body_limit: u64::MAX,
            status: None,
            bytes_out: Cell::new(0),
            cache: None,
            wishes: None,
            later: None,
            recoded: None,
            tags: SmallVec::new(),
            parts: Vec::new(),
            draw: fastrand::u32(..),
            error: None,
            told: false,
        }
    }

    /// Of a request that the gateway makes because of this one.
    pub fn beside(&self, client: &Client) -> Facts {
        Facts {
            scheme: self.scheme,
            client: self.client,
            request_id: self.request_id.clone(),
            original_target: self.original_target.clone(),
            original_authority: self.original_authority.clone(),
            route: self.route,
            body_limit: self.body_limit,
            wishes: self.wishes.clone(),
            tags: self.tags.clone(),
            parts: self.parts.clone(),
            draw: self.draw,
            ..Facts::new(client)
        }
    }

    /// Takes over what became of a request that was made because of this one, but for what is told of it elsewhere.
    pub fn adopt(&mut self, other: &mut Facts) {
        self.original_authority = self.original_authority.take().or(other.original_authority.take());
        self.pool = other.pool;
        self.endpoint = other.endpoint.clone();
        self.answer = other.answer;
        self.latency = other.latency;
        self.first_byte = other.first_byte;
        self.retries = other.retries;
        self.hedge = other.hedge;
        self.later = self.later.take().or(other.later.take());
        self.tags = other.tags.clone();
        self.parts = other.parts.clone();
    }

    /// Notes that a version on trial, or the one beside it, was asked about it.
    pub fn take_part(&mut self, part: Part) {
        match self.parts.iter_mut().find(|known| Arc::ptr_eq(&known.trial, &part.trial)) {
            Some(known) => known.by_candidate |= part.by_candidate,
            None => self.parts.push(part),
        }
    }

    /// Notes the route.
    pub fn enter<'v>(&mut self, view: &'v View, index: usize) -> Result<&'v CompiledRoute, Error> {
        self.route = Some(index);
        if let Some(received) = &self.bytes_in {
            received.enter(index);
        }
        view.snapshot.routes.get(index).ok_or(Error::gateway(Kind::Internal("no such route")))
    }
}

/// However an exchange ends, it is told of: also when its worker leaves before it is over.
impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if !self.facts.told {
            self.worker.cut_one();
            respond::cut(self);
        }
    }
}

impl Hedged {
    /// The word for it in the log.
    pub fn text(self) -> &'static str {
        match self {
            Hedged::Won => "won",
            Hedged::Lost => "lost",
        }
    }
}

impl Response {
    /// A response that lets the connection go on.
    pub fn new(head: ResponseHead, body: Body) -> Response {
        Response { head, body, kept: None, tunnel: None, active: None, stays: [None, None], keep: true }
    }
}
