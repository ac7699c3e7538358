//! The shared cache.

pub mod answer;
pub mod body;
pub mod disk;
pub mod entry;
pub mod flight;
pub mod policy;
pub mod store;
