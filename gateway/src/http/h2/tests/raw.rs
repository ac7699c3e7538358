//! A client that speaks frames and knows nothing of what they mean.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::h2::frame::{FrameHeader, HEADER, PREFACE, flag, kind};

/// A client's end, by frames.
pub(super) struct Raw {
    pub(super) tcp: TcpStream,
    /// Send bytes one by one.
    pub(super) slow: bool,
}

/// What the server did in the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// GOAWAY with this code, then the end.
    Goaway(u32),
    /// RST_STREAM on this stream with this code.
    Reset(u32, u32),
    /// A response on this stream, whole.
    Response(u32),
    /// An answer to the PING after all.
    Alive,
    /// The connection ended without a word.
    Closed,
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader { length: payload.len(), kind, flags, stream };
    [&header.bytes()[..], payload].concat()
}

/// A header block of literals that no table remembers.
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            out.push(text.len() as u8);
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

pub(super) fn request(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let base = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost")];
    block(&[&base[..], more].concat())
}

pub(super) fn headers(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(kind::HEADERS, flags, stream, block)
}

/// A whole GET.
pub(super) fn get(stream: u32, path: &str) -> Vec<u8> {
    headers(stream, flag::END_HEADERS | flag::END_STREAM, &request("GET", path, &[]))
}

/// The head of a POST.
pub(super) fn post(stream: u32, path: &str) -> Vec<u8> {
    headers(stream, flag::END_HEADERS, &request("POST", path, &[]))
}

pub(super) fn data(stream: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(kind::DATA, flags, stream, payload)
}

pub(super) fn number(kind: u8, stream: u32, number: u32) -> Vec<u8> {
    frame(kind, 0, stream, &number.to_be_bytes())
}

pub(super) fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        values.iter().flat_map(|(id, v)| [&id.to_be_bytes()[..], &v.to_be_bytes()].concat()).collect();
    frame(kind::SETTINGS, 0, 0, &payload)
}

impl Raw {
    /// A client that has said nothing.
    pub(super) fn new(tcp: TcpStream) -> Raw {
        Raw { tcp, slow: false }
    }

    /// A client that has shaken hands.
    pub(super) async fn greeted(tcp: TcpStream) -> Raw {
        let mut raw = Raw::new(tcp);
        raw.send(&[PREFACE, &settings(&[]), &frame(kind::SETTINGS, flag::ACK, 0, &[])].concat()).await;
        raw
    }

    /// Sends; a server that closed does not matter yet.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        if !self.slow {
            let _ = self.tcp.write_all(bytes).await;
            return;
        }
        for byte in bytes {
            let _ = self.tcp.write_all(&[*byte]).await;
            tokio::task::yield_now().await;
        }
    }

    /// The next frame; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<(FrameHeader, Vec<u8>)> {
        let mut bytes = [0; HEADER];
        self.tcp.read_exact(&mut bytes).await.ok()?;
        let header = FrameHeader::parse(&bytes).unwrap();
        let mut payload = vec![0; header.length];
        self.tcp.read_exact(&mut payload).await.ok()?;
        Some((header, payload))
    }

    /// The next frame of that kind; those before it are thrown away.
    pub(super) async fn next_of(&mut self, kind: u8) -> Option<(FrameHeader, Vec<u8>)> {
        loop {
            let (header, payload) = self.next().await?;
            if header.kind == kind {
                return Some((header, payload));
            }
        }
    }

    /// What comes of it all: an error, or else the end of a response that is waited for, or the answer to a PING.
    pub(super) async fn outcome(&mut self, wait_for: Option<u32>) -> Outcome {
        if wait_for.is_none() {
            self.send(&frame(kind::PING, 0, 0, b"the end?")).await;
        }
        while let Some((header, payload)) = self.next().await {
            let word = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
            match header.kind {
                kind::GOAWAY => {
                    // And then the connection ends.
                    while self.next().await.is_some() {}
                    return Outcome::Goaway(word(4));
                }
                kind::RST_STREAM => return Outcome::Reset(header.stream, word(0)),
                kind::PING if header.has(flag::ACK) && payload == b"the end?" => return Outcome::Alive,
                kind::DATA | kind::HEADERS if header.has(flag::END_STREAM) && Some(header.stream) == wait_for => {
                    return Outcome::Response(header.stream);
                }
                _ => {}
            }
        }
        Outcome::Closed
    }
}
