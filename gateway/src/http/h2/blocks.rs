//! Header blocks, and what they begin or end: requests, responses, trailers (RFC 9113 sections 4.3 and 8.1).
//!
//! In: HEADERS and CONTINUATION frames. Out: a request that waits in the core, a response or trailers in its stream, or
//! the fault. Invariant: each block is decoded, wanted or not, since the table must follow the peer's. Bounds: one
//! block at a time, `http2_continuation_frames` and a size; open streams by `http2_streams`.

use super::core::{Arrived, Block, Core, Ended, Phase};
use super::fault::Fault;
use super::flood::Event;
use super::frame::{self, Code, FrameHeader, MAX_PAYLOAD, flag};
use super::head::{Collector, Refusal, Section};
use super::settings::{INITIAL_WINDOW, Role, stream_window};
use super::stream::{Receiving, Sending, Stream, wake};
use crate::error::{Kind, Retry};
use crate::http::head::StatusCode;

/// Interim responses that wait to be taken from one stream.
const INTERIM: usize = 16;

/// A whole header block.
struct Whole<'a> {
    stream: u32,
    end_stream: bool,
    parent: Option<u32>,
    bytes: &'a [u8],
}

impl Core {
    pub(super) fn headers(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), Fault> {
        let (fragment, parent) = frame::headers(header, payload)?;
        let (stream, end_stream) = (header.stream, header.has(flag::END_STREAM));
        if header.has(flag::END_HEADERS) {
            return self.whole(Whole { stream, end_stream, parent, bytes: fragment });
        }
        if fragment.is_empty() {
            self.count(Event::Empty);
        }
        self.block = Some(Block { stream, end_stream, parent, bytes: fragment.to_vec(), continuations: 0 });
        Ok(())
    }

    pub(super) fn continuation(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), Fault> {
        let Some(mut block) = self.block.take() else {
            return Err(Fault::connection(Code::PROTOCOL_ERROR, "CONTINUATION without HEADERS"));
        };
        block.continuations += 1;
        // What may be sent at all: twice the decoded bound, so that a head of some excess is still answered with 431.
        let most = self.limits.http2_header_list_size as usize * 2 + MAX_PAYLOAD;
        if block.continuations > self.limits.http2_continuation_frames {
            return Err(Fault::connection(Code::ENHANCE_YOUR_CALM, "continuation-flood"));
        }
        if block.bytes.len() + payload.len() > most {
            return Err(Fault::connection(Code::ENHANCE_YOUR_CALM, "header block too large"));
        }
        if payload.is_empty() {
            self.count(Event::Empty);
        }
        block.bytes.extend_from_slice(payload);
        if !header.has(flag::END_HEADERS) {
            self.block = Some(block);
            return Ok(());
        }
        let Block { stream, end_stream, parent, ref bytes, .. } = block;
        self.whole(Whole { stream, end_stream, parent, bytes })
    }

    fn whole(&mut self, block: Whole<'_>) -> Result<(), Fault> {
        let id = block.stream;
        if let Some(key) = self.find(id) {
            return self.further(key, block);
        }
        if !self.is_idle_id(id) {
            self.collect(Section::Unwanted, &block)?;
            return match self.ended(id) {
                Ended::ByUs => Ok(()),
                Ended::Complete => Err(Fault::connection(Code::STREAM_CLOSED, "HEADERS on a closed stream")),
                Ended::ByPeer => Err(Fault::stream(id, Code::STREAM_CLOSED, "HEADERS on a closed stream")),
                // RFC 9113 section 5.1.1: ids only rise.
                Ended::Forgotten => Err(Fault::connection(Code::PROTOCOL_ERROR, "HEADERS with a lower stream id")),
            };
        }
        if self.role == Role::Client || id.is_multiple_of(2) {
            return Err(Fault::connection(Code::PROTOCOL_ERROR, "HEADERS with an invalid stream id"));
        }
        self.request(block)
    }

    /// Decodes a block; this must happen to each (RFC 9113 section 4.3).
    fn collect(&mut self, section: Section, block: &Whole<'_>) -> Result<Collector, Fault> {
        let mut collector = Collector::new(section, &self.limits);
        match self.decoder.decode(block.bytes, &mut collector) {
            Ok(()) => Ok(collector),
            Err(broken) => Err(Fault::connection(Code::COMPRESSION_ERROR, broken.0)),
        }
    }

    fn request(&mut self, block: Whole<'_>) -> Result<(), Fault> {
        let id = block.stream;
        self.last_id = id;
        let full = self.open.len() >= self.limits.http2_streams as usize
            // Streams that were reset while their handlers still run count as well.
            || self.streams.len() >= self.limits.http2_streams as usize * 2;
        if self.phase == Phase::Draining {
            self.collect(Section::Unwanted, &block)?;
            self.remember(id, Ended::ByUs);
            return Ok(());
        }
        let mut collector = self.collect(Section::Request, &block)?;
        if full {
            self.turn_away(id, collector, Code::REFUSED_STREAM, Kind::TooManyStreams);
            // Before the client knows the limit it is not to blame, but may not go on for ever.
            self.count(if self.acknowledged { Event::Reset } else { Event::Control });
            return Ok(());
        }
        self.processed_id = id;
        let length = collector.length;
        let tunnel = collector.is_connect();
        let check = match collector.check().and_then(|()| collector.check_request(self.scheme)) {
            // RFC 7540 section 5.3.1.
            Ok(()) if block.parent == Some(id) => Err(Refusal::Malformed("stream depends on itself")),
            Ok(()) if block.end_stream && !tunnel && length.is_some_and(|length| length > 0) => {
                Err(Refusal::Malformed("Content-Length not kept"))
            }
            checked => checked,
        };
        let known = collector.knows_method();
        let (head, refused) = match check {
            Ok(()) => (collector.request(self.scheme), None),
            Err(Refusal::TooLarge(bound)) => {
                // Work was begun for nothing; the answer is 431 (RFC 6585 section 5).
                self.count(Event::Reset);
                (collector.known(self.scheme), Some(self.peer_error(Kind::HeadTooLarge(bound), Retry::Never)))
            }
            Err(Refusal::Malformed(what)) => {
                self.violation = Some(what);
                self.turn_away(id, collector, Code::PROTOCOL_ERROR, Kind::Malformed(what));
                self.count(Event::Reset);
                return Ok(());
            }
        };
        let tunnel = tunnel && refused.is_none();
        let mut stream = Stream::new(id, self.enforced_window(), self.peer.initial_window_size);
        stream.tunnel = tunnel;
        stream.length_left = length.filter(|_| !tunnel && refused.is_none());
        if block.end_stream {
            stream.receiving = Receiving::Ended;
        }
        let key = self.insert(stream);
        self.incoming = Some(Arrived { key: Some(key), head, known, refused });
        Ok(())
    }

    /// Resets the stream of a request that is not served (RFC 9113 sections 5.1.2 and 8.1.1). It is handed on all the same, so that
    /// it is told of like any other.
    fn turn_away(&mut self, id: u32, collector: Collector, code: Code, why: Kind) {
        self.write_reset(id, code);
        self.remember(id, Ended::ByUs);
        let (known, refused) = (collector.knows_method(), Some(self.peer_error(why, Retry::Never)));
        self.incoming = Some(Arrived { key: None, head: collector.known(self.scheme), known, refused });
    }

    /// The window of a new stream. A peer that has not seen our settings may use the initial size.
    pub(super) fn enforced_window(&self) -> u32 {
        let ours = stream_window(&self.limits);
        if self.acknowledged { ours } else { ours.max(INITIAL_WINDOW) }
    }

    /// A block on a stream that is open: a response or trailers.
    fn further(&mut self, key: usize, block: Whole<'_>) -> Result<(), Fault> {
        let id = block.stream;
        let Some(stream) = self.streams.get(key) else { return Ok(()) };
        if stream.receiving != Receiving::Open {
            self.collect(Section::Unwanted, &block)?;
            return Err(Fault::stream(id, Code::STREAM_CLOSED, "HEADERS after END_STREAM"));
        }
        if self.role == Role::Client && !stream.responded {
            return self.response(key, block);
        }
        let collector = self.collect(Section::Trailers, &block)?;
        // RFC 9113 section 8.1.
        if !block.end_stream {
            return Err(Fault::stream(id, Code::PROTOCOL_ERROR, "trailers without END_STREAM"));
        }
        let trailers = match collector.trailers() {
            Ok(trailers) => trailers,
            Err(Refusal::Malformed(what)) => return Err(Fault::stream(id, Code::PROTOCOL_ERROR, what)),
            Err(Refusal::TooLarge(bound)) => {
                self.reset(key, Code::CANCEL, self.peer_error(Kind::HeadTooLarge(bound), Retry::Never));
                return Ok(());
            }
        };
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        if stream.length_left.is_some_and(|left| left > 0) {
            return Err(Fault::stream(id, Code::PROTOCOL_ERROR, "Content-Length not kept"));
        }
        if !trailers.is_empty() && !stream.unwanted {
            stream.trailers = Some(Box::new(trailers));
        }
        stream.receiving = Receiving::Ended;
        wake(&mut stream.reader);
        self.last_activity = self.now;
        self.settle(key, Ended::Complete);
        Ok(())
    }

    fn response(&mut self, key: usize, block: Whole<'_>) -> Result<(), Fault> {
        let id = block.stream;
        let collector = self.collect(Section::Response, &block)?;
        let length = collector.length;
        let head = match collector.response() {
            Ok(head) => head,
            Err(Refusal::Malformed(what)) => return Err(Fault::stream(id, Code::PROTOCOL_ERROR, what)),
            Err(Refusal::TooLarge(bound)) => {
                self.reset(key, Code::CANCEL, self.peer_error(Kind::HeadTooLarge(bound), Retry::Never));
                return Ok(());
            }
        };
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        if head.status.is_informational() {
            if block.end_stream {
                return Err(Fault::stream(id, Code::PROTOCOL_ERROR, "interim response with END_STREAM"));
            }
            if stream.heads.len() >= INTERIM {
                return Err(Fault::stream(id, Code::ENHANCE_YOUR_CALM, "too many interim responses"));
            }
        } else {
            stream.responded = true;
            let bare =
                stream.head_request || head.status == StatusCode::NOT_MODIFIED || head.status == StatusCode::NO_CONTENT;
            stream.length_left = match stream.tunnel && head.status.is_success() {
                true => None,
                false if bare => Some(0),
                false => length,
            };
            if block.end_stream {
                if stream.length_left.is_some_and(|left| left > 0) {
                    return Err(Fault::stream(id, Code::PROTOCOL_ERROR, "Content-Length not kept"));
                }
                stream.receiving = Receiving::Ended;
            }
        }
        stream.heads.push_back(head);
        wake(&mut stream.reader);
        self.last_activity = self.now;
        if block.end_stream {
            self.settle(key, Ended::Complete);
        }
        Ok(())
    }

    /// Takes a request that arrived; the stream gets a handle for each half that is open.
    pub(super) fn take_incoming(&mut self) -> Option<(Arrived, bool)> {
        let arrived = self.incoming.take()?;
        let Some(key) = arrived.key else { return Some((arrived, false)) };
        let stream = self.streams.get_mut(key)?;
        let body = stream.receiving == Receiving::Open;
        stream.handles = 1 + u8::from(body);
        debug_assert!(stream.sending == Sending::Head);
        Some((arrived, body))
    }
}
