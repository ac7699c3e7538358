//! `gatewright check`: everything that is wrong with a configuration, and with the files that it names; and warnings, with
//! which all is still well.

use std::path::Path;

use super::{Failure, complain, print};
use crate::examine;

/// Prints what is wrong, or what was checked.
pub(super) fn check(path: &Path) -> Result<(), Failure> {
    let (config, wrong) = examine::examine(path);
    for warning in examine::warnings(&config) {
        complain(format_args!("{}:{warning}", path.display()));
    }
    match wrong {
        Some(problems) => Err(problems.into()),
        None => print(format_args!(
            "{}: ok: {}, {}, {}",
            path.display(),
            count(config.listeners.len(), "listener"),
            count(config.routes.len(), "route"),
            count(config.pools.len(), "pool"),
        )),
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
