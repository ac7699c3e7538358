//! HTTP/1.1 and HTTP/2 on the wire, towards clients and upstreams, as one set of types.
//!
//! In: bytes of a [`Stream`]. Out: heads and bodies that are correct by RFC 9112 and 9113, whichever protocol brought
//! them; and the other way round. Knows nothing of routes, pools or files.

// The protocols.
pub mod h1;
pub mod h2;

// What they share.
pub mod accept;
pub mod body;
pub mod branch;
pub mod claims;
pub mod conditional;
pub mod control;
pub mod encoding;
pub mod ending;
pub mod fields;
pub mod head;
pub mod hygiene;
pub mod nobody;
pub mod pump;
pub mod ranges;
pub mod replay;
pub mod responder;
pub mod stream;
mod tcp;
pub mod tunnel;
pub mod upgrade;

pub use body::{Body, FilePart, Frame, Source};
pub use control::Control;
pub use ending::Ending;
pub use fields::{FieldName, Fields, Known, Name, name};
pub use head::{Method, RequestHead, ResponseHead, Scheme, StatusCode, Version};
pub use nobody::Nobody;
pub use responder::{Duplex, Responder};
pub use stream::Stream;
pub use tcp::Tcp;
