//! Which endpoint of a pool takes a request.
//!
//! In: the endpoints with their weights and what they are busy with, and those already tried. Out: one of them, or none. Each
//! worker decides for itself; what it knows of the others is the endpoints' shared counts.

mod endpoint;
mod p2c;
mod round_robin;
mod stats;

use std::sync::Arc;

pub use endpoint::{Active, Endpoint};
pub use stats::Stats;

use crate::config::model;

/// A worker's balancer for one pool.
#[derive(Debug)]
pub enum Balancer {
    /// Smooth weighted round robin.
    RoundRobin(round_robin::RoundRobin),
    /// The less busy of two.
    P2c(p2c::P2c),
}

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

impl Balancer {
    /// The balancer that the pool names.
    pub fn new(kind: model::Balance, candidates: &[Candidate]) -> Balancer {
        let weights = candidates.iter().map(|candidate| candidate.weight);
        match kind {
            model::Balance::RoundRobin => Balancer::RoundRobin(round_robin::RoundRobin::new(weights)),
            model::Balance::P2c => Balancer::P2c(p2c::P2c::new(weights)),
        }
    }

    /// An index into the candidates, none of those tried unless all were.
    pub fn pick(&mut self, candidates: &[Candidate], tried: &[usize]) -> Option<usize> {
        if candidates.is_empty() {
            return None;
        }
        let picked = match self {
            _ if candidates.len() == 1 => 0,
            Balancer::RoundRobin(balancer) => balancer.pick(),
            Balancer::P2c(balancer) => balancer.pick(|index| candidates.get(index).map_or(0, |c| c.endpoint.active())),
        };
        if !tried.contains(&picked) {
            return Some(picked);
        }
        let untried = (1..candidates.len()).map(|step| (picked + step) % candidates.len());
        untried.into_iter().find(|index| !tried.contains(index)).or(Some(picked))
    }
}
