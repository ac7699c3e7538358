//! A connection whose bytes the test reads and writes itself, at either end, and HTTP/1 messages read from it.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{tls, within};

/// One connection.
pub(crate) struct Raw {
    stream: Box<dyn Stream>,
    /// What was read and not asked for yet.
    pub(crate) buffer: BytesMut,
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// Properly.
    Closed,
    /// By a reset, or without TLS's farewell.
    Broken,
}

/// An HTTP/1 message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// The start line.
    pub(crate) start: String,
    /// Names in lower case, values trimmed.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

/// A byte stream over TCP.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// What it runs over.
    fn tcp(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Stream for tokio_rustls::client::TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

impl Stream for tokio_rustls::server::TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

impl Raw {
    pub(crate) fn new(stream: impl Stream + 'static) -> Raw {
        stream.tcp().set_nodelay(true).expect("no delay");
        Raw { stream: Box::new(stream), buffer: BytesMut::new() }
    }

    pub(crate) async fn connect(address: SocketAddr) -> Raw {
        Raw::new(within("a connection", TcpStream::connect(address)).await.expect("a connection"))
    }

    /// Over TLS, with these protocols offered.
    pub(crate) async fn connect_tls(address: SocketAddr, alpn: &[&str]) -> Raw {
        Raw::connect_tls_with(address, tls::client(alpn), tls::NAME).await.expect("a TLS handshake").0
    }

    /// Over TLS as the configuration says; with the connection come its facts.
    pub(crate) async fn connect_tls_with(
        address: SocketAddr,
        config: impl Into<Arc<ClientConfig>>,
        name: &str,
    ) -> io::Result<(Raw, tls::Facts)> {
        let tcp = TcpStream::connect(address).await?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let handshake = TlsConnector::from(config.into()).connect(name, tcp);
        let stream = within("a TLS handshake", handshake).await?;
        let facts = tls::Facts::of(stream.get_ref().1);
        Ok((Raw::new(stream), facts))
    }

    /// The stream itself, for somebody who speaks properly over it.
    pub(crate) fn into_stream(self) -> Box<dyn Stream> {
        self.stream
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("to send");
    }

    /// Sends to somebody who may have gone.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        within("room to send", async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        })
        .await
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.expect("to shut down");
    }

    /// Ends it with a reset.
    pub(crate) fn reset(self) {
        SockRef::from(self.stream.tcp()).set_linger(Some(Duration::ZERO)).expect("linger");
    }

    /// Ends the TCP connection without a farewell of TLS.
    pub(crate) fn cut(self) {
        SockRef::from(self.stream.tcp()).shutdown(Shutdown::Both).expect("to shut down");
    }

    /// Reads more; 0: there is none.
    async fn fill(&mut self) -> io::Result<usize> {
        let buffer = std::str::from_utf8(&self.buffer).unwrap_or("bytes").to_owned();
        within(&format!("more bytes after {buffer:?}"), self.stream.read_buf(&mut self.buffer)).await
    }

    async fn more(&mut self) {
        let count = self.fill().await.expect("to read");
        assert!(count > 0, "the connection ended after {:?}", self.buffer);
    }

    /// So many bytes.
    pub(crate) async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            self.more().await;
        }
        self.buffer.split_to(count).to_vec()
    }

    /// Everything up to this text, and the text.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        loop {
            let found = self.buffer.windows(text.len()).position(|window| window == text.as_bytes());
            if let Some(at) = found {
                let bytes = self.buffer.split_to(at + text.len());
                return String::from_utf8(bytes.to_vec()).expect("text");
            }
            self.more().await;
        }
    }

    /// Everything until the connection ends, and how it does.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, End) {
        let end = loop {
            match self.fill().await {
                Ok(0) => break End::Closed,
                Ok(_) => {}
                Err(_) => break End::Broken,
            }
        };
        (std::mem::take(&mut self.buffer).to_vec(), end)
    }

    /// What has come in so far, if anything has; hardly waits.
    pub(crate) async fn peek(&mut self) -> Option<&[u8]> {
        let reading = self.stream.read_buf(&mut self.buffer);
        let _ = tokio::time::timeout(Duration::from_millis(1), reading).await;
        (!self.buffer.is_empty()).then_some(&self.buffer)
    }

    /// The other side ends the connection and says nothing more.
    pub(crate) async fn is_over(&mut self) {
        let (rest, _) = self.rest().await;
        assert!(rest.is_empty(), "bytes before the end: {:?}", String::from_utf8_lossy(&rest));
    }

    /// A request, with its body.
    pub(crate) async fn request(&mut self) -> Message {
        let mut message = self.head().await;
        self.body(&mut message, false).await.expect("a whole request");
        message
    }

    /// The response to a request that was not HEAD.
    pub(crate) async fn response(&mut self) -> Message {
        self.try_response().await.expect("a whole response")
    }

    /// The same, or how the connection ended before the response was complete.
    pub(crate) async fn try_response(&mut self) -> Result<Message, End> {
        let mut message = self.head().await;
        let status = message.status();
        if status >= 200 && status != 204 && status != 304 {
            self.body(&mut message, true).await?;
        }
        Ok(message)
    }

    /// The answer is this status, and then the connection ends.
    pub(crate) async fn is_refused(&mut self, status: u16) {
        let response = self.response().await;
        assert_eq!(response.status(), status, "{response:?}");
        self.is_over().await;
    }

    /// A head, without what follows it.
    pub(crate) async fn head(&mut self) -> Message {
        let text = self.until("\r\n\r\n").await;
        let mut lines = text.trim_end().split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        Message { start, fields: lines.map(field).collect(), body: Vec::new(), trailers: Vec::new() }
    }

    async fn body(&mut self, message: &mut Message, is_response: bool) -> Result<(), End> {
        if message.has("transfer-encoding", "chunked") {
            return self.chunks(message).await;
        }
        let length = message.field("content-length").map(|length| length.parse().expect("a length"));
        match length {
            Some(length) => message.body = self.part(length).await?,
            None if is_response => {
                let (rest, end) = self.rest().await;
                message.body = rest;
                return if end == End::Closed { Ok(()) } else { Err(end) };
            }
            None => {}
        }
        Ok(())
    }

    async fn chunks(&mut self, message: &mut Message) -> Result<(), End> {
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("not a chunk size: {line:?}"));
            if size == 0 {
                break;
            }
            message.body.extend(self.part(size).await?);
            assert_eq!(self.line().await?, "", "after a chunk");
        }
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(());
            }
            message.trailers.push(field(&line));
        }
    }

    async fn line(&mut self) -> Result<String, End> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line = self.buffer.split_to(at);
                self.buffer.advance(2);
                return Ok(String::from_utf8(line.to_vec()).expect("text"));
            }
            self.or_end().await?;
        }
    }

    async fn part(&mut self, size: usize) -> Result<Vec<u8>, End> {
        while self.buffer.len() < size {
            self.or_end().await?;
        }
        Ok(self.buffer.split_to(size).to_vec())
    }

    /// Reads more, or tells how it ended.
    pub(crate) async fn or_end(&mut self) -> Result<(), End> {
        match self.fill().await {
            Ok(0) => Err(End::Closed),
            Ok(_) => Ok(()),
            Err(_) => Err(End::Broken),
        }
    }
}

impl Message {
    /// The status of a response.
    pub(crate) fn status(&self) -> u16 {
        let status = self.start.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("no response: {:?}", self.start))
    }

    /// The response has this status.
    pub(crate) fn is(&self, status: u16) {
        assert_eq!(self.status(), status, "{self:?}");
    }

    /// The value of a field; several are joined.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self.fields.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// Whether a field has this value.
    pub(crate) fn has(&self, name: &str, value: &str) -> bool {
        self.field(name).is_some_and(|field| field.eq_ignore_ascii_case(value))
    }

    /// The body of an origin that tells what it saw.
    pub(crate) fn seen(&self) -> serde_json::Value {
        assert_eq!(self.status(), 200, "{self:?}");
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("not a field: {line:?}"));
    (name.to_ascii_lowercase(), value.trim().to_owned())
}
