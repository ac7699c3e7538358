//! Gatewright: an edge gateway whose routing and balancing are decided by plugins.
//!
//! The modules stand in the order in which a request passes them, then what steers them, then what all share.

// The data path.
pub mod tls;

pub mod http;
pub mod listener;
pub mod route;

pub mod files;

pub mod respond;

// The control path.
pub mod config;

// Shared.
pub mod access_log;
pub mod error;
pub mod escape;
pub mod limits;
pub mod metrics;
