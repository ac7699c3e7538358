//! Bodies: whole, or fed by the test piece by piece.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::HeaderMap;
use hyper::body::Frame;
use hyper::header::{HeaderName, HeaderValue};
use tokio::sync::mpsc;

use super::within;

/// What clients and origins send.
pub(crate) type Body = UnsyncBoxBody<Bytes, Cut>;

/// A body that was cut short on purpose.
#[derive(Debug)]
pub(crate) struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut short by the test")
    }
}

impl std::error::Error for Cut {}

/// Puts pieces into a body. The body ends when this is dropped.
#[derive(Clone)]
pub(crate) struct Feed(mpsc::Sender<Result<Frame<Bytes>, Cut>>);

struct Fed(mpsc::Receiver<Result<Frame<Bytes>, Cut>>);

/// All of it at once, with its length.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// None.
pub(crate) fn empty() -> Body {
    full("")
}

/// A body of unknown length, fed through the other end.
pub(crate) fn stream() -> (Feed, Body) {
    let (sender, receiver) = mpsc::channel(1);
    (Feed(sender), Fed(receiver).boxed_unsync())
}

/// A body of unknown length with trailers after it.
pub(crate) fn with_trailers(data: impl Into<Bytes>, trailers: &[(&'static str, &'static str)]) -> Body {
    let fields = trailers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let trailers: HeaderMap = fields.collect();
    let frames = [Frame::data(data.into()), Frame::trailers(trailers)];
    let (sender, receiver) = mpsc::channel(2);
    for frame in frames {
        sender.try_send(Ok(frame)).expect("room for two");
    }
    Fed(receiver).boxed_unsync()
}

impl Feed {
    /// Sends a piece on, when the one before it is under way. False: nobody wants it any more.
    pub(crate) async fn data(&self, bytes: impl Into<Bytes>) -> bool {
        within("room in a body", self.0.send(Ok(Frame::data(bytes.into())))).await.is_ok()
    }

    /// Cuts the body short.
    pub(crate) async fn cut(self) {
        let _ = self.0.send(Err(Cut)).await;
    }
}

impl hyper::body::Body for Fed {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.0.poll_recv(cx)
    }
}
