//! `Vary` and what it names from the wire: each name once and in order, the same request selects the same, lines are a list, and what
//! is not named does not count.

#![no_main]

use gatewright::cache::policy::vary::{names, selecting};
use gatewright::http::{Fields, name};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<Vec<u8>>, Vec<(Vec<u8>, Vec<u8>)>)| {
    let (lines, request) = input;
    let mut response = Fields::new();
    for line in &lines {
        let _ = response.append(name::VARY, line);
    }
    let mut asked = Fields::new();
    for (field, value) in &request {
        if let Ok(field) = std::str::from_utf8(field) {
            let _ = asked.append(field, value);
        }
    }
    let Some(names) = names(&response) else {
        assert!(response.members(name::VARY).any(|member| member == b"*"));
        return;
    };
    assert!(names.windows(2).all(|pair| pair[0] < pair[1]));
    let key = selecting(&asked, &names);
    assert_eq!(selecting(&asked, &names), key);
    let mut more = asked.clone();
    if !names.iter().any(|name| name == "x-unnamed") {
        let _ = more.append("x-unnamed", b"1");
        assert_eq!(selecting(&more, &names), key);
    }
    if names.iter().any(|name| name == "foo") && !asked.contains("foo") {
        let (mut one, mut two) = (asked.clone(), asked);
        assert!(one.append("foo", b"a, b").is_ok());
        assert!(two.append("foo", b"a").is_ok() && two.append("foo", b"b").is_ok());
        assert_eq!(selecting(&one, &names), selecting(&two, &names));
        assert_ne!(selecting(&one, &names), key);
    }
});
