//! A TCP connection whose reads and writes are plain system calls.
//!
//! The C library makes each `recv` and `send` of a process with threads a cancellation point, which costs two atomic operations a
//! call: about three percent of a small request. Nobody cancels our threads, so the calls are made directly.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::FilePart;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::TcpStream;

/// A connected socket.
#[derive(Debug)]
pub struct Tcp(TcpStream);

/// How a peer has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Departure {
    /// It sends no more.
    HalfClosed,
    /// There is no connection any more.
    Broken,
}

/// Whether the peer has said that it sends no more, or has broken the connection; without reading anything.
pub(super) fn departure(socket: &TcpStream) -> Option<Departure> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    #[cfg(target_os = "linux")]
    const END: PollFlags = PollFlags::RDHUP;
    #[cfg(not(target_os = "linux"))]
    const END: PollFlags = PollFlags::HUP;
    let mut asked = [PollFd::new(socket, END)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let found = poll(&mut asked, Some(&at_once)).ok().and_then(|_| asked.first().map(PollFd::revents))?;
    if found.intersects(PollFlags::ERR | PollFlags::HUP) {
        return Some(Departure::Broken);
    }
    found.contains(END).then_some(Departure::HalfClosed)
}

impl Tcp {
    /// Takes a connected socket.
    pub fn new(stream: TcpStream) -> Tcp {
        Tcp(stream)
    }

    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        &self.0
    }

    /// Closes so that the peer gets to read what was sent last: reads on until it closes too, but no more than this.
    pub async fn hang_up(mut self, most: u64) {
        if self.shutdown().await.is_ok() {
            // Nobody is left to be told of a failure.
            let _ = tokio::io::copy(&mut self.take(most), &mut tokio::io::sink()).await;
        }
    }

    /// Notes that the socket has no more to give or to take, so that the next attempt waits for it to say otherwise instead of
    /// asking in vain. What arrives after the call that this follows makes it ready again.
    fn exhausted(&self, interest: Interest) {
        let _ = self.0.try_io(interest, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }

    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        size: usize,
        send: impl Fn() -> Result<usize, Errno>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_io(Interest::WRITABLE, || Ok(send()?)) {
                Ok(count) => {
                    if count > 0 && count < size {
                        self.exhausted(Interest::WRITABLE);
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Tcp {
    /// Sends what it can of a part of a file, which the system does by itself. 0: there is nothing left of it.
    #[cfg(target_os = "linux")]
    pub(super) fn poll_send_part(&self, cx: &mut Context<'_>, part: &FilePart) -> Poll<io::Result<usize>> {
        // Less than all may be the end of the file as well as that of the room, so it says nothing of the socket: a size of 0.
        self.poll_send(cx, 0, || {
            let mut offset = part.offset;
            rustix::fs::sendfile(&self.0, &part.file, Some(&mut offset), part.length)
        })
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn poll_send_part(&self, _: &mut Context<'_>, _: &FilePart) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }
}

impl AsyncRead for Tcp {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            let room = buf.remaining();
            // SAFETY: `recv` writes to the slice and never makes initialised bytes uninitialised.
            #[allow(unsafe_code)]
            let unfilled = unsafe { buf.unfilled_mut() };
            let received = self.0.try_io(Interest::READABLE, || {
                let ((filled, _), _) = rustix::net::recv(&self.0, unfilled, RecvFlags::empty())?;
                Ok(filled.len())
            });
            match received {
                Ok(count) => {
                    // SAFETY: `recv` has filled so many bytes from the start of the slice.
                    #[allow(unsafe_code)]
                    unsafe {
                        buf.assume_init(count);
                    }
                    buf.advance(count);
                    if count > 0 && count < room {
                        self.exhausted(Interest::READABLE);
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // Without NOSIGNAL a peer that is gone would end the process.
        self.poll_send(cx, buf.len(), || rustix::net::send(&self.0, buf, SendFlags::NOSIGNAL))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let size = bufs.iter().map(|buf| buf.len()).sum();
        self.poll_send(cx, size, || {
            let mut control = rustix::net::SendAncillaryBuffer::default();
            rustix::net::sendmsg(&self.0, bufs, &mut control, SendFlags::NOSIGNAL)
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
