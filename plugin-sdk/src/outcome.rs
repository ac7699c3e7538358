//! What became of a request.

use crate::micros::Micros;

/// What became of one attempt to send a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The endpoint's index among the [`Endpoints`](crate::Endpoints).
    pub endpoint: usize,
    /// The status of the response; none when there was no response. See [`is_cancelled`](Outcome::is_cancelled) for what is neither.
    pub status: Option<u16>,
    /// Which attempt it was: 0 is the first.
    pub attempt: u32,
    /// How long it took to the first byte of the response, to the failure, or until it was given up.
    pub latency: Micros,
    /// Bytes of the response's body.
    pub bytes: u64,
}

impl Outcome {
    /// Whether the endpoint failed: no response, or a status from 500 on.
    pub fn is_failure(&self) -> bool {
        self.status.is_none_or(|status| status >= 500)
    }

    /// Whether the attempt was given up, since the other endpoint of a [hedge](crate::Pick::hedge) had answered. That is no
    /// failure; how long the endpoint would have taken, nobody knows.
    pub fn is_cancelled(&self) -> bool {
        self.status == Some(gatewright_abi::CANCELLED)
    }
}
