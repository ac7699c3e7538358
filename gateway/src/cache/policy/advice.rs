//! What plugins say of keeping one response, beside what it says itself and what the route says.

/// A plugin's word. It makes nothing storable that must not be stored.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Advice {
    /// Seconds for which it is fresh from its receipt on, whatever it says.
    pub ttl: Option<u64>,
    /// It is not kept.
    pub no_store: bool,
    /// Tags by which it can be purged, too.
    pub tags: Vec<String>,
}

impl Advice {
    /// Nothing is said.
    pub const NONE: &Advice = &Advice { ttl: None, no_store: false, tags: Vec::new() };
}
