//! zstd, by the reference implementation.

use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

use super::{Broken, Codec, Push, Step};

/// What is compressed on its way is looked back on for this far at the most: more takes memory for each response.
const WINDOW_BITS: u32 = 18;
/// RFC 9659: the largest window that `Content-Encoding: zstd` may have.
const MAX_WINDOW_BITS: u32 = 23;

/// Compresses.
pub struct ZstdEncoder {
    context: CCtx<'static>,
}

/// Decompresses.
pub struct ZstdDecoder {
    context: DCtx<'static>,
    /// Nothing is missing when it ends here.
    is_whole: bool,
}

impl ZstdEncoder {
    pub(super) fn new(level: u8, length: Option<u64>) -> Option<ZstdEncoder> {
        let mut encoder = ZstdEncoder { context: CCtx::try_create()? };
        encoder.renew(level, length).then_some(encoder)
    }

    pub(super) fn renew(&mut self, level: u8, length: Option<u64>) -> bool {
        prepare(&mut self.context, level, length)
    }

    /// By its tables, which grow with the level, and two windows.
    pub(super) fn memory(level: u8) -> u64 {
        match level {
            0..=2 => 1536 << 10,
            3 => 2 << 20,
            _ => 4 << 20,
        }
    }
}

/// Makes a context one for a body of that length, whatever it was for before.
pub(in super::super) fn prepare(context: &mut CCtx<'_>, level: u8, length: Option<u64>) -> bool {
    let mut right = context.reset(ResetDirective::SessionAndParameters).is_ok();
    let mut set = |parameter| right &= context.set_parameter(parameter).is_ok();
    set(CParameter::CompressionLevel(level.into()));
    set(CParameter::WindowLog(WINDOW_BITS));
    // From here on its tables would be for windows that are much larger, where it does not know better.
    if level > 4 && length.is_none_or(|length| length > 1 << WINDOW_BITS) {
        set(CParameter::HashLog(WINDOW_BITS));
        set(CParameter::ChainLog(WINDOW_BITS));
    }
    right && context.set_pledged_src_size(length).is_ok()
}

impl Codec for ZstdEncoder {
    fn step(&mut self, input: &[u8], output: &mut [u8], push: Push) -> Result<Step, Broken> {
        let operation = match push {
            Push::More => ZSTD_EndDirective::ZSTD_e_continue,
            Push::Flush => ZSTD_EndDirective::ZSTD_e_flush,
            Push::End => ZSTD_EndDirective::ZSTD_e_end,
        };
        let mut from = InBuffer::around(input);
        let mut to = OutBuffer::around(output);
        let left = self.context.compress_stream2(&mut to, &mut from, operation).map_err(|_| Broken)?;
        let (taken, made) = (from.pos(), to.pos());
        let done = taken == input.len() && (push == Push::More || left == 0);
        Ok(Step { taken, made, done })
    }
}

impl ZstdDecoder {
    /// The largest window, and tables.
    pub const MEMORY: u64 = (8 << 20) + (1 << 20);

    pub(super) fn new() -> Option<ZstdDecoder> {
        let mut context = DCtx::try_create()?;
        context.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_BITS)).ok()?;
        Some(ZstdDecoder { context, is_whole: false })
    }
}

impl Codec for ZstdDecoder {
    fn step(&mut self, input: &[u8], output: &mut [u8], push: Push) -> Result<Step, Broken> {
        if input.is_empty() && self.is_whole {
            return Ok(Step { done: true, ..Step::default() });
        }
        let mut from = InBuffer::around(input);
        let mut to = OutBuffer::around(output);
        // What it says is how much it would like to have; 0 at the end of a frame, behind which another may stand.
        let left = self.context.decompress_stream(&mut to, &mut from).map_err(|_| Broken)?;
        let (taken, made) = (from.pos(), to.pos());
        self.is_whole = left == 0;
        let is_dry = taken == input.len() && made < output.len();
        if push == Push::End && is_dry && !self.is_whole {
            return Err(Broken);
        }
        Ok(Step { taken, made, done: is_dry })
    }
}
