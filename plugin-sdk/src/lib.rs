//! Write plugins for Gatewright: balancers, routers and filters.
//!
//! A plugin is a small crate. It becomes a WebAssembly module that the gateway loads and swaps while traffic flows; it can
//! neither stall nor crash it. The same source can be linked into the gateway, and is tested with plain `cargo test`.
//!
//! # The crate
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib", "rlib"]
//!
//! [dependencies]
//! gatewright-sdk = "0.1"
//! serde = { version = "1", features = ["derive"] }    # what #[derive(Deserialize)] refers to
//!
//! [profile.release]
//! lto = true
//! panic = "abort"
//! strip = true
//! ```
//!
//! `cargo build --release --target wasm32-unknown-unknown` makes the module. Use a release build: the module's imports
//! tell the gateway what to prepare for each pick, and a debug build drags in more than it needs.
//!
//! # A balancer
//!
//! picks an endpoint for each request to a pool:
//!
//! ```
//! use gatewright_sdk::prelude::*;
//!
//! #[derive(Deserialize)]
//! struct Config { spare: u32 }
//!
//! struct Fastest { spare: u32 }
//!
//! impl Balancer for Fastest {
//!     type Config = Config;
//!
//!     fn configure(config: Config, _: &Endpoints) -> Result<Self> {
//!         Ok(Fastest { spare: config.spare })
//!     }
//!
//!     fn pick(&mut self, _: &Request, endpoints: &Endpoints) -> Pick {
//!         endpoints
//!             .available()
//!             .filter(|e| e.active() < self.spare)
//!             .min_by_key(|e| e.latency() * (e.active() + 1))
//!             .into()                       // none left: Pick::Fallback
//!     }
//! }
//!
//! export!(balancer: Fastest);
//! ```
//!
//! The gateway's configuration then says where it is, how it is configured, and which pools use it:
//!
//! ```toml
//! [plugin.fastest]
//! source = "plugins/fastest.wasm"
//! config = { spare = 100 }
//!
//! [pool.api]
//! endpoints = ["127.0.0.1:9001", "127.0.0.1:9002"]
//! balance = "fastest"
//! ```
//!
//! A configuration that does not fit is refused with the key that is wrong; so are unknown keys, if the type says
//! `#[serde(deny_unknown_fields)]`. What [`configure`](Balancer::configure) refuses is refused with its text.
//!
//! [`Endpoint`] has what is known of one endpoint: flags, requests under way, latencies, errors, weight, priority, zone and
//! so on. Each accessor is a load from memory, and only columns that you read are kept up to date. [`Pick`] says what can be
//! decided beside one endpoint: an order, a hedge, a refusal.
//!
//! Whatever takes time, rings and tables, is built in `configure` and in
//! [`endpoints_changed`](Balancer::endpoints_changed). [`outcome`](Balancer::outcome) tells how an attempt ended,
//! [`tick`](Balancer::tick) is called when time passes; [`snapshot`](Balancer::snapshot) and
//! [`restore`](Balancer::restore) carry state from one version to the next.
//!
//! # A router
//!
//! sends a request elsewhere than the table of routes does, and may change it:
//!
//! ```
//! use gatewright_sdk::prelude::*;
//!
//! struct Beta;
//!
//! impl Router for Beta {
//!     type Config = NoConfig;
//!
//!     fn configure(_: NoConfig) -> Result<Self> {
//!         Ok(Beta)
//!     }
//!
//!     fn route(&mut self, request: &RequestMut) -> Route {
//!         match request.cookie("beta") {
//!             Some("yes") => {
//!                 request.set_header("x-beta", "yes");
//!                 request.set_tag("beta", "yes");   // stands in the access log
//!                 Route::pool("beta")
//!             }
//!             _ => Route::CarryOn,
//!         }
//!     }
//! }
//!
//! export!(router: Beta);
//! ```
//!
//! # A filter
//!
//! sees the heads of requests and responses; it lets them pass, changes them, or answers itself:
//!
//! ```
//! use gatewright_sdk::prelude::*;
//!
//! struct Keys { refused: Counter }
//!
//! impl Filter for Keys {
//!     type Config = NoConfig;
//!
//!     fn configure(_: NoConfig) -> Result<Self> {
//!         Ok(Keys { refused: Counter::new("refused") })
//!     }
//!
//!     fn on_request(&mut self, request: &RequestMut) -> Verdict {
//!         if request.header("x-key").is_some() {
//!             request.remove_header("x-key");
//!             return Verdict::CarryOn;
//!         }
//!         self.refused.increment();
//!         Answer::new(401).header("content-type", "text/plain").body("no key\n").into()
//!     }
//!
//!     fn on_response(&mut self, _: &Request, response: &Response) -> Verdict {
//!         response.remove_header("server");
//!         Verdict::CarryOn
//!     }
//! }
//!
//! export!(filter: Keys);
//! ```
//!
//! # The cache
//!
//! keeps one answer for all who ask for the same URL, on a route that has it. What else tells answers apart, what goes past it, and how long an answer is
//! fresh, routers and filters may say of a request, and filters of what a pool answered:
//!
//! ```
//! use gatewright_sdk::prelude::*;
//!
//! struct Tenants;
//!
//! impl Filter for Tenants {
//!     type Config = NoConfig;
//!
//!     fn configure(_: NoConfig) -> Result<Self> {
//!         Ok(Tenants)
//!     }
//!
//!     fn on_request(&mut self, request: &RequestMut) -> Verdict {
//!         match request.header("x-tenant") {
//!             Some(tenant) => request.cache_key(tenant),   // each has entries of its own
//!             None => request.bypass_cache(),
//!         };
//!         Verdict::CarryOn
//!     }
//!
//!     fn on_fetch(&mut self, request: &Request, response: &Fetched) {
//!         if response.status() == 404 {
//!             response.cache_for(Duration::from_secs(5));  // whatever it says
//!         }
//!         if let Some(tenant) = request.header("x-tenant") {
//!             response.cache_tag(tenant);                  // `gatewright cache purge --tag acme`
//!         }
//!     }
//! }
//!
//! export!(filter: Tenants);
//!
//! # use gatewright_sdk::mock::{Mock, get, response};
//! # let mut gateway = Mock::filter::<Tenants>("{}").unwrap();
//! # let request = get("/").header("x-tenant", "acme");
//! # gateway.on_request(&request);
//! # assert_eq!(request.cache().key, [b"acme"]);
//! # let missing = response(404);
//! # gateway.on_fetch(&request, &missing);
//! # assert_eq!((missing.cache().ttl, &missing.cache().tags[..]), (Some(Duration::from_secs(5)), &["acme".to_owned()][..]));
//! ```
//!
//! # More that there is
//!
//! | | |
//! |---|---|
//! | [`metrics`] | counters, gauges and histograms, made in `configure` |
//! | [`log`] | `log::warn!("…")` and so on; the gateway limits the rate |
//! | [`clock`] | [`clock::now`] and [`clock::unix_time`]. `std::time` has no clock here |
//! | [`random`] | [`random::below`], [`random::two_below`], [`random::fraction`] |
//! | [`hash`] | hashes that stay the same; of parts of the request, [`Request::hash_cookie`] and its like; [`hash::rendezvous`] |
//! | [`Key`] | what a request is known by, as the configuration says: `"cookie:session"` |
//! | [`Target`] | where a router sends requests, as the configuration says: `"beta"`, `"route:beta"` |
//! | [`Draw`] | endpoints at random, by weight |
//! | [`Fading`] | averages that count less the longer nobody has renewed them |
//! | [`cookie`] | cookies that a plugin makes |
//! | [`config`] | times in a configuration: `"250ms"` |
//! | [`shared`] | numbers, values and a secret that all workers share; everything else belongs to one worker |
//! | [`Request::add_response_header`] | a balancer, router or filter sees no response yet, but may say what is to stand in it |
//!
//! # Tests
//!
//! [`mock`] has a gateway for tests:
//!
//! ```
//! # use gatewright_sdk::prelude::*;
//! # struct Beta;
//! # impl Router for Beta {
//! #     type Config = NoConfig;
//! #     fn configure(_: NoConfig) -> Result<Self> { Ok(Beta) }
//! #     fn route(&mut self, request: &RequestMut) -> Route {
//! #         match request.cookie("beta") {
//! #             Some("yes") => { request.set_header("x-beta", "yes"); Route::pool("beta") }
//! #             _ => Route::CarryOn,
//! #         }
//! #     }
//! # }
//! use gatewright_sdk::mock::{Mock, get};
//!
//! let mut gateway = Mock::router::<Beta>("{}").unwrap();
//! let request = get("/").header("cookie", "beta=yes");
//! assert_eq!(gateway.route(&request), Route::pool("beta"));
//! assert_eq!(request.field("x-beta").as_deref(), Some("yes"));
//! ```
//!
//! `gatewright plugin test` runs these tests, and then asks the module what they asked. The mock gateway writes down each call
//! with what the plugin could see, the clock and random numbers too, and what came of it; the module has to say
//! the same in the gateway's own host, decision by decision and change by change. Where it does not, the first difference is
//! shown: most often a number that has 64 bits natively and 32 in WebAssembly (`usize`), or the order of a `HashMap`, which is
//! another one in each run. What [`Mock::balancer`](mock::Mock::balancer) and its like are given has to be the type that
//! the crate exports. Metrics and log lines are not compared.
//!
//! # When something goes wrong
//!
//! A panic ends the instance: its message is logged, the request goes on by the pool's fallback, and another instance takes
//! over. So does a call that takes too long, or decides what there is not. Nothing that the gateway tells makes this crate
//! panic.
//!
//! `ABI.md` beside this crate has the boundary for those who write in another language.

pub mod clock;
pub mod config;
pub mod cookie;
mod decide;
mod draw;
mod encoded;
mod endpoints;
mod error;
mod export;
mod fading;
mod fetched;
pub mod hash;
mod key;
mod kinds;
pub mod log;
pub mod metrics;
mod micros;
#[cfg(not(target_arch = "wasm32"))]
pub mod mock;
#[cfg(not(target_arch = "wasm32"))]
pub mod native;
mod outcome;
mod pick;
pub mod random;
mod request;
mod response;
mod runtime;
#[cfg(not(target_arch = "wasm32"))]
mod search;
pub mod shared;
mod sys;
mod target;

pub use config::NoConfig;
pub use decide::{Answer, Body, Redirect, Route, Verdict};
pub use draw::Draw;
pub use encoded::Pairs;
pub use endpoints::{All, Available, Endpoint, Endpoints};
pub use error::{Error, Result};
pub use fading::Fading;
pub use fetched::Fetched;
pub use key::Key;
pub use kinds::{Balancer, Configuration, Filter, Router};
pub use micros::Micros;
pub use outcome::Outcome;
pub use pick::{List, Pick};
pub use request::{Request, RequestMut};
pub use response::Response;
#[cfg(not(target_arch = "wasm32"))]
pub use search::Filtered;
pub use target::Target;

/// All that a plugin usually needs: `use gatewright_sdk::prelude::*;`
pub mod prelude {
    pub use std::time::Duration;

    pub use serde::Deserialize;

    pub use crate::metrics::{Counter, Gauge, Histogram};
    pub use crate::shared::Slot;
    pub use crate::{
        Answer, Balancer, Draw, Endpoint, Endpoints, Error, Fading, Fetched, Filter, Key, Micros, NoConfig, Outcome,
        Pick, Request, RequestMut, Response, Result, Route, Router, Target, Verdict, clock, export, hash, log, random,
        shared,
    };
}

/// For what macros write.
#[doc(hidden)]
pub mod __private {
    pub use gatewright_abi::{Header, kind, level};

    pub use crate::runtime::{Absent, Runtime};
    #[cfg(target_arch = "wasm32")]
    pub use crate::sys::wasm;
}
