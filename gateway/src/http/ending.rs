//! Why a client's connection ended: one spelling for the metric and for tests.

/// One reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The client closed it, or it failed under us.
    Client,
    /// After its last response, as both sides had agreed.
    Closed,
    /// The gateway, or the listener's worker, goes.
    Drained,
    /// A request was refused in a way that leaves unclear where the next one begins.
    Refused,
    /// A response broke off, and must not look complete.
    Broken,
    /// This bound of [`crate::limits`] was met.
    Limit(&'static str),
    /// The client broke the rules of HTTP/2.
    Violation,
    /// The client speaks a protocol that the listener does not.
    Protocol,
    /// The TLS handshake failed.
    Handshake,
    /// The PROXY header is missing or malformed.
    ProxyHeader,
}

impl Ending {
    /// Every reason; a bound of each kind.
    pub const EVERY: &[Ending] = &[
        Ending::Client,
        Ending::Closed,
        Ending::Limit("idle_time"),
        Ending::Limit("keepalive_requests"),
        Ending::Limit(""),
        Ending::Drained,
        Ending::Refused,
        Ending::Broken,
        Ending::Violation,
        Ending::Protocol,
        Ending::Handshake,
        Ending::ProxyHeader,
    ];

    /// The word for it in metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Ending::Client => "client",
            Ending::Closed => "closed",
            Ending::Drained => "drain",
            Ending::Refused => "refused",
            Ending::Broken => "broken",
            Ending::Limit("idle_time") => "idle",
            Ending::Limit("keepalive_requests") => "requests",
            Ending::Limit(_) => "limit",
            Ending::Violation => "violation",
            Ending::Protocol => "protocol",
            Ending::Handshake => "tls-handshake",
            Ending::ProxyHeader => "proxy-protocol",
        }
    }

    /// When it happens, for the documentation.
    pub fn meaning(self) -> &'static str {
        match self {
            Ending::Client => "The client closed it, or it failed.",
            Ending::Closed => "After its last response, as both sides had agreed.",
            Ending::Drained => "The gateway stops.",
            Ending::Refused => "A request was refused in a way that leaves unclear where the next one begins.",
            Ending::Broken => "A response broke off, and must not look complete.",
            Ending::Limit("idle_time") => "There was no request for `limits.idle_time`.",
            Ending::Limit("keepalive_requests") => "It had its `limits.keepalive_requests`.",
            Ending::Limit(_) => "Another limit was met; `gatewright_limits_hit_total` says which.",
            Ending::Violation => "The client broke the rules of HTTP/2.",
            Ending::Protocol => "The client speaks HTTP/1 where only HTTP/2 is served.",
            Ending::Handshake => "The TLS handshake failed.",
            Ending::ProxyHeader => "The PROXY header is missing or malformed.",
        }
    }

    /// The bound that was met, when that is the reason.
    pub fn limit(self) -> Option<&'static str> {
        match self {
            Ending::Limit(name) => Some(name),
            _ => None,
        }
    }
}
