//! Files of the cache on disk: whatever stands there, what is read is what was written, or nothing.

#![no_main]

use gatewright::cache::disk::format::{Damage, Prelude};
use gatewright::cache::disk::{Failure, Opened};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let id = Prelude::of(input).map_or(0, |prelude| prelude.id);
    let Ok(mut opened) = Opened::new(input, id, input.len() as u64) else { return };
    assert!(opened.length() <= input.len() as u64);
    let mut length = 0;
    loop {
        match opened.chunk() {
            Ok(Some(piece)) => length += piece.len() as u64,
            Ok(None) => break,
            Err(Failure::Damaged(Damage::Sum)) => return,
            Err(failure) => panic!("{failure} after {length} of {}", opened.length()),
        }
    }
    assert_eq!(length, opened.length());
});
