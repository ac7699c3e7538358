//! Frames: their nine bytes, their kinds, and the error codes (RFC 9113 sections 4, 6 and 7).
//!
//! In: bytes; out: what they say, or the code that the section names for what they may not say. Pure.

use crate::http::h2::fault::Fault;

/// The bytes before each payload (RFC 9113 section 4.1).
pub(super) const HEADER: usize = 9;
/// The largest payload that every endpoint takes, and all that we take (RFC 9113 section 4.2).
pub(super) const MAX_PAYLOAD: usize = 16_384;
/// What a client says first (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The kinds of frames (RFC 9113 section 6).
pub(super) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// The flags of frames (RFC 9113 section 6).
pub(super) mod flag {
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// An error code (RFC 9113 section 7). Any number may come from a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Code(pub u32);

#[allow(missing_docs)]
impl Code {
    pub const NO_ERROR: Code = Code(0x0);
    pub const PROTOCOL_ERROR: Code = Code(0x1);
    pub const INTERNAL_ERROR: Code = Code(0x2);
    pub const FLOW_CONTROL_ERROR: Code = Code(0x3);
    pub const STREAM_CLOSED: Code = Code(0x5);
    pub const FRAME_SIZE_ERROR: Code = Code(0x6);
    pub const REFUSED_STREAM: Code = Code(0x7);
    pub const CANCEL: Code = Code(0x8);
    pub const COMPRESSION_ERROR: Code = Code(0x9);
    pub const CONNECT_ERROR: Code = Code(0xa);
    pub const ENHANCE_YOUR_CALM: Code = Code(0xb);
    pub const HTTP_1_1_REQUIRED: Code = Code(0xd);
}

/// What stands before a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FrameHeader {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl FrameHeader {
    /// Reads the nine bytes; the reserved bit is ignored.
    pub(super) fn parse(bytes: &[u8]) -> Option<FrameHeader> {
        let &[a, b, c, kind, flags, s0, s1, s2, s3, ..] = bytes else { return None };
        Some(FrameHeader {
            length: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff,
        })
    }

    /// The nine bytes.
    pub(super) fn bytes(self) -> [u8; HEADER] {
        let [_, a, b, c] = (self.length as u32).to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, s0, s1, s2, s3]
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Takes a big-endian number of 32 bits off the front.
pub(super) fn number(payload: &[u8]) -> Option<u32> {
    payload.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}

/// The range of a payload that is left without its padding (RFC 9113 section 6.1).
pub(super) fn unpadded(header: FrameHeader, payload: &[u8]) -> Result<(usize, usize), Fault> {
    if !header.has(flag::PADDED) {
        return Ok((0, payload.len()));
    }
    let Some(&padding) = payload.first() else {
        return Err(Fault::connection(Code::FRAME_SIZE_ERROR, "frame too short for its padding"));
    };
    match payload.len().checked_sub(1 + padding as usize) {
        Some(length) => Ok((1, 1 + length)),
        None => Err(Fault::connection(Code::PROTOCOL_ERROR, "padding longer than the frame")),
    }
}

/// The header block fragment of a HEADERS frame, and the stream that it says it depends on.
pub(super) fn headers(header: FrameHeader, payload: &[u8]) -> Result<(&[u8], Option<u32>), Fault> {
    let (start, end) = unpadded(header, payload)?;
    let block = payload.get(start..end).unwrap_or_default();
    if !header.has(flag::PRIORITY) {
        return Ok((block, None));
    }
    // RFC 9113 section 6.2: five bytes of priority, which mean nothing any more.
    match (number(block), block.get(5..)) {
        (Some(parent), Some(rest)) => Ok((rest, Some(parent & 0x7fff_ffff))),
        _ => Err(Fault::connection(Code::FRAME_SIZE_ERROR, "frame too short for its priority")),
    }
}

/// Writes a frame with a payload of a few bytes.
pub(super) fn write(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&FrameHeader { length: payload.len(), kind, flags, stream }.bytes());
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn headers_come_back(length in 0usize..1 << 24, kind: u8, flags: u8, stream in 0u32..1 << 31) {
            let header = FrameHeader { length, kind, flags, stream };
            prop_assert_eq!(FrameHeader::parse(&header.bytes()), Some(header));
        }

        #[test]
        fn no_payload_makes_the_parser_fail_hard(flags: u8, payload: Vec<u8>) {
            let header = FrameHeader { length: payload.len(), kind: kind::HEADERS, flags, stream: 1 };
            if let Ok((start, end)) = unpadded(header, &payload) {
                prop_assert!(start <= end && end <= payload.len());
            }
            let _ = headers(header, &payload);
        }
    }

    #[test]
    fn padding_must_fit() {
        let header = |flags| FrameHeader { length: 0, kind: kind::DATA, flags, stream: 1 };
        assert_eq!(unpadded(header(0), b"abc").unwrap(), (0, 3));
        assert_eq!(unpadded(header(flag::PADDED), b"\x01ab").unwrap(), (1, 2));
        assert_eq!(unpadded(header(flag::PADDED), b"\x02ab").unwrap(), (1, 1));
        assert!(unpadded(header(flag::PADDED), b"\x03ab").is_err());
        assert!(unpadded(header(flag::PADDED), b"").is_err());
        assert!(headers(header(flag::PRIORITY), b"abcd").is_err());
        assert_eq!(headers(header(flag::PRIORITY), b"\x80\0\0\x07 rest").unwrap(), (&b"rest"[..], Some(7)));
    }
}
