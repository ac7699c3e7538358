//! Gatewright: an edge gateway whose routing and balancing are decided by plugins.
//!
//! The modules stand in the order in which a request passes them, then what steers them, then what all share.

// The data path.
pub mod worker;

pub mod listener;

pub mod tls;

pub mod http;

pub mod proxy;

pub mod route;

pub mod policy;

pub mod cache;
pub mod files;

pub mod balance;

pub mod upstream;

pub mod compress;

pub mod respond;

// The control path.
pub mod cli;

pub mod run;

pub mod config;

pub mod snapshot;

pub mod fetch;

pub mod discovery;

pub mod agent;

pub mod examine;

pub mod control;
pub mod health;
pub mod reload;
pub mod sampling;

pub mod admin;

pub mod plugin;

pub mod sim;

// Shared.
pub mod access_log;
pub mod clock;
pub mod error;
pub mod escape;
pub mod limits;
pub mod metrics;
pub mod notice;
pub mod proxy_protocol;
pub mod stock;
pub mod vault;

pub use run::{Running, StartError, start, start_file};

#[cfg(test)]
mod docs;
#[cfg(test)]
mod layers;
