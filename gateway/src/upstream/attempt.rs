//! One attempt to have a request answered by one endpoint.
//!
//! In: the request with its body, and the times it may take. Out: the response, or what failed together with the body when
//! nothing of it was used. Interim responses go to the client as they come. A client that goes away ends the attempt.

use std::any::Any;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use super::connect::{self, ClientEnds};
use super::pool::PoolState;
use super::site::{Site, Turn};
use super::times::Times;
use super::waiter::Waiter;
use crate::clock::{Deadline, Watchdog};
use crate::config::model::UpstreamProtocol;
use crate::error::{Error, Kind, Phase, Retry, Side};
use crate::http::h1::client::{Connection, Event, Park};
use crate::http::h2;
use crate::http::pump::WaitingFor;
use crate::http::{Body, Duplex, RequestHead, ResponseHead, StatusCode};

/// What an attempt needs.
pub struct Attempt<'a, 'w> {
    /// The pool.
    pub pool: &'a Arc<PoolState>,
    /// Our connections to the picked endpoint.
    pub site: &'a Rc<Site>,
    /// The request as the endpoint is to see it.
    pub head: &'a RequestHead,
    /// Where interim responses go, and who may go away.
    pub waiter: &'a Waiter<'w>,
    /// A timer of its own.
    pub watchdog: &'a mut Watchdog,
    /// When all of it must be over.
    pub deadline: Option<Deadline>,
    /// How long things may take.
    pub times: Times,
    /// How long the request's body may be.
    pub body_limit: u64,
    /// The client's connection.
    pub client: ClientEnds,
    /// Counts a new connection until what it gives is dropped.
    pub counted: &'a dyn Fn() -> Box<dyn Any>,
    /// Whether a connection that was used before may be used.
    pub reuse: bool,
}

/// What an endpoint answered.
pub struct Reply {
    /// The response's head.
    pub head: ResponseHead,
    /// Its body.
    pub body: Body,
    /// The connection, when it changed its protocol.
    pub tunnel: Option<Box<dyn Duplex>>,
    /// Whether the connection had served another request before.
    pub reused: bool,
    /// When all of the request's body was sent, if it had one.
    pub sent: Option<Instant>,
}

/// What went wrong.
pub struct Failure {
    /// The error.
    pub error: Error,
    /// The request's body, when nothing of it was used.
    pub body: Option<Body>,
    /// Whether the connection had served another request before.
    pub reused: bool,
}

impl Failure {
    /// A connection that had been kept was found closed.
    pub fn is_stale(&self) -> bool {
        self.reused && self.error.kind == Kind::Closed
    }
}

enum Leased {
    H1(Box<Connection>),
    H2(h2::client::Handle),
}

impl Attempt<'_, '_> {
    /// Sends the request and waits for the response's head.
    pub async fn run(&mut self, body: Body) -> Result<Reply, Failure> {
        let client = self.client_key();
        let leased = match self.existing(client) {
            Some(leased) => Ok(leased),
            // Boxed: most find a connection, and all would have to have room for this.
            None => Box::pin(self.lease(client)).await,
        };
        match leased {
            Ok(Leased::H1(connection)) => self.over_h1(connection, body).await,
            Ok(Leased::H2(handle)) => Box::pin(self.over_h2(handle, body)).await,
            Err(error) => Err(Failure { error, body: Some(body), reused: false }),
        }
    }

    /// A connection that is given back, or a new one.
    async fn lease(&mut self, client: Option<SocketAddr>) -> Result<Leased, Error> {
        let deadline = Deadline::after(self.times.queue, Phase::Queue, Side::Gateway).or(self.deadline);
        let turn = self.site.wait_for_turn(client, self.reuse);
        let permit = match self.waiter.within(self.watchdog, deadline, turn).await? {
            Turn::Reuse(connection) => return Ok(Leased::H1(connection)),
            Turn::Share(handle) => return Ok(Leased::H2(handle)),
            Turn::Connect(permit) => permit,
        };
        let deadline = Deadline::after(self.times.connect, Phase::Connect, Side::Upstream).or(self.deadline);
        let (site, pool, ends, reuse, counted) = (self.site, self.pool, self.client, self.reuse, self.counted);
        let connecting = Box::pin(async move {
            // One connection serves many requests in HTTP/2: those that find none wait for the one that is being made.
            let may_share = site.speaks_h2.get().unwrap_or(pool.model.protocol == UpstreamProtocol::H2);
            let _one_at_a_time = if may_share { Some(site.connecting.lock().await) } else { None };
            if let Some(handle) = site.share(client).filter(|_| may_share && reuse) {
                return Ok(Leased::H2(handle));
            }
            let connected = connect::connect(&site.endpoint, pool, ends).await?;
            let held: Box<dyn Any> = Box::new((permit, counted()));
            site.speaks_h2.set(Some(connected.h2));
            if connected.h2 {
                let (handle, driver) = h2::client::start(connected.stream, bytes::BytesMut::new(), &pool.limits);
                tokio::task::spawn_local(driver);
                site.keep(handle.clone(), client, held);
                return Ok(Leased::H2(handle));
            }
            let mut connection = Box::new(Connection::new(connected.stream));
            connection.held = Some(held);
            connection.client = client;
            Ok(Leased::H1(connection))
        });
        let connected = self.waiter.within(self.watchdog, deadline, connecting).await;
        // A client that left says nothing of the endpoint.
        if connected.as_ref().err().is_none_or(|error| error.side == Side::Upstream) {
            pool.note_connection(&site.endpoint, connected.is_err());
        }
        connected
    }

    /// A connection that is there.
    fn existing(&self, client: Option<SocketAddr>) -> Option<Leased> {
        if !self.reuse {
            return None;
        }
        if self.site.speaks_h2.get() == Some(true)
            && let Some(handle) = self.site.share(client)
        {
            return Some(Leased::H2(handle));
        }
        self.site.reuse(client).map(Leased::H1)
    }

    /// A connection that told the upstream of one client serves that client only.
    fn client_key(&self) -> Option<SocketAddr> {
        self.pool.model.proxy_protocol.map(|_| self.client.source)
    }

    async fn over_h1(&mut self, connection: Box<Connection>, body: Body) -> Result<Reply, Failure> {
        let reused = connection.exchanges > 0;
        let limits = self.pool.limits.clone();
        let translated = self.head.upgrade.is_some().then(|| crate::http::upgrade::towards_h1(self.head)).flatten();
        let translated = translated.map(Box::new);
        let head = translated.as_deref().unwrap_or(self.head);
        let has_body = !body.is_end();
        let mut exchange = connection.send(head, body, self.body_limit, limits);
        let mut times = Wait::new(self.times, has_body);
        let deadline = self.deadline;
        let (waiter, watchdog) = (self.waiter, &mut *self.watchdog);
        let response = poll_fn(|cx| {
            loop {
                match exchange.poll_event(cx) {
                    Poll::Ready(Ok(Event::Interim(head))) => waiter.inform(head),
                    Poll::Ready(Ok(Event::Response(parsed))) => return Poll::Ready(Ok(parsed)),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        times.update(exchange.uploaded(), exchange.upload_waits_for());
                        return waiter.wait(watchdog, times.deadline.or(deadline), cx);
                    }
                }
            }
        })
        .await;
        let parsed = match response {
            Ok(parsed) => parsed,
            Err(error) => return Err(Failure { error, body: exchange.recover(), reused }),
        };
        if parsed.head.status == StatusCode::SWITCHING_PROTOCOLS {
            let asked = self.head.upgrade.as_deref();
            if asked.is_none() || parsed.upgrade.as_deref() != asked {
                let error = Error::upstream(Kind::Malformed("an upgrade that was not asked for"), Retry::Never);
                return Err(Failure { error, body: None, reused });
            }
            let tunnel: Box<dyn Duplex> = Box::new(exchange.into_upgraded());
            return Ok(Reply { head: parsed.head, body: Body::Empty, tunnel: Some(tunnel), reused, sent: None });
        }
        let park: Rc<dyn Park> = self.site.clone();
        let body = exchange.into_body(parsed.framing, parsed.keep, park);
        Ok(Reply { head: parsed.head, body, tunnel: None, reused, sent: times.sent })
    }

    async fn over_h2(&mut self, handle: h2::client::Handle, body: Body) -> Result<Reply, Failure> {
        let reused = !handle.is_new();
        let tunnel = self.head.upgrade.is_some();
        let queue = Deadline::after(self.times.queue, Phase::Queue, Side::Upstream).or(self.deadline);
        let ready = async {
            if tunnel {
                handle.settled().await?;
            }
            handle.ready().await
        };
        if let Err(error) = self.waiter.within(self.watchdog, queue, ready).await {
            return Err(Failure { error, body: Some(body), reused });
        }
        if tunnel && !handle.extended_connect() {
            let error = Error::upstream(Kind::Malformed("the upstream takes no extended CONNECT"), Retry::Never);
            return Err(Failure { error, body: None, reused });
        }
        let translated = tunnel.then(|| crate::http::upgrade::towards_h2(self.head)).flatten();
        let head = translated.as_ref().unwrap_or(self.head);
        let has_body = !tunnel && !body.is_end();
        let mut exchange = match h2::exchange::Exchange::send(&handle, head, body, self.body_limit) {
            Ok(exchange) => exchange,
            Err((error, body)) => return Err(Failure { error, body: Some(body), reused }),
        };
        let mut times = Wait::new(self.times, has_body);
        let deadline = self.deadline;
        let (waiter, watchdog) = (self.waiter, &mut *self.watchdog);
        let response = poll_fn(|cx| {
            loop {
                match exchange.poll_event(tunnel, cx) {
                    Poll::Ready(Ok(h2::Event::Informational(head))) => waiter.inform(head),
                    Poll::Ready(Ok(h2::Event::Response(head, body))) => return Poll::Ready(Ok((head, body))),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        let uploaded = if tunnel { (0, true) } else { exchange.uploaded() };
                        times.update(uploaded, exchange.upload_waits_for());
                        return waiter.wait(watchdog, times.deadline.or(deadline), cx);
                    }
                }
            }
        })
        .await;
        match response {
            Ok((head, body)) if tunnel && head.status.is_success() => {
                let tunnel = exchange.into_tunnel(body).map(|tunnel| Box::new(tunnel) as Box<dyn Duplex>);
                Ok(Reply { head, body: Body::Empty, tunnel, reused, sent: None })
            }
            Ok((head, body)) => {
                let body = exchange.into_body(body);
                Ok(Reply { head, body, tunnel: None, reused, sent: times.sent })
            }
            Err(error) => Err(Failure { error, body: exchange.recover(), reused }),
        }
    }
}

/// Which time runs while a response is waited for: that of the request's body, then that of the first byte.
struct Wait {
    times: Times,
    uploaded: (u64, bool),
    deadline: Deadline,
    has_body: bool,
    sent: Option<Instant>,
}

impl Wait {
    fn new(times: Times, has_body: bool) -> Wait {
        let deadline = Deadline::after(times.idle_body, Phase::BodyIdle, Side::Client);
        Wait { times, uploaded: (0, false), deadline, has_body, sent: None }
    }

    fn update(&mut self, uploaded: (u64, bool), waits_for: WaitingFor) {
        let side = if waits_for == WaitingFor::Source { Side::Client } else { Side::Upstream };
        if uploaded == self.uploaded && (uploaded.1 || side == self.deadline.side) {
            return;
        }
        if uploaded.1 && self.has_body {
            self.sent.get_or_insert_with(Instant::now);
        }
        self.uploaded = uploaded;
        self.deadline = match uploaded {
            (_, true) => Deadline::after(self.times.first_byte, Phase::FirstByte, Side::Upstream),
            (_, false) => Deadline::after(self.times.idle_body, Phase::BodyIdle, side),
        };
    }
}
