//! The shared cache.

pub mod body;
pub mod policy;
