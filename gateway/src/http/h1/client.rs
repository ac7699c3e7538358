//! The upstream's end of HTTP/1: one connection, one exchange at a time.
//!
//! In: a request head and its body. Out: interim responses, then the response with its body. Invariant: a connection goes back
//! to where it is kept only when both messages on it are complete and nothing else was read; it is dropped otherwise.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};

use super::decode::{Decoded, Decoder};
use super::encode;
use super::framing::Framing;
use super::io::Io;
use super::lines::Scan;
use super::parse::{self, ParsedResponse};
use super::server::{write_data, write_end};
use crate::error::{Error, Kind, Retry, Side};
use crate::http::pump::{Outlet, Pump, WaitingFor};
use crate::http::{Body, Fields, Frame, Method, RequestHead, ResponseHead, Source, StatusCode, Stream};
use crate::limits::Limits;

/// Interim responses to one request; an upstream that sends more is broken.
const MOST_INTERIM: u32 = 16;

/// A connection to an upstream, between exchanges.
pub struct Connection {
    io: Io,
    /// When it stood.
    pub since: Instant,
    /// How many exchanges it carried.
    pub exchanges: u32,
    /// The one client that it may serve, where the upstream was told of one.
    pub client: Option<SocketAddr>,
    /// What is given back when it goes: its count, and the right to have it where that is limited.
    pub held: Option<Box<dyn Any>>,
}

/// Where a connection goes when its exchange is over.
pub trait Park {
    /// Takes a connection that can carry another exchange.
    fn park(&self, connection: Box<Connection>);
}

/// One request on its way, until its response's head is there.
pub struct Exchange {
    connection: Box<Connection>,
    upload: Upload,
    scan: Scan,
    method: Method,
    interim: u32,
    limits: Arc<Limits>,
}

/// What an upstream said.
pub enum Event {
    /// A 1xx other than 101.
    Interim(ResponseHead),
    /// The response, or 101.
    Response(ParsedResponse),
}

struct Upload {
    body: Body,
    framing: Framing,
    pump: Pump,
    state: UploadState,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum UploadState {
    Running,
    Done,
    /// The upstream does not take more; its response may still come.
    Refused,
}

struct ResponseBody {
    /// `None` when it is over.
    connection: Option<Box<Connection>>,
    decoder: Decoder,
    upload: Upload,
    keep: bool,
    park: Rc<dyn Park>,
    limits: Arc<Limits>,
}

struct Wire<'a> {
    io: &'a mut Io,
    framing: &'a mut Framing,
}

impl Connection {
    /// A connection that stands.
    pub fn new(stream: Stream) -> Connection {
        Connection {
            io: Io::new(stream, BytesMut::new()),
            since: Instant::now(),
            exchanges: 0,
            client: None,
            held: None,
        }
    }

    /// The transport.
    pub fn stream(&self) -> &Stream {
        self.io.stream()
    }

    /// Whether the upstream left it open and said nothing. Costs no system call while nothing happened.
    pub fn is_alive(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.io.read.is_empty() && self.io.poll_fill(&mut cx).is_pending()
    }

    /// Begins an exchange.
    pub fn send(mut self: Box<Self>, head: &RequestHead, body: Body, body_limit: u64, limits: Arc<Limits>) -> Exchange {
        let framing = match body.length() {
            Some(0) if body.is_end() => Framing::None,
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        };
        self.exchanges += 1;
        encode::request(self.io.small(), head, framing);
        let state = if framing == Framing::None { UploadState::Done } else { UploadState::Running };
        let upload = Upload { body, framing, pump: Pump::limited(body_limit), state };
        let method = head.method.clone();
        Exchange { connection: self, upload, scan: Scan::default(), method, interim: 0, limits }
    }
}

impl Upload {
    /// Sends what can be sent. An error is the client's; the upstream's own are told by what it answers.
    fn poll(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Result<(), Error> {
        if self.state != UploadState::Running {
            // The head of a request without a body, or what is left in the buffer.
            if self.state == UploadState::Done && !io.is_flushed() && matches!(io.poll_flush(cx), Poll::Ready(Err(_))) {
                self.state = UploadState::Refused;
            }
            return Ok(());
        }
        let mut wire = Wire { io, framing: &mut self.framing };
        match self.pump.poll(&mut self.body, &mut wire, cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.state = UploadState::Done,
            Poll::Ready(Err(error)) if error.side == Side::Upstream => self.state = UploadState::Refused,
            Poll::Ready(Err(error)) => return Err(error),
        }
        Ok(())
    }
}

impl Exchange {
    /// The next thing that the upstream says; sends the request's body meanwhile.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        self.upload.poll(&mut self.connection.io, cx)?;
        let io = &mut self.connection.io;
        loop {
            if !io.read.is_empty() {
                if !b"HTTP/1.".starts_with(io.read.get(..7).unwrap_or(&io.read)) {
                    return Poll::Ready(Err(Error::upstream(Kind::Malformed("not an HTTP/1 response"), Retry::Never)));
                }
                if let Some(end) = self.scan.head(&io.read, &self.limits, Side::Upstream)? {
                    let parsed = parse::response(&io.read[end.start..end.end], &self.method)?;
                    io.read.advance(end.end);
                    self.scan = Scan::default();
                    return Poll::Ready(self.event(parsed));
                }
            }
            match ready!(io.poll_fill(cx)) {
                Ok(0) if io.read.is_empty() => {
                    return Poll::Ready(Err(Error::upstream(Kind::Closed, Retry::Idempotent)));
                }
                Ok(0) => return Poll::Ready(Err(Error::upstream(Kind::Truncated, Retry::Idempotent))),
                Ok(_) => {}
                // A peer that closed before it read everything resets the connection.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Poll::Ready(Err(Error::upstream(Kind::Closed, Retry::Idempotent)));
                }
                Err(error) => return Poll::Ready(Err(Error::io(&error, Side::Upstream))),
            }
        }
    }

    fn event(&mut self, parsed: ParsedResponse) -> Result<Event, Error> {
        let status = parsed.head.status;
        if status == StatusCode::SWITCHING_PROTOCOLS || !status.is_informational() {
            return Ok(Event::Response(parsed));
        }
        self.interim += 1;
        if self.interim > MOST_INTERIM {
            return Err(Error::upstream(Kind::Malformed("too many interim responses"), Retry::Never));
        }
        Ok(Event::Interim(parsed.head))
    }

    /// How many bytes of the request's body were sent, and whether it is all of it.
    pub fn uploaded(&self) -> (u64, bool) {
        (self.upload.pump.moved, self.upload.state != UploadState::Running)
    }

    /// Whom the upload waits for.
    pub fn upload_waits_for(&self) -> WaitingFor {
        self.upload.pump.waiting_for
    }

    /// The request's body, when nothing of it was taken, so that it can be sent elsewhere.
    pub fn recover(self) -> Option<Body> {
        // What said 100 has seen the request.
        (self.interim == 0
            && self.upload.pump.moved == 0
            && !(self.upload.framing == Framing::Chunked && self.upload.body.is_end()))
        .then_some(self.upload.body)
    }

    /// The response's body. The connection goes to `park` when it is complete.
    pub fn into_body(self, framing: Framing, keep: bool, park: Rc<dyn Park>) -> Body {
        let decoder = Decoder::new(framing, Side::Upstream);
        let mut body = ResponseBody {
            connection: Some(self.connection),
            decoder,
            upload: self.upload,
            keep,
            park,
            limits: self.limits,
        };
        if body.upload.state != UploadState::Done {
            return Body::source(body);
        }
        // A small response has mostly come with its head: its connection is free before it is passed on.
        if let (Some(length @ 1..), Some(connection)) = (body.decoder.remaining(), &mut body.connection)
            && connection.io.read.len() as u64 >= length
            && let Ok(Decoded::Data(data)) = body.decoder.decode(&mut connection.io.read, &body.limits)
        {
            body.finish();
            return Body::Full(data);
        }
        if body.decoder.is_done() {
            body.finish();
            return Body::Empty;
        }
        Body::source(body)
    }

    /// The connection after a 101.
    pub fn into_upgraded(self) -> Io {
        self.connection.io
    }
}

impl ResponseBody {
    fn finish(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let complete = self.upload.state == UploadState::Done && connection.io.is_flushed();
        if self.keep && complete && connection.io.read.is_empty() {
            connection.io.give_back();
            self.park.park(connection);
        }
    }
}

impl Source for ResponseBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
        self.upload.poll(&mut connection.io, cx)?;
        loop {
            match self.decoder.decode(&mut connection.io.read, &self.limits)? {
                Decoded::Data(data) => {
                    if self.decoder.is_done() {
                        self.finish();
                    }
                    return Poll::Ready(Some(Ok(Frame::Data(data))));
                }
                Decoded::Trailers(trailers) => {
                    self.finish();
                    return Poll::Ready(Some(Ok(Frame::Trailers(Box::new(trailers)))));
                }
                Decoded::End => {
                    self.finish();
                    return Poll::Ready(None);
                }
                Decoded::More => {}
            }
            match ready!(connection.io.poll_fill(cx)) {
                Ok(0) => self.decoder.end_of_input()?,
                Ok(_) => {}
                Err(error) => {
                    let error = Error { retry: Retry::Never, ..Error::io(&error, Side::Upstream) };
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    fn length(&self) -> Option<u64> {
        self.decoder.remaining()
    }

    fn is_end(&self) -> bool {
        self.decoder.is_done()
    }
}

fn upstream(error: io::Error) -> Error {
    Error::io(&error, Side::Upstream)
}

impl Outlet for Wire<'_> {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        self.io.poll_ready(cx).map_ok(|()| usize::MAX).map_err(upstream)
    }

    fn data(&mut self, data: Bytes, last: bool) -> Result<(), Error> {
        write_data(self.io, self.framing, data, last).map_err(Error::gateway)
    }

    fn trailers(&mut self, trailers: &Fields) -> Result<(), Error> {
        write_end(self.io, *self.framing, Some(trailers)).map_err(Error::gateway)
    }

    fn end(&mut self) -> Result<(), Error> {
        write_end(self.io, *self.framing, None).map_err(Error::gateway)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.io.poll_flush(cx).map_err(upstream)
    }
}
