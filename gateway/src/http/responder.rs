//! How a request is answered, whichever protocol brought it.

use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::pump::Outlet;
use super::{Fields, ResponseHead, h1, h2};
use crate::error::Error;

/// A connection or stream that carries bytes both ways after it changed its protocol.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// The way to answer one request.
pub enum Responder {
    /// On an HTTP/1 connection.
    H1(h1::server::Responder),
    /// On an HTTP/2 stream.
    H2(h2::server::Responder),
}

impl Responder {
    /// Passes a 1xx response on.
    pub fn inform(&mut self, head: &ResponseHead) {
        match self {
            Responder::H1(responder) => responder.inform(head),
            Responder::H2(responder) => responder.inform(head),
        }
    }

    /// Begins the response; `length` is that of the body, when known. `keep`: whether the connection may go on. Says whether the
    /// body is to be sent.
    pub fn head(&mut self, head: &ResponseHead, length: Option<u64>, keep: bool) -> Result<bool, Error> {
        match self {
            Responder::H1(responder) => Ok(responder.head(head, length, keep)),
            Responder::H2(responder) => responder.head(head, length),
        }
    }

    /// Ends a response that broke, so that it cannot look complete.
    pub fn abort(&mut self) {
        match self {
            Responder::H1(responder) => responder.abort(),
            Responder::H2(responder) => responder.abort(),
        }
    }

    /// Sends interim responses on. Ready when the client is known to have gone away.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        match self {
            // A client that will not send more may still read (RFC 9112 section 9.6), so only a failing write tells.
            Responder::H1(responder) => match responder.poll_flush(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(error),
                _ => Poll::Pending,
            },
            Responder::H2(responder) => responder.poll_gone(cx),
        }
    }

    /// Answers the upgrade and hands the connection or stream over.
    pub fn upgrade(self, head: &ResponseHead, body: super::Body) -> Result<Box<dyn Duplex>, Error> {
        match self {
            Responder::H1(responder) => Ok(Box::new(responder.upgrade(head))),
            Responder::H2(responder) => Ok(Box::new(responder.upgrade(head, body)?)),
        }
    }
}

macro_rules! each {
    ($responder:expr, $inner:ident => $call:expr) => {
        match $responder {
            Responder::H1($inner) => $call,
            Responder::H2($inner) => $call,
        }
    };
}

impl Outlet for Responder {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        each!(self, inner => inner.poll_ready(cx))
    }

    fn data(&mut self, data: Bytes, last: bool) -> Result<(), Error> {
        each!(self, inner => inner.data(data, last))
    }

    fn trailers(&mut self, trailers: &Fields) -> Result<(), Error> {
        each!(self, inner => inner.trailers(trailers))
    }

    fn end(&mut self) -> Result<(), Error> {
        each!(self, inner => inner.end())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        each!(self, inner => inner.poll_flush(cx))
    }
}
