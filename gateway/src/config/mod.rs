//! Configuration: from a TOML file to a checked model.
//!
//! `file` is what people write, `load` parses and checks it and reports every error at once, `model` is what the rest of
//! the gateway uses. Knows only std, serde and the bounds.

pub mod model;
