//! How a request is answered, whichever protocol brought it.

use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::h1::framing::has_no_body;
use super::hygiene::is_framing;
use super::pump::Outlet;
use super::{Body, Fields, FilePart, Method, Nobody, ResponseHead, h1, h2};
use crate::clock::Deadline;
use crate::error::{Error, Kind};

/// A connection or stream that carries bytes both ways after it changed its protocol.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// The way to answer one request.
pub enum Responder {
    /// On an HTTP/1 connection.
    H1(h1::server::Responder),
    /// On an HTTP/2 stream.
    H2(StreamResponder),
    /// Not at all: nobody waits.
    Nobody(Nobody),
}

/// The way to answer on an HTTP/2 stream.
pub struct StreamResponder {
    state: State,
    is_head: bool,
}

enum State {
    Awaited(h2::Responder),
    Sending(h2::SendStream),
    Over,
}

impl Responder {
    /// For a request that came by HTTP/2.
    pub fn h2(responder: h2::Responder, method: &Method) -> Responder {
        Responder::H2(StreamResponder { state: State::Awaited(responder), is_head: *method == Method::HEAD })
    }

    /// Passes a 1xx response on, without what frames a message: it has no content (RFC 9110 section 8.6).
    pub fn inform(&mut self, mut head: ResponseHead) {
        head.fields.retain(|field, _| !is_framing(field));
        match self {
            Responder::H1(responder) => responder.inform(&head),
            Responder::H2(stream) => {
                if let State::Awaited(responder) = &mut stream.state {
                    responder.inform(&head);
                }
            }
            Responder::Nobody(nobody) => nobody.inform(head),
        }
    }

    /// Begins the response; `length` is that of the body, when known. `keep`: whether the connection may go on. Says whether the
    /// body is to be sent.
    pub fn head(&mut self, head: &ResponseHead, length: Option<u64>, keep: bool) -> Result<bool, Error> {
        match self {
            Responder::H1(responder) => Ok(responder.head(head, length, keep)),
            Responder::H2(stream) => {
                let method = if stream.is_head { Method::HEAD } else { Method::GET };
                let end = length == Some(0) || has_no_body(&method, head.status);
                stream.begin(head, end)?;
                Ok(!end)
            }
            Responder::Nobody(_) => Err(Error::gateway(NOBODY)),
        }
    }

    /// Whether nobody can be answered any more, since the stream was reset before a response began.
    pub fn is_over(&self) -> bool {
        match self {
            Responder::H2(StreamResponder { state: State::Awaited(responder), .. }) => responder.is_over(),
            Responder::H1(_) | Responder::H2(_) => false,
            Responder::Nobody(_) => true,
        }
    }

    /// Ends a response that broke, so that it cannot look complete.
    pub fn abort(&mut self) {
        match self {
            Responder::H1(responder) => responder.abort(),
            // Dropped before its end, the stream is reset.
            Responder::H2(stream) => stream.state = State::Over,
            Responder::Nobody(_) => {}
        }
    }

    /// Sends interim responses on. Ready when the client is known to have gone away.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        match self {
            Responder::H1(responder) => responder.poll_gone(cx),
            Responder::H2(stream) => match &mut stream.state {
                State::Awaited(responder) => responder.poll_reset(cx),
                State::Sending(sending) => sending.poll_reset(cx),
                State::Over => Poll::Pending,
            },
            Responder::Nobody(_) => Poll::Pending,
        }
    }

    /// Until when a client that will send no more is believed to read on, when it is such a one; `moved`: the last progress.
    pub fn patience(&self, moved: Option<Instant>) -> Option<Deadline> {
        match self {
            Responder::H1(responder) => responder.patience(moved),
            Responder::H2(_) | Responder::Nobody(_) => None,
        }
    }

    /// How much of the body that was handed over waits here to be written.
    pub fn unsent(&self) -> u64 {
        match self {
            Responder::H1(responder) => responder.unsent(),
            Responder::H2(_) | Responder::Nobody(_) => 0,
        }
    }

    /// When [`Responder::poll_gone`] wants to be asked again although nothing happened.
    pub fn look_again(&self) -> Option<Instant> {
        match self {
            Responder::H1(responder) => responder.look_again(),
            Responder::H2(_) | Responder::Nobody(_) => None,
        }
    }

    /// Answers the upgrade and hands the connection or stream over; `body` is what the client sends on a stream.
    pub fn upgrade(&mut self, head: &ResponseHead, body: Body) -> Result<Box<dyn Duplex>, Error> {
        match self {
            Responder::H1(responder) => Ok(Box::new(responder.upgrade(head))),
            Responder::H2(stream) => {
                stream.begin(head, false)?;
                match std::mem::replace(&mut stream.state, State::Over) {
                    State::Sending(sending) => Ok(Box::new(h2::Tunnel::new(body, sending))),
                    _ => Err(Error::gateway(TWICE)),
                }
            }
            Responder::Nobody(_) => Err(Error::gateway(NOBODY)),
        }
    }
}

const NOBODY: Kind = Kind::Internal("an answer to nobody");
const TWICE: Kind = Kind::Internal("a request is answered twice");

impl StreamResponder {
    fn begin(&mut self, head: &ResponseHead, end: bool) -> Result<(), Error> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Awaited(responder) => {
                self.state = State::Sending(responder.send_head(head, end));
                Ok(())
            }
            other => {
                self.state = other;
                Err(Error::gateway(TWICE))
            }
        }
    }

    fn sending(&mut self) -> Result<&mut h2::SendStream, Error> {
        match &mut self.state {
            State::Sending(sending) => Ok(sending),
            _ => Err(Error::gateway(Kind::Internal("a body before its head"))),
        }
    }
}

impl Outlet for Responder {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        match self {
            Responder::H1(responder) => responder.poll_ready(cx),
            Responder::H2(stream) => Outlet::poll_ready(stream.sending()?, cx),
            Responder::Nobody(_) => Poll::Ready(Err(Error::gateway(NOBODY))),
        }
    }

    fn data(&mut self, data: Bytes, last: bool) -> Result<(), Error> {
        match self {
            Responder::H1(responder) => responder.data(data, last),
            Responder::H2(stream) => stream.sending()?.data(data, last),
            Responder::Nobody(_) => Err(Error::gateway(NOBODY)),
        }
    }

    fn takes_parts(&self) -> bool {
        match self {
            Responder::H1(responder) => responder.takes_parts(),
            Responder::H2(_) | Responder::Nobody(_) => false,
        }
    }

    fn part(&mut self, part: FilePart) -> Result<(), Error> {
        match self {
            Responder::H1(responder) => responder.part(part),
            Responder::H2(_) | Responder::Nobody(_) => {
                Err(Error::gateway(Kind::Internal("a part of a file on a stream")))
            }
        }
    }

    fn trailers(&mut self, trailers: &Fields) -> Result<(), Error> {
        match self {
            Responder::H1(responder) => responder.trailers(trailers),
            Responder::H2(stream) => stream.sending()?.trailers(trailers),
            Responder::Nobody(_) => Err(Error::gateway(NOBODY)),
        }
    }

    fn end(&mut self) -> Result<(), Error> {
        match self {
            Responder::H1(responder) => responder.end(),
            Responder::H2(stream) => stream.sending()?.end(),
            Responder::Nobody(_) => Err(Error::gateway(NOBODY)),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self {
            Responder::H1(responder) => responder.poll_flush(cx),
            // The connection's own task writes.
            Responder::H2(_) => Poll::Ready(Ok(())),
            Responder::Nobody(_) => Poll::Ready(Ok(())),
        }
    }
}
