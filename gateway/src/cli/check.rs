//! `gatewright check`: everything that is wrong with a configuration, and with the files that it names.

use std::path::Path;

use super::Failure;
use crate::config;
use crate::metrics::Metrics;
use crate::reload::in_file;
use crate::snapshot::{Snapshot, problem_with};
use crate::tls::ServerTls;

/// Prints what is wrong, or what was checked.
pub(super) fn check(path: &Path) -> Result<(), Failure> {
    let mut config = config::load(path)?;
    let summary = format!(
        "{}: ok: {}, {}, {}",
        path.display(),
        count(config.listeners.len(), "listener"),
        count(config.routes.len(), "route"),
        count(config.pools.len(), "pool"),
    );
    let mut problems = Vec::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        if let Some(tls) = &listener.tls
            && let Err(problem) = ServerTls::load(tls, &listener.protocols)
        {
            let key = format!("listener[{index}].tls");
            problems.push(problem_with(&config, problem.path(), &key, problem.to_string()));
        }
    }
    // Opening the access log would make its file; whether that can be done is found out when the gateway runs.
    config.access_log = None;
    if let Err(more) = Snapshot::compile(config, None, &Metrics::new(1)) {
        problems.extend(more);
    }
    if !problems.is_empty() {
        problems.sort_by_key(|problem| problem.line);
        return Err(in_file(Some(path), problems).into());
    }
    println!("{summary}");
    Ok(())
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
