//! The gateway seen from outside: real sockets, raw bytes, several gateways and origins in one process.
//!
//! One binary; a file for each area, a test for each behaviour. [`harness`] is the place to begin: a test starts origins,
//! starts a gateway before them, talks, and looks at both ends. Nothing sleeps for a fixed time: everything waits for an
//! event and gives up with words after ten seconds.

// Helpers outside `#[test]` functions fail a test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod harness;

mod access_log;
mod adaptive;
mod admin;
mod agent;
mod authors;
mod cache;
mod cli;
mod compressing;
mod counted;
mod crowd;
mod departure;
mod discovery;
mod distrust;
mod drain;
mod endpoints;
mod examples;
mod forwarding;
mod framing_h1;
mod framing_h2;
mod framing_upstream;
mod health;
mod hedging;
mod ipv6;
mod languages;
mod limits;
mod loads;
mod matrix;
mod mirror;
mod orders;
mod outages;
mod plugins;
mod priorities;
mod refusals_h2;
mod reload;
mod retrying;
mod reuse;
mod rooms;
mod routing;
mod sharing;
mod simulate;
mod slow;
mod sources;
mod static_files;
mod stock;
mod subsets;
mod tls;
mod upstream;
mod versions;
mod warnings;
mod zones;
