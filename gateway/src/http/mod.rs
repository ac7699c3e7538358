//! HTTP/1.1 and HTTP/2 on the wire, towards clients and upstreams, as one set of types.
//!
//! In: bytes of a [`Stream`]. Out: heads and bodies that are correct by RFC 9112 and 9113, whichever protocol brought
//! them; and the other way round. Knows nothing of routes, pools or files.

pub mod body;
pub mod fields;
pub mod forwarded;
pub mod head;
pub mod hygiene;
pub mod stream;

pub use body::{Body, Frame, Source};
pub use fields::{FieldName, Fields, Known, Name, name};
pub use head::{Method, RequestHead, ResponseHead, Scheme, StatusCode, Version};
pub use stream::Stream;
