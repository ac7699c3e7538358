//! The client end: requests go in through a [`Handle`], a [`Driver`] moves the bytes.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::BytesMut;

use super::core::{Core, Phase};
use super::frame::Code;
use super::handle::{Event, Part, Reply, SendStream};
use super::head::encode_request;
use super::io::{Io, Turn};
use super::settings::{MAX_WINDOW, Role};
use super::stream::Stream as Exchange;
use crate::error::{Bound, Error, Kind, Retry};
use crate::http::head::{Method, RequestHead, Scheme};
use crate::http::stream::Stream;
use crate::limits::{Hits, Limits};

/// Begins a connection to a server that speaks HTTP/2. The driver must be spawned on the same thread.
pub fn start(stream: Stream, read_so_far: BytesMut, limits: &Limits) -> (Handle, Driver) {
    let scheme = if stream.is_tls() { Scheme::Https } else { Scheme::Http };
    let mut core = Core::new(Role::Client, scheme, limits, Instant::now());
    core.handles = 1;
    let core = Rc::new(RefCell::new(core));
    (Handle { core: Rc::clone(&core) }, Driver { core, io: Io::new(stream, read_so_far, Role::Client) })
}

/// Does the reading and writing of one connection; ends when the connection does.
pub struct Driver {
    core: Rc<RefCell<Core>>,
    io: Io,
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        match std::task::ready!(this.io.poll(&this.core, cx)) {
            Turn::Over | Turn::Incoming => Poll::Ready(()),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let mut core = self.core.borrow_mut();
        if core.phase != Phase::Over {
            let error = core.peer_error(Kind::Closed, Retry::Idempotent);
            core.broken(error);
        }
    }
}

/// Sends requests. When the last one is dropped, the connection closes after its last stream.
pub struct Handle {
    core: Rc<RefCell<Core>>,
}

impl Clone for Handle {
    fn clone(&self) -> Handle {
        self.core.borrow_mut().handles += 1;
        Handle { core: Rc::clone(&self.core) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut core = self.core.borrow_mut();
        core.handles -= 1;
        if core.handles == 0 {
            core.notify();
        }
    }
}

/// One request that was sent: where its body goes and where its response comes from.
pub struct ClientStream {
    /// Takes the body.
    pub body: SendStream,
    /// Gives the response.
    pub reply: Reply,
}

impl ClientStream {
    /// The next thing that the server says.
    pub fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        self.reply.poll_event(cx)
    }
}

impl Handle {
    /// Whether the connection takes requests at all, perhaps not at once.
    pub fn is_usable(&self) -> bool {
        usable(&self.core.borrow())
    }

    /// Whether a request can be sent now.
    pub fn can_open(&self) -> bool {
        let core = self.core.borrow();
        usable(&core) && has_room(&core)
    }

    /// Whether no request was sent on it yet.
    pub fn is_new(&self) -> bool {
        self.core.borrow().next_id == 1
    }

    /// How many requests are under way.
    pub fn open_streams(&self) -> usize {
        self.core.borrow().open.len()
    }

    /// Whether a request is under way, or somebody else has the connection in hand to send one.
    pub fn is_in_use(&self) -> bool {
        let core = self.core.borrow();
        !core.open.is_empty() || core.handles > 1
    }

    /// How many requests the server lets run at the same time.
    pub fn max_streams(&self) -> u32 {
        self.core.borrow().peer.max_concurrent_streams
    }

    /// Since when there has been no request.
    pub fn idle_since(&self) -> Option<Instant> {
        let core = self.core.borrow();
        core.open.is_empty().then_some(core.last_activity)
    }

    /// Whether the server takes extended CONNECT (RFC 8441); false until its settings came.
    pub fn extended_connect(&self) -> bool {
        self.core.borrow().peer.enable_connect_protocol
    }

    /// Waits until the server's settings came.
    pub async fn settled(&self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_when(cx, |core| core.peer.known)).await
    }

    /// Waits until a request can be sent.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_when(cx, has_room)
    }

    /// Waits until a request can be sent.
    pub async fn ready(&self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_ready(cx)).await
    }

    fn poll_when(&self, cx: &mut Context<'_>, condition: fn(&Core) -> bool) -> Poll<Result<(), Error>> {
        let mut core = self.core.borrow_mut();
        if !usable(&core) {
            return Poll::Ready(Err(unusable()));
        }
        if condition(&core) {
            return Poll::Ready(Ok(()));
        }
        if !core.openers.iter().any(|waker| waker.will_wake(cx.waker())) {
            core.openers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Sends a request's head; with `end`, it has no body.
    pub fn send(&self, head: &RequestHead, end: bool) -> Result<ClientStream, Error> {
        let mut guard = self.core.borrow_mut();
        let core = &mut *guard;
        if !usable(core) || !has_room(core) {
            return Err(unusable());
        }
        // RFC 9113 section 10.5.1: the server would refuse it.
        let size = head.fields.list_size() + head.target.len() + head.authority.len() + 4 * 42;
        if size > core.peer.max_header_list_size as usize {
            return Err(Error::client(Kind::HeadTooLarge(Bound::Size)));
        }
        let id = core.next_id;
        core.next_id += 2;
        let mut exchange = Exchange::new(id, core.enforced_window(), core.peer.initial_window_size);
        exchange.head_request = head.method == Method::HEAD;
        exchange.tunnel = head.method == Method::CONNECT;
        exchange.handles = 2;
        let key = core.insert(exchange);
        core.send_head(key, false, end, |encoder, out| encode_request(head, encoder, out));
        drop(guard);
        let part = || Part { core: Rc::clone(&self.core), key };
        Ok(ClientStream { body: SendStream::new(part()), reply: Reply::new(part()) })
    }

    /// Closes the connection after what runs.
    pub fn close(&self) {
        let mut core = self.core.borrow_mut();
        core.leave();
    }

    /// Ends the connection and all its streams with an error code.
    pub fn abort(&self, code: Code) {
        let mut core = self.core.borrow_mut();
        let error = core.peer_error(Kind::Closed, Retry::Idempotent);
        core.fail(code, error);
    }

    /// The bounds that the server has met since this was asked last, as far as no request's error tells of them.
    pub fn take_hits(&self) -> Hits {
        std::mem::take(&mut self.core.borrow_mut().hits)
    }

    /// What the server last did wrong, as a label.
    pub fn violation(&self) -> Option<&'static str> {
        self.core.borrow().violation
    }

    /// Why the connection ended.
    pub fn error(&self) -> Option<Error> {
        self.core.borrow().error
    }
}

fn usable(core: &Core) -> bool {
    core.phase == Phase::Open && !core.leaving && core.next_id <= MAX_WINDOW
}

fn has_room(core: &Core) -> bool {
    core.open.len() < core.peer.max_concurrent_streams as usize
}

fn unusable() -> Error {
    Error::upstream(Kind::Closed, Retry::Safe)
}
