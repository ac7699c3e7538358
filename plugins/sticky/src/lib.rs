//! Keeps each client at the endpoint that it had first, by a cookie that the gateway makes.
//!
//! The first endpoint is the less busy of two that are drawn by weight, or that of a `key`, so that clients without cookies have a home too.
//! The client stays there as long as it can be sent to, also while it drains, is on standby or has a full share; when it is gone, unhealthy,
//! ejected, or fails the request, another is chosen and the cookie says so from then on.
//!
//! The cookie's value stands for the endpoint: its id, signed (HMAC-SHA256, 128 bits of it), so that nobody can tell an address from it
//! or choose an endpoint. The `secret` is that of the configuration. Without one it is made at the start of the gateway: then
//! clients are spread anew when it starts again, and several gateways do not know each other's cookies. Its name is
//! `gatewright-POOL` unless `cookie` gives another. It lasts as long as the browser does, or for `life` from when it was made.
//!
//! Right for what keeps sessions in memory. It makes load uneven, and rolling out slow: what can do without should.

mod token;

use std::fmt::Write;

use gatewright_sdk::cookie::{self, Name};
use gatewright_sdk::prelude::*;

use token::Tokens;

/// How it is configured.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The name of the cookie.
    cookie: Option<Name>,
    /// How long it lasts.
    #[serde(deserialize_with = "gatewright_sdk::config::optional_duration")]
    life: Option<Duration>,
    /// What a client is known by before it has a cookie.
    key: Option<Key>,
    /// What cookies are signed with.
    secret: Option<String>,
}

/// The clients' endpoints, as one worker knows them.
pub struct Sticky {
    config: Config,
    tokens: Tokens,
    draw: Draw,
    /// The name of the cookie, once the pool is known.
    name: Option<Name>,
    /// The value of `set-cookie`, kept for its room.
    text: String,
}

/// Shorter ones can be guessed.
const SHORTEST_SECRET: usize = 16;

impl Balancer for Sticky {
    type Config = Config;

    fn configure(config: Config, endpoints: &Endpoints) -> Result<Self> {
        if config.secret.as_ref().is_some_and(|secret| secret.len() < SHORTEST_SECRET) {
            return Err(Error::new(format_args!("secret: takes {SHORTEST_SECRET} characters or more")));
        }
        let tokens = match &config.secret {
            Some(secret) => Tokens::new(secret.as_bytes(), endpoints),
            None => Tokens::new(&shared::secret(), endpoints),
        };
        Ok(Sticky { tokens, draw: Draw::of(endpoints), name: config.cookie.clone(), text: String::new(), config })
    }

    fn endpoints_changed(&mut self, endpoints: &Endpoints) {
        self.tokens.endpoints_changed(endpoints);
        self.draw = Draw::of(endpoints);
    }

    fn pick(&mut self, request: &Request, endpoints: &Endpoints) -> Pick {
        let name = self.name.get_or_insert_with(|| {
            let pool =
                request.pool().filter(|pool| pool.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
            Name::of(&format!("gatewright-{}", pool.unwrap_or("sticky")))
        });
        let home = request.cookie(name.text()).and_then(|value| self.tokens.endpoint(value));
        let home = home.and_then(|index| endpoints.get(index)).filter(|endpoint| may_stay(*endpoint));
        if let Some(home) = home {
            return home.into();
        }
        let Some(first) = self.first(request, endpoints) else { return Pick::Fallback };
        self.remember(first, request);
        first.into()
    }
}

/// Whether a client that was there before may go on: it is not asked for new clients while it drains.
fn may_stay(endpoint: Endpoint<'_>) -> bool {
    endpoint.is_healthy() && !endpoint.is_ejected() && !endpoint.is_tried()
}

impl Sticky {
    /// Where a client without a home goes.
    fn first<'e>(&self, request: &Request, endpoints: &'e Endpoints) -> Option<Endpoint<'e>> {
        if let Some(key) = self.config.key.as_ref().and_then(|key| key.hash(request, 0)) {
            return hash::rendezvous(key, endpoints.available());
        }
        let (one, other) = (self.draw.available(endpoints)?, self.draw.available(endpoints)?);
        let load = |of: Endpoint<'_>| (f64::from(of.active()) + 1.0) / f64::from(of.weight().max(1));
        Some(if load(other) < load(one) { other } else { one })
    }

    /// Has the client remember its endpoint.
    fn remember(&mut self, endpoint: Endpoint<'_>, request: &Request) {
        let (Some(name), Some(token)) = (&self.name, self.tokens.of(endpoint.index())) else { return };
        // TCP has no cookies.
        if request.method().is_empty() {
            return;
        }
        self.text.clear();
        let mut written = write!(self.text, "{}={token:032x}", name.text());
        if let Some(life) = self.config.life {
            written = written.and_then(|()| write!(self.text, "; Max-Age={}", life.as_secs().max(1)));
        }
        cookie::attributes(&mut self.text, request);
        if written.is_ok() {
            request.add_response_header("set-cookie", &self.text);
        }
    }
}

export!(balancer: Sticky);

#[cfg(test)]
mod tests;
