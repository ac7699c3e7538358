//! Endpoints: where they are, how busy, and what is known of them. Which of them takes a request is for [`crate::plugin`].

mod census;
mod changes;
mod concurrency;
mod endpoint;
mod outcomes;
mod plan;
mod report;
mod room;
mod shares;
mod standing;
mod start;
mod stats;
mod subset;
mod turn;
mod zones;

use std::sync::Arc;

pub use changes::{Changes, FEW, Follower, Mark};
pub use concurrency::{Admitted, Bounds, Concurrency, Figures, Shed};
pub use endpoint::{Active, Drain, Endpoint};
pub use outcomes::{Outcomes, Row, Sample};
pub use plan::{Outlook, Plan, Reports, Watch};
pub use report::Report;
pub use room::{Room, Stay};
pub use standing::{Checked, Ejected, Standing, Uptime};
pub use stats::{Stats, flag_changes};
pub use turn::{Turn, UNCHECKED, is_usable};
pub use zones::{HOME, places};

impl PartialEq for Candidate {
    fn eq(&self, other: &Candidate) -> bool {
        let facts = |one: &Candidate| (one.weight, one.priority, one.place);
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
    /// Its configuration takes it out of use.
    pub drain: bool,
    /// Where it stands.
    pub zone: String,
    /// The number of that zone, as [`places`] gives it.
    pub place: u8,
    /// Whatever else is said of it.
    pub metadata: Vec<(String, String)>,
}

impl Candidate {
    /// One of which nothing is said.
    pub fn of(endpoint: Arc<Endpoint>) -> Candidate {
        Candidate {
            endpoint,
            weight: 1,
            priority: 0,
            drain: false,
            zone: String::new(),
            place: HOME,
            metadata: Vec::new(),
        }
    }
}
