//! SETTINGS: what a peer tells us and what we tell it (RFC 9113 section 6.5).
//!
//! In: a payload; out: the peer's settings with it applied, or the code for what may not be. Pure.

use super::fault::Fault;
use super::frame::{Code, MAX_PAYLOAD};
use super::hpack;
use crate::limits::Limits;

const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;
/// RFC 8441 section 3.
const ENABLE_CONNECT_PROTOCOL: u16 = 8;
/// RFC 9218 section 2.1: we do not use priorities, so a client need not send them.
const NO_RFC7540_PRIORITIES: u16 = 9;

/// The window of each stream, and of the connection, before any settings (RFC 9113 section 6.9.2).
pub(super) const INITIAL_WINDOW: u32 = 65_535;
/// The largest window (RFC 9113 section 6.9.1).
pub(super) const MAX_WINDOW: u32 = 0x7fff_ffff;
/// How many streams a client opens before it knows how many it may.
const ASSUMED_STREAMS: u32 = 100;

/// Which end we are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Server,
    Client,
}

/// What the peer's settings say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Settings {
    pub(super) header_table_size: u32,
    pub(super) max_concurrent_streams: u32,
    pub(super) initial_window_size: u32,
    pub(super) max_frame_size: u32,
    pub(super) max_header_list_size: u32,
    pub(super) enable_connect_protocol: bool,
    /// Whether any have come.
    pub(super) known: bool,
}

impl Settings {
    /// What holds before the peer says anything.
    pub(super) fn initial() -> Settings {
        Settings {
            header_table_size: hpack::INITIAL_TABLE_SIZE as u32,
            max_concurrent_streams: ASSUMED_STREAMS,
            initial_window_size: INITIAL_WINDOW,
            max_frame_size: MAX_PAYLOAD as u32,
            max_header_list_size: u32::MAX,
            enable_connect_protocol: false,
            known: false,
        }
    }

    /// Applies a SETTINGS payload from the peer of a connection on which we are `role`.
    pub(super) fn apply(mut self, payload: &[u8], role: Role) -> Result<Settings, Fault> {
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(Fault::connection(Code::FRAME_SIZE_ERROR, "SETTINGS of an odd length"));
        }
        if !self.known {
            self.known = true;
            // RFC 9113 section 6.5.2: without the setting there is no limit.
            self.max_concurrent_streams = u32::MAX;
        }
        for &[i0, i1, v0, v1, v2, v3] in settings {
            let value = u32::from_be_bytes([v0, v1, v2, v3]);
            match u16::from_be_bytes([i0, i1]) {
                HEADER_TABLE_SIZE => self.header_table_size = value,
                // A server may not even offer to be pushed to.
                ENABLE_PUSH if value > 1 || (value == 1 && role == Role::Client) => {
                    return Err(Fault::connection(Code::PROTOCOL_ERROR, "invalid ENABLE_PUSH"));
                }
                MAX_CONCURRENT_STREAMS => self.max_concurrent_streams = value,
                INITIAL_WINDOW_SIZE if value > MAX_WINDOW => {
                    return Err(Fault::connection(Code::FLOW_CONTROL_ERROR, "invalid INITIAL_WINDOW_SIZE"));
                }
                INITIAL_WINDOW_SIZE => self.initial_window_size = value,
                MAX_FRAME_SIZE if value < MAX_PAYLOAD as u32 || value > 0xff_ffff => {
                    return Err(Fault::connection(Code::PROTOCOL_ERROR, "invalid MAX_FRAME_SIZE"));
                }
                MAX_FRAME_SIZE => self.max_frame_size = value,
                MAX_HEADER_LIST_SIZE => self.max_header_list_size = value,
                ENABLE_CONNECT_PROTOCOL if value > 1 || (value == 0 && self.enable_connect_protocol) => {
                    return Err(Fault::connection(Code::PROTOCOL_ERROR, "invalid ENABLE_CONNECT_PROTOCOL"));
                }
                ENABLE_CONNECT_PROTOCOL => self.enable_connect_protocol = value == 1,
                _ => {}
            }
        }
        Ok(self)
    }
}

/// The payload of our own SETTINGS.
pub(super) fn ours(role: Role, limits: &Limits) -> Vec<u8> {
    let mut payload = Vec::with_capacity(36);
    let mut add = |id: u16, value: u32| {
        payload.extend_from_slice(&id.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    };
    let table = header_table_size(limits);
    if table != hpack::INITIAL_TABLE_SIZE {
        add(HEADER_TABLE_SIZE, table as u32);
    }
    match role {
        Role::Server => {
            add(MAX_CONCURRENT_STREAMS, limits.http2_streams);
            add(ENABLE_CONNECT_PROTOCOL, 1);
            add(NO_RFC7540_PRIORITIES, 1);
        }
        Role::Client => add(ENABLE_PUSH, 0),
    }
    add(INITIAL_WINDOW_SIZE, stream_window(limits));
    add(MAX_HEADER_LIST_SIZE, u32::try_from(limits.http2_header_list_size).unwrap_or(u32::MAX));
    payload
}

/// The HPACK table size, in both directions.
pub(super) fn header_table_size(limits: &Limits) -> usize {
    limits.http2_header_table_size.min(1 << 20) as usize
}

/// The window that we give each stream.
pub(super) fn stream_window(limits: &Limits) -> u32 {
    limits.http2_stream_window.clamp(1, u64::from(MAX_WINDOW)) as u32
}

/// The window that we give the connection; it cannot be less than the initial one.
pub(super) fn connection_window(limits: &Limits) -> u32 {
    limits.http2_connection_window.clamp(u64::from(INITIAL_WINDOW), u64::from(MAX_WINDOW)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(id: u16, value: u32, role: Role) -> Result<Settings, Code> {
        let payload = [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
        Settings::initial().apply(&payload, role).map_err(|fault| fault.code)
    }

    #[test]
    fn values_out_of_range_have_their_own_codes() {
        use Role::{Client, Server};
        assert_eq!(apply(ENABLE_PUSH, 2, Server), Err(Code::PROTOCOL_ERROR));
        assert_eq!(apply(ENABLE_PUSH, 1, Client), Err(Code::PROTOCOL_ERROR));
        assert!(apply(ENABLE_PUSH, 1, Server).is_ok());
        assert_eq!(apply(INITIAL_WINDOW_SIZE, 1 << 31, Server), Err(Code::FLOW_CONTROL_ERROR));
        assert_eq!(apply(MAX_FRAME_SIZE, 16_383, Server), Err(Code::PROTOCOL_ERROR));
        assert_eq!(apply(MAX_FRAME_SIZE, 1 << 24, Server), Err(Code::PROTOCOL_ERROR));
        assert_eq!(apply(MAX_FRAME_SIZE, 1 << 20, Server).unwrap().max_frame_size, 1 << 20);
        assert_eq!(apply(ENABLE_CONNECT_PROTOCOL, 2, Client), Err(Code::PROTOCOL_ERROR));
        assert!(apply(ENABLE_CONNECT_PROTOCOL, 1, Client).unwrap().enable_connect_protocol);
        assert!(apply(0xff, 2, Server).is_ok());
        assert!(Settings::initial().apply(&[0; 5], Server).is_err());
    }

    #[test]
    fn what_we_send_is_valid() {
        let payload = ours(Role::Server, &Limits::default());
        let settings = Settings::initial().apply(&payload, Role::Client).unwrap();
        assert!(settings.enable_connect_protocol);
        assert_eq!(settings.max_concurrent_streams, Limits::default().http2_streams);
        assert!(Settings::initial().apply(&ours(Role::Client, &Limits::default()), Role::Server).is_ok());
    }
}
