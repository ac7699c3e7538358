//! HTTP/2 (RFC 9113) with HPACK (RFC 7541), as server and as client, from one core.
//!
//! In: a [`Stream`](crate::http::Stream). Out: requests with bodies and responders at the server end; responses at
//! the client end. One thread, one task for each connection ([`server::Connection::accept`] or [`client::Driver`]),
//! which parses what arrives into the shared core and writes what the streams' tasks put into it; no locks, no
//! channels, no allocation for each frame.
//!
//! Invariants: what breaks RFC 9113 ends its stream or its connection before anybody sees it; what was cut short is
//! an error, never an end. Limits: each `http2_*` row of [`Limits`](crate::limits::Limits), `header_size`,
//! `header_fields`. Time is for the users to watch.

mod blocks;
pub mod client;
mod core;
mod end;
pub mod exchange;
mod fault;
mod flood;
mod flow;
mod frame;
mod handle;
mod head;
mod hpack;
mod io;
mod linger;
mod output;
mod receive;
mod send;
pub mod server;
mod settings;
mod stream;

pub use frame::{Code, PREFACE};
pub use handle::{Event, Reply, Responder, SendStream, Tunnel};

#[cfg(test)]
mod tests;
