//! Write plugins for Gatewright.

pub mod clock;
mod config;
mod decide;
mod encoded;
mod endpoints;
mod error;
mod export;
pub mod hash;
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
pub mod shared;
mod sys;

pub use config::NoConfig;
pub use decide::{Answer, Body, Redirect, Route, Verdict};
pub use encoded::Pairs;
pub use endpoints::{All, Available, Endpoint, Endpoints};
pub use error::{Error, Result};
pub use kinds::{Balancer, Filter, Router};
pub use micros::Micros;
pub use outcome::Outcome;
pub use pick::{List, Pick};
pub use request::{Request, RequestMut};
pub use response::Response;

/// All that a plugin usually needs: `use gatewright_sdk::prelude::*;`
pub mod prelude {
    pub use std::time::Duration;

    pub use serde::Deserialize;

    pub use crate::metrics::{Counter, Gauge, Histogram};
    pub use crate::shared::Slot;
    pub use crate::{
        Answer, Balancer, Endpoint, Endpoints, Error, Filter, Micros, NoConfig, Outcome, Pick, Request, RequestMut,
        Response, Result, Route, Router, Verdict, clock, export, hash, log, random, shared,
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
