//! Moves bytes between the connection's transport and its core.
//!
//! In: what the peer sends, in large reads that are parsed in place. Out: what the core gathered, in few writes, once
//! nothing more is to be read: so the answers of many streams that became ready together leave together. Bounds: a
//! read is 64 KiB at most, and its memory is given back whenever nothing of it waits; nothing is read while the output is
//! over its bounds, or while a request waits to be taken; closing takes [`LINGER`] at most.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::time::Sleep;

use super::core::{CONTROL_ROOM, Core, Phase};
use super::fault::Fault;
use super::frame::{Code, FrameHeader, HEADER, PREFACE, kind};
use super::output::SLICES;
use super::settings::Role;
use crate::error::{Error, Kind, Retry};
use crate::http::stream::Stream;

/// How much is read at once: more while reads fill their room, less when they do not.
const READ_LEAST: usize = 8 * 1024;
const READ_MOST: usize = 64 * 1024;
/// With less room than this a read is not worth its call.
const ROOM: usize = 4096;
/// Payloads from this size on are passed on in the read buffer; smaller ones would hold too much of it.
const SHARED: usize = 4096;
/// Reads before something is written in between.
const READS: u32 = 4;
/// What the peer still sends while we close is read and thrown away: a socket that is closed with bytes unread
/// resets the connection, and the peer may lose what we said last.
const LINGER: Duration = Duration::from_secs(2);

/// The transport of one connection.
pub(super) struct Io {
    stream: Stream,
    buffer: BytesMut,
    /// The size of the next read.
    size: usize,
    /// How much of the client's preface is to come.
    preface: usize,
    /// The last read found nothing, so the socket tells when there is more.
    drained: bool,
    /// TLS holds bytes that the socket did not take.
    unflushed: bool,
    shut: bool,
    linger: Option<Pin<Box<Sleep>>>,
}

/// Why [`Io::poll`] returns.
pub(super) enum Turn {
    /// A request waits in the core.
    Incoming,
    /// The connection is over.
    Over,
}

/// What parsing came to.
enum Parsed {
    /// More bytes are needed.
    Starved,
    /// A request waits.
    Incoming,
    /// Too much waits to be written.
    Full,
}

impl Io {
    pub(super) fn new(stream: Stream, read_so_far: BytesMut, role: Role) -> Io {
        let preface = if role == Role::Server { PREFACE.len() } else { 0 };
        Io {
            stream,
            buffer: read_so_far,
            size: READ_LEAST,
            preface,
            drained: false,
            unflushed: false,
            shut: false,
            linger: None,
        }
    }

    /// Does all that can be done now.
    pub(super) fn poll(&mut self, core: &RefCell<Core>, cx: &mut Context<'_>) -> Poll<Turn> {
        let core = &mut *core.borrow_mut();
        core.enter(cx);
        core.now = Instant::now();
        core.end_overdue();
        let mut reads = 0;
        loop {
            let mut read = false;
            let mut full = false;
            match self.parse(core) {
                Parsed::Incoming => return Poll::Ready(Turn::Incoming),
                Parsed::Starved if core.phase < Phase::Closing => match self.poll_read(cx) {
                    Poll::Ready(Ok(0)) => {
                        // A client that goes is gone; an upstream that goes owes responses.
                        let owed = core.role == Role::Client && !core.open.is_empty();
                        let kind = if owed { Kind::Truncated } else { Kind::Closed };
                        core.close(core.peer_error(kind, Retry::Idempotent));
                    }
                    Poll::Ready(Ok(_)) => {
                        reads += 1;
                        read = true;
                        if reads % READS != 0 {
                            continue;
                        }
                    }
                    Poll::Ready(Err(error)) => {
                        let side = core.peer_error(Kind::Io, Retry::Never).side;
                        core.broken(Error::io(&error, side));
                    }
                    Poll::Pending => {}
                },
                Parsed::Starved => {}
                Parsed::Full => full = true,
            }
            core.close_if_done();
            if core.phase == Phase::Closing {
                return self.poll_close(core, cx).map(|()| Turn::Over);
            }
            if core.phase == Phase::Over {
                return Poll::Ready(Turn::Over);
            }
            let written = match self.poll_write(core, cx) {
                Ok(written) => written,
                Err(error) => {
                    let side = core.peer_error(Kind::Io, Retry::Never).side;
                    core.broken(Error::io(&error, side));
                    return Poll::Ready(Turn::Over);
                }
            };
            let again = read || (full && written);
            if !again {
                break;
            }
        }
        core.notified = false;
        self.rest(core);
        Poll::Pending
    }

    /// Takes whole frames off the buffer.
    fn parse(&mut self, core: &mut Core) -> Parsed {
        if self.preface > 0 && !self.check_preface(core) {
            return Parsed::Starved;
        }
        loop {
            if core.phase >= Phase::Closing {
                self.buffer.clear();
                return Parsed::Starved;
            }
            if core.incoming.is_some() {
                return Parsed::Incoming;
            }
            if core.out.len() > core.room() + CONTROL_ROOM {
                return Parsed::Full;
            }
            let Some(header) = FrameHeader::parse(&self.buffer) else { return Parsed::Starved };
            if let Err(fault) = core.check(header) {
                core.fault(fault);
                continue;
            }
            let end = HEADER + header.length;
            let Some(payload) = self.buffer.get(HEADER..end) else { return Parsed::Starved };
            let result = if header.kind == kind::DATA && header.length >= SHARED {
                self.buffer.advance(HEADER);
                let payload: Bytes = self.buffer.split_to(header.length).freeze();
                core.receive(header, &payload, Some(&payload))
            } else {
                let result = core.receive(header, payload, None);
                self.buffer.advance(end);
                result
            };
            if let Err(fault) = result {
                core.fault(fault);
            }
        }
    }

    /// RFC 9113 section 3.4: the client's first bytes.
    fn check_preface(&mut self, core: &mut Core) -> bool {
        let rest = PREFACE.get(PREFACE.len() - self.preface..).unwrap_or_default();
        let here = rest.len().min(self.buffer.len());
        if self.buffer.get(..here) != rest.get(..here) {
            self.preface = 0;
            core.fault(Fault::connection(Code::PROTOCOL_ERROR, "invalid preface"));
            return true;
        }
        self.buffer.advance(here);
        self.preface -= here;
        self.preface == 0
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.buffer.capacity() - self.buffer.len() < ROOM {
            // No memory for a connection on which nothing happens.
            if self.drained && self.buffer.is_empty() {
                std::task::ready!(self.stream.tcp().poll_read_ready(cx))?;
            }
            self.buffer.reserve(self.size);
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let result = pin!(self.stream.read_buf(&mut self.buffer)).poll(cx);
        self.drained = result.is_pending();
        match result {
            Poll::Ready(Ok(read)) if read == room => self.size = READ_MOST.min(self.size * 2),
            Poll::Ready(Ok(read)) if read < self.size / 4 => self.size = READ_LEAST.max(self.size / 2),
            _ => {}
        }
        result
    }

    /// Writes what waits, and lets streams fill up what was written. Returns whether there was progress.
    fn poll_write(&mut self, core: &mut Core, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut progress = false;
        loop {
            core.pump();
            if core.out.is_empty() {
                break;
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = core.out.slices(&mut slices);
            let result = match slices.get(..filled) {
                Some([only]) => Pin::new(&mut self.stream).poll_write(cx, only),
                Some(several) => Pin::new(&mut self.stream).poll_write_vectored(cx, several),
                None => break,
            };
            match result {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => core.out.advance(written),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.unflushed |= self.stream.is_tls();
                    return Ok(progress);
                }
            }
            progress = true;
        }
        // TLS may have taken more than the socket did.
        self.unflushed |= progress && self.stream.is_tls();
        if self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(result) => result?,
                Poll::Pending => return Ok(progress),
            }
            self.unflushed = false;
        }
        Ok(progress)
    }

    /// Writes what waits, says that it was the last, and waits for the peer to close as well, for a while.
    fn poll_close(&mut self, core: &mut Core, cx: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        let late = linger.as_mut().poll(cx).is_ready();
        let result = if late { Poll::Ready(Ok(())) } else { self.poll_last(core, cx) };
        if result.is_ready() {
            core.out.clear();
            core.phase = Phase::Over;
            return Poll::Ready(());
        }
        core.notified = false;
        Poll::Pending
    }

    fn poll_last(&mut self, core: &mut Core, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            self.poll_write(core, cx)?;
            if core.out.is_empty() {
                std::task::ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
                self.shut = true;
            }
        }
        loop {
            self.buffer.clear();
            if std::task::ready!(self.poll_read(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Before the connection waits: notes what is incomplete, and gives memory back.
    fn rest(&mut self, core: &mut Core) {
        let head = FrameHeader::parse(&self.buffer).is_none_or(|header| header.kind != kind::DATA);
        if (head && !self.buffer.is_empty()) || core.block.is_some() || !core.greeted {
            core.incomplete_since.get_or_insert(core.now);
        } else {
            core.incomplete_since = None;
        }
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        core.shrink();
    }
}
