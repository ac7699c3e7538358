//! What the gateway says of itself, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::Failure;
use crate::config::model::Log;

/// Begins to write. The level is that of the configuration at the start.
pub(super) fn start(log: &Log) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&log.level)?;
    let ansi = std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(std::io::stderr);
    // It would be told of on standard error, of all places, and with a panic when that is what nobody reads any more.
    let subscriber = subscriber.log_internal_errors(false);
    let started = if log.json { subscriber.json().try_init() } else { subscriber.with_target(false).try_init() };
    started.map_err(|error| Failure(format!("cannot start the log: {error}")))
}
