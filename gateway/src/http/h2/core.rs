//! The state of one connection, for both roles, and how streams and the connection end.
//!
//! The connection's task parses what arrives into it and writes out what it gathers; the tasks of streams reach into
//! it through their handles and wake the connection's task once. All of that happens on one thread.
//!
//! Invariants: a stream stands in `open` as long as one of its halves is; it stays in `streams` until its handles are
//! gone as well. Whatever flow control counted for the connection is given back exactly once. Bounds: open streams by
//! `http2_streams`, what waits to be read by `http2_connection_window` (from an upstream by `http2_stream_window` for each stream), output by `http2_send_buffer_size` (data) and [`CONTROL_ROOM`] (all else: nothing is read beyond).

use std::collections::VecDeque;
use std::task::{Context, Waker};
use std::time::Instant;

use slab::Slab;

use super::flood::Flood;
use super::flow::{ReceiveWindow, SendWindow};
use super::frame::{self, Code, flag, kind};
use super::hpack::{Decoder, Encoder};
use super::output::Output;
use super::settings::{self, INITIAL_WINDOW, Role, Settings};
use super::stream::{Receiving, Sending, Stream, wake};
use crate::error::{Error, Kind, Retry, Side};
use crate::http::head::{RequestHead, Scheme};
use crate::limits::{Hits, Limits};

/// What may wait to be written beside data before nothing more is read.
pub(super) const CONTROL_ROOM: usize = 32 * 1024;
/// How many streams that ended are remembered, of each kind.
const REMEMBERED: usize = 64;
/// Room for so many streams is kept on an idle connection.
const KEPT_STREAMS: usize = 4;
/// The PING that goes with the first GOAWAY.
pub(super) const GRACE: [u8; 8] = *b"shutdown";

/// How far the end of the connection has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Phase {
    /// New streams are welcome.
    Open,
    /// The first GOAWAY was sent; what the client sent before it saw that is still taken.
    Warned,
    /// The last GOAWAY was sent; what runs is finished.
    Draining,
    /// What waits is written, then the connection is closed.
    Closing,
    /// Nothing can be read or written.
    Over,
}

/// How a stream that is not open any more ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// We reset it: the peer may not know yet.
    ByUs,
    /// The peer reset it.
    ByPeer,
    /// Both sides said END_STREAM.
    Complete,
    /// Long ago, or it was skipped.
    Forgotten,
}

/// A request that waits to be handed on.
pub(super) struct Arrived {
    /// Its stream; `None` when that is already reset.
    pub(super) key: Option<usize>,
    pub(super) head: RequestHead,
    /// The head says at least its method.
    pub(super) known: bool,
    /// Why it is not to be served.
    pub(super) refused: Option<Error>,
}

/// A header block whose frames are not all here.
pub(super) struct Block {
    pub(super) stream: u32,
    pub(super) end_stream: bool,
    pub(super) parent: Option<u32>,
    pub(super) bytes: Vec<u8>,
    pub(super) continuations: u32,
}

/// The state of one connection.
pub(super) struct Core {
    pub(super) role: Role,
    pub(super) scheme: Scheme,
    pub(super) limits: Limits,
    pub(super) phase: Phase,
    /// The peer's first SETTINGS came.
    pub(super) greeted: bool,
    /// The peer has acknowledged ours.
    pub(super) acknowledged: bool,
    pub(super) peer: Settings,
    pub(super) encoder: Encoder,
    pub(super) decoder: Decoder,
    pub(super) block: Option<Block>,

    pub(super) streams: Slab<Stream>,
    /// Id and place of the streams that are not closed, by id.
    pub(super) open: Vec<(u32, usize)>,
    ended: [VecDeque<u32>; 3],
    /// Server: the highest id that the client used.
    pub(super) last_id: u32,
    /// Server: the highest id that was handed on.
    pub(super) processed_id: u32,
    /// Client: the id of the next request.
    pub(super) next_id: u32,
    /// The peer sent GOAWAY, or we are to leave after what runs.
    pub(super) leaving: bool,
    /// Client: how many handles there are; without one nothing new will come.
    pub(super) handles: usize,
    /// Server: a request that was not handed on.
    pub(super) incoming: Option<Arrived>,

    pub(super) send_window: SendWindow,
    pub(super) receive_window: ReceiveWindow,
    pub(super) out: Output,
    /// Streams that have something to send, in turn.
    pub(super) ready: VecDeque<usize>,
    /// Streams that wait for room in the output.
    pub(super) held_back: VecDeque<usize>,
    /// Server: answered streams whose requests have not ended, by when they will be reset; each of them is open.
    pub(super) lingering: VecDeque<(Instant, u32)>,
    /// Those who wait for a stream to be opened.
    pub(super) openers: Vec<Waker>,

    pub(super) flood: Flood,
    /// When the connection's task last ran.
    pub(super) now: Instant,
    pub(super) last_activity: Instant,
    /// Since when a preface or a header block is incomplete.
    pub(super) incomplete_since: Option<Instant>,
    pub(super) violation: Option<&'static str>,
    /// Bounds that the peer met and that no error of a stream tells of.
    pub(super) hits: Hits,
    pub(super) error: Option<Error>,
    task: Option<Waker>,
    pub(super) notified: bool,
}

impl Core {
    pub(super) fn new(role: Role, scheme: Scheme, limits: &Limits, now: Instant) -> Core {
        let mut core = Core {
            role,
            scheme,
            limits: limits.clone(),
            phase: Phase::Open,
            greeted: false,
            acknowledged: false,
            peer: Settings::initial(),
            encoder: Encoder::new(settings::header_table_size(limits)),
            decoder: Decoder::new(),
            block: None,
            streams: Slab::new(),
            open: Vec::new(),
            ended: Default::default(),
            last_id: 0,
            processed_id: 0,
            next_id: 1,
            leaving: false,
            handles: 0,
            incoming: None,
            send_window: SendWindow::new(INITIAL_WINDOW),
            receive_window: ReceiveWindow::new(settings::connection_window(limits)),
            out: Output::default(),
            ready: VecDeque::new(),
            held_back: VecDeque::new(),
            lingering: VecDeque::new(),
            openers: Vec::new(),
            flood: Flood::new(role, limits, now),
            now,
            last_activity: now,
            incomplete_since: Some(now),
            violation: None,
            hits: Hits::default(),
            error: None,
            task: None,
            notified: false,
        };
        core.greet();
        core
    }

    /// RFC 9113 section 3.4: the preface of either side ends with SETTINGS.
    fn greet(&mut self) {
        let payload = settings::ours(self.role, &self.limits);
        let increment = settings::connection_window(&self.limits) - INITIAL_WINDOW;
        let client = self.role == Role::Client;
        self.out.write(|out| {
            if client {
                out.extend_from_slice(frame::PREFACE);
            }
            frame::write(kind::SETTINGS, 0, 0, &payload, out);
            if increment > 0 {
                frame::write(kind::WINDOW_UPDATE, 0, 0, &increment.to_be_bytes(), out);
            }
        });
    }

    /// An error of this connection's peer.
    pub(super) fn peer_error(&self, kind: Kind, retry: Retry) -> Error {
        match self.role {
            Role::Server => Error { kind, side: Side::Client, retry: Retry::Never },
            Role::Client => Error { kind, side: Side::Upstream, retry },
        }
    }

    /// Wakes the connection's task, once.
    pub(super) fn notify(&mut self) {
        if !self.notified {
            self.notified = true;
            wake(&mut self.task);
        }
    }

    /// The connection's task runs: it need not be woken until it waits.
    pub(super) fn enter(&mut self, cx: &Context<'_>) {
        self.notified = true;
        if !self.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            self.task = Some(cx.waker().clone());
        }
    }

    /// The place of a stream that is open.
    pub(super) fn find(&self, id: u32) -> Option<usize> {
        // Mostly it is the newest.
        match self.open.last() {
            Some(&(last, key)) if last == id => Some(key),
            _ => {
                let at = self.open.binary_search_by_key(&id, |&(id, _)| id).ok()?;
                self.open.get(at).map(|&(_, key)| key)
            }
        }
    }

    /// Adds a stream with the highest id so far.
    pub(super) fn insert(&mut self, stream: Stream) -> usize {
        self.last_activity = self.now;
        let id = stream.id;
        let key = self.streams.insert(stream);
        self.open.push((id, key));
        key
    }

    /// Whether the peer may not have used this id yet (RFC 9113 section 5.1.1).
    pub(super) fn is_idle_id(&self, id: u32) -> bool {
        match self.role {
            Role::Server => id.is_multiple_of(2) || id > self.last_id,
            Role::Client => id.is_multiple_of(2) || id >= self.next_id,
        }
    }

    /// How a stream that is neither open nor idle ended.
    pub(super) fn ended(&self, id: u32) -> Ended {
        let kinds = [Ended::ByUs, Ended::ByPeer, Ended::Complete];
        let found = kinds.into_iter().zip(&self.ended).find(|(_, ids)| ids.iter().rev().any(|&other| other == id));
        found.map_or(Ended::Forgotten, |(kind, _)| kind)
    }

    pub(super) fn remember(&mut self, id: u32, how: Ended) {
        let ids = match how {
            Ended::ByUs => &mut self.ended[0],
            Ended::ByPeer => &mut self.ended[1],
            Ended::Complete => &mut self.ended[2],
            Ended::Forgotten => return,
        };
        if ids.len() >= REMEMBERED {
            ids.pop_front();
        }
        ids.push_back(id);
    }

    /// After a half of a stream ended: takes it off the open ones when both have.
    pub(super) fn settle(&mut self, key: usize, how: Ended) {
        let Some(stream) = self.streams.get(key) else { return };
        let id = stream.id;
        // RFC 9113 section 8.1: a complete response makes the rest of the request needless.
        let needless = self.role == Role::Server
            && stream.sending == Sending::Done
            && stream.receiving == Receiving::Open
            && !stream.tunnel;
        if needless {
            return self.linger(key);
        }
        if !stream.is_closed() {
            return;
        }
        if let Ok(at) = self.open.binary_search_by_key(&id, |&(id, _)| id) {
            self.open.remove(at);
            if let Some(at) = self.lingering.iter().position(|&(_, other)| other == id) {
                self.lingering.remove(at);
                self.lingered();
            }
            self.remember(id, how);
            // The connection's task may have run last long ago.
            self.last_activity = if self.open.is_empty() { Instant::now() } else { self.now };
        }
        for waker in self.openers.drain(..) {
            waker.wake();
        }
        self.release(key);
        if self.open.is_empty() && (self.phase != Phase::Open || self.leaving || self.role == Role::Client) {
            // Perhaps that was what the connection waited for.
            self.notify();
        }
    }

    /// Forgets a stream that is closed and that nobody points to.
    pub(super) fn release(&mut self, key: usize) {
        if self.streams.get(key).is_some_and(|stream| stream.handles == 0 && stream.is_closed()) {
            let mut stream = self.streams.remove(key);
            let unread = stream.discard();
            self.give(unread);
        }
    }

    /// Ends both halves of a stream at once; `error` is what its handles are told.
    pub(super) fn cut(&mut self, key: usize, error: Error, how: Ended) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.error.get_or_insert(error);
        stream.sending = Sending::Done;
        stream.queue = VecDeque::new();
        stream.finish = None;
        let mut unread = 0;
        if stream.receiving == Receiving::Open {
            stream.receiving = Receiving::Closed;
            unread = stream.discard();
        }
        stream.wake_all();
        self.give(unread);
        self.settle(key, how);
    }

    /// Resets a stream that is open.
    pub(super) fn reset(&mut self, key: usize, code: Code, error: Error) {
        let Some(stream) = self.streams.get(key).filter(|stream| !stream.is_closed()) else { return };
        self.write_reset(stream.id, code);
        self.cut(key, error, Ended::ByUs);
    }

    /// The peer reset a stream.
    pub(super) fn reset_by_peer(&mut self, key: usize, code: Code) {
        // RFC 9113 section 8.7: a refused request was not processed.
        let retry = if code == Code::REFUSED_STREAM { Retry::Safe } else { Retry::Idempotent };
        self.cut(key, self.peer_error(Kind::Reset(code.0), retry), Ended::ByPeer);
    }

    /// A request that the peer says it will not process.
    pub(super) fn abandon(&mut self, key: usize) {
        self.cut(key, self.peer_error(Kind::Closed, Retry::Safe), Ended::ByUs);
    }

    pub(super) fn write_reset(&mut self, id: u32, code: Code) {
        self.out.write(|out| frame::write(kind::RST_STREAM, 0, id, &code.0.to_be_bytes(), out));
        self.notify();
    }

    /// A reader took so many bytes, or never will: gives them back to the connection's window. An upstream has had them back
    /// since they came, see [`Core::credit_received`].
    pub(super) fn give(&mut self, bytes: usize) {
        if self.role == Role::Server {
            self.credit(bytes);
        }
    }

    /// So many bytes of a DATA frame came, of which a reader will be given `kept`.
    ///
    /// The requests on an upstream's connection are those of many clients, and the slow ones must not use up its window for
    /// the others; each stream's own window bounds what waits. All of a client's connection is its own.
    pub(super) fn credit_received(&mut self, bytes: usize, kept: usize) {
        match self.role {
            Role::Server => self.credit(bytes - kept),
            Role::Client => self.credit(bytes),
        }
    }

    fn credit(&mut self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        if let Some(increment) = self.receive_window.give(bytes) {
            self.out.write(|out| frame::write(kind::WINDOW_UPDATE, 0, 0, &increment.to_be_bytes(), out));
            self.notify();
        }
    }

    /// Gives bytes of a stream's window back, as long as more can come.
    pub(super) fn give_stream(&mut self, key: usize, bytes: usize) {
        let Some(stream) = self.streams.get_mut(key).filter(|stream| stream.receiving == Receiving::Open) else {
            return;
        };
        let id = stream.id;
        if let Some(increment) = stream.receive_window.give(bytes) {
            self.out.write(|out| frame::write(kind::WINDOW_UPDATE, 0, id, &increment.to_be_bytes(), out));
            self.notify();
        }
    }

    /// Gives memory back that an idle connection does not need; what a single request takes is kept.
    pub(super) fn shrink(&mut self) {
        if !self.open.is_empty() || !self.streams.is_empty() {
            return;
        }
        self.out.shrink();
        self.decoder.shrink();
        if self.streams.capacity() > KEPT_STREAMS {
            self.streams = Slab::new();
            self.open = Vec::new();
            self.ready = VecDeque::new();
            self.held_back = VecDeque::new();
            self.lingering = VecDeque::new();
            self.openers = Vec::new();
        }
    }

    /// Adds an acknowledgement flag's worth of frame: SETTINGS or PING.
    pub(super) fn acknowledge(&mut self, kind: u8, payload: &[u8]) {
        self.out.write(|out| frame::write(kind, flag::ACK, 0, payload, out));
        self.notify();
    }
}
