//! A plugin at work: the values of its kinds, and what they share. Both forms of a plugin, linked in or WebAssembly, call
//! into it.

use std::time::Duration;

use gatewright_abi::kind;

use crate::config;
use crate::decide::{Route, Verdict};
use crate::endpoints::Endpoints;
use crate::error::{Error, Result};
use crate::fetched::Fetched;
use crate::kinds::{Balancer, Configuration, Filter, Router};
use crate::outcome::Outcome;
use crate::pick::Pick;
use crate::request::{Request, RequestMut};
use crate::response::Response;

/// The values of the kinds that are in use.
#[derive(Debug)]
pub struct Runtime<B, R, F> {
    balancer: Option<B>,
    router: Option<R>,
    filter: Option<F>,
    request: RequestMut,
    response: Response,
    fetched: Fetched,
    /// Bits of the kinds that want to be called when time passes.
    ticking: u32,
}

impl<B: Balancer, R: Router, F: Filter> Runtime<B, R, F> {
    pub(crate) fn configure(kinds: u32, config: &[u8], endpoints: &Endpoints) -> Result<Self> {
        let balancer = match kinds & kind::BALANCER {
            0 => None,
            _ => Some(B::configure(Configuration::read(config)?, endpoints)?),
        };
        let router = match kinds & kind::ROUTER {
            0 => None,
            _ => Some(R::configure(Configuration::read(config)?)?),
        };
        let filter = match kinds & kind::FILTER {
            0 => None,
            _ => Some(F::configure(Configuration::read(config)?)?),
        };
        let (request, response, fetched) = (RequestMut::new(), Response::new(), Fetched::new());
        Ok(Runtime { balancer, router, filter, request, response, fetched, ticking: kinds })
    }

    #[inline(always)]
    pub(crate) fn pick(&mut self, endpoints: &Endpoints, attempt: u32) -> Pick {
        let Some(balancer) = &mut self.balancer else { return Pick::Fallback };
        self.request.begin(attempt);
        balancer.pick(&self.request, endpoints)
    }

    #[inline(always)]
    pub(crate) fn outcome(&mut self, endpoints: &Endpoints, outcome: &Outcome) {
        if let Some(balancer) = &mut self.balancer {
            balancer.outcome(outcome, endpoints);
        }
    }

    #[inline(always)]
    pub(crate) fn endpoints_changed(&mut self, endpoints: &Endpoints) {
        if let Some(balancer) = &mut self.balancer {
            balancer.endpoints_changed(endpoints);
        }
    }

    #[inline(always)]
    pub(crate) fn route(&mut self) -> Route {
        let Some(router) = &mut self.router else { return Route::CarryOn };
        self.request.begin(0);
        router.route(&self.request)
    }

    #[inline(always)]
    pub(crate) fn on_request(&mut self) -> Verdict {
        let Some(filter) = &mut self.filter else { return Verdict::CarryOn };
        self.request.begin(0);
        filter.on_request(&self.request)
    }

    #[inline(always)]
    pub(crate) fn on_response(&mut self) -> Verdict {
        let Some(filter) = &mut self.filter else { return Verdict::CarryOn };
        self.request.begin(0);
        self.response.begin();
        filter.on_response(&self.request, &self.response)
    }

    #[inline(always)]
    pub(crate) fn on_fetch(&mut self) {
        let Some(filter) = &mut self.filter else { return };
        self.request.begin(0);
        self.fetched.begin();
        filter.on_fetch(&self.request, &self.fetched);
    }

    /// Whether the last call of the filter is one that does nothing, ever.
    #[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
    #[inline(always)]
    pub(crate) fn is_indifferent(&self) -> bool {
        self.request.is_ignored()
    }

    /// All kinds that still want to be called are, at the time of the one that wants it first.
    pub(crate) fn tick(&mut self, endpoints: &Endpoints) -> Option<Duration> {
        let mut next: Option<Duration> = None;
        let mut ticking = 0;
        let mut called = |bit: u32, wanted: Option<Duration>| {
            if let Some(wanted) = wanted {
                ticking |= bit;
                next = Some(next.map_or(wanted, |next| next.min(wanted)));
            }
        };
        if let (true, Some(balancer)) = (self.ticking & kind::BALANCER != 0, &mut self.balancer) {
            called(kind::BALANCER, balancer.tick(endpoints));
        }
        if let (true, Some(router)) = (self.ticking & kind::ROUTER != 0, &mut self.router) {
            called(kind::ROUTER, router.tick());
        }
        if let (true, Some(filter)) = (self.ticking & kind::FILTER != 0, &mut self.filter) {
            called(kind::FILTER, filter.tick());
        }
        self.ticking = ticking;
        next
    }

    /// For each kind that has state: its bit, a size, the state.
    pub(crate) fn snapshot(&mut self) -> Option<Vec<u8>> {
        let states = [
            (kind::BALANCER, self.balancer.as_mut().and_then(B::snapshot)),
            (kind::ROUTER, self.router.as_mut().and_then(R::snapshot)),
            (kind::FILTER, self.filter.as_mut().and_then(F::snapshot)),
        ];
        let mut bytes = Vec::new();
        for (kind, state) in states {
            let Some(state) = state else { continue };
            let Ok(size) = u32::try_from(state.len()) else { continue };
            bytes.extend_from_slice(&kind.to_le_bytes());
            bytes.extend_from_slice(&size.to_le_bytes());
            bytes.extend_from_slice(&state);
        }
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Kinds that are not in use any more leave their state behind.
    pub(crate) fn restore(&mut self, mut bytes: &[u8], endpoints: &Endpoints) -> Result<()> {
        while !bytes.is_empty() {
            let (kind, state, rest) = next_state(bytes).ok_or_else(|| Error::new("this is no state of a plugin"))?;
            match kind {
                kind::BALANCER => {
                    self.balancer.as_mut().map_or(Ok(()), |balancer| balancer.restore(state, endpoints))?
                }
                kind::ROUTER => self.router.as_mut().map_or(Ok(()), |router| router.restore(state))?,
                kind::FILTER => self.filter.as_mut().map_or(Ok(()), |filter| filter.restore(state))?,
                _ => {}
            }
            bytes = rest;
        }
        Ok(())
    }
}

/// Kind, state, and what follows.
fn next_state(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let (kind, rest) = bytes.split_first_chunk::<4>()?;
    let (size, rest) = rest.split_first_chunk::<4>()?;
    let (state, rest) = rest.split_at_checked(u32::from_le_bytes(*size) as usize)?;
    Some((u32::from_le_bytes(*kind), state, rest))
}

/// Stands for a kind that a plugin is not.
#[derive(Debug)]
pub enum Absent {}

const ABSENT: &str = "the plugin is not of this kind";

impl Balancer for Absent {
    type Config = config::NoConfig;

    fn configure(_: config::NoConfig, _: &Endpoints) -> Result<Absent> {
        Err(Error::new(ABSENT))
    }

    fn pick(&mut self, _: &Request, _: &Endpoints) -> Pick {
        match *self {}
    }
}

impl Router for Absent {
    type Config = config::NoConfig;

    fn configure(_: config::NoConfig) -> Result<Absent> {
        Err(Error::new(ABSENT))
    }

    fn route(&mut self, _: &RequestMut) -> Route {
        match *self {}
    }
}

impl Filter for Absent {
    type Config = config::NoConfig;

    fn configure(_: config::NoConfig) -> Result<Absent> {
        Err(Error::new(ABSENT))
    }
}
