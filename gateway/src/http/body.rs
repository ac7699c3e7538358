//! A message body as a stream of frames, pulled by whoever writes it out.
//!
//! Nothing is read from a peer before the frame is asked for, so a slow reader holds back a fast writer. A body that
//! ends with an error must never look complete to the one it is passed on to.

use std::fs::File;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::fields::Fields;
use crate::error::Error;

/// A piece of a body.
#[derive(Debug)]
pub enum Frame {
    /// Some bytes; never empty.
    Data(Bytes),
    /// Trailer fields; nothing comes after them.
    Trailers(Box<Fields>),
}

/// Bytes of an open file that the system may send by itself.
#[derive(Clone, Debug)]
pub struct FilePart {
    /// The file.
    pub file: Arc<File>,
    /// Where the part begins.
    pub offset: u64,
    /// How long it is; more than 0.
    pub length: usize,
}

/// Where a body comes from when it is not simply in memory: a connection, a file.
pub trait Source {
    /// The next frame; `None` when the body is complete.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>>;

    /// How many bytes are still to come, when that is known.
    fn length(&self) -> Option<u64>;

    /// Whether nothing at all is to come, not even trailers.
    fn is_end(&self) -> bool {
        false
    }

    /// Nobody has room for more just now: from here on, the sender is not who is waited for.
    fn held_back(&mut self) {}

    /// The next bytes as a part of a file, in place of a frame; `None`: ask for a frame. Asked only by those who can send one out.
    fn part(&mut self) -> Option<FilePart> {
        None
    }
}

/// A message body.
#[derive(Default)]
pub enum Body {
    /// No body, or all of it has been taken.
    #[default]
    Empty,
    /// All of it, in memory.
    Full(Bytes),
    /// From elsewhere.
    Source(Box<dyn Source>),
}

impl Body {
    /// A body in memory.
    pub fn full(bytes: impl Into<Bytes>) -> Body {
        let bytes = bytes.into();
        if bytes.is_empty() { Body::Empty } else { Body::Full(bytes) }
    }

    /// A body from elsewhere.
    pub fn source(source: impl Source + 'static) -> Body {
        Body::Source(Box::new(source))
    }

    /// The next frame; `None` when the body is complete.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        match self {
            Body::Empty => Poll::Ready(None),
            Body::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Body::Empty;
                Poll::Ready(Some(Ok(Frame::Data(bytes))))
            }
            Body::Source(source) => source.poll_frame(cx),
        }
    }

    /// Says that nobody has room for more just now.
    pub fn held_back(&mut self) {
        if let Body::Source(source) = self {
            source.held_back();
        }
    }

    /// The next bytes as a part of a file, when there is such a part.
    pub fn part(&mut self) -> Option<FilePart> {
        match self {
            Body::Source(source) => source.part(),
            Body::Empty | Body::Full(_) => None,
        }
    }

    /// The next frame; `None` when the body is complete.
    pub async fn frame(&mut self) -> Option<Result<Frame, Error>> {
        poll_fn(|cx| self.poll_frame(cx)).await
    }

    /// How many bytes are still to come, when that is known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Body::Empty => Some(0),
            Body::Full(bytes) => Some(bytes.len() as u64),
            Body::Source(source) => source.length(),
        }
    }

    /// Whether nothing at all is to come, not even trailers.
    pub fn is_end(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Full(_) => false,
            Body::Source(source) => source.is_end(),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Body::Empty => f.write_str("Empty"),
            Body::Full(bytes) => write!(f, "Full({})", bytes.len()),
            Body::Source(source) => write!(f, "Source({:?})", source.length()),
        }
    }
}
