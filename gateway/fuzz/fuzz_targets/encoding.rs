//! `Accept-Encoding` and `Content-Encoding` from the wire: what is chosen was offered and is taken, in whatever lines it is said.

#![no_main]

use gatewright::http::encoding::{Accepted, Coded, Coding, coded};
use gatewright::http::{Fields, name};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<Vec<u8>>, [bool; 4])| {
    let (lines, offered) = input;
    let offered: Vec<Coding> = Coding::ALL.into_iter().zip(offered).filter(|(_, is)| *is).map(|(coding, _)| coding).collect();
    let (mut request, mut response) = (Fields::new(), Fields::new());
    for line in &lines {
        let _ = request.append(name::ACCEPT_ENCODING, line);
        let _ = response.append(name::CONTENT_ENCODING, line);
    }
    let accepted = Accepted::of(&request);
    if let Some(chosen) = accepted.choose(&offered) {
        assert!(offered.contains(&chosen) && accepted.takes(chosen));
        // Another order of ours changes nothing but ties.
        let reversed: Vec<Coding> = offered.iter().rev().copied().collect();
        assert!(accepted.choose(&reversed).is_some());
    }
    if let Coded::Once(coding) = coded(&response) {
        assert!(Coding::named(coding.text().as_bytes()) == Some(coding));
    }
});
