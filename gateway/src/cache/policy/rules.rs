//! What a route says about caching, beside what responses say.

use crate::http::StatusCode;

/// A route's word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Seconds for responses that say nothing; `None`: a guess where RFC 9111 section 4.2.2 allows one.
    pub default: Option<u64>,
    /// The longest that anything is fresh.
    pub longest: Option<u64>,
    /// The longest that a guess may be.
    pub longest_guess: u64,
    /// Statuses that are kept; empty: those that HTTP allows.
    pub statuses: Vec<StatusCode>,
    /// Responses with Set-Cookie are kept, without it.
    pub with_cookies: bool,
    /// Seconds that a stale response may serve while it is asked for again, where the response does not say.
    pub stale_while_revalidate: u64,
    /// Seconds that a stale response may serve when the origin fails, where the response does not say.
    pub stale_if_error: u64,
    /// Clients may demand fresh responses, or that nothing is kept.
    pub obey_clients: bool,
    /// The largest body that is kept.
    pub largest: u64,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            default: None,
            longest: None,
            longest_guess: 24 * 3600,
            statuses: Vec::new(),
            with_cookies: false,
            stale_while_revalidate: 0,
            stale_if_error: 24 * 3600,
            obey_clients: true,
            largest: 16 << 20,
        }
    }
}
