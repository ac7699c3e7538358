//! HTTP/2 (RFC 9113) with HPACK (RFC 7541), as server and as client, from one core.

mod fault;
mod flood;
mod flow;
mod frame;
mod head;
mod hpack;
mod settings;

pub use frame::{Code, PREFACE};
