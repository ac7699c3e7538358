//! What is sent with each try of a request.

use crate::http::Body;
use crate::http::replay::Replay;

/// The body of a request, as often as there is one.
pub(super) enum Bodies {
    /// There is none: as often as anybody wants.
    Empty,
    /// Once; and again when nothing of it was used.
    Once(Option<Body>),
    /// As long as it is small.
    Kept(Replay),
}

impl Bodies {
    /// Keeps so many bytes at the most.
    pub(super) fn new(body: Body, buffer: u64) -> Bodies {
        match body {
            Body::Empty => Bodies::Empty,
            body if buffer > 0 && body.length().is_none_or(|length| length <= buffer) => {
                Bodies::Kept(Replay::new(body, buffer))
            }
            body => Bodies::Once(Some(body)),
        }
    }

    /// Whether there is none in any case.
    pub(super) fn are_empty(&self) -> bool {
        matches!(self, Bodies::Empty)
    }

    /// Whether there is one more.
    pub(super) fn has_more(&self) -> bool {
        match self {
            Bodies::Empty => true,
            Bodies::Once(body) => body.is_some(),
            Bodies::Kept(replay) => replay.is_whole(),
        }
    }

    /// The next one.
    pub(super) fn take(&mut self) -> Option<Body> {
        match self {
            Bodies::Empty => Some(Body::Empty),
            Bodies::Once(body) => body.take(),
            Bodies::Kept(replay) => replay.copy(),
        }
    }

    /// Takes one back of which nothing was used.
    pub(super) fn give_back(&mut self, unused: Option<Body>) {
        if let Bodies::Once(body) = self {
            *body = unused;
        }
    }
}
