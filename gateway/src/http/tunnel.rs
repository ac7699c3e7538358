//! Bytes both ways between a client and an upstream that no longer speak HTTP to us.
//!
//! In: two connections. Out: when both directions have ended, one failed, or nothing moved for too long. A direction that ends
//! is ended on the other side too; the opposite one goes on.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::responder::Duplex;
use crate::error::{Error, Kind, Phase, Retry, Side};

/// Room for each direction.
const BUFFER: usize = 16 * 1024;

/// Carries bytes until it is over, and counts them: `upwards` from the client to the upstream, `downwards` the other way. An
/// error when it ended before both sides were done.
pub async fn run(
    client: Box<dyn Duplex>,
    upstream: Box<dyn Duplex>,
    idle: Duration,
    upwards: &Cell<u64>,
    downwards: &Cell<u64>,
) -> Result<(), Error> {
    let mut client = Counted { inner: client, read: upwards };
    let mut upstream = Counted { inner: upstream, read: downwards };
    let failed = |kind| Err(Error { kind, side: Side::Client, retry: Retry::Never });
    let mut copying = Box::pin(tokio::io::copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER));
    loop {
        let before = (upwards.get(), downwards.get());
        match tokio::time::timeout(idle, &mut copying).await {
            Ok(Ok(_)) => return Ok(()),
            // Who failed cannot be told from here; for both sides the tunnel is over.
            Ok(Err(_)) => return failed(Kind::Io),
            Err(_) if before == (upwards.get(), downwards.get()) => {
                return failed(Kind::Timeout(Phase::TunnelIdle));
            }
            Err(_) => {}
        }
    }
}

struct Counted<'a> {
    inner: Box<dyn Duplex>,
    read: &'a Cell<u64>,
}

impl AsyncRead for Counted<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.read.set(self.read.get() + (buf.filled().len() - before) as u64);
        result
    }
}

impl AsyncWrite for Counted<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
