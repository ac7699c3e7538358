//! Configuration: from a TOML file to a checked model.
//!
//! `file` is what people write, `load` parses and checks it and reports every error at once, `model` is what the rest of
//! the gateway uses. Knows only std, serde and the bounds.

pub mod diff;
pub mod file;
mod hint;
pub mod load;
pub mod model;
pub mod pattern;
pub mod problem;
pub mod schema;
mod shadow;
mod shape;
mod source;
pub mod value;

pub use load::{examine, load, parse};
pub use problem::{Problem, Problems};
pub use schema::schema;
