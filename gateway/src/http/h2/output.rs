//! What waits to be written on one connection.
//!
//! Frame headers and small payloads are gathered in one buffer; large payloads stay where they are and are written
//! from there. In: frames; out: slices for one vectored write. How much may wait is for the callers to hold.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Payloads from this size on are not copied.
const SHARED: usize = 4096;
/// Slices of one write.
pub(super) const SLICES: usize = 32;
/// The buffer is kept up to this size once it is empty.
const KEPT: usize = 64 * 1024;

/// Bytes in order: runs of the buffer and payloads.
#[derive(Default)]
pub(super) struct Output {
    buffer: Vec<u8>,
    /// How much of the buffer is written.
    written: usize,
    segments: VecDeque<Segment>,
    length: usize,
}

enum Segment {
    Run(usize),
    Shared(Bytes),
}

impl Output {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends to the buffer.
    pub(super) fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.buffer.len();
        write(&mut self.buffer);
        let added = self.buffer.len() - before;
        self.length += added;
        match self.segments.back_mut() {
            Some(Segment::Run(run)) => *run += added,
            _ => self.segments.push_back(Segment::Run(added)),
        }
    }

    /// Appends a frame's header and its payload.
    pub(super) fn frame(&mut self, header: [u8; 9], payload: Bytes) {
        if payload.len() < SHARED {
            return self.write(|buffer| {
                buffer.extend_from_slice(&header);
                buffer.extend_from_slice(&payload);
            });
        }
        self.write(|buffer| buffer.extend_from_slice(&header));
        self.length += payload.len();
        self.segments.push_back(Segment::Shared(payload));
    }

    /// The next bytes to write. Returns how many slices were filled.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES]) -> usize {
        let mut at = self.written;
        let mut filled = 0;
        for (slot, segment) in slices.iter_mut().zip(&self.segments) {
            let bytes = match segment {
                Segment::Run(run) => {
                    let bytes = self.buffer.get(at..at + run).unwrap_or_default();
                    at += run;
                    bytes
                }
                Segment::Shared(bytes) => bytes,
            };
            *slot = IoSlice::new(bytes);
            filled += 1;
        }
        filled
    }

    /// So many bytes are written.
    pub(super) fn advance(&mut self, mut bytes: usize) {
        self.length = self.length.saturating_sub(bytes);
        while let Some(segment) = self.segments.front_mut() {
            match segment {
                Segment::Run(run) if *run > bytes => {
                    *run -= bytes;
                    self.written += bytes;
                    break;
                }
                Segment::Shared(shared) if shared.len() > bytes => {
                    shared.advance(bytes);
                    break;
                }
                Segment::Run(run) => {
                    bytes -= *run;
                    self.written += *run;
                }
                Segment::Shared(shared) => bytes -= shared.len(),
            }
            self.segments.pop_front();
        }
        if self.segments.is_empty() {
            self.buffer.clear();
            self.written = 0;
            if self.buffer.capacity() > KEPT {
                self.buffer = Vec::new();
            }
        } else if self.written > KEPT {
            self.buffer.drain(..self.written);
            self.written = 0;
        }
    }

    /// Throws everything away.
    pub(super) fn clear(&mut self) {
        *self = Output::default();
    }

    /// Gives memory back when nothing waits.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() {
            self.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_leave_in_order_however_writes_are_cut(
            frames in prop::collection::vec(0usize..9000, 1..20),
            cuts in prop::collection::vec(1usize..20_000, 1..20),
        ) {
            let mut output = Output::default();
            let mut wanted = Vec::new();
            for (number, length) in frames.iter().enumerate() {
                let payload = vec![number as u8; *length];
                wanted.extend_from_slice(&[0xff; 9]);
                wanted.extend_from_slice(&payload);
                output.frame([0xff; 9], Bytes::from(payload));
            }
            let mut found = Vec::new();
            for cut in cuts.iter().cycle() {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let filled = output.slices(&mut slices);
                let all: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
                let taken = all.len().min(*cut);
                found.extend_from_slice(&all[..taken]);
                output.advance(taken);
                prop_assert_eq!(output.len(), wanted.len() - found.len());
                if output.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found, wanted);
        }
    }
}
