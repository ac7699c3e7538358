//! HTTP/2 frame by frame, for what a proper client or server would never send.
//!
//! Heads are written without compression. Of heads that come in only the status is read, which stands first.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use super::Raw;

/// Types of frames (RFC 9113 section 6).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub(crate) mod flag {
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const ACK: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One connection.
pub(crate) struct Frames {
    raw: Raw,
    /// Frames that were read while another one was looked for.
    waiting: VecDeque<Frame>,
    /// The code of the last GOAWAY.
    farewell: Option<u32>,
}

/// A frame that came in.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// What became of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// A complete response: the interim statuses, the status, the body.
    Response(Vec<u16>, u16, Vec<u8>),
    /// The stream was reset with this code, after this status if there was one.
    Reset(u32, Option<u16>),
    /// The connection was given up with this code.
    GoAway(u32),
    /// The connection ended without a word.
    Closed,
}

impl Outcome {
    /// The status of a complete response.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Outcome::Response(_, status, _) => Some(*status),
            _ => None,
        }
    }

    /// Whether the request was turned away: by a status of the 4xx class, a reset, or the end of the connection.
    pub(crate) fn is_refusal(&self) -> bool {
        !matches!(self, Outcome::Response(_, status, _) if !(400..500).contains(status))
    }
}

impl Frames {
    /// The client's end.
    pub(crate) async fn connect(mut raw: Raw) -> Frames {
        raw.send(PREFACE).await;
        Frames::begin(raw).await
    }

    /// The server's end.
    pub(crate) async fn accept(mut raw: Raw) -> Frames {
        assert_eq!(raw.exactly(PREFACE.len()).await, PREFACE);
        Frames::begin(raw).await
    }

    async fn begin(raw: Raw) -> Frames {
        let mut frames = Frames { raw, waiting: VecDeque::new(), farewell: None };
        // SETTINGS_HEADER_TABLE_SIZE = 0, SETTINGS_INITIAL_WINDOW_SIZE = 16 MiB.
        frames.send(kind::SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0]).await;
        frames
    }

    /// The connection itself.
    pub(crate) fn raw(&mut self) -> &mut Raw {
        &mut self.raw
    }

    /// Sends a frame to somebody who listens.
    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.try_send(kind, flags, stream, payload).await.expect("to send");
    }

    /// Sends a frame to somebody who may have gone.
    pub(crate) async fn try_send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
        self.raw.try_send(frame(kind, flags, stream, payload)).await
    }

    /// Sends a head in one frame.
    pub(crate) async fn headers(&mut self, stream: u32, fields: &[(&str, &str)], is_last: bool) {
        let flags = flag::END_HEADERS | if is_last { flag::END_STREAM } else { 0 };
        self.send(kind::HEADERS, flags, stream, &block(fields)).await;
    }

    /// Sends a GET for this path at `localhost`.
    pub(crate) async fn get(&mut self, stream: u32, path: &str) {
        self.headers(stream, &[&GET[..], &[(":path", path)]].concat(), true).await;
    }

    /// Sends a piece of a body.
    pub(crate) async fn data(&mut self, stream: u32, bytes: &[u8], is_last: bool) {
        self.send(kind::DATA, if is_last { flag::END_STREAM } else { 0 }, stream, bytes).await;
    }

    /// The next frame; settings and pings are answered, and windows opened again. `None`: the connection is over.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        match self.waiting.pop_front() {
            Some(frame) => Some(frame),
            None => self.read().await,
        }
    }

    async fn read(&mut self) -> Option<Frame> {
        while self.raw.buffer.len() < 9 {
            self.raw.or_end().await.ok()?;
        }
        let head: [u8; 9] = self.raw.exactly(9).await.try_into().expect("nine bytes");
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        while self.raw.buffer.len() < length {
            self.raw.or_end().await.ok()?;
        }
        let payload = self.raw.exactly(length).await;
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        let frame = Frame { kind: head[3], flags: head[4], stream, payload };
        if frame.kind == kind::GOAWAY {
            self.farewell =
                frame.payload.get(4..8).map(|code| u32::from_be_bytes(code.try_into().expect("four bytes")));
        }
        let answer = match frame.kind {
            kind::SETTINGS | kind::PING if frame.flags & flag::ACK == 0 => {
                let payload = if frame.kind == kind::PING { &frame.payload[..] } else { &[] };
                self.try_send(frame.kind, flag::ACK, 0, payload).await
            }
            kind::DATA if length > 0 => self.try_send(kind::WINDOW_UPDATE, 0, 0, &(length as u32).to_be_bytes()).await,
            _ => Ok(()),
        };
        // When it is gone, the next read tells.
        let _ = answer;
        Some(frame)
    }

    /// The next frame of this type; others are passed over.
    pub(crate) async fn next_of(&mut self, kind: u8) -> Frame {
        loop {
            let frame =
                self.next().await.unwrap_or_else(|| panic!("the connection ended before a frame of type {kind}"));
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// The next status of this stream, interim or not.
    pub(crate) async fn next_status(&mut self, stream: u32) -> u16 {
        loop {
            let frame = self.next_of(kind::HEADERS).await;
            if frame.stream == stream {
                return status_of(&frame.payload);
            }
        }
    }

    /// What becomes of a request. Frames of other streams are kept.
    pub(crate) async fn outcome(&mut self, stream: u32) -> Outcome {
        let mut kept = VecDeque::new();
        let (mut interim, mut status, mut body) = (Vec::new(), None, Vec::new());
        let outcome = loop {
            let Some(frame) = self.next().await else { break Outcome::Closed };
            let code = |at: usize| u32::from_be_bytes(frame.payload[at..at + 4].try_into().expect("four bytes"));
            if frame.kind == kind::GOAWAY {
                if code(4) != 0 || code(0) < stream {
                    break Outcome::GoAway(code(4));
                }
                continue;
            }
            if frame.stream != stream {
                kept.extend((frame.stream != 0).then_some(frame));
                continue;
            }
            match frame.kind {
                kind::RST_STREAM => break Outcome::Reset(code(0), status),
                kind::DATA => body.extend(&frame.payload),
                kind::HEADERS if status.is_none() => match status_of(&frame.payload) {
                    code @ 100..200 => interim.push(code),
                    code => status = Some(code),
                },
                _ => {}
            }
            if frame.flags & flag::END_STREAM != 0 && matches!(frame.kind, kind::DATA | kind::HEADERS) {
                break Outcome::Response(interim, status.expect("a status"), body);
            }
        };
        kept.append(&mut self.waiting);
        self.waiting = kept;
        outcome
    }

    /// Whether the connection has been given up, by what has come in so far.
    pub(crate) async fn is_given_up(&mut self) -> bool {
        let mut reading = pin!(async {
            loop {
                if self.read().await.is_none_or(|frame| frame.kind == kind::GOAWAY) {
                    return;
                }
            }
        });
        poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx).is_ready())).await
    }

    /// The code with which the connection is given up, if it is said, when it is over.
    pub(crate) async fn farewell(&mut self) -> Option<u32> {
        while self.next().await.is_some() {}
        self.farewell
    }
}

/// What a GET has beside its path.
pub(crate) const GET: [(&str, &str); 3] = [(":method", "GET"), (":scheme", "http"), (":authority", "localhost")];

/// A frame as bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A field block: every field as a literal that is not indexed (RFC 7541 section 6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            length(&mut bytes, text.len());
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// A length with a prefix of seven bits (RFC 7541 section 5.1).
fn length(bytes: &mut Vec<u8>, length: usize) {
    if length < 127 {
        return bytes.push(length as u8);
    }
    bytes.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        bytes.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    bytes.push(rest as u8);
}

/// The status, which is the first field of a response.
fn status_of(block: &[u8]) -> u16 {
    // Changes of the table's size may come before it.
    let mut block = block;
    while block.first().is_some_and(|byte| byte & 0xe0 == 0x20) {
        block = &block[1..];
    }
    let indexed = [200, 204, 206, 304, 400, 404, 500];
    match block {
        [byte @ 0x88..=0x8e, ..] => indexed[usize::from(byte - 0x88)],
        [0x48..=0x4e | 0x08..=0x0e | 0x18..=0x1e, 3, a, b, c, ..] => {
            [a, b, c].iter().fold(0, |sum, digit| sum * 10 + u16::from(**digit - b'0'))
        }
        [0x48..=0x4e | 0x08..=0x0e | 0x18..=0x1e, length, digits @ ..] if length & 0x80 != 0 => huffman(digits),
        _ => panic!("no status in {block:02x?}"),
    }
}

/// Three digits in the code of RFC 7541, appendix B.
fn huffman(bytes: &[u8]) -> u16 {
    let mut bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| u16::from(byte >> at & 1)));
    let mut digit = || {
        let short = (0..5).fold(0, |sum, _| sum << 1 | bits.next().expect("a bit"));
        if short <= 2 { short } else { (short << 1 | bits.next().expect("a bit")) - 0x19 + 3 }
    };
    digit() * 100 + digit() * 10 + digit()
}
