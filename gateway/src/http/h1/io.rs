//! The buffers of one HTTP/1 connection.
//!
//! A connection that waits for its peer holds no read buffer: it gives it back to the thread's store and takes one again
//! when bytes are there. Of outgoing data at most one large chunk is held, beside a small buffer for heads
//! and short pieces; who wants to send more waits for [`Io::poll_ready`], which is the back-pressure.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::http::{FilePart, Stream};

/// What one read may bring at first, and when the peer keeps filling it.
const READ_SIZE: usize = 16 * 1024;
const READ_SIZE_LARGE: usize = 64 * 1024;
/// Data up to this size is copied behind the head; larger data is written from where it is.
const COPY_SIZE: usize = 4 * 1024;
/// More than this waits to be written: no more is taken.
const WRITE_SIZE: usize = 16 * 1024;
/// Read buffers kept by a thread for its connections.
const STORE_SIZE: usize = 64;

thread_local! {
    static STORE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// One connection's transport and buffers.
pub struct Io {
    stream: Stream,
    /// Read and not yet consumed.
    pub read: BytesMut,
    read_size: usize,
    end_of_input: bool,
    small: Vec<u8>,
    /// How much of `small` is written.
    written: usize,
    large: Bytes,
    /// What follows `large`.
    after: &'static [u8],
    /// What follows all that, out of a file.
    part: Option<FilePart>,
    failed: bool,
}

impl Io {
    /// A connection from which these bytes were already read.
    pub fn new(stream: Stream, read: BytesMut) -> Io {
        Io {
            stream,
            read,
            read_size: READ_SIZE,
            end_of_input: false,
            small: Vec::new(),
            written: 0,
            large: Bytes::new(),
            after: b"",
            part: None,
            failed: false,
        }
    }

    /// The transport.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The transport and what was read from it beyond what was consumed.
    pub fn into_parts(mut self) -> (Stream, BytesMut) {
        let read = std::mem::take(&mut self.read);
        (self.stream, read)
    }

    /// Reads more; 0 is the end of input.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.end_of_input {
            return Poll::Ready(Ok(0));
        }
        if self.read.capacity() == 0 {
            // No buffer is taken as long as there is nothing for it. (What TLS holds does not show on the socket.)
            if let Stream::Tcp(tcp) = &self.stream {
                ready!(tcp.socket().poll_read_ready(cx))?;
            }
            self.read = STORE.with_borrow_mut(Vec::pop).unwrap_or_default();
        }
        let room = self.read.capacity() - self.read.len();
        if room < self.read_size / 2 {
            self.read.reserve(self.read_size);
        }
        let room = self.read.capacity() - self.read.len();
        match pin!(self.stream.read_buf(&mut self.read)).poll(cx) {
            Poll::Ready(Ok(0)) => {
                self.end_of_input = true;
                Poll::Ready(Ok(0))
            }
            Poll::Ready(Ok(count)) => {
                self.read_size = if count == room { READ_SIZE_LARGE } else { READ_SIZE };
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.give_back();
                Poll::Pending
            }
        }
    }

    /// Room in the small buffer, to write a head into. The caller has waited for [`Io::poll_ready`].
    pub fn small(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.large.is_empty() && self.after.is_empty(), "poll_ready comes before writing");
        &mut self.small
    }

    /// Takes data to write, and what follows it. The caller has waited for [`Io::poll_ready`].
    pub fn push(&mut self, data: Bytes, after: &'static [u8]) {
        debug_assert!(self.large.is_empty() && self.after.is_empty(), "poll_ready comes before writing");
        if data.len() <= COPY_SIZE {
            self.small.extend_from_slice(&data);
            self.small.extend_from_slice(after);
        } else {
            self.large = data;
            self.after = after;
        }
    }

    /// Whether [`Io::push_part`] may be called: the system sends by itself what need not be encrypted.
    pub fn takes_parts(&self) -> bool {
        cfg!(target_os = "linux") && !self.stream.is_tls()
    }

    /// Takes a part of a file. The caller has waited for [`Io::poll_ready`].
    pub fn push_part(&mut self, part: FilePart) {
        debug_assert!(self.large.is_empty() && self.part.is_none(), "poll_ready comes before writing");
        self.part = Some(part);
    }

    /// How much of what was taken, apart from short pieces, is not written yet.
    pub fn unsent(&self) -> u64 {
        self.large.len() as u64 + self.part.as_ref().map_or(0, |part| part.length as u64)
    }

    /// Whether writing has failed.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether all that was taken is written.
    pub fn is_flushed(&self) -> bool {
        self.small.is_empty() && self.large.is_empty() && self.after.is_empty() && self.part.is_none()
    }

    /// Ready when more data can be taken; writes when it has to.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let waiting = self.small.len().saturating_sub(self.written);
        if self.large.is_empty() && self.after.is_empty() && self.part.is_none() && waiting < WRITE_SIZE {
            return Poll::Ready(Ok(()));
        }
        self.poll_flush(cx)
    }

    /// Writes all that was taken.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.failed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let result = self.poll_write_all(cx);
        self.failed = matches!(result, Poll::Ready(Err(_)));
        result
    }

    /// Says that nothing more will be written.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Makes the end of the connection look like a failure to the peer, whatever was written before.
    pub fn reset_on_close(&self) {
        // The peer may be gone already; then there is nobody to be misled.
        let _ = socket2::SockRef::from(self.stream.tcp()).set_linger(Some(std::time::Duration::ZERO));
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_flushed() {
            if self.small.is_empty() && self.large.is_empty() && self.after.is_empty() {
                ready!(self.poll_send_part(cx))?;
                continue;
            }
            let small = self.small.get(self.written..).unwrap_or_default();
            let stream = Pin::new(&mut self.stream);
            let count = if self.large.is_empty() && self.after.is_empty() {
                ready!(stream.poll_write(cx, small))?
            } else {
                let pieces = [IoSlice::new(small), IoSlice::new(&self.large), IoSlice::new(self.after)];
                let first = usize::from(small.is_empty());
                ready!(stream.poll_write_vectored(cx, pieces.get(first..).unwrap_or_default()))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(count);
        }
        // TLS may hold back what it has taken; cleartext has nothing to do here.
        if self.stream.is_tls() { Pin::new(&mut self.stream).poll_flush(cx) } else { Poll::Ready(Ok(())) }
    }

    fn poll_send_part(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (Some(part), Stream::Tcp(tcp)) = (&mut self.part, &self.stream) else { return Poll::Ready(Ok(())) };
        let count = match ready!(tcp.poll_send_part(cx, part)) {
            // What was there when it was promised is there no more.
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            Ok(count) => count,
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                // A file system that sends nothing by itself. What the system has in memory is read at once.
                let mut copy = vec![0; part.length.min(READ_SIZE_LARGE)];
                let count = part.file.read_at(&mut copy, part.offset)?;
                copy.truncate(count);
                self.large = copy.into();
                count
            }
            Err(error) => return Poll::Ready(Err(error)),
        };
        part.offset += count as u64;
        part.length = part.length.saturating_sub(count);
        if part.length == 0 {
            self.part = None;
        }
        Poll::Ready(if count == 0 { Err(io::ErrorKind::InvalidData.into()) } else { Ok(()) })
    }

    fn advance(&mut self, count: usize) {
        let small = self.small.len().saturating_sub(self.written);
        if count < small {
            self.written += count;
            return;
        }
        self.written = 0;
        self.small.clear();
        if self.small.capacity() > WRITE_SIZE {
            self.small = Vec::new();
        }
        let large = (count - small).min(self.large.len());
        self.large.advance(large);
        if self.large.is_empty() {
            // An empty slice still holds its buffer.
            self.large = Bytes::new();
        }
        self.after = self.after.get(count - small - large..).unwrap_or_default();
    }

    /// Nothing is there to read: the next connection may have the buffer.
    pub fn give_back(&mut self) {
        if !self.read.is_empty() || self.read.capacity() == 0 {
            return;
        }
        let buffer = std::mem::take(&mut self.read);
        STORE.with_borrow_mut(|store| {
            if store.len() < STORE_SIZE {
                store.push(buffer);
            }
        });
    }
}

/// What remains of the connection when it is no longer HTTP/1: first what was read already, then the transport.
impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            self.give_back();
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let size = buf.remaining().min(self.read.len());
        buf.put_slice(&self.read.split_to(size));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Io::poll_flush(&mut self, cx))?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Io::poll_flush(&mut self, cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Io::poll_shutdown(&mut self, cx)
    }
}
