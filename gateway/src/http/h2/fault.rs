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

    /// The bound of [`crate::limits`] that the peer went over, when that is what it did wrong.
    pub(super) fn limit(&self) -> Option<&'static str> {
        match self.what {
            "reset-flood" => Some("http2_resets_per_second"),
            "control-flood" => Some("http2_control_frames_per_second"),
            "empty-flood" => Some("http2_empty_frames_per_second"),
            "small-frame-flood" => Some("http2_small_frames_per_second"),
            "continuation-flood" => Some("http2_continuation_frames"),
            "header block too large" => Some("http2_header_list_size"),
            "stream window exceeded" => Some("http2_stream_window"),
            "connection window exceeded" => Some("http2_connection_window"),
            "table size update above the setting" => Some("http2_header_table_size"),
            _ => None,
        }
    }

    pub(super) const fn stream(id: u32, code: Code, what: &'static str) -> Fault {
        Fault { scope: Scope::Stream(id), code, what }
    }
}
