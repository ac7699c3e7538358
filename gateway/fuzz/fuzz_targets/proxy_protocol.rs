//! PROXY headers: bounded, the same however they are cut, and what is read can be written.

#![no_main]

use gatewright::config::model::ProxyVersion;
use gatewright::proxy_protocol::{MAX_V2, Parsed, encode, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(Parsed::Header { source, destination, consumed }) = parse(bytes) else { return };
    assert!(consumed <= bytes.len() && consumed <= MAX_V2);
    for cut in 0..consumed {
        assert_eq!(parse(&bytes[..cut]), Ok(Parsed::NeedMore));
    }
    if let (Some(source), Some(destination)) = (source, destination) {
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let Ok(Parsed::Header { source: Some(again), .. }) = parse(&encode(version, source, destination)) else {
                panic!("what was written is not read");
            };
            assert_eq!(again.ip().to_canonical(), source.ip().to_canonical());
            assert_eq!(again.port(), source.port());
        }
    }
});
