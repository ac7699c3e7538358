//! `Cache-Control` and `CDN-Cache-Control` from the wire: whatever else is said, what forbids is seen, and a lifetime is never longer
//! for more being said.

#![no_main]

use gatewright::cache::policy::directives::{FOREVER, RequestDirectives, ResponseDirectives};
use gatewright::cache::policy::moment;
use gatewright::http::{Fields, name};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<Vec<u8>>, Option<Vec<u8>>, u64)| {
    let (lines, targeted, now) = input;
    let mut fields = Fields::new();
    for line in &lines {
        let _ = fields.append(name::CACHE_CONTROL, line);
        let _ = moment::read(line, now);
    }
    let said = ResponseDirectives::of(&fields);
    assert!(said.max_age.is_none_or(|seconds| seconds <= FOREVER) && !said.targeted);
    let mut more = fields.clone();
    assert!(more.append(name::CACHE_CONTROL, b"No-Store, private, max-age=7").is_ok());
    let strict = ResponseDirectives::of(&more);
    assert!(strict.no_store && strict.private.is_whole());
    assert_eq!(strict.max_age, Some(said.max_age.map_or(7, |seconds| seconds.min(7))));
    let asked = RequestDirectives::of(&more);
    assert!(asked.no_store && asked.max_age.is_some_and(|seconds| seconds <= 7));
    if let Some(targeted) = targeted {
        let _ = fields.append(name::CDN_CACHE_CONTROL, &targeted);
        let both = ResponseDirectives::of(&fields);
        assert!(both.targeted || both == said);
    }
});
