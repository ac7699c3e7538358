//! What each frame of the peer does to the connection (RFC 9113 sections 5 and 6).
//!
//! In: frames in the order of arrival. Out: changes of the core, woken handles, answers in the output, or the fault
//! that ends a stream or the connection.

use bytes::Bytes;

use super::core::{Block, Core, Ended, GRACE, Phase};
use super::fault::Fault;
use super::flood::{Event, SMALL};
use super::frame::{self, Code, FrameHeader, MAX_PAYLOAD, flag, kind};
use super::settings::Role;
use super::stream::{Receiving, wake};

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
        self.credit_received(payload.len(), result.unwrap_or(0));
        result.map(|_| ())
    }

    /// Returns how many bytes are kept for the stream's reader.
    fn stream_data(&mut self, header: FrameHeader, payload: &[u8], shared: Option<&Bytes>) -> Result<usize, Fault> {
        let id = header.stream;
        let (start, end) = frame::unpadded(header, payload)?;
        let data = payload.get(start..end).unwrap_or_default();
        let last = header.has(flag::END_STREAM);
        // Whatever becomes of the stream: what comes for one that ended costs too.
        match data.len() {
            _ if last => {}
            0 => self.count(Event::Empty),
            // Upstreams are trusted with more: what they stream to many clients comes over one connection, word by word.
            1..SMALL if self.role == Role::Server => self.count(Event::Small),
            _ => {}
        }
        let Some(key) = self.find(id) else { return self.data_after_end(id).map(|()| 0) };
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
        } else if !self.may_discard(key, payload.len()) {
            self.end_lingering(key);
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
            // An upstream may reset each stream once more after its end (RFC 9113 section 8.1).
            if self.role == Role::Server || self.ended(header.stream) == Ended::Forgotten {
                self.count(Event::Control);
            }
            return Ok(());
        };
        if self.incoming.as_ref().is_some_and(|incoming| incoming.key == Some(key)) {
            self.incoming = None;
        }
        // A client that was answered may well end its request so.
        let answered = self.streams.get(key).is_some_and(|stream| stream.discard_left.is_some());
        self.reset_by_peer(key, Code(code));
        if self.role == Role::Server {
            self.count(if answered { Event::Control } else { Event::Reset });
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
        self.leave();
        if self.role == Role::Client {
            // RFC 9113 section 6.8: what is above was not and will not be processed.
            let last = last & 0x7fff_ffff;
            let above: Vec<usize> = self.open.iter().filter(|&&(id, _)| id > last).map(|&(_, key)| key).collect();
            for key in above {
                self.abandon(key);
            }
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
}
