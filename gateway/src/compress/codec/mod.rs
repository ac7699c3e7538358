//! The codecs, driven call by call.
//!
//! In: a slice of a body and room for what comes out. Out: how far both went. Nothing here reads, waits or allocates for a whole body.
//! They are used as they are, and not behind `AsyncRead`: so a context is kept for the next response (making one costs more
//! than compressing a small body), a body that pauses is flushed, and a worker can do something else between two slices.

mod brotli;
mod flate;
mod zstd;

use self::brotli::{BrotliDecoder, BrotliEncoder};
use self::flate::{FlateDecoder, FlateEncoder};
use self::zstd::{ZstdDecoder, ZstdEncoder};
use crate::http::encoding::Coding;
#[cfg(test)]
pub(super) use zstd::prepare;

/// What is wanted beside taking input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Push {
    /// Nothing: more comes.
    More,
    /// All that was taken is to come out now.
    Flush,
    /// Nothing comes any more.
    End,
}

/// How far one call came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Step {
    /// Bytes of the input that were taken.
    pub taken: usize,
    /// Bytes that came out.
    pub made: usize,
    /// What was wanted is done: all is taken, or flushed, or at its end. Else there was too little room.
    pub done: bool,
}

/// The input is not what it should be, or the codec has no memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the content cannot be decoded")]
pub struct Broken;

/// Turns bytes into others.
pub trait Codec {
    /// Takes input, and makes output. To be called until it is done.
    fn step(&mut self, input: &[u8], output: &mut [u8], push: Push) -> Result<Step, Broken>;
}

/// Compresses one body after another.
pub enum Encoder {
    /// gzip and deflate.
    Flate(FlateEncoder),
    /// br.
    Brotli(BrotliEncoder),
    /// zstd.
    Zstd(ZstdEncoder),
}

/// Decompresses one body.
pub enum Decoder {
    /// gzip and deflate.
    Flate(FlateDecoder),
    /// br.
    Brotli(BrotliDecoder),
    /// zstd.
    Zstd(ZstdDecoder),
}

impl Encoder {
    /// For a body of that length, when it is known. `None`: there is no memory.
    pub fn new(coding: Coding, level: u8, length: Option<u64>) -> Option<Encoder> {
        Some(match coding {
            Coding::Gzip | Coding::Deflate => Encoder::Flate(FlateEncoder::new(coding, level)),
            Coding::Brotli => Encoder::Brotli(BrotliEncoder::new(level, length)),
            Coding::Zstd => Encoder::Zstd(ZstdEncoder::new(level, length)?),
        })
    }

    /// The same for another body, in whatever state it is. `false`: this one is for another coding or level, or is no good for a
    /// second body.
    pub fn renew(&mut self, coding: Coding, level: u8, length: Option<u64>) -> bool {
        match self {
            Encoder::Flate(flate) => flate.renew(coding, level),
            Encoder::Zstd(zstd) => coding == Coding::Zstd && zstd.renew(level, length),
            Encoder::Brotli(_) => false,
        }
    }

    /// Whether it is worth keeping for another body.
    pub fn is_kept(&self) -> bool {
        !matches!(self, Encoder::Brotli(_))
    }

    /// What one takes at the most, in bytes.
    pub fn memory(coding: Coding, level: u8) -> u64 {
        match coding {
            Coding::Gzip | Coding::Deflate => FlateEncoder::MEMORY,
            Coding::Brotli => BrotliEncoder::memory(level),
            Coding::Zstd => ZstdEncoder::memory(level),
        }
    }
}

impl Codec for Encoder {
    fn step(&mut self, input: &[u8], output: &mut [u8], push: Push) -> Result<Step, Broken> {
        match self {
            Encoder::Flate(flate) => flate.step(input, output, push),
            Encoder::Brotli(brotli) => brotli.step(input, output, push),
            Encoder::Zstd(zstd) => zstd.step(input, output, push),
        }
    }
}

impl Decoder {
    /// `None`: there is no memory.
    pub fn new(coding: Coding) -> Option<Decoder> {
        Some(match coding {
            Coding::Gzip | Coding::Deflate => Decoder::Flate(FlateDecoder::new(coding)),
            Coding::Brotli => Decoder::Brotli(BrotliDecoder::new()),
            Coding::Zstd => Decoder::Zstd(ZstdDecoder::new()?),
        })
    }

    /// What one takes at the most, in bytes.
    pub fn memory(coding: Coding) -> u64 {
        match coding {
            Coding::Gzip | Coding::Deflate => FlateDecoder::MEMORY,
            Coding::Brotli => BrotliDecoder::MEMORY,
            Coding::Zstd => ZstdDecoder::MEMORY,
        }
    }
}

impl Codec for Decoder {
    fn step(&mut self, input: &[u8], output: &mut [u8], push: Push) -> Result<Step, Broken> {
        match self {
            Decoder::Flate(flate) => flate.step(input, output, push),
            Decoder::Brotli(brotli) => brotli.step(input, output, push),
            Decoder::Zstd(zstd) => zstd.step(input, output, push),
        }
    }
}
