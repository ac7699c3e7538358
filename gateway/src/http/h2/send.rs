//! What streams send: heads at once, data as windows, room in the output and turns allow (RFC 9113 section 5.2).
//!
//! In: heads, data and ends from the handles. Out: frames in the output. A stream that can send all it has does so
//! at once; others queue and take turns, a frame at a time. Bounds: see [`Core::poll_ready`].

use std::task::{Context, Poll};

use bytes::Bytes;

use super::core::{Core, Ended, Phase};
use super::frame::{FrameHeader, HEADER, MAX_PAYLOAD, flag, kind};
use super::head::encode_trailers;
use super::hpack::Encoder;
use super::stream::{Finish, Sending, wake};
use crate::error::Error;
use crate::http::fields::Fields;

impl Core {
    /// Writes a header block, in as many frames as it takes.
    pub(super) fn write_block(&mut self, id: u32, end: bool, encode: impl FnOnce(&mut Encoder, &mut Vec<u8>)) {
        let Core { out, encoder, .. } = self;
        out.write(|out| {
            let start = out.len();
            out.extend_from_slice(&[0; HEADER]);
            encode(encoder, out);
            let length = out.len() - start - HEADER;
            let end = if end { flag::END_STREAM } else { 0 };
            let mut header = FrameHeader { length, kind: kind::HEADERS, flags: end | flag::END_HEADERS, stream: id };
            if length <= MAX_PAYLOAD {
                return put(out, start, header);
            }
            // RFC 9113 section 4.3: what does not fit into one frame is continued.
            let rest = out.split_off(start + HEADER + MAX_PAYLOAD);
            header.length = MAX_PAYLOAD;
            header.flags = end;
            put(out, start, header);
            let count = rest.chunks(MAX_PAYLOAD).count();
            for (number, chunk) in rest.chunks(MAX_PAYLOAD).enumerate() {
                let flags = if number + 1 == count { flag::END_HEADERS } else { 0 };
                super::frame::write(kind::CONTINUATION, flags, id, chunk, out);
            }
        });
        self.notify();
    }

    /// Sends a stream's head, unless the stream is over.
    pub(super) fn send_head(
        &mut self,
        key: usize,
        interim: bool,
        end: bool,
        encode: impl FnOnce(&mut Encoder, &mut Vec<u8>),
    ) {
        let Some(stream) = self.streams.get_mut(key).filter(|stream| stream.sending == Sending::Head) else { return };
        let id = stream.id;
        if !interim {
            stream.sending = if end { Sending::Done } else { Sending::Body };
        }
        self.last_activity = self.now;
        self.write_block(id, end, encode);
        if end && !interim {
            self.settle(key, Ended::Complete);
        }
    }

    /// Sends data, now as far as that goes, and the rest in turn.
    pub(super) fn send_data(&mut self, key: usize, mut bytes: Bytes, end: bool) {
        let at_once = self.ready.is_empty();
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.sending != Sending::Body || stream.finish.is_some() || (bytes.is_empty() && !end) {
            return;
        }
        if end {
            stream.finish = Some(Finish::End);
        }
        if at_once && stream.queue.is_empty() {
            while !bytes.is_empty() && self.data_frame(key, &mut bytes) {}
        }
        let Some(stream) = self.streams.get_mut(key) else { return };
        if !bytes.is_empty() {
            stream.queue.push_back(bytes);
        } else if at_once && stream.queue.is_empty() {
            self.finish(key);
        }
        self.schedule(key);
        self.notify();
    }

    /// Ends a stream with trailers, after its data.
    pub(super) fn send_trailers(&mut self, key: usize, trailers: &Fields) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.sending != Sending::Body || stream.finish.is_some() {
            return;
        }
        stream.finish = Some(match trailers.is_empty() {
            true => Finish::End,
            false => Finish::Trailers(Box::new(trailers.clone())),
        });
        if stream.queue.is_empty() {
            self.finish(key);
        }
        self.notify();
    }

    /// Writes one DATA frame of `bytes`, as large as may be. Returns whether there was room.
    fn data_frame(&mut self, key: usize, bytes: &mut Bytes) -> bool {
        let full = self.is_full();
        let Some(stream) = self.streams.get_mut(key) else { return false };
        let length = bytes.len().min(MAX_PAYLOAD).min(stream.send_window.room()).min(self.send_window.room());
        if length == 0 || full {
            return false;
        }
        let payload = if length == bytes.len() { std::mem::take(bytes) } else { bytes.split_to(length) };
        stream.send_window.take(length);
        self.send_window.take(length);
        let last = bytes.is_empty() && stream.queue.is_empty() && matches!(stream.finish, Some(Finish::End));
        let flags = if last { flag::END_STREAM } else { 0 };
        let header = FrameHeader { length, kind: kind::DATA, flags, stream: stream.id };
        if last {
            stream.finish = None;
            stream.sending = Sending::Done;
        }
        self.out.frame(header.bytes(), payload);
        self.flood.sent(length);
        self.last_activity = self.now;
        if last {
            self.sent_all(key);
        }
        true
    }

    /// Writes the end of a stream whose data is all sent, if it has ended.
    fn finish(&mut self, key: usize) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let id = stream.id;
        match stream.finish.take() {
            None => return,
            Some(Finish::Trailers(trailers)) => {
                stream.sending = Sending::Done;
                self.write_block(id, true, |encoder, out| encode_trailers(&trailers, encoder, out));
            }
            Some(Finish::End) => {
                stream.sending = Sending::Done;
                let header = FrameHeader { length: 0, kind: kind::DATA, flags: flag::END_STREAM, stream: id };
                self.out.frame(header.bytes(), Bytes::new());
            }
        }
        self.sent_all(key);
    }

    fn sent_all(&mut self, key: usize) {
        if let Some(stream) = self.streams.get_mut(key) {
            wake(&mut stream.writer);
        }
        self.settle(key, Ended::Complete);
    }

    /// Lets a stream take its turn, if it has something that may be sent.
    pub(super) fn schedule(&mut self, key: usize) {
        if let Some(stream) = self.streams.get_mut(key).filter(|stream| stream.is_sendable() && !stream.scheduled) {
            stream.scheduled = true;
            self.ready.push_back(key);
        }
    }

    /// Whether data has to wait until something is written.
    pub(super) fn is_full(&self) -> bool {
        self.out.len() as u64 >= self.limits.http2_send_buffer_size
    }

    /// Gives each stream that has something to send its turn, as long as there is room.
    pub(super) fn pump(&mut self) {
        let mut stuck = 0;
        while stuck < self.ready.len() && !self.is_full() {
            let Some(key) = self.ready.pop_front() else { break };
            let Some(stream) = self.streams.get_mut(key).filter(|stream| stream.scheduled) else { continue };
            stream.scheduled = false;
            let Some(mut bytes) = stream.queue.pop_front() else {
                self.finish(key);
                continue;
            };
            let sent = self.data_frame(key, &mut bytes);
            stuck = if sent { 0 } else { stuck + 1 };
            let Some(stream) = self.streams.get_mut(key) else { continue };
            if !bytes.is_empty() {
                stream.queue.push_front(bytes);
            } else if stream.queue.is_empty() {
                wake(&mut stream.writer);
            }
            self.schedule(key);
        }
        if !self.is_full() {
            for key in std::mem::take(&mut self.held_back) {
                if let Some(stream) = self.streams.get_mut(key) {
                    stream.held_back = false;
                    wake(&mut stream.writer);
                }
            }
        }
    }

    /// Waits until a stream may be given data: what it was given before is sent, its window and the output have room.
    pub(super) fn poll_ready(&mut self, key: usize, cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        let full = self.is_full();
        let room = self.limits.http2_send_buffer_size.saturating_sub(self.out.len() as u64) as usize;
        let Some(stream) = self.streams.get_mut(key) else { return Poll::Ready(Err(self.over())) };
        if let Some(error) = stream.error {
            return Poll::Ready(Err(error));
        }
        if stream.sending != Sending::Body || stream.finish.is_some() {
            return Poll::Ready(Err(self.over()));
        }
        let window = stream.send_window.room();
        if stream.queue.is_empty() && window > 0 && !full {
            return Poll::Ready(Ok(window.min(room)));
        }
        stream.writer = Some(cx.waker().clone());
        if full && !stream.held_back {
            stream.held_back = true;
            self.held_back.push_back(key);
        }
        Poll::Pending
    }

    /// Waits until all that a stream was given is written, with its end.
    pub(super) fn poll_flushed(&mut self, key: usize, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Some(stream) = self.streams.get_mut(key) else { return Poll::Ready(Err(self.over())) };
        if let Some(error) = stream.error.filter(|_| !stream.queue.is_empty() || stream.finish.is_some()) {
            return Poll::Ready(Err(error));
        }
        if stream.queue.is_empty() && stream.finish.is_none() {
            return Poll::Ready(Ok(()));
        }
        stream.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The error of a connection that is over, or of a handle used after its end.
    pub(super) fn over(&self) -> Error {
        match self.error {
            Some(error) if matches!(self.phase, Phase::Closing | Phase::Over) => error,
            _ => Error::gateway(crate::error::Kind::Internal("HTTP/2 stream used after its end")),
        }
    }
}

fn put(out: &mut [u8], at: usize, header: FrameHeader) {
    if let Some(slot) = out.get_mut(at..at + HEADER) {
        slot.copy_from_slice(&header.bytes());
    }
}
