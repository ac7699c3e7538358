//! `gatewright check`: everything that is wrong with a configuration, and with the files that it names; and warnings, with
//! which all is still well.

use std::path::Path;

use super::{Failure, complain, print};
use crate::examine;
use crate::fetch::{self, Fetched, Store};
use crate::vault;

/// Prints what is wrong, or what was checked. `offline`: nothing is fetched.
pub(super) fn check(path: &Path, offline: bool) -> Result<(), Failure> {
    let mut missing = Vec::new();
    let (config, wrong) = examine::examine(path, |config| {
        // What is fetched for a check is not kept: nothing is made or changed by one.
        let store = Store::only_read(vault::place(fetch::FOLDER));
        let fetched = fetch::fetch_and_wait(fetch::wanted(config, None), &config.limits, store, !offline);
        let fetched = fetched.unwrap_or_else(|_| Fetched::none(config));
        missing.extend(fetched.offline().map(str::to_owned));
        fetched
    });
    for plugin in missing {
        let path = path.display();
        complain(format_args!(
            "{path}: warning: plugin {plugin:?} was not fetched, there is no copy of it here: not checked"
        ));
    }
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
