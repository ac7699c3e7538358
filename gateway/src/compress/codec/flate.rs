//! gzip and deflate, by flate2 with zlib-rs: faster than zlib at the same size, and in Rust.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{Broken, Codec, Push, Step};
use crate::http::encoding::Coding;

/// The largest window there is.
const WINDOW_BITS: u8 = 15;

/// Compresses.
pub struct FlateEncoder {
    compress: Compress,
    coding: Coding,
    level: u8,
}

/// Decompresses.
pub struct FlateDecoder {
    state: State,
}

enum State {
    /// `deflate`, of which the first bytes tell what the sender means by it.
    Unknown(Option<u8>),
    /// Within the content; of gzip another member may follow.
    Within { inflate: Decompress, is_gzip: bool },
    /// Behind a member of gzip, of which one byte of the next may have been seen.
    Behind(Option<u8>),
    /// What follows is ignored.
    Over,
}

impl FlateEncoder {
    /// By the tables of zlib-rs: two windows, its hash chains, and what waits to be written.
    pub const MEMORY: u64 = 384 << 10;

    pub(super) fn new(coding: Coding, level: u8) -> FlateEncoder {
        let compression = Compression::new(level.clamp(1, 9).into());
        let compress = match coding {
            Coding::Gzip => Compress::new_gzip(compression, WINDOW_BITS),
            // RFC 9110 section 8.4.1.2: with the frame of zlib.
            _ => Compress::new(compression, true),
        };
        FlateEncoder { compress, coding, level }
    }

    pub(super) fn renew(&mut self, coding: Coding, level: u8) -> bool {
        if (self.coding, self.level) != (coding, level) {
            return false;
        }
        self.compress.reset();
        true
    }
}

impl Codec for FlateEncoder {
    fn step(&mut self, input: &[u8], output: &mut [u8], push: Push) -> Result<Step, Broken> {
        let flush = match push {
            Push::More => FlushCompress::None,
            Push::Flush => FlushCompress::Sync,
            Push::End => FlushCompress::Finish,
        };
        let (before_in, before_out) = (self.compress.total_in(), self.compress.total_out());
        let status = self.compress.compress(input, output, flush).map_err(|_| Broken)?;
        let taken = (self.compress.total_in() - before_in) as usize;
        let made = (self.compress.total_out() - before_out) as usize;
        let done = match push {
            Push::More => taken == input.len(),
            // Flushed when there was room left; a second flush of nothing makes nothing.
            Push::Flush => taken == input.len() && made < output.len(),
            Push::End => status == Status::StreamEnd,
        };
        Ok(Step { taken, made, done })
    }
}

impl FlateDecoder {
    /// A window and tables.
    pub const MEMORY: u64 = 64 << 10;

    pub(super) fn new(coding: Coding) -> FlateDecoder {
        let state = if coding == Coding::Gzip { gzip() } else { State::Unknown(None) };
        FlateDecoder { state }
    }
}

fn gzip() -> State {
    State::Within { inflate: Decompress::new_gzip(WINDOW_BITS), is_gzip: true }
}

/// RFC 1950 section 2.2: what a frame of zlib begins with. Streams without one hardly ever do.
fn is_zlib(first: u8, second: u8) -> bool {
    first & 0x0f == 8 && first >> 4 <= 7 && u16::from_be_bytes([first, second]).is_multiple_of(31)
}

impl Codec for FlateDecoder {
    fn step(&mut self, input: &[u8], output: &mut [u8], push: Push) -> Result<Step, Broken> {
        match (&mut self.state, input) {
            (State::Unknown(None), [first, ..]) => {
                self.state = State::Unknown(Some(*first));
                Ok(Step { taken: 1, ..Step::default() })
            }
            (State::Unknown(Some(first)), [second, ..]) => {
                let first = *first;
                let mut inflate = Decompress::new(is_zlib(first, *second));
                // The first byte was taken already. It makes no output yet.
                inflate.decompress(&[first], output, FlushDecompress::None).map_err(|_| Broken)?;
                self.state = State::Within { inflate, is_gzip: false };
                Ok(Step::default())
            }
            (State::Unknown(_), []) => ended(push),
            (State::Within { inflate, is_gzip }, input) => {
                let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
                let status = inflate.decompress(input, output, FlushDecompress::None).map_err(|_| Broken)?;
                let taken = (inflate.total_in() - before_in) as usize;
                let made = (inflate.total_out() - before_out) as usize;
                if status == Status::StreamEnd {
                    self.state = if *is_gzip { State::Behind(None) } else { State::Over };
                    return Ok(Step { taken, made, done: false });
                }
                if push == Push::End && input.is_empty() && made == 0 {
                    return Err(Broken);
                }
                // With room left nothing more is to be had from what was taken.
                Ok(Step { taken, made, done: push != Push::End && taken == input.len() && made < output.len() })
            }
            // RFC 1952 section 2.2: members follow one another. What begins otherwise is no part of it.
            (State::Behind(None), [0x1f, ..]) => {
                self.state = State::Behind(Some(0x1f));
                Ok(Step { taken: 1, ..Step::default() })
            }
            (State::Behind(Some(_)), [0x8b, ..]) => {
                let mut inflate = Decompress::new_gzip(WINDOW_BITS);
                inflate.decompress(&[0x1f], output, FlushDecompress::None).map_err(|_| Broken)?;
                self.state = State::Within { inflate, is_gzip: true };
                Ok(Step::default())
            }
            (State::Behind(_) | State::Over, input) => {
                if !input.is_empty() {
                    self.state = State::Over;
                }
                Ok(Step { taken: input.len(), made: 0, done: true })
            }
        }
    }
}

/// Where no content has begun yet: an end is too early.
fn ended(push: Push) -> Result<Step, Broken> {
    if push == Push::End { Err(Broken) } else { Ok(Step { done: true, ..Step::default() }) }
}
