//! HTTP/1.1 and HTTP/1.0 (RFC 9112), strictly.
//!
//! Pure: [`lines`], [`parse`], [`framing`], [`decode`], and but for the date [`encode`]. With a connection: [`io`], [`server`], [`client`].
//!
//! Our own, since no crate of this field refuses every ambiguous message (a bare LF, a length beside chunks), passes interim
//! responses on, or lets a waiting connection go without a buffer.

pub mod client;
pub mod decode;
pub mod encode;
pub mod framing;
pub mod io;
pub mod lines;
pub mod parse;
pub mod server;
