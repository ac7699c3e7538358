//! Sends reads to replicas and writes to the primary, and lets a client read what it has written.
//!
//! Methods that change nothing (GET, HEAD, OPTIONS, TRACE, QUERY) are reads, all others writes. `writes` names paths whose requests go to the
//! primary whatever their method, `reads` those that only read though they are sent with POST, such as a search; each with everything below
//! it.
//!
//! Replicas lag behind. So for the time `own_writes` after a write its client reads from the primary. The client remembers that itself, by a
//! cookie with the time until which it holds: it works over several gateways and restarts, costs no memory, and all that somebody can
//! forge is to be sent to the primary for that time, which a write does too. Clients that keep no cookies read from replicas at
//! once; let them use the primary for what they must see.

use std::fmt::Write;

use gatewright_sdk::cookie::{self, Name};
use gatewright_sdk::prelude::*;

/// How it is configured.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where writes go.
    primary: Target,
    /// Where reads go.
    replicas: Target,
    /// How long a client reads from the primary after a write; `"0s"`: not at all.
    #[serde(default = "own_writes", deserialize_with = "gatewright_sdk::config::duration")]
    own_writes: Duration,
    /// The name of the cookie.
    #[serde(default = "name")]
    cookie: Name,
    /// Paths that go to the primary whatever the method.
    #[serde(default)]
    writes: Vec<String>,
    /// Paths that only read whatever the method.
    #[serde(default)]
    reads: Vec<String>,
}

fn own_writes() -> Duration {
    Duration::from_secs(5)
}

fn name() -> Name {
    Name::of("gatewright-wrote")
}

/// Where requests go.
pub struct ReadWrite {
    config: Config,
    /// The value of `set-cookie`, kept for its room.
    text: String,
}

impl Router for ReadWrite {
    type Config = Config;

    fn configure(config: Config) -> Result<Self> {
        for path in config.writes.iter().chain(&config.reads) {
            if !path.starts_with('/') {
                return Err(Error::new(format_args!(
                    "writes, reads: take paths that begin with a slash, not {path:?}"
                )));
            }
        }
        Ok(ReadWrite { config, text: String::new() })
    }

    fn route(&mut self, request: &RequestMut) -> Route {
        let writes = self.writes(request);
        if writes {
            self.remember(request);
        }
        let to_primary = writes || self.has_written(request);
        if to_primary { self.config.primary.route() } else { self.config.replicas.route() }
    }
}

impl ReadWrite {
    fn writes(&self, request: &Request) -> bool {
        let path = request.path();
        let is_in = |paths: &[String]| paths.iter().any(|begin| is_below(path, begin));
        if is_in(&self.config.reads) {
            return false;
        }
        !matches!(request.method(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "QUERY") || is_in(&self.config.writes)
    }

    /// Whether the client has written so short a time ago.
    fn has_written(&self, request: &Request) -> bool {
        let until = request.cookie(self.config.cookie.text()).and_then(|value| value.parse::<u64>().ok());
        let now = clock::unix_time().as_secs();
        // Nobody can stay with the primary for longer than a write of this moment.
        until.is_some_and(|until| until > now && until <= self.until(now))
    }

    /// Has the client remember that it has written.
    fn remember(&mut self, request: &Request) {
        let time = self.config.own_writes;
        if time.is_zero() {
            return;
        }
        let until = self.until(clock::unix_time().as_secs());
        self.text.clear();
        let age = time.as_secs().max(1);
        let written = write!(self.text, "{}={until}; Max-Age={age}", self.config.cookie.text());
        cookie::attributes(&mut self.text, request);
        if written.is_ok() {
            request.add_response_header("set-cookie", &self.text);
        }
    }

    /// The first second in which it is forgotten. Parts of one count as a whole.
    fn until(&self, now: u64) -> u64 {
        now.saturating_add(self.config.own_writes.as_millis().div_ceil(1000) as u64 + 1)
    }
}

/// Whether a path is this one or below it.
fn is_below(path: &str, begin: &str) -> bool {
    let rest = path.strip_prefix(begin);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || begin.ends_with('/'))
}

export!(router: ReadWrite);

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_sdk::mock::{Head, Mock, get, request};

    fn gateway() -> Mock {
        let config = r#"{"primary": "primary", "replicas": "replicas", "writes": ["/admin"], "reads": ["/search/"]}"#;
        let mut gateway = Mock::router::<ReadWrite>(config).unwrap();
        gateway.set_unix_time(Duration::from_secs(1000));
        gateway
    }

    fn goes(gateway: &mut Mock, request: &Head, to: &'static str) {
        assert_eq!(gateway.route(request), Route::pool(to), "{request:?}");
    }

    #[test]
    fn reads_go_to_replicas_and_writes_to_the_primary() {
        let mut gateway = gateway();
        for method in ["GET", "HEAD", "OPTIONS", "QUERY"] {
            goes(&mut gateway, &request(method, "/items"), "replicas");
        }
        for method in ["POST", "PUT", "DELETE", "PATCH", "MKCOL"] {
            goes(&mut gateway, &request(method, "/items"), "primary");
        }
        goes(&mut gateway, &get("/admin/users"), "primary");
        goes(&mut gateway, &get("/administration"), "replicas");
        goes(&mut gateway, &request("POST", "/search/items"), "replicas");
    }

    #[test]
    fn a_client_reads_its_own_writes_for_a_while() {
        let mut gateway = gateway();
        let write = request("POST", "https://shop.example/items");
        goes(&mut gateway, &write, "primary");
        let set = write.response_fields("set-cookie");
        assert_eq!(set, ["gatewright-wrote=1006; Max-Age=5; Path=/; HttpOnly; SameSite=Lax; Secure"]);
        let read = || get("/items").header("cookie", "gatewright-wrote=1006");
        goes(&mut gateway, &read(), "primary");
        assert!(read().response_fields("set-cookie").is_empty());
        gateway.advance(Duration::from_secs(6));
        goes(&mut gateway, &read(), "replicas");
    }

    #[test]
    fn a_cookie_that_was_made_up_holds_no_longer_than_one_of_now() {
        let mut gateway = gateway();
        for (value, to) in
            [("1006", "primary"), ("1007", "replicas"), ("99999999999999999999", "replicas"), ("x", "replicas")]
        {
            goes(&mut gateway, &get("/").header("cookie", format!("gatewright-wrote={value}")), to);
        }
    }

    #[test]
    fn nothing_is_remembered_where_that_is_not_wanted() {
        let config = r#"{"primary": "route:p", "replicas": "r", "own_writes": "0s"}"#;
        let mut gateway = Mock::router::<ReadWrite>(config).unwrap();
        let write = request("POST", "/");
        assert_eq!(gateway.route(&write), Route::named("p"));
        assert!(write.response_fields("set-cookie").is_empty());
        for (config, words) in [
            (r#"{"primary": "p"}"#, "missing field `replicas`"),
            (r#"{"primary": "p", "replicas": "r", "writes": ["admin"]}"#, "writes, reads: take paths"),
            (r#"{"primary": "p", "replicas": "r", "cookie": "a b"}"#, "cookie: \"a b\" is no name of a cookie"),
            (r#"{"primary": "p", "replicas": "r", "own_writes": "5"}"#, "own_writes: takes a time"),
        ] {
            let wrong = Mock::router::<ReadWrite>(config).err().unwrap().to_string();
            assert!(wrong.starts_with(words), "{wrong}");
        }
    }
}
