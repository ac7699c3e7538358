//! An instance of either form.

use std::time::Duration;

use super::Outcome;
use super::decision::Decision;
use super::fault::Fault;
use super::instance::Instance;
use super::native::Native;
use super::request::{Edits, Head};
use crate::balance::{Candidate, Turn};

/// One instance of a plugin.
pub enum Runner {
    /// WebAssembly.
    Wasm(Box<Instance>),
    /// Linked in.
    Native(Box<Native>),
}

macro_rules! each {
    ($runner:expr, $instance:ident => $call:expr) => {
        match $runner {
            Runner::Wasm($instance) => $call,
            Runner::Native($instance) => $call,
        }
    };
}

impl Runner {
    /// Whether it must not be called again.
    pub fn is_faulted(&self) -> bool {
        each!(self, instance => instance.is_faulted())
    }

    /// Whose turn it is at the next picks.
    #[inline]
    pub fn set_turn(&mut self, turn: Turn) {
        each!(self, instance => instance.set_turn(turn));
    }

    /// Picks endpoints for a request.
    #[inline]
    pub fn pick(
        &mut self,
        head: &dyn Head,
        endpoints: &[Candidate],
        tried: &[usize],
        attempt: u32,
    ) -> Result<Decision, Fault> {
        each!(self, instance => instance.pick(head, endpoints, tried, attempt))
    }

    /// Other endpoints than before. Whether it wants to know.
    pub fn change_endpoints(&mut self, endpoints: &[Candidate]) -> Result<bool, Fault> {
        each!(self, instance => instance.change_endpoints(endpoints))
    }

    /// Tells what became of a request.
    #[inline]
    pub fn outcome(&mut self, outcome: &Outcome, endpoints: &[Candidate]) -> Result<(), Fault> {
        match self {
            Runner::Wasm(instance) => instance.outcome(outcome),
            Runner::Native(instance) => instance.outcome(outcome, endpoints),
        }
    }

    /// Picks a route or a pool, or answers.
    pub fn route(&mut self, head: &dyn Head) -> Result<Decision, Fault> {
        each!(self, instance => instance.route(head))
    }

    /// Looks at a request's head.
    pub fn on_request(&mut self, head: &dyn Head) -> Result<Decision, Fault> {
        each!(self, instance => instance.on_request(head))
    }

    /// Looks at a response's head.
    pub fn on_response(&mut self, head: &dyn Head) -> Result<Decision, Fault> {
        each!(self, instance => instance.on_response(head))
    }

    /// Looks at a response that may be kept.
    pub fn on_fetch(&mut self, head: &dyn Head) -> Result<Decision, Fault> {
        each!(self, instance => instance.on_fetch(head))
    }

    /// Takes what the last call wants changed, if anything; the other, which is empty, stays in its place.
    pub fn take_edits(&mut self, into: &mut Edits) {
        let edits = each!(self, instance => instance.edits());
        if !edits.is_empty() {
            std::mem::swap(edits, into);
        }
    }

    /// Lets time pass; when it wants to be called again.
    pub fn tick(&mut self, endpoints: &[Candidate]) -> Result<Option<Duration>, Fault> {
        match self {
            Runner::Wasm(instance) => instance.tick(),
            Runner::Native(instance) => instance.tick(endpoints),
        }
    }

    /// State for the next version.
    pub fn snapshot(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        each!(self, instance => instance.snapshot())
    }

    /// State of the version before. Whether it was taken.
    pub fn restore(&mut self, state: &[u8], endpoints: &[Candidate]) -> Result<bool, Fault> {
        match self {
            Runner::Wasm(instance) => instance.restore(state),
            Runner::Native(instance) => instance.restore(state, endpoints),
        }
    }
}
