//! The server end: requests come out of [`Connection::accept`], answers go in through each one's [`Responder`].

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::BytesMut;

use super::core::{Arrived, Core, Phase};
use super::frame::Code;
use super::handle::{Part, Receiver, Responder};
use super::io::{Io, Turn};
use super::settings::Role;
use crate::error::{Error, Kind, Retry};
use crate::http::body::Body;
use crate::http::head::{RequestHead, Scheme};
use crate::http::stream::Stream;
use crate::limits::{Hits, Limits};

/// A connection of a client.
///
/// Polling [`Connection::accept`] does all reading and writing, so it must be polled as long as streams are open. Time
/// is for the caller to watch: [`Connection::idle_since`], [`Connection::incomplete_since`],
/// [`Connection::lingers_until`].
pub struct Connection {
    core: Rc<RefCell<Core>>,
    io: Io,
}

/// One request.
pub struct Incoming {
    /// What is asked for.
    pub head: RequestHead,
    /// What comes with it.
    pub body: Body,
    /// Where the answer goes.
    pub responder: Responder,
    /// The head says at least its method.
    pub known: bool,
    /// Why it is not to be served. It may have been answered already, by a reset: see [`Responder::is_over`].
    pub refused: Option<Error>,
}

impl Connection {
    /// Takes a connection of which some bytes may have been read, beginning with the preface.
    pub fn new(stream: Stream, read_so_far: BytesMut, scheme: Scheme, limits: &Limits) -> Connection {
        let core = Core::new(Role::Server, scheme, limits, Instant::now());
        Connection { core: Rc::new(RefCell::new(core)), io: Io::new(stream, read_so_far, Role::Server) }
    }

    /// The next request; `None` when the connection is over.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        loop {
            match std::task::ready!(self.io.poll(&self.core, cx)) {
                Turn::Over => return Poll::Ready(None),
                Turn::Incoming => {}
            }
            let Some((arrived, has_body)) = self.core.borrow_mut().take_incoming() else { continue };
            let Arrived { key, head, known, refused } = arrived;
            let part = |key| Part { core: Rc::clone(&self.core), key };
            let body = key.filter(|_| has_body).map_or(Body::Empty, |key| Body::source(Receiver::new(part(key))));
            let responder = Responder::new(key.map(part));
            return Poll::Ready(Some(Incoming { head, body, responder, known, refused }));
        }
    }

    /// The next request; `None` when the connection is over. Nothing is lost when this is dropped and called again.
    pub async fn accept(&mut self) -> Option<Incoming> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Asks the client to send no more requests; those on their way are still taken. `accept` ends once all are done.
    pub fn graceful_shutdown(&self) {
        self.core.borrow_mut().shut_down();
    }

    /// Ends the connection and all its streams with an error code.
    pub fn abort(&self, code: Code) {
        let mut core = self.core.borrow_mut();
        let error = core.peer_error(Kind::Closed, Retry::Never);
        core.fail(code, error);
    }

    /// Whether no request is being answered.
    pub fn is_idle(&self) -> bool {
        self.open_streams() == 0
    }

    /// How many requests are being answered.
    pub fn open_streams(&self) -> usize {
        self.core.borrow().open.len()
    }

    /// When data or heads were last sent or received, or a stream ended.
    pub fn last_activity(&self) -> Instant {
        self.core.borrow().last_activity
    }

    /// Since when there has been no request.
    pub fn idle_since(&self) -> Option<Instant> {
        let core = self.core.borrow();
        core.open.is_empty().then_some(core.last_activity)
    }

    /// Until when the first of the requests that are answered but not at their end is waited for.
    pub fn lingers_until(&self) -> Option<Instant> {
        self.core.borrow().lingering.front().map(|&(until, _)| until)
    }

    /// Since when nothing has moved although the client owes us room: it reads too little, or opens no window.
    pub fn stalled_since(&self) -> Option<Instant> {
        let core = self.core.borrow();
        let waits = |&(_, key): &(u32, usize)| core.streams.get(key).is_some_and(|stream| !stream.queue.is_empty());
        (!core.out.is_empty() || core.open.iter().any(waits)).then_some(core.last_activity)
    }

    /// Since when the client has owed the rest of its preface or of a head.
    pub fn incomplete_since(&self) -> Option<Instant> {
        self.core.borrow().incomplete_since
    }

    /// What the client last did wrong, as a label.
    pub fn violation(&self) -> Option<&'static str> {
        self.core.borrow().violation
    }

    /// The bounds that the client has met since this was asked last, as far as no request's error tells of them.
    pub fn take_hits(&self) -> Hits {
        std::mem::take(&mut self.core.borrow_mut().hits)
    }

    /// Why the connection ended; [`Kind::Closed`] when in order.
    pub fn error(&self) -> Option<Error> {
        self.core.borrow().error
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut core = self.core.borrow_mut();
        if core.phase != Phase::Over {
            let error = core.peer_error(Kind::Closed, Retry::Never);
            core.broken(error);
        }
    }
}
