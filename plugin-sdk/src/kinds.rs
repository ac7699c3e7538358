//! The kinds of plugins, as traits.

use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::config;
use crate::decide::{Route, Verdict};
use crate::endpoints::Endpoints;
use crate::error::{Error, Result};
use crate::fetched::Fetched;
use crate::outcome::Outcome;
use crate::pick::Pick;
use crate::request::{Request, RequestMut};
use crate::response::Response;

/// What a plugin can be configured with: whatever derives `Deserialize` and owns what it holds.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read from the gateway's configuration",
    label = "this has to implement `Deserialize`",
    note = "write `#[derive(Deserialize)]` above `{Self}`, and let it own what it holds: `String` instead of `&str`",
    note = "what needs no configuration says `type Config = NoConfig;`"
)]
pub trait Configuration: Sized {
    /// Of the JSON text that the gateway makes of the table `config`. An error begins with the key that is wrong.
    #[doc(hidden)]
    fn read(json: &[u8]) -> Result<Self>;
}

// `DeserializeOwned` is no supertrait, since the compiler would speak of that one instead.
#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> Configuration for T {
    fn read(json: &[u8]) -> Result<T> {
        config::parse(json)
    }
}

/// Picks an endpoint for each request to a pool. Serves HTTP and TCP; for TCP there is no request to ask, only a client.
///
/// There is one value for each pool and worker. Calls come one at a time.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is exported as a balancer, but it is none",
    label = "this has to implement `Balancer`",
    note = "write `impl Balancer for {Self}`, with `type Config`, `configure` and `pick`"
)]
pub trait Balancer: Sized {
    /// What it is configured with: the table `config` of the plugin. [`NoConfig`](crate::NoConfig) when it needs nothing.
    type Config: Configuration;

    /// Makes a balancer for these endpoints. Whatever takes time belongs here and in
    /// [`endpoints_changed`](Balancer::endpoints_changed).
    fn configure(config: Self::Config, endpoints: &Endpoints) -> Result<Self>;

    /// Picks. It has two milliseconds, and should take less than one thousandth of that.
    fn pick(&mut self, request: &Request, endpoints: &Endpoints) -> Pick;

    /// Endpoints have come or gone: rebuild rings and tables here, never in [`pick`](Balancer::pick). Indices mean others now. It has
    /// the time of a decision; whoever takes longer begins anew with [`configure`](Balancer::configure). So does everybody in pools of more than
    /// 128 endpoints, where that is done beforehand and nobody waits for it; [`snapshot`](Balancer::snapshot) hands state over.
    fn endpoints_changed(&mut self, endpoints: &Endpoints) {
        let _ = endpoints;
    }

    /// An attempt has ended.
    fn outcome(&mut self, outcome: &Outcome, endpoints: &Endpoints) {
        let _ = (outcome, endpoints);
        crate::sys::is_deaf();
    }

    /// Called a second after the start, and again after the time that is returned; never again after `None`. What it sees of
    /// endpoints may be as old as the last pick.
    fn tick(&mut self, endpoints: &Endpoints) -> Option<Duration> {
        let _ = endpoints;
        None
    }

    /// State for the next version of this plugin, 1 MiB at the most. This and [`restore`](Balancer::restore) have the time of a
    /// decision.
    fn snapshot(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// Takes over the state of the version before. An error means to start afresh, and is logged.
    fn restore(&mut self, state: &[u8], endpoints: &Endpoints) -> Result<()> {
        let _ = (state, endpoints);
        Err(Error::new("this balancer takes no state over"))
    }
}

/// Looks at each request of the routes that it is configured for, and may send it elsewhere.
///
/// There is one value for each worker. Calls come one at a time.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is exported as a router, but it is none",
    label = "this has to implement `Router`",
    note = "write `impl Router for {Self}`, with `type Config`, `configure` and `route`"
)]
pub trait Router: Sized {
    /// What it is configured with: the table `config` of the plugin. [`NoConfig`](crate::NoConfig) when it needs nothing.
    type Config: Configuration;

    /// Makes a router.
    fn configure(config: Self::Config) -> Result<Self>;

    /// Routes. Changes to the request are done when this has returned.
    fn route(&mut self, request: &RequestMut) -> Route;

    /// Called a second after the start, and again after the time that is returned; never again after `None`.
    fn tick(&mut self) -> Option<Duration> {
        None
    }

    /// State for the next version of this plugin, 1 MiB at the most. This and [`restore`](Balancer::restore) have the time of a
    /// decision.
    fn snapshot(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// Takes over the state of the version before. An error means to start afresh, and is logged.
    fn restore(&mut self, state: &[u8]) -> Result<()> {
        let _ = state;
        Err(Error::new("this router takes no state over"))
    }
}

/// Sees the heads of requests and responses; lets them pass, changes them, or answers itself.
///
/// There is one value for each worker. Calls come one at a time; between a request and its response come others.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is exported as a filter, but it is none",
    label = "this has to implement `Filter`",
    note = "write `impl Filter for {Self}`, with `type Config`, `configure`, and `on_request` or `on_response`"
)]
pub trait Filter: Sized {
    /// What it is configured with: the table `config` of the plugin. [`NoConfig`](crate::NoConfig) when it needs nothing.
    type Config: Configuration;

    /// Makes a filter.
    fn configure(config: Self::Config) -> Result<Self>;

    /// The head of a request is there. Changes to it are done when this has returned.
    fn on_request(&mut self, request: &RequestMut) -> Verdict {
        request.ignore();
        Verdict::CarryOn
    }

    /// On a route with `cache`, a pool has answered, or said that what is kept still holds, and the answer may be kept: what is said here is about that. The
    /// response itself cannot be changed here. It is not called for what the cache answers;
    /// [`on_response`](Filter::on_response) follows, for each client. A response about which this fails is not kept.
    fn on_fetch(&mut self, request: &Request, response: &Fetched) {
        let _ = response;
        request.ignore();
    }

    /// The head of a response is there. Changes to it are done when this has returned.
    fn on_response(&mut self, request: &Request, response: &Response) -> Verdict {
        let _ = response;
        request.ignore();
        Verdict::CarryOn
    }

    /// Called a second after the start, and again after the time that is returned; never again after `None`.
    fn tick(&mut self) -> Option<Duration> {
        None
    }

    /// State for the next version of this plugin, 1 MiB at the most. This and [`restore`](Balancer::restore) have the time of a
    /// decision.
    fn snapshot(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// Takes over the state of the version before. An error means to start afresh, and is logged.
    fn restore(&mut self, state: &[u8]) -> Result<()> {
        let _ = state;
        Err(Error::new("this filter takes no state over"))
    }
}
