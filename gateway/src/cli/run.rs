//! `gatewright run`: a gateway from a file, until it is told to stop.

use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, log};
use crate::examine;
use crate::reload::{Change, Order};
use crate::run::Running;

/// Runs the gateway of a file.
pub(super) fn from_file(path: &Path) -> Result<(), Failure> {
    let config = examine::load(path)?;
    log::start(&config.log)?;
    let path = path.to_owned();
    // Beside the signals, since plugins may have to be fetched first.
    run(async { Ok(tokio::task::spawn_blocking(move || crate::start_file(&path)).await??) })
}

/// Starts a gateway and waits for signals: SIGHUP reloads and reopens the log, SIGTERM and SIGINT drain, a second one of these ends at once.
pub(super) fn run(start: impl Future<Output = Result<Running, Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Taken before anything else: until then a signal would end the process at once.
        let mut hangup = signal(SignalKind::hangup())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let gateway = tokio::select! {
            started = start => started?,
            // Nothing is served yet.
            _ = terminate.recv() => std::process::exit(0),
            _ = interrupt.recv() => std::process::exit(0),
        };
        loop {
            tokio::select! {
                _ = hangup.recv() => {
                    gateway.order(Order::ReopenLog);
                    let (reply, _) = tokio::sync::oneshot::channel();
                    gateway.order(Order::Change(Change::Reload(reply)));
                }
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        let orders = gateway.orders();
        let mut stopping = tokio::task::spawn_blocking(move || gateway.stop());
        tokio::select! {
            _ = &mut stopping => return Ok(()),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // The control thread may have left in this moment.
        let _ = orders.send(Order::Leave);
        let _ = stopping.await;
        // Whoever asks for a hard end and gets it has not met a failure: a service manager would start the gateway again.
        Ok(())
    })
}
