//! Responses that the gateway makes itself.

pub mod page;
