//! What each frame of the peer does to the connection (RFC 9113 sections 5 and 6).
//!
//! In: frames in the order of arrival. Out: changes of the core, woken handles, answers in the output, or the fault
//! that ends a stream or the connection.

use bytes::Bytes;

use super::core::{Block, Core, Ended, GRACE, Phase};
use super::fault::Fault;
use super::flood::Event;
use super::frame::{self, Code, FrameHeader, MAX_PAYLOAD, flag, kind};
use super::head::{Collector, Refusal, Section, encode_response};
use super::settings::{Role, stream_window};
use super::stream::{Receiving, Sending, Stream, wake};
use crate::error::{Kind, Retry};
use crate::http::fields::name;
use crate::http::head::{Method, RequestHead, ResponseHead, StatusCode};

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
    /// What can be said against a frame before its payload is here.
    pub(super) fn check(&self, header: FrameHeader) -> Result<(), Fault> {
        // RFC 9113 section 4.2.
        if header.length > MAX_PAYLOAD {
            return Err(Fault::connection(Code::FRAME_SIZE_ERROR, "frame too large"));
        }
        // Section 3.4.
        if !self.greeted && (header.kind != kind::SETTINGS || header.has(flag::ACK)) {
            return Err(Fault::connection(Code::PROTOCOL_ERROR, "SETTINGS not first"));
        }
        // Section 4.3: nothing may stand between the frames of a block.
        let continues = |block: &Block| header.kind == kind::CONTINUATION && header.stream == block.stream;
        if self.block.as_ref().is_some_and(|block| !continues(block)) {
            return Err(Fault::connection(Code::PROTOCOL_ERROR, "header block interrupted"));
        }
        let zero = match header.kind {
            kind::DATA | kind::HEADERS | kind::PRIORITY | kind::RST_STREAM | kind::CONTINUATION => false,
            kind::SETTINGS | kind::PING | kind::GOAWAY => true,
            _ => return Ok(()),
        };
        if (header.stream == 0) != zero {
            return Err(Fault::connection(Code::PROTOCOL_ERROR, "frame on a wrong stream"));
        }
        Ok(())
    }

    /// Takes a frame that passed [`Core::check`]; `shared` is the payload again, where it need not be copied.
    pub(super) fn receive(&mut self, header: FrameHeader, payload: &[u8], shared: Option<&Bytes>) -> Result<(), Fault> {
        match header.kind {
            kind::DATA => self.data(header, payload, shared),
            kind::HEADERS => self.headers(header, payload),
            kind::CONTINUATION => self.continuation(header, payload),
            kind::PRIORITY => self.priority(header, payload),
            kind::RST_STREAM => self.rst_stream(header, payload),
            kind::SETTINGS => self.settings(header, payload),
            // RFC 9113 section 8.4: clients cannot push, and we allowed no server to.
            kind::PUSH_PROMISE => Err(Fault::connection(Code::PROTOCOL_ERROR, "PUSH_PROMISE")),
            kind::PING => self.ping(header, payload),
            kind::GOAWAY => self.received_goaway(payload),
            kind::WINDOW_UPDATE => self.window_update(header, payload),
            // Section 5.5: what is unknown is ignored.
            _ => {
                self.count(Event::Control);
                Ok(())
            }
        }
    }

    fn data(&mut self, header: FrameHeader, payload: &[u8], shared: Option<&Bytes>) -> Result<(), Fault> {
        // RFC 9113 section 6.9.1: the whole payload counts, whatever becomes of the stream.
        if self.receive_window.take(payload.len()).is_none() {
            return Err(Fault::connection(Code::FLOW_CONTROL_ERROR, "connection window exceeded"));
        }
        let result = self.stream_data(header, payload, shared);
        self.give(payload.len() - result.unwrap_or(0));
        result.map(|_| ())
    }

    /// Returns how many bytes are kept for the stream's reader.
    fn stream_data(&mut self, header: FrameHeader, payload: &[u8], shared: Option<&Bytes>) -> Result<usize, Fault> {
        let id = header.stream;
        let (start, end) = frame::unpadded(header, payload)?;
        let Some(key) = self.find(id) else { return self.data_after_end(id).map(|()| 0) };
        let data = payload.get(start..end).unwrap_or_default();
        let last = header.has(flag::END_STREAM);
        if data.is_empty() && !last {
            self.count(Event::Empty);
        }
        let Some(stream) = self.streams.get_mut(key) else { return Ok(0) };
        if stream.receiving != Receiving::Open {
            return Err(Fault::stream(id, Code::STREAM_CLOSED, "DATA after END_STREAM"));
        }
        if self.role == Role::Client && !stream.responded {
            return Err(Fault::stream(id, Code::PROTOCOL_ERROR, "DATA before a response"));
        }
        if stream.receive_window.take(payload.len()).is_none() {
            return Err(Fault::stream(id, Code::FLOW_CONTROL_ERROR, "stream window exceeded"));
        }
        // RFC 9113 section 8.1.1: Content-Length must be kept.
        if let Some(left) = &mut stream.length_left {
            match left.checked_sub(data.len() as u64) {
                Some(rest) if rest == 0 || !last => *left = rest,
                _ => return Err(Fault::stream(id, Code::PROTOCOL_ERROR, "Content-Length not kept")),
            }
        }
        let kept = if stream.unwanted { 0 } else { data.len() };
        if kept > 0 {
            stream.push(data, shared.map(|bytes| bytes.slice(start..end)));
        }
        if kept > 0 || last {
            wake(&mut stream.reader);
        }
        self.last_activity = self.now;
        if last {
            stream.receiving = Receiving::Ended;
            self.settle(key, Ended::Complete);
        } else if !self.streams.get(key).is_some_and(|stream| stream.unwanted) {
            self.give_stream(key, payload.len() - data.len());
        }
        Ok(kept)
    }

    fn data_after_end(&mut self, id: u32) -> Result<(), Fault> {
        if self.is_idle_id(id) {
            return Err(Fault::connection(Code::PROTOCOL_ERROR, "DATA on an idle stream"));
        }
        match self.ended(id) {
            // RFC 9113 section 5.1: what was on its way when we reset the stream.
            Ended::ByUs => Ok(()),
            Ended::Complete => Err(Fault::connection(Code::STREAM_CLOSED, "DATA on a closed stream")),
            Ended::ByPeer | Ended::Forgotten => Err(Fault::stream(id, Code::STREAM_CLOSED, "DATA on a closed stream")),
        }
    }

    fn headers(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), Fault> {
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

    fn continuation(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), Fault> {
        let Some(mut block) = self.block.take() else {
            return Err(Fault::connection(Code::PROTOCOL_ERROR, "CONTINUATION without HEADERS"));
        };
        block.continuations += 1;
        // What may be sent at all: twice the decoded bound, so that a head of some excess is still answered with 431.
        let most = self.limits.http2_header_list_size as usize * 2 + MAX_PAYLOAD;
        if block.continuations > self.limits.http2_continuation_frames || block.bytes.len() + payload.len() > most {
            return Err(Fault::connection(Code::ENHANCE_YOUR_CALM, "continuation-flood"));
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
        if self.phase == Phase::Draining || full {
            self.collect(Section::Unwanted, &block)?;
            self.remember(id, Ended::ByUs);
            if full {
                self.write_reset(id, Code::REFUSED_STREAM);
                // Before the client knows the limit it is not to blame.
                if self.acknowledged {
                    self.count(Event::Reset);
                }
            }
            return Ok(());
        }
        let collector = self.collect(Section::Request, &block)?;
        self.processed_id = id;
        // RFC 7540 section 5.3.1.
        if block.parent == Some(id) {
            return Err(Fault::stream(id, Code::PROTOCOL_ERROR, "stream depends on itself"));
        }
        let length = collector.length;
        let head = match collector.request(self.scheme) {
            Ok(head) => head,
            Err(Refusal::Malformed(what)) => return Err(Fault::stream(id, Code::PROTOCOL_ERROR, what)),
            Err(Refusal::TooLarge) => {
                self.refuse_large(id, block.end_stream);
                return Ok(());
            }
        };
        let tunnel = head.method == Method::CONNECT;
        if block.end_stream && !tunnel && length.is_some_and(|length| length > 0) {
            return Err(Fault::stream(id, Code::PROTOCOL_ERROR, "Content-Length not kept"));
        }
        let mut stream = Stream::new(id, self.enforced_window(), self.peer.initial_window_size);
        stream.tunnel = tunnel;
        stream.length_left = length.filter(|_| !tunnel);
        if block.end_stream {
            stream.receiving = Receiving::Ended;
        }
        let key = self.insert(stream);
        self.incoming = Some((key, head));
        Ok(())
    }

    /// The window of a new stream. A peer that has not seen our settings may use the initial size.
    pub(super) fn enforced_window(&self) -> u32 {
        let ours = stream_window(&self.limits);
        if self.acknowledged { ours } else { ours.max(super::settings::INITIAL_WINDOW) }
    }

    /// RFC 6585 section 5, without troubling anybody else.
    fn refuse_large(&mut self, id: u32, end_stream: bool) {
        self.violation = Some("head-too-large");
        let mut head = ResponseHead::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        let _ = head.fields.append(name::CONTENT_LENGTH, b"0");
        self.write_block(id, true, |encoder, out| encode_response(&head, encoder, out));
        if !end_stream {
            self.write_reset(id, Code::NO_ERROR);
        }
        self.remember(id, if end_stream { Ended::Complete } else { Ended::ByUs });
        self.count(Event::Reset);
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
            Err(Refusal::TooLarge) => {
                self.reset(key, Code::CANCEL, self.peer_error(Kind::HeadTooLarge, Retry::Never));
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
            Err(Refusal::TooLarge) => {
                self.reset(key, Code::CANCEL, self.peer_error(Kind::HeadTooLarge, Retry::Never));
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

    fn priority(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), Fault> {
        self.count(Event::Control);
        let id = header.stream;
        let (code, what) = match (payload.len(), frame::number(payload)) {
            (5, Some(parent)) if parent & 0x7fff_ffff != id => return Ok(()),
            (5, _) => (Code::PROTOCOL_ERROR, "stream depends on itself"),
            _ => (Code::FRAME_SIZE_ERROR, "PRIORITY of an odd length"),
        };
        // RST_STREAM may not be sent on an idle stream.
        Err(if self.is_idle_id(id) { Fault::connection(code, what) } else { Fault::stream(id, code, what) })
    }

    fn rst_stream(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), Fault> {
        let (4, Some(code)) = (payload.len(), frame::number(payload)) else {
            return Err(Fault::connection(Code::FRAME_SIZE_ERROR, "RST_STREAM of an odd length"));
        };
        if self.is_idle_id(header.stream) {
            return Err(Fault::connection(Code::PROTOCOL_ERROR, "RST_STREAM on an idle stream"));
        }
        let Some(key) = self.find(header.stream) else {
            self.count(Event::Control);
            return Ok(());
        };
        if self.incoming.as_ref().is_some_and(|&(incoming, _)| incoming == key) {
            self.incoming = None;
        }
        self.reset_by_peer(key, Code(code));
        if self.role == Role::Server {
            self.count(Event::Reset);
        }
        Ok(())
    }

    fn settings(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), Fault> {
        if header.has(flag::ACK) {
            if !payload.is_empty() {
                return Err(Fault::connection(Code::FRAME_SIZE_ERROR, "SETTINGS acknowledgement with a payload"));
            }
            if self.acknowledged {
                self.count(Event::Control);
            } else {
                self.acknowledged = true;
                self.decoder.allow(super::settings::header_table_size(&self.limits));
            }
            return Ok(());
        }
        if self.greeted {
            self.count(Event::Control);
        }
        self.greeted = true;
        let before = self.peer.initial_window_size;
        self.peer = self.peer.apply(payload, self.role)?;
        self.encoder.allow(self.peer.header_table_size as usize);
        self.acknowledge(kind::SETTINGS, &[]);
        // RFC 9113 section 6.9.2: the difference applies to every stream.
        let change = i64::from(self.peer.initial_window_size) - i64::from(before);
        if change != 0 {
            for at in 0..self.open.len() {
                let Some(&(_, key)) = self.open.get(at) else { break };
                if self.widen(key, change).is_none() {
                    return Err(Fault::connection(Code::FLOW_CONTROL_ERROR, "stream window too large"));
                }
            }
        }
        for waker in self.openers.drain(..) {
            waker.wake();
        }
        Ok(())
    }

    /// Changes a stream's window, and lets it send what now may be.
    fn widen(&mut self, key: usize, by: i64) -> Option<()> {
        let Some(stream) = self.streams.get_mut(key) else { return Some(()) };
        stream.send_window.change(by)?;
        if by > 0 {
            if stream.queue.is_empty() {
                wake(&mut stream.writer);
            }
            self.schedule(key);
        }
        Some(())
    }

    fn ping(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), Fault> {
        if payload.len() != GRACE.len() {
            return Err(Fault::connection(Code::FRAME_SIZE_ERROR, "PING of an odd length"));
        }
        if !header.has(flag::ACK) {
            self.count(Event::Control);
            self.acknowledge(kind::PING, payload);
        } else if self.phase == Phase::Warned && payload == GRACE {
            self.warned();
        } else {
            self.count(Event::Control);
        }
        Ok(())
    }

    fn received_goaway(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let (true, Some(last)) = (payload.len() >= 8, frame::number(payload)) else {
            return Err(Fault::connection(Code::FRAME_SIZE_ERROR, "GOAWAY too short"));
        };
        self.count(Event::Control);
        self.leaving = true;
        if self.role == Role::Client {
            // RFC 9113 section 6.8: what is above was not and will not be processed.
            let last = last & 0x7fff_ffff;
            let above: Vec<usize> = self.open.iter().filter(|&&(id, _)| id > last).map(|&(_, key)| key).collect();
            for key in above {
                self.abandon(key);
            }
        }
        for waker in self.openers.drain(..) {
            waker.wake();
        }
        Ok(())
    }

    fn window_update(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), Fault> {
        let id = header.stream;
        let (4, Some(increment)) = (payload.len(), frame::number(payload)) else {
            return Err(Fault::connection(Code::FRAME_SIZE_ERROR, "WINDOW_UPDATE of an odd length"));
        };
        let increment = i64::from(increment & 0x7fff_ffff);
        if id != 0 && self.is_idle_id(id) {
            return Err(Fault::connection(Code::PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream"));
        }
        if let Some(label) = self.flood.updated(self.now) {
            self.flooded(label);
            return Ok(());
        }
        if id == 0 {
            if increment == 0 {
                return Err(Fault::connection(Code::PROTOCOL_ERROR, "WINDOW_UPDATE of nothing"));
            }
            return match self.send_window.change(increment) {
                Some(()) => Ok(()),
                None => Err(Fault::connection(Code::FLOW_CONTROL_ERROR, "connection window too large")),
            };
        }
        // RFC 9113 section 6.9: on a stream that ended it means nothing.
        let Some(key) = self.find(id) else { return Ok(()) };
        if increment == 0 {
            return Err(Fault::stream(id, Code::PROTOCOL_ERROR, "WINDOW_UPDATE of nothing"));
        }
        match self.widen(key, increment) {
            Some(()) => Ok(()),
            None => Err(Fault::stream(id, Code::FLOW_CONTROL_ERROR, "stream window too large")),
        }
    }

    /// Takes a request that arrived; the stream gets a handle for each half that is open.
    pub(super) fn take_incoming(&mut self) -> Option<(usize, RequestHead, bool)> {
        let (key, head) = self.incoming.take()?;
        let stream = self.streams.get_mut(key)?;
        let body = stream.receiving == Receiving::Open;
        stream.handles = 1 + u8::from(body);
        debug_assert!(stream.sending == Sending::Head);
        Some((key, head, body))
    }
}
