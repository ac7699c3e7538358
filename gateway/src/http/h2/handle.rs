//! What the user of a connection holds of one stream: its sending half, its body, or both as a tunnel.
//!
//! A handle that is dropped before its end resets the stream, so that what was cut short never looks complete.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::core::{Core, Ended};
use super::frame::Code;
use super::head::encode_response;
use super::settings::Role;
use super::stream::{Receiving, Sending};
use crate::error::{Error, Kind, Retry};
use crate::http::body::{Body, Frame, Source};
use crate::http::fields::Fields;
use crate::http::head::ResponseHead;

/// One handle of a stream.
pub(super) struct Part {
    pub(super) core: Rc<RefCell<Core>>,
    pub(super) key: usize,
}

impl Part {
    fn reset(&self, code: Code) {
        let mut core = self.core.borrow_mut();
        let error = Error::gateway(Kind::Reset(code.0));
        core.reset(self.key, code, error);
    }

    /// Resets the stream unless our half has ended, or its end is on its way.
    fn abandon(&self) {
        let mut core = self.core.borrow_mut();
        let code = match core.role {
            Role::Server => Code::INTERNAL_ERROR,
            Role::Client => Code::CANCEL,
        };
        let open = core.streams.get(self.key).is_some_and(|stream| {
            stream.sending == Sending::Head || (stream.sending == Sending::Body && stream.finish.is_none())
        });
        if open {
            core.reset(self.key, code, Error::gateway(Kind::Reset(code.0)));
        }
    }

    fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<Error> {
        let mut core = self.core.borrow_mut();
        let Some(stream) = core.streams.get_mut(self.key) else { return Poll::Ready(core.over()) };
        match stream.error {
            Some(error) => Poll::Ready(error),
            None => {
                stream.watcher = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut core = self.core.borrow_mut();
        if let Some(stream) = core.streams.get_mut(self.key) {
            stream.handles = stream.handles.saturating_sub(1);
        }
        core.release(self.key);
    }
}

/// Answers one request. Dropped without an answer, it resets the stream.
pub struct Responder {
    part: Option<Part>,
}

impl Responder {
    /// Without its part the stream is already reset.
    pub(super) fn new(part: Option<Part>) -> Responder {
        Responder { part }
    }

    /// Whether the stream was reset, so that no answer goes out any more.
    pub fn is_over(&self) -> bool {
        let Some(part) = &self.part else { return true };
        part.core.borrow().streams.get(part.key).is_none_or(|stream| stream.error.is_some())
    }

    /// Sends an interim response (100, 103, …).
    pub fn inform(&mut self, head: &ResponseHead) {
        if let Some(part) = &self.part {
            let mut core = part.core.borrow_mut();
            core.send_head(part.key, true, false, |encoder, out| encode_response(head, encoder, out));
        }
    }

    /// Sends the response's head; with `end`, there is no body. If the client is gone, the stream returned says so.
    pub fn send_head(mut self, head: &ResponseHead, end: bool) -> SendStream {
        if let Some(part) = &self.part {
            let mut core = part.core.borrow_mut();
            if let Some(stream) = core.streams.get_mut(part.key) {
                stream.succeeded = head.status.is_success();
                stream.tunnel &= stream.succeeded;
            }
            core.send_head(part.key, false, end, |encoder, out| encode_response(head, encoder, out));
        }
        SendStream { part: self.part.take() }
    }

    /// Resets the stream.
    pub fn reset(mut self, code: Code) {
        if let Some(part) = self.part.take() {
            part.reset(code);
        }
    }

    /// Waits until the client resets the stream or the connection ends.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        self.part.as_ref().map_or(Poll::Pending, |part| part.poll_reset(cx))
    }

    /// Waits until the client resets the stream or the connection ends.
    pub async fn gone(&mut self) -> Error {
        poll_fn(|cx| self.poll_reset(cx)).await
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            part.abandon();
        }
    }
}

/// The sending half of a stream, after its head. Dropped before its end, it resets the stream.
pub struct SendStream {
    part: Option<Part>,
}

impl SendStream {
    pub(super) fn new(part: Part) -> SendStream {
        SendStream { part: Some(part) }
    }

    /// Waits until data may be given: how many bytes can be sent at once, never 0. More may be given; it waits.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        match &self.part {
            Some(part) => part.core.borrow_mut().poll_ready(part.key, cx),
            None => Poll::Pending,
        }
    }

    /// Waits until data may be given: how many bytes can be sent at once, never 0.
    pub async fn ready(&mut self) -> Result<usize, Error> {
        poll_fn(|cx| self.poll_ready(cx)).await
    }

    /// Sends data; with `end`, the last. Does nothing on a stream that is over: [`SendStream::poll_ready`] says so.
    pub fn send_data(&mut self, bytes: Bytes, end: bool) {
        if let Some(part) = &self.part {
            part.core.borrow_mut().send_data(part.key, bytes, end);
        }
    }

    /// Ends the stream with trailer fields.
    pub fn send_trailers(&mut self, trailers: &Fields) {
        if let Some(part) = &self.part {
            part.core.borrow_mut().send_trailers(part.key, trailers);
        }
    }

    /// Waits until all that was given is written, with the end if it was given too. Without this, what a slow peer
    /// has no window for stays with the connection after the handle is gone.
    pub fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match &self.part {
            Some(part) => part.core.borrow_mut().poll_flushed(part.key, cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Waits until all that was given is written.
    pub async fn flushed(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flushed(cx)).await
    }

    /// Resets the stream.
    pub fn reset(mut self, code: Code) {
        if let Some(part) = self.part.take() {
            part.reset(code);
        }
    }

    /// Waits until the peer resets the stream or the connection ends.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        self.part.as_ref().map_or(Poll::Pending, |part| part.poll_reset(cx))
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            part.abandon();
        }
    }
}

/// The receiving half of a stream, as the source of a body.
pub(super) struct Receiver {
    part: Part,
}

impl Receiver {
    pub(super) fn new(part: Part) -> Receiver {
        Receiver { part }
    }
}

/// Takes the next frame of what arrived, and gives its window back.
fn poll_frame(core: &mut Core, key: usize, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
    let Some(stream) = core.streams.get_mut(key) else { return Poll::Ready(Some(Err(core.over()))) };
    if let Some(bytes) = stream.pop() {
        core.give(bytes.len());
        core.give_stream(key, bytes.len());
        return Poll::Ready(Some(Ok(Frame::Data(bytes))));
    }
    if let Some(trailers) = stream.trailers.take() {
        return Poll::Ready(Some(Ok(Frame::Trailers(trailers))));
    }
    match (stream.receiving, stream.error) {
        (Receiving::Ended, _) => Poll::Ready(None),
        (Receiving::Open, None) => {
            stream.reader = Some(cx.waker().clone());
            Poll::Pending
        }
        (_, error) => {
            let error = error.unwrap_or_else(|| core.peer_error(Kind::Truncated, Retry::Idempotent));
            Poll::Ready(Some(Err(error)))
        }
    }
}

impl Source for Receiver {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        poll_frame(&mut self.part.core.borrow_mut(), self.part.key, cx)
    }

    fn length(&self) -> Option<u64> {
        let core = self.part.core.borrow();
        let stream = core.streams.get(self.part.key)?;
        let here = stream.chunks.iter().map(Bytes::len).sum::<usize>() + stream.gathered.len();
        match stream.length_left {
            Some(left) => Some(left + here as u64),
            // Where trailers follow, a length would leave HTTP/1.1 no place for them.
            None if stream.receiving == Receiving::Ended && stream.trailers.is_none() => Some(here as u64),
            None => None,
        }
    }

    fn is_end(&self) -> bool {
        self.part.core.borrow().streams.get(self.part.key).is_some_and(|stream| stream.is_drained())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut core = self.part.core.borrow_mut();
        let key = self.part.key;
        let Some(stream) = core.streams.get_mut(key) else { return };
        stream.unwanted = true;
        stream.tunnel = false;
        stream.trailers = None;
        let open = stream.receiving == Receiving::Open;
        let unread = stream.discard();
        core.give(unread);
        // A client that wants no more of a response says so; a server answers first.
        if open && core.role == Role::Client {
            core.reset(key, Code::CANCEL, Error::gateway(Kind::Reset(Code::CANCEL.0)));
        } else {
            core.settle(key, Ended::Complete);
        }
    }
}

/// What a server says to a request that was sent.
#[derive(Debug)]
pub enum Event {
    /// An interim response; others follow.
    Informational(ResponseHead),
    /// The response.
    Response(ResponseHead, Body),
}

/// Waits for the response to one request. Dropped before it comes, it resets the stream.
pub struct Reply {
    part: Option<Part>,
}

impl Reply {
    pub(super) fn new(part: Part) -> Reply {
        Reply { part: Some(part) }
    }

    /// The next thing that the server says; an error after the response was taken.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        let Some(part) = &self.part else {
            return Poll::Ready(Err(Error::gateway(Kind::Internal("response taken twice"))));
        };
        let mut core = part.core.borrow_mut();
        let Some(stream) = core.streams.get_mut(part.key) else { return Poll::Ready(Err(core.over())) };
        let Some(head) = stream.heads.pop_front() else {
            return match stream.error {
                Some(error) => Poll::Ready(Err(error)),
                None => {
                    stream.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            };
        };
        if head.status.is_informational() {
            return Poll::Ready(Ok(Event::Informational(head)));
        }
        let body = whole_body(&mut core, part.key);
        drop(core);
        let body = match (body, self.part.take()) {
            (None, Some(part)) => Body::source(Receiver::new(part)),
            (body, _) => body.unwrap_or_default(),
        };
        Poll::Ready(Ok(Event::Response(head, body)))
    }

    /// The next thing that the server says.
    pub async fn event(&mut self) -> Result<Event, Error> {
        poll_fn(|cx| self.poll_event(cx)).await
    }
}

/// A body that is all here, in one piece, needs no handle.
fn whole_body(core: &mut Core, key: usize) -> Option<Body> {
    let stream = core.streams.get_mut(key)?;
    let one_piece = stream.chunks.len() + usize::from(!stream.gathered.is_empty()) <= 1;
    if stream.receiving != Receiving::Ended || stream.trailers.is_some() || !one_piece {
        return None;
    }
    let bytes = stream.pop().unwrap_or_default();
    core.give(bytes.len());
    Some(Body::full(bytes))
}

impl Drop for Reply {
    fn drop(&mut self) {
        let Some(part) = &self.part else { return };
        let mut core = part.core.borrow_mut();
        let Some(stream) = core.streams.get_mut(part.key) else { return };
        stream.heads.clear();
        if stream.receiving == Receiving::Open {
            core.reset(part.key, Code::CANCEL, Error::gateway(Kind::Reset(Code::CANCEL.0)));
        } else {
            stream.unwanted = true;
            let unread = stream.discard();
            core.give(unread);
            core.settle(part.key, Ended::Complete);
        }
    }
}

/// Both halves of a stream as one stream of bytes, for WebSocket and other tunnels (RFC 8441 section 5).
pub struct Tunnel {
    body: Body,
    send: SendStream,
    left: Bytes,
    ended: bool,
}

impl Tunnel {
    /// Joins the halves; DATA is all that both carry from here on.
    pub fn new(body: Body, send: SendStream) -> Tunnel {
        Tunnel { body, send, left: Bytes::new(), ended: false }
    }
}

fn broken(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}

impl AsyncRead for Tunnel {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.left.is_empty() {
            match std::task::ready!(this.body.poll_frame(cx)) {
                Some(Ok(Frame::Data(bytes))) => this.left = bytes,
                Some(Ok(Frame::Trailers(_))) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let taken = this.left.split_to(this.left.len().min(buf.remaining()));
        buf.put_slice(&taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = std::task::ready!(this.send.poll_ready(cx)).map_err(broken)?;
        let taken = buf.get(..buf.len().min(room)).unwrap_or(buf);
        this.send.send_data(Bytes::copy_from_slice(taken), false);
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().send.poll_flushed(cx).map_err(broken)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ended {
            this.ended = true;
            this.send.send_data(Bytes::new(), true);
        }
        this.send.poll_flushed(cx).map_err(broken)
    }
}
