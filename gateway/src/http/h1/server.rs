//! The client's end of HTTP/1: one connection, one exchange after the other.
//!
//! In: bytes. Out: requests, each with its body and a [`Responder`]; then the connection's fate. Invariant: a response that
//! did not end rightly ends the connection, in a way that the client cannot take for a complete one.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::decode::{Decoded, Decoder};
use super::encode::{self, Fate};
use super::framing::{Framing, has_no_body};
use super::io::Io;
use super::lines::Scan;
use super::parse::{self, ParsedRequest};
use crate::clock::{self, Deadline, Watchdog};
use crate::error::{Error, Kind, Phase, Retry, Side};
use crate::http::pump::Outlet;
use crate::http::tcp::{Departure, departure};
use crate::http::{
    Body, Control, Ending, Fields, FilePart, Frame, Method, RequestHead, ResponseHead, Scheme, Source, StatusCode,
    Version,
};
use crate::limits::Limits;

/// A client's connection.
pub struct Connection {
    shared: Rc<RefCell<State>>,
    scheme: Scheme,
    requests: u32,
    /// Why no request is served at all.
    refuses: Option<&'static str>,
}

/// A request that came in.
pub struct Received {
    /// What is asked.
    pub head: RequestHead,
    /// What comes with it.
    pub body: Body,
    /// How to answer.
    pub responder: Responder,
}

/// What comes next on a connection.
pub enum Next {
    /// A request.
    Request(Received),
    /// One that must not be served, to be answered with the error.
    Refused(Refused, Responder),
    /// Nothing.
    Over(Ending),
}

/// A request that must not be served.
pub struct Refused {
    /// Why.
    pub error: Error,
    /// What can be told of it; nothing may be decided by that.
    pub head: Option<Box<RequestHead>>,
}

/// The way to answer one request.
pub struct Responder {
    shared: Rc<RefCell<State>>,
}

/// What a connection carries after it changed its protocol.
pub struct Upgraded {
    shared: Rc<RefCell<State>>,
}

struct State {
    io: Io,
    request: Decoder,
    response: Response,
    /// The connection may carry another request.
    keep: bool,
    /// It could, were this not as many as there may be.
    last: bool,
    version: Version,
    is_head: bool,
    /// The client has not been told yet to send its body.
    expects_continue: bool,
    /// Since when the client is known to have shut down its sending side, or has waited so for the request's answer.
    half_closed: Option<Instant>,
    limits: Arc<Limits>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Response {
    Awaited,
    Body(Framing),
    Done,
    Upgraded,
}

struct RequestBody {
    shared: Rc<RefCell<State>>,
}

impl Connection {
    /// A connection that speaks HTTP/1.
    pub fn new(io: Io, scheme: Scheme, limits: Arc<Limits>) -> Connection {
        let state = State {
            io,
            request: Decoder::new(Framing::None, Side::Client),
            response: Response::Awaited,
            keep: true,
            last: false,
            version: Version::Http11,
            is_head: false,
            expects_continue: false,
            half_closed: None,
            limits,
        };
        Connection { shared: Rc::new(RefCell::new(state)), scheme, requests: 0, refuses: None }
    }

    /// Refuses whatever is asked, for this reason.
    pub fn refuse(&mut self, what: &'static str) {
        self.refuses = Some(what);
    }

    /// The next request, or why there is none.
    pub async fn next(&mut self, control: &Control, watchdog: &mut Watchdog) -> Next {
        self.requests += 1;
        let parsed = match self.head(control, watchdog).await {
            Ok(Ok(parsed)) => parsed,
            Ok(Err(ending)) => return Next::Over(ending),
            Err(refused) => {
                let mut state = self.shared.borrow_mut();
                state.response = Response::Awaited;
                state.keep = false;
                state.is_head = refused.head.as_ref().is_some_and(|head| head.method == Method::HEAD);
                return Next::Refused(refused, Responder { shared: self.shared.clone() });
            }
        };
        let mut state = self.shared.borrow_mut();
        state.request = Decoder::new(parsed.framing, Side::Client);
        state.response = Response::Awaited;
        state.last = self.requests >= state.limits.keepalive_requests && parsed.keep;
        state.keep = parsed.keep && !state.last;
        state.version = parsed.head.version;
        state.is_head = parsed.head.method == Method::HEAD;
        state.expects_continue = parsed.expects_continue;
        // The patience with a client that sends no more is for each of the requests that it sent before.
        state.half_closed = state.half_closed.map(|_| clock::coarse());
        let body = match state.request.is_done() {
            true => Body::Empty,
            false => Body::source(RequestBody { shared: self.shared.clone() }),
        };
        Next::Request(Received { head: parsed.head, body, responder: Responder { shared: self.shared.clone() } })
    }

    async fn head(
        &mut self,
        control: &Control,
        watchdog: &mut Watchdog,
    ) -> Result<Result<ParsedRequest, Ending>, Refused> {
        let limits = self.shared.borrow().limits.clone();
        let mut scan = Scan::default();
        let mut deadline = Deadline::after(limits.idle_time, Phase::Head, Side::Client);
        let mut begun = false;
        let mut judged = false;
        // A client that has just connected is about to send its first request: it has a moment for it even when we go.
        let mut leaving = false;
        let first = self.requests == 1;
        poll_fn(|cx| {
            let state = &mut *self.shared.borrow_mut();
            loop {
                if !begun && !state.io.read.is_empty() {
                    begun = true;
                    deadline = Deadline::after(limits.header_time, Phase::Head, Side::Client);
                }
                let refused = |error, bytes: &[u8]| {
                    let head = parse::sketch(bytes, self.scheme, &limits).map(Box::new);
                    Poll::Ready(Err(Refused { error, head }))
                };
                match scan.head(&state.io.read, &limits, Side::Client) {
                    Ok(None) if begun && !judged => match parse::opening(&state.io.read, scan.has_start_line()) {
                        Ok(sound) => judged = sound,
                        Err(what) => return refused(Error::client(Kind::Malformed(what)), &state.io.read),
                    },
                    Ok(None) => {}
                    Ok(Some(end)) => {
                        let bytes = state.io.read.get(end.start..end.end).unwrap_or_default();
                        let result = match parse::request(bytes, self.scheme, &limits) {
                            Ok(parsed) => match self.refuses {
                                None => Poll::Ready(Ok(Ok(parsed))),
                                Some(what) => refused(Error::client(Kind::Malformed(what)), bytes),
                            },
                            Err(error) => refused(error, bytes),
                        };
                        state.io.read.advance(end.end);
                        return result;
                    }
                    Err(error) => {
                        // What is no HTTP from its first byte on is not to be blamed for its lines.
                        let first = parse::opening(&state.io.read, false).err();
                        let error = first.map_or(error, |what| Error::client(Kind::Malformed(what)));
                        return refused(error, &state.io.read);
                    }
                }
                if !begun && control.poll_draining(cx) {
                    if !first {
                        return Poll::Ready(Ok(Err(Ending::Drained)));
                    }
                    if !leaving {
                        leaving = true;
                        deadline = Deadline::after(Control::GRACE, Phase::Head, Side::Client);
                    }
                }
                match state.io.poll_fill(cx) {
                    Poll::Ready(Ok(0) | Err(_)) if !begun => return Poll::Ready(Ok(Err(Ending::Client))),
                    Poll::Ready(Ok(0)) => return refused(Error::client(Kind::Truncated), &state.io.read),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => return refused(Error::io(&error, Side::Client), &state.io.read),
                    Poll::Pending => {
                        ready!(watchdog.poll_passed(deadline.at, cx));
                        return match (begun, leaving) {
                            (true, _) => refused(deadline.error(), &state.io.read),
                            (false, true) => Poll::Ready(Ok(Err(Ending::Drained))),
                            (false, false) => Poll::Ready(Ok(Err(Ending::Limit("idle_time")))),
                        };
                    }
                }
            }
        })
        .await
    }

    /// Ends one exchange. `None`: the connection is ready for another; else it is over.
    pub async fn finish(&mut self, watchdog: &mut Watchdog) -> Option<Ending> {
        let (keep, limits) = {
            let state = self.shared.borrow();
            (state.keep && state.response == Response::Done, state.limits.clone())
        };
        let deadline = Deadline::after(limits.body_idle_time.min(LINGER_TIME), Phase::BodyIdle, Side::Client);
        let mut ending = self.shared.borrow().ending();
        if keep {
            match watchdog.within(deadline, self.discard_body(&limits)).await {
                Ok(()) => return None,
                Err(error) => ending = unwanted(error).unwrap_or(Ending::Client),
            }
        }
        if matches!(self.shared.borrow().response, Response::Done | Response::Body(_))
            && let Err(error) = self.close(watchdog, deadline).await
        {
            ending = unwanted(error).unwrap_or(ending);
        }
        Some(ending)
    }

    /// Reads what is left of the request's body, when that is little.
    async fn discard_body(&mut self, limits: &Limits) -> Result<(), Error> {
        let mut left = limits.discard_size;
        let mut body = RequestBody { shared: self.shared.clone() };
        while let Some(frame) = poll_fn(|cx| body.poll_frame(cx)).await {
            if let Frame::Data(data) = frame? {
                left = left.checked_sub(data.len() as u64).ok_or(Error::client(Kind::BodyTooLarge))?;
            }
        }
        Ok(())
    }

    /// Closes so that the client can read what was sent: with input unread, the system would reset the connection and the
    /// client might lose our last bytes (RFC 9112 section 9.6).
    async fn close(&mut self, watchdog: &mut Watchdog, deadline: Deadline) -> Result<(), Error> {
        let mut left = self.shared.borrow().limits.discard_size;
        let linger = poll_fn(|cx| {
            let state = &mut *self.shared.borrow_mut();
            if matches!(state.response, Response::Body(Framing::UntilClose)) {
                // Cut short where only the end of the connection tells the end of the body.
                state.io.reset_on_close();
                return Poll::Ready(Ok(()));
            }
            let failed = |error: io::Error| Error::io(&error, Side::Client);
            ready!(state.io.poll_shutdown(cx)).map_err(failed)?;
            loop {
                let count = state.io.read.len() as u64;
                state.io.read.clear();
                left = left.checked_sub(count).ok_or(Error::client(Kind::BodyTooLarge))?;
                if ready!(state.io.poll_fill(cx)).map_err(failed)? == 0 {
                    return Poll::Ready(Ok(()));
                }
            }
        });
        watchdog.within(deadline, linger).await
    }
}

/// Why a connection ends whose client sends what nobody wants; `None` when it has just sent too little in time.
fn unwanted(error: Error) -> Option<Ending> {
    match error.kind {
        Kind::BodyTooLarge => Some(Ending::Limit("discard_size")),
        Kind::Timeout(_) | Kind::Truncated | Kind::Io => None,
        _ => Some(error.limit().map_or(Ending::Refused, Ending::Limit)),
    }
}

impl State {
    /// More requests wait here than are read ahead.
    fn is_far_ahead(&self) -> bool {
        self.half_closed.is_none() && self.request.is_done() && self.io.read.len() >= READ_AHEAD
    }

    /// Why the connection is over after this exchange, if it is.
    fn ending(&self) -> Ending {
        match self.response {
            _ if self.io.has_failed() => Ending::Client,
            Response::Done if self.last => Ending::Limit("keepalive_requests"),
            Response::Done | Response::Upgraded => Ending::Closed,
            Response::Awaited | Response::Body(_) => Ending::Broken,
        }
    }
}

/// How often a client is looked at of which nothing more is read.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);
/// How much of the next requests is read while one is answered, to see whether the client is still there.
const READ_AHEAD: usize = 4 * 1024;
/// How long a client that is told to go may go on sending.
const LINGER_TIME: std::time::Duration = std::time::Duration::from_secs(2);

impl Source for RequestBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        let state = &mut *self.shared.borrow_mut();
        loop {
            match state.request.decode(&mut state.io.read, &state.limits) {
                Ok(Decoded::Data(data)) => {
                    state.expects_continue = false;
                    return Poll::Ready(Some(Ok(Frame::Data(data))));
                }
                Ok(Decoded::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::Trailers(Box::new(trailers))))),
                Ok(Decoded::End) => return Poll::Ready(None),
                Ok(Decoded::More) => {}
                Err(error) => {
                    state.keep = false;
                    return Poll::Ready(Some(Err(error)));
                }
            }
            let error = match ready!(state.io.poll_fill(cx)) {
                Ok(0) => state.request.end_of_input().err(),
                Ok(_) => None,
                Err(error) => Some(Error::io(&error, Side::Client)),
            };
            if let Some(error) = error {
                state.keep = false;
                return Poll::Ready(Some(Err(Error { retry: Retry::Never, ..error })));
            }
        }
    }

    fn length(&self) -> Option<u64> {
        self.shared.borrow().request.remaining()
    }

    fn is_end(&self) -> bool {
        self.shared.borrow().request.is_done()
    }
}

impl Responder {
    /// Passes a 1xx response on. HTTP/1.0 knows none.
    pub fn inform(&mut self, head: &ResponseHead) {
        let state = &mut *self.shared.borrow_mut();
        if state.version == Version::Http10 || state.response != Response::Awaited {
            return;
        }
        if head.status == StatusCode::CONTINUE {
            state.expects_continue = false;
        }
        encode::informational(state.io.small(), head);
    }

    /// Begins the response. `length` is that of the body, when known. Whether the body is to be sent.
    pub fn head(&mut self, head: &ResponseHead, length: Option<u64>, keep: bool) -> bool {
        let state = &mut *self.shared.borrow_mut();
        let framing = match length {
            _ if state.is_head || has_no_body(&Method::GET, head.status) => Framing::None,
            Some(length) => Framing::Length(length),
            None if encode::takes_chunks(state.version) => Framing::Chunked,
            None => Framing::UntilClose,
        };
        // A client that was not told to send its body may send it or not: nobody can know what comes next.
        let owed = state.expects_continue && !state.request.is_done();
        state.keep &= keep && !owed && framing != Framing::UntilClose;
        let fate = match (state.keep, state.version) {
            (false, _) => Fate::Close,
            (true, Version::Http10) => Fate::KeepHttp10,
            (true, _) => Fate::Keep,
        };
        encode::response(state.io.small(), head, framing, fate);
        let has_body = !matches!(framing, Framing::None | Framing::Length(0));
        state.response = if has_body { Response::Body(framing) } else { Response::Done };
        has_body
    }

    /// Answers 101 and hands the connection over.
    pub fn upgrade(&mut self, head: &ResponseHead) -> Upgraded {
        let state = &mut *self.shared.borrow_mut();
        encode::response(state.io.small(), head, Framing::None, Fate::Upgrade);
        state.response = Response::Upgraded;
        state.keep = false;
        Upgraded { shared: self.shared.clone() }
    }

    /// Sends interim responses on, and looks whether the client is still there. One that will not send more may still read
    /// (RFC 9112 section 9.6), so only a broken connection tells for certain; see [`Responder::patience`].
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let state = &mut *self.shared.borrow_mut();
        if let Poll::Ready(Err(error)) = state.io.poll_flush(cx) {
            return Poll::Ready(client(error));
        }
        // As long as a body comes, whoever reads it learns of its end.
        while state.half_closed.is_none() && state.request.is_done() && state.io.read.len() < READ_AHEAD {
            match state.io.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0)) => state.half_closed = Some(clock::coarse()),
                // TLS that was not ended, below it the same.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    state.half_closed = Some(clock::coarse());
                }
                Poll::Ready(Err(error)) => return Poll::Ready(client(error)),
                Poll::Pending => break,
            }
        }
        if state.is_far_ahead() {
            match departure(state.io.stream().tcp()) {
                Some(Departure::Broken) => return Poll::Ready(Error::client(Kind::Io)),
                Some(Departure::HalfClosed) => state.half_closed = Some(clock::coarse()),
                None => {}
            }
        }
        Poll::Pending
    }

    /// When to look again at a client that has sent so much ahead that no more is read: nothing tells of its end then.
    pub fn look_again(&self) -> Option<Instant> {
        self.shared.borrow().is_far_ahead().then(|| clock::coarse() + LOOK_AGAIN)
    }

    /// Until when a client that shut down its sending side is believed to read on.
    pub fn patience(&self, moved: Option<Instant>) -> Option<Deadline> {
        let state = self.shared.borrow();
        let half_closed = state.half_closed?;
        let since = moved.map_or(half_closed, |moved| moved.max(half_closed));
        Some(Deadline { at: since + state.limits.half_close_time, phase: Phase::HalfClosed, side: Side::Client })
    }

    /// How much of the body that was handed over waits to be written.
    pub fn unsent(&self) -> u64 {
        self.shared.borrow().io.unsent()
    }

    /// Marks the response as broken: the connection ends without what would make it look complete.
    pub fn abort(&mut self) {
        self.shared.borrow_mut().keep = false;
    }
}

fn client(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::InvalidData {
        // What [`Io`] says of a part of a file.
        return Error::gateway(Kind::Internal("a file changed while it was sent"));
    }
    Error { retry: Retry::Never, ..Error::io(&error, Side::Client) }
}

impl Outlet for Responder {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        self.shared.borrow_mut().io.poll_ready(cx).map_ok(|()| usize::MAX).map_err(client)
    }

    fn data(&mut self, data: Bytes, last: bool) -> Result<(), Error> {
        let state = &mut *self.shared.borrow_mut();
        let Response::Body(framing) = &mut state.response else {
            return Err(Error::gateway(Kind::Internal("data outside a response body")));
        };
        write_data(&mut state.io, framing, data, last).map_err(Error::gateway)?;
        if last {
            state.response = Response::Done;
        }
        Ok(())
    }

    fn takes_parts(&self) -> bool {
        let state = self.shared.borrow();
        matches!(state.response, Response::Body(Framing::Length(_))) && state.io.takes_parts()
    }

    fn part(&mut self, part: FilePart) -> Result<(), Error> {
        let state = &mut *self.shared.borrow_mut();
        let Response::Body(Framing::Length(left)) = &mut state.response else {
            return Err(Error::gateway(Kind::Internal("a part of a file in another framing")));
        };
        let size = part.length as u64;
        *left = left.checked_sub(size).ok_or(Error::gateway(Kind::Internal("body longer than its length")))?;
        state.io.push_part(part);
        Ok(())
    }

    fn trailers(&mut self, trailers: &Fields) -> Result<(), Error> {
        let state = &mut *self.shared.borrow_mut();
        if let Response::Body(framing) = state.response {
            write_end(&mut state.io, framing, Some(trailers)).map_err(Error::gateway)?;
        }
        state.response = Response::Done;
        Ok(())
    }

    fn end(&mut self) -> Result<(), Error> {
        let state = &mut *self.shared.borrow_mut();
        if let Response::Body(framing) = state.response {
            write_end(&mut state.io, framing, None).map_err(Error::gateway)?;
        }
        state.response = Response::Done;
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.shared.borrow_mut().io.poll_flush(cx).map_err(client)
    }
}

/// Writes a piece of a body in its framing; never more than the length that was promised.
pub(super) fn write_data(io: &mut Io, framing: &mut Framing, data: Bytes, last: bool) -> Result<(), Kind> {
    match framing {
        Framing::Length(left) => {
            let size = data.len() as u64;
            *left = left.checked_sub(size).ok_or(Kind::Internal("body longer than its length"))?;
            if last && *left != 0 {
                return Err(Kind::Internal("body shorter than its length"));
            }
            io.push(data, b"");
        }
        Framing::Chunked => {
            encode::chunk_head(io.small(), data.len());
            io.push(data, if last { b"\r\n0\r\n\r\n" } else { b"\r\n" });
        }
        Framing::UntilClose => io.push(data, b""),
        Framing::None => return Err(Kind::Internal("data where there is no body")),
    }
    Ok(())
}

/// Writes what ends a body in its framing.
pub(super) fn write_end(io: &mut Io, framing: Framing, trailers: Option<&Fields>) -> Result<(), Kind> {
    match framing {
        Framing::Chunked => encode::last_chunk(io.small(), trailers),
        Framing::Length(left) if left > 0 => return Err(Kind::Internal("body shorter than its length")),
        Framing::Length(_) | Framing::UntilClose | Framing::None => {}
    }
    Ok(())
}

impl AsyncRead for Upgraded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.shared.borrow_mut().io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.shared.borrow_mut().io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.shared.borrow_mut().io), cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.shared.borrow_mut().io), cx)
    }
}
