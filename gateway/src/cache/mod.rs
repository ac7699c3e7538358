//! The shared cache.
//!
//! In: requests, and the responses of origins to them. Out: responses that are kept. `policy` decides by RFC 9111 and is pure;
//! `store` is what is kept, for all workers; `flight` has one request to the origin for any number of clients; `body` is kept
//! while it comes, in other `codings` too; `parts` are those of bodies of which there is not all; `answer` makes responses of entries. The stage of the path that uses all this is in `proxy`.

pub mod answer;
pub mod body;
pub mod codings;
pub mod disk;
pub mod entry;
pub mod flight;
pub mod key;
pub mod parts;
pub mod policy;
pub mod status;
pub mod store;
pub mod tiers;
mod variants;
pub mod wishes;

pub use entry::Entry;
pub use status::{CacheStatus, Told};
pub use store::Store;
