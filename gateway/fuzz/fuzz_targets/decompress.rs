//! Compressed content from an origin: no more comes out of a call than there is room for, and it always comes to an end.

#![no_main]

use gatewright::compress::codec::{Codec, Decoder, Push};
use gatewright::http::encoding::Coding;
use libfuzzer_sys::fuzz_target;

/// Enough to see that a bomb is one.
const MOST: usize = 4 << 20;

fuzz_target!(|input: (u8, u8, Vec<u8>)| {
    let (coding, slice, bytes) = input;
    let coding = Coding::ALL[usize::from(coding) % Coding::ALL.len()];
    let Some(mut decoder) = Decoder::new(coding) else { return };
    let mut room = vec![0; 4096];
    let (mut made, mut idle) = (0, 0);
    let mut slices = bytes.chunks(usize::from(slice) + 1);
    let mut rest: &[u8] = &[];
    let mut push = Push::More;
    loop {
        let Ok(step) = decoder.step(rest, &mut room, push) else { return };
        assert!(step.taken <= rest.len() && step.made <= room.len());
        idle = if step.taken + step.made > 0 { 0 } else { idle + 1 };
        assert!(idle < 4 || step.done, "stuck");
        rest = &rest[step.taken..];
        made += step.made;
        if made > MOST {
            return;
        }
        if step.done && rest.is_empty() {
            if push == Push::End {
                return;
            }
            match slices.next() {
                Some(slice) => rest = slice,
                None => push = Push::End,
            }
        }
    }
});
