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
    /// Responses with Set-Cookie are kept, and the cookie with them.
    pub with_cookies: bool,
    /// Responses to requests with Authorization are kept like others.
    pub with_authorization: bool,
    /// Seconds that a stale response may serve while it is asked for again, where the response does not say.
    pub stale_while_revalidate: u64,
    /// Seconds that a stale response may serve when the origin answers with an error, where the response does not say.
    pub stale_if_error: u64,
    /// The same when the origin cannot be reached.
    pub stale_if_unreachable: u64,
    /// Clients may demand fresh responses, or that nothing is kept.
    pub obey_clients: bool,
    /// The largest body that is kept.
    pub largest: u64,
    /// Fields of requests, and `cookie:NAME`, by which responses differ whatever they say. Sorted.
    pub key_fields: Vec<String>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            default: None,
            longest: None,
            longest_guess: 24 * 3600,
            statuses: Vec::new(),
            with_cookies: false,
            with_authorization: false,
            stale_while_revalidate: 0,
            stale_if_error: 0,
            stale_if_unreachable: 24 * 3600,
            obey_clients: true,
            largest: 16 << 20,
            key_fields: Vec::new(),
        }
    }
}
