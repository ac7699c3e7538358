//! One stream: its state, what arrived and was not taken, what is to be sent and cannot yet (RFC 9113 section 5.1).
//!
//! Bounds: what arrived by the stream's window, what is to be sent by the callers (who ask before they read more).

use std::collections::VecDeque;
use std::task::Waker;

use bytes::{Bytes, BytesMut};

use super::flow::{ReceiveWindow, SendWindow};
use crate::error::Error;
use crate::http::fields::Fields;
use crate::http::head::ResponseHead;

/// The half that the peer sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Receiving {
    /// More may come.
    Open,
    /// END_STREAM came.
    Ended,
    /// Reset, by either side, or the connection is over.
    Closed,
}

/// The half that we send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sending {
    /// Nothing but interim responses were sent.
    Head,
    /// The head was sent.
    Body,
    /// END_STREAM is written, or the stream is reset.
    Done,
}

/// How our half ends, once all data is sent.
#[derive(Debug)]
pub(super) enum Finish {
    End,
    Trailers(Box<Fields>),
}

/// The state of one stream.
pub(super) struct Stream {
    pub(super) id: u32,
    /// How many handles of the user point here.
    pub(super) handles: u8,
    pub(super) receiving: Receiving,
    pub(super) sending: Sending,
    /// Why a half ended before its end.
    pub(super) error: Option<Error>,
    /// A tunnel (CONNECT): one half may end long before the other.
    pub(super) tunnel: bool,
    /// The request was HEAD: the response has no content whatever its length says.
    pub(super) head_request: bool,
    /// Client: the final response head came.
    pub(super) responded: bool,
    /// Nobody will take what arrives.
    pub(super) unwanted: bool,
    /// Server: the answer says that all is well.
    pub(super) succeeded: bool,
    /// Server: the answer is complete, and so much more of the request is thrown away.
    pub(super) discard_left: Option<u64>,
    /// Stands in the queue of streams that have something to send.
    pub(super) scheduled: bool,
    /// Stands in the queue of those who wait for room in the output.
    pub(super) held_back: bool,

    pub(super) chunks: VecDeque<Bytes>,
    /// Small payloads, gathered so that they do not hold large buffers.
    pub(super) gathered: BytesMut,
    pub(super) trailers: Option<Box<Fields>>,
    pub(super) receive_window: ReceiveWindow,
    /// What Content-Length leaves.
    pub(super) length_left: Option<u64>,
    /// Client: heads that were not taken.
    pub(super) heads: VecDeque<ResponseHead>,
    pub(super) reader: Option<Waker>,

    pub(super) send_window: SendWindow,
    pub(super) queue: VecDeque<Bytes>,
    pub(super) finish: Option<Finish>,
    pub(super) writer: Option<Waker>,
    pub(super) watcher: Option<Waker>,
}

impl Stream {
    pub(super) fn new(id: u32, receive_window: u32, send_window: u32) -> Stream {
        Stream {
            id,
            handles: 0,
            receiving: Receiving::Open,
            sending: Sending::Head,
            error: None,
            tunnel: false,
            head_request: false,
            responded: false,
            unwanted: false,
            succeeded: false,
            discard_left: None,
            scheduled: false,
            held_back: false,
            chunks: VecDeque::new(),
            gathered: BytesMut::new(),
            trailers: None,
            receive_window: ReceiveWindow::new(receive_window),
            length_left: None,
            heads: VecDeque::new(),
            reader: None,
            send_window: SendWindow::new(send_window),
            queue: VecDeque::new(),
            finish: None,
            writer: None,
            watcher: None,
        }
    }

    /// Whether both halves are over.
    pub(super) fn is_closed(&self) -> bool {
        self.receiving != Receiving::Open && self.sending == Sending::Done
    }

    /// Keeps data until it is taken.
    pub(super) fn push(&mut self, data: &[u8], shared: Option<Bytes>) {
        match shared {
            Some(bytes) => {
                if !self.gathered.is_empty() {
                    self.chunks.push_back(self.gathered.split().freeze());
                }
                self.chunks.push_back(bytes);
            }
            None => self.gathered.extend_from_slice(data),
        }
    }

    /// Takes the next data.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        match self.chunks.pop_front() {
            Some(bytes) => Some(bytes),
            None if self.gathered.is_empty() => None,
            None => Some(std::mem::take(&mut self.gathered).freeze()),
        }
    }

    /// Throws away what arrived and says how much it was.
    pub(super) fn discard(&mut self) -> usize {
        let bytes = self.chunks.iter().map(Bytes::len).sum::<usize>() + self.gathered.len();
        self.chunks = VecDeque::new();
        self.gathered = BytesMut::new();
        bytes
    }

    /// Whether all that arrived, or will, was taken.
    pub(super) fn is_drained(&self) -> bool {
        self.receiving == Receiving::Ended
            && self.chunks.is_empty()
            && self.gathered.is_empty()
            && self.trailers.is_none()
    }

    /// Whether there is something that the stream's own window lets through.
    pub(super) fn is_sendable(&self) -> bool {
        match self.queue.is_empty() {
            true => self.finish.is_some() && self.sending == Sending::Body,
            false => self.send_window.room() > 0,
        }
    }

    /// Tells the user's tasks that something changed.
    pub(super) fn wake_all(&mut self) {
        for waker in [&mut self.reader, &mut self.writer, &mut self.watcher] {
            wake(waker);
        }
    }
}

/// Wakes who waits there, if anybody.
pub(super) fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
