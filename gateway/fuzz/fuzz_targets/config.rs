//! Configurations of any kind: they give a model or problems with places in the file, and never a panic.

#![no_main]

use std::path::Path;

use gatewright::config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(problems) = config::parse(text, Path::new("fuzz.toml")) {
        let lines = text.lines().count() + 1;
        assert!(!problems.problems.is_empty());
        assert!(problems.problems.iter().all(|problem| problem.line <= lines), "{problems}");
    }
});
