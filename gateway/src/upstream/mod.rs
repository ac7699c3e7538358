//! From a picked endpoint to its response: connections, their reuse, and one attempt at a time.
//!
//! In: a request head, a body, an endpoint. Out: the response with its body, or what failed and whether the request may go
//! elsewhere. Each worker has its own connections; only the endpoints' counts and limits are shared.

mod again;
mod attempt;
mod connect;
mod failure;
mod hedging;
mod judged;
mod latencies;
mod members;
mod own;
mod pool;
mod reported;
mod site;
mod sites;
mod times;
mod tried;
mod waiter;

pub use again::Again;
pub use attempt::{Attempt, Failure, Reply};
pub use connect::ClientEnds;
pub use failure::{is_shortage, reason as failure_reason, refusal, tell};
pub use hedging::Hedging;
pub use pool::{Pool, PoolState};
pub use reported::{report, take_report};
pub use site::Site;
pub use times::Times;
pub use tried::Tried;
pub use waiter::Waiter;
