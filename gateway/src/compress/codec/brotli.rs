//! br, by the crate `brotli`.

use brotli::enc::StandardAlloc;
use brotli::enc::encode::{BrotliEncoderOperation, BrotliEncoderParameter, BrotliEncoderStateStruct};
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};

use super::{Broken, Codec, Push, Step};

/// What is compressed on its way is looked back on for this far: more takes memory for each response. Not below 17 bits, for which the
/// crate has hashes that take many times as long.
const WINDOW_BITS: u32 = 18;
/// The smallest block: a block is compressed in one go.
const BLOCK_BITS: u32 = 16;

/// Compresses.
pub struct BrotliEncoder {
    state: Box<BrotliEncoderStateStruct<StandardAlloc>>,
}

/// Decompresses.
pub struct BrotliDecoder {
    /// `None` once it is over.
    state: Option<Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>>,
}

impl BrotliEncoder {
    pub(super) fn new(level: u8, length: Option<u64>) -> BrotliEncoder {
        let mut state = Box::new(BrotliEncoderStateStruct::new(StandardAlloc::default()));
        state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_QUALITY, level.into());
        state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_LGWIN, WINDOW_BITS);
        state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_LGBLOCK, BLOCK_BITS);
        if let Some(length) = length {
            let hint = u32::try_from(length).unwrap_or(u32::MAX);
            state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_SIZE_HINT, hint);
        }
        BrotliEncoder { state }
    }

    /// By its tables: hashes by level, the window twice over, commands of a block.
    pub(super) fn memory(level: u8) -> u64 {
        let hashes: u64 = match level {
            0..=3 => 256 << 10,
            4 => 1 << 20,
            5 | 6 => 2 << 20,
            7 => 8 << 20,
            8 => 16 << 20,
            _ => 32 << 20,
        };
        hashes + (2 << 20)
    }
}

impl Codec for BrotliEncoder {
    fn step(&mut self, input: &[u8], output: &mut [u8], push: Push) -> Result<Step, Broken> {
        let operation = match push {
            Push::More => BrotliEncoderOperation::BROTLI_OPERATION_PROCESS,
            Push::Flush => BrotliEncoderOperation::BROTLI_OPERATION_FLUSH,
            Push::End => BrotliEncoderOperation::BROTLI_OPERATION_FINISH,
        };
        let (mut taken, mut made) = (0, 0);
        let right = self.state.compress_stream(
            operation,
            &mut input.len(),
            input,
            &mut taken,
            &mut output.len(),
            output,
            &mut made,
            &mut None,
            &mut |_, _, _, _| (),
        );
        if !right {
            return Err(Broken);
        }
        let done = match push {
            Push::More => taken == input.len(),
            Push::Flush => taken == input.len() && !self.state.has_more_output(),
            Push::End => self.state.is_finished(),
        };
        Ok(Step { taken, made, done })
    }
}

impl BrotliDecoder {
    /// The largest window of RFC 7932, and tables.
    pub const MEMORY: u64 = (16 << 20) + (1 << 20);

    pub(super) fn new() -> BrotliDecoder {
        let alloc = StandardAlloc::default;
        BrotliDecoder { state: Some(Box::new(BrotliState::new(alloc(), alloc(), alloc()))) }
    }
}

impl Codec for BrotliDecoder {
    fn step(&mut self, input: &[u8], output: &mut [u8], push: Push) -> Result<Step, Broken> {
        // What follows the content is ignored.
        let Some(state) = &mut self.state else { return Ok(Step { taken: input.len(), made: 0, done: true }) };
        let (mut taken, mut made) = (0, 0);
        let result = BrotliDecompressStream(
            &mut input.len(),
            &mut taken,
            input,
            &mut output.len(),
            &mut made,
            output,
            &mut 0,
            state,
        );
        let done = match result {
            BrotliResult::ResultFailure => return Err(Broken),
            BrotliResult::NeedsMoreOutput => false,
            BrotliResult::NeedsMoreInput if push == Push::End => return Err(Broken),
            BrotliResult::NeedsMoreInput => true,
            BrotliResult::ResultSuccess => {
                self.state = None;
                false
            }
        };
        Ok(Step { taken, made, done })
    }
}
