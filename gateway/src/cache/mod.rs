//! The shared cache.

pub mod policy;
