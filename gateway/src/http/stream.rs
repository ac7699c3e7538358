//! A connection's bytes, whatever carries them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::tcp::Tcp;

/// A connection: cleartext, or TLS towards a client or an upstream.
pub enum Stream {
    /// Cleartext.
    Tcp(Tcp),
    /// TLS, we are the server.
    TlsServer(Box<tokio_rustls::server::TlsStream<Tcp>>),
    /// TLS, we are the client.
    TlsClient(Box<tokio_rustls::client::TlsStream<Tcp>>),
}

impl Stream {
    /// A cleartext connection.
    pub fn cleartext(tcp: TcpStream) -> Stream {
        Stream::Tcp(Tcp::new(tcp))
    }

    /// The socket below.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Tcp(tcp) => tcp.socket(),
            Stream::TlsServer(tls) => tls.get_ref().0.socket(),
            Stream::TlsClient(tls) => tls.get_ref().0.socket(),
        }
    }

    /// Whether bytes are encrypted.
    pub fn is_tls(&self) -> bool {
        !matches!(self, Stream::Tcp(_))
    }
}

macro_rules! each {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream.get_mut() {
            Stream::Tcp(tcp) => {
                let $inner = Pin::new(tcp);
                $call
            }
            Stream::TlsServer(tls) => {
                let $inner = Pin::new(tls.as_mut());
                $call
            }
            Stream::TlsClient(tls) => {
                let $inner = Pin::new(tls.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => inner.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, inner => inner.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, inner => inner.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Tcp(tcp) => tcp.is_write_vectored(),
            Stream::TlsServer(tls) => tls.is_write_vectored(),
            Stream::TlsClient(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => inner.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => inner.poll_shutdown(cx))
    }
}
