//! What may be kept and given again: RFC 9111, as pure decisions that are told the time.

pub mod advice;
pub mod directives;
pub mod freshness;
pub mod moment;
#[cfg(test)]
mod reference;
pub mod reuse;
pub mod rules;
pub mod storable;
pub mod structured;
pub mod vary;
