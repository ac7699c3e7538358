//! How long the parts of an exchange with an upstream may take.

use std::time::Duration;

use crate::config::model::Timeouts;
use crate::limits::Limits;

/// The times of one route: its own word before its pool's before the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// Until an upstream connection stands.
    pub connect: Duration,
    /// Until one may be made.
    pub queue: Duration,
    /// From the request sent to the response's first byte.
    pub first_byte: Duration,
    /// Without progress of a body.
    pub idle_body: Duration,
    /// The whole exchange.
    pub request: Option<Duration>,
}

impl Times {
    /// From what the route and its pool say.
    pub fn of(route: &Timeouts, pool: Option<&Timeouts>, limits: &Limits) -> Times {
        let none = Timeouts::default();
        let pool = pool.unwrap_or(&none);
        Times {
            connect: route.connect.or(pool.connect).unwrap_or(Timeouts::CONNECT),
            queue: route.queue.or(pool.queue).unwrap_or(Timeouts::QUEUE),
            first_byte: route.first_byte.or(pool.first_byte).unwrap_or(Timeouts::FIRST_BYTE),
            idle_body: route.idle_body.or(pool.idle_body).unwrap_or(limits.body_idle_time),
            request: route.request.or(pool.request),
        }
    }
}
