//! Ranges and conditions: whatever fields say, what is selected lies within and is no more than the whole, and a decision is made.

#![no_main]

use gatewright::http::conditional::{Validators, evaluate, range_holds};
use gatewright::http::ranges::{Selection, select};
use gatewright::http::{Fields, name};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, u64, Vec<u8>, Vec<(u8, Vec<u8>)>)| {
    let (length, modified, range, conditions) = input;
    if let Selection::Parts(parts) = select(&range, length) {
        assert!(!parts.is_empty());
        assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
        assert!(parts.iter().map(|part| u128::from(part.end - part.start)).sum::<u128>() <= length.into());
    }
    let known =
        [name::IF_MATCH, name::IF_NONE_MATCH, name::IF_MODIFIED_SINCE, name::IF_UNMODIFIED_SINCE, name::IF_RANGE];
    let mut fields = Fields::new();
    for (number, value) in &conditions {
        let _ = fields.append(known[usize::from(*number) % known.len()], value);
    }
    let validators = Validators { tag: Some(b"\"a\""), modified: Some(modified) };
    let _ = (evaluate(&fields, validators), range_holds(&fields, validators));
});
