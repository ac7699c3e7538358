//! Which endpoints of its pool a request may go to, as far as that is not for a balancer to decide.
//!
//! In: what the pool's [`Plan`](super::Plan) drew for the request. Out: the flags of each endpoint as balancers are shown them. Pure.

use gatewright_abi::flag;

use super::Candidate;

/// Beside the bits of [`flag`], for the gateway alone: it waits for its first check, and gets nothing before. Balancers see it as one that
/// is not well.
pub const UNCHECKED: u32 = 1 << 31;

/// The endpoints whose turn it is. The default is everybody's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Turn {
    /// Of this priority only.
    pub priority: Option<u8>,
    /// Of the zone with this number only.
    pub place: Option<u8>,
    /// Whatever is known against them: what is known is not believed.
    pub distrusts: bool,
}

impl Turn {
    /// Whether it is the turn of this one.
    #[inline]
    pub fn takes(self, candidate: &Candidate) -> bool {
        self.priority.is_none_or(|priority| u32::from(priority) == candidate.priority)
            && self.place.is_none_or(|place| place == candidate.place)
    }

    /// The flags that balancers are shown: whoever is well but not to be taken is on standby.
    #[inline]
    pub fn flags(self, candidate: &Candidate) -> u32 {
        let mut flags = candidate.endpoint.stats.flags();
        if flags & UNCHECKED != 0 {
            return flags & !UNCHECKED;
        }
        if self.distrusts {
            flags = (flags | flag::HEALTHY) & !flag::EJECTED;
        }
        if flags & flag::HEALTHY != 0 && !self.takes(candidate) {
            flags = (flags | flag::STANDBY) & !flag::HEALTHY;
        }
        flags
    }

    /// Whether a balancer is shown this one as one that a request can be sent to.
    #[inline]
    pub fn offers(self, candidate: &Candidate) -> bool {
        is_usable(self.flags(candidate))
    }
}

/// Whether flags let an endpoint have new requests.
#[inline]
pub fn is_usable(flags: u32) -> bool {
    flags & (flag::HEALTHY | flag::EJECTED | flag::DRAINING) == flag::HEALTHY
}
