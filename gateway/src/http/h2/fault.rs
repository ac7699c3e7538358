//! What a peer did wrong, and whether its stream or its connection ends for it (RFC 9113 section 5.4).

use super::frame::Code;

/// One breach of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    pub(super) scope: Scope,
    pub(super) code: Code,
    /// In a few words, for logs and metrics.
    pub(super) what: &'static str,
}

/// How far an error reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scope {
    /// GOAWAY and close.
    Connection,
    /// RST_STREAM on this one.
    Stream(u32),
}

impl Fault {
    pub(super) const fn connection(code: Code, what: &'static str) -> Fault {
        Fault { scope: Scope::Connection, code, what }
    }

    pub(super) const fn stream(id: u32, code: Code, what: &'static str) -> Fault {
        Fault { scope: Scope::Stream(id), code, what }
    }
}
