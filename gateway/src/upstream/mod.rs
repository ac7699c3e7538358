//! From a picked endpoint to its response: connections, their reuse, and one attempt at a time.
//!
//! In: a request head, a body, an endpoint. Out: the response with its body, or what failed and whether the request may go
//! elsewhere. Each worker has its own connections; only the endpoints' counts and limits are shared.

mod attempt;
mod connect;
mod failure;
mod pool;
mod site;
mod times;
mod tried;
mod waiter;

pub use attempt::{Attempt, Failure, Reply};
pub use connect::ClientEnds;
pub use failure::tell;
pub use pool::{Picked, Pool, PoolState};
pub use site::Site;
pub use times::Times;
pub use tried::Tried;
pub use waiter::Waiter;
