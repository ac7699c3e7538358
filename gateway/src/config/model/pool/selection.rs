//! Which endpoints of a pool get requests, and what share of them.

/// What the gateway decides about endpoints before any balancer does.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// `distrust_below`: a share of ten thousand; 0: never.
    pub distrust_below: u32,
    /// `spill_factor`: how much more than their share the endpoints of a priority can take.
    pub spill_factor: f64,
}

impl Default for Selection {
    fn default() -> Selection {
        Selection { distrust_below: 5000, spill_factor: 1.4 }
    }
}
