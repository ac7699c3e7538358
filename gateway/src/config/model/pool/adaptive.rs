//! `[pool.NAME.adaptive]`: a limit of requests that the pool finds by itself.

/// `adaptive = true | { … }`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adaptive {
    /// `least = 10`
    pub least: u32,
    /// `most = 10000`
    pub most: u32,
    /// `tolerance = 1.5`
    pub tolerance: f64,
}

impl Default for Adaptive {
    fn default() -> Adaptive {
        Adaptive { least: 10, most: 10_000, tolerance: 1.5 }
    }
}
