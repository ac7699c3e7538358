//! The host of plugins.
//!
//! In: a module from somewhere, and calls from the request path. Out: decisions, or faults that the caller answers with its
//! fallback. Invariant: whatever a plugin does, it has done within its time and memory, and nothing that it says is believed
//! before it was looked at. It knows nothing of HTTP: requests are shown to it as [`request::Head`].
//!
//! From source to decision: `compile` (and `check`), `instance`, `decision`, `choice`; `trial` has two versions decide; beside them `engine` (what runs it, and the clock
//! that stops it), `imports` (what it may ask), `table` (the endpoints in its memory; `upkeep` keeps them up), `services` (what it shares with
//! the other workers), `fault`.

mod attempt;
mod body;
mod check;
mod choice;
mod compile;
mod crew;
mod decision;
mod effort;
mod engine;
mod fault;
mod guest;
mod house;
mod imports;
mod instance;
mod makers;
mod native;
mod offer;
pub mod request;
mod runner;
mod services;
mod shortage;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod time;
mod trial;
mod upkeep;
mod version;

pub use attempt::Attempt;
pub use check::Interface;
pub use choice::{By, Picked, Question};
pub use compile::{Compiled, Compiler, Digest, MODULE_SIZE};
pub use crew::{Crew, Requests, Seat, Trying, Want};
pub use decision::{Answer, Decision, Field};
pub use effort::took_long;
pub use engine::Engine;
pub use fault::{Fault, LoadError};
pub use house::{House, built_in};
pub use instance::{Budget, Instance, Mould, Outcome};
pub use native::Native;
pub use runner::Runner;
pub use services::{BOUNDS, Series, Services, Shared, Value};
pub use shortage::Missing;
pub use time::Time;
pub use trial::{LEAST_DECISIONS, Part, Rollout, Stage, Standing, Trial, Verdict};
pub use version::{Code, Entry, Plugin, Reason, Swap, Unclear, Version};
