//! Endpoints: where they are, how busy, and what is known of them. Which of them takes a request is for [`crate::plugin`].

mod changes;
mod endpoint;
mod stats;

use std::sync::Arc;

pub use changes::{Changes, FEW, Follower, Mark};
pub use endpoint::{Active, Endpoint};
pub use stats::{Stats, flag_changes};

impl PartialEq for Candidate {
    fn eq(&self, other: &Candidate) -> bool {
        let facts = |one: &Candidate| (one.weight, one.priority);
        Arc::ptr_eq(&self.endpoint, &other.endpoint)
            && facts(self) == facts(other)
            && self.zone == other.zone
            && self.metadata == other.metadata
    }
}

/// A member that may be picked.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Its share.
    pub weight: u16,
    /// 0 before 1 before 2.
    pub priority: u32,
    /// Where it stands.
    pub zone: String,
    /// Whatever else is said of it.
    pub metadata: Vec<(String, String)>,
}
