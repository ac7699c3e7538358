//! Field lines and targets from the wire: nothing that becomes a new line, nothing of one connection left.

#![no_main]

use gatewright::http::fields::{is_token, is_value};
use gatewright::http::hygiene::{Target, check_authority, is_framing, parse_target, strip_hop_by_hop};
use gatewright::http::{Fields, Method, name};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<(Vec<u8>, Vec<u8>)>, Vec<u8>, bool)| {
    let (lines, target, keep_trailers) = input;
    let mut fields = Fields::new();
    for (name, value) in &lines {
        let _ = fields.append_bytes(name, value);
    }
    if strip_hop_by_hop(&mut fields, keep_trailers).is_ok() {
        for (field, value) in fields.iter() {
            assert!(is_token(field.text().as_bytes()) && is_value(value));
            let kept = [name::CONTENT_LENGTH, name::HOST].iter().any(|known| field == (*known).into());
            let trailers = keep_trailers && field == name::TE.into() && value == b"trailers";
            assert!(!is_framing(field) || kept || trailers);
        }
    }
    for method in [Method::GET, Method::OPTIONS, Method::CONNECT] {
        match parse_target(&method, &target) {
            Ok(Target::Origin(path)) => assert!(path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic())),
            Ok(Target::Absolute { authority, target, .. }) => {
                assert!(check_authority(authority).is_ok() && (target == "*" || target.starts_with('/')));
            }
            Ok(Target::Authority(authority)) => assert!(check_authority(authority).is_ok()),
            Ok(Target::Asterisk) | Err(_) => {}
        }
    }
});
