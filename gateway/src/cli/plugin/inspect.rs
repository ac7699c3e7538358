//! `gatewright plugin inspect`: what a module is and wants, without running anything of it.

use std::path::Path;
use std::time::Duration;

use gatewright_abi::{Column, VERSION, export, import, kind};
use serde_json::json;

use super::check::compile;
use crate::cli::{Failure, print};
use crate::plugin::{Compiled, Interface};

/// A name, and what it is for.
type Purpose = (&'static str, &'static str);

const IMPORTS: &[Purpose] = &[
    (import::REQUEST_TEXT, "reads method, scheme, host, path, query, client and TLS of the request"),
    (import::COOKIE, "reads a cookie"),
    (import::QUERY_VALUE, "reads a parameter of the query"),
    (import::HEADER, "reads a field of request or response"),
    (import::HEADERS, "reads all fields of request or response"),
    (import::HASH, "hashes a part of the request"),
    (import::EDIT_HEADER, "changes fields of request or response"),
    (import::SET_PATH, "changes the path of the request"),
    (import::STATUS, "reads the status of the response"),
    (import::SET_STATUS, "changes the status of the response"),
    (import::TAG, "reads what was noted of the request"),
    (import::SET_TAG, "notes something of the request, for the access log and other plugins"),
    (import::CACHE, "says to the cache what is kept, for whom and for how long"),
    (import::LOG, "writes to the gateway's log"),
    (import::CLOCK, "measures time"),
    (import::UNIX_TIME, "asks for date and time"),
    (import::RANDOM, "asks for random numbers"),
    (import::METRIC, "registers metrics"),
    (import::METRIC_ADD, "counts in a metric"),
    (import::METRIC_SET, "sets a metric"),
    (import::METRIC_RECORD, "records a value in a histogram"),
    (import::SLOT_LOAD, "reads a number that all workers share"),
    (import::SLOT_STORE, "writes a number that all workers share"),
    (import::SLOT_ADD, "adds to a number that all workers share"),
    (import::SLOT_SWAP, "exchanges a number that all workers share"),
    (import::SHARED_GET, "reads bytes that all workers share"),
    (import::SHARED_SET, "writes bytes that all workers share"),
    (import::SHARED_REMOVE, "removes bytes that all workers share"),
    (import::SECRET, "has a secret to sign with"),
];

const COLUMNS: &[Purpose] = &[
    ("flags", "whether it can be sent to"),
    ("active", "requests under way"),
    ("latency", "latency, on average"),
    ("peak_latency", "latency, slow to forget"),
    ("errors", "share of failures"),
    ("rate", "requests in a second"),
    ("load", "load that it reports"),
    ("warmth", "share while it is new"),
    ("weight", "weight"),
    ("priority", "priority"),
    ("id", "a number of its own"),
    ("address", "address"),
    ("zone", "zone"),
    ("metadata", "metadata"),
];

const EXPORTS: &[Purpose] = &[
    (export::VERSION, "the version of the interface"),
    (export::ALLOC, "gives memory to the gateway"),
    (export::FREE, "takes it back"),
    (export::CONFIGURE, "takes its configuration"),
    (export::TABLE, "has room for endpoints"),
    (export::PICK, "picks endpoints"),
    (export::OUTCOME, "is told how requests ended"),
    (export::ENDPOINTS_CHANGED, "is told when endpoints come and go"),
    (export::ROUTE, "picks routes and pools"),
    (export::ON_REQUEST, "sees requests"),
    (export::ON_RESPONSE, "sees responses"),
    (export::ON_FETCH, "sees what pools answer before it is kept in the cache"),
    (export::TICK, "is called when time passes"),
    (export::SNAPSHOT, "hands state to the next version"),
    (export::RESTORE, "takes state of the version before"),
];

fn purpose(table: &'static [Purpose], wanted: &str) -> &'static str {
    table.iter().find(|(name, _)| *name == wanted).map_or("", |(_, purpose)| purpose)
}

/// Prints what a module is.
pub(super) fn inspect(file: &Path, most: Duration, json: bool) -> Result<(), Failure> {
    let (_, compiled) = compile(file, most)?;
    if json {
        let interface = &compiled.interface;
        return print(format_args!(
            "{:#}",
            json!({
                "file": file.display().to_string(),
                "sha256": compiled.digest.to_string(),
                "size": compiled.size,
                "kinds": kinds(interface),
                "abi": VERSION,
                "memory": interface.memory,
                "columns": interface.columns.iter().map(|column| column.name()).collect::<Vec<_>>(),
                "imports": interface.imports,
                "exports": interface.exports,
            })
        ));
    }
    describe(file, &compiled)
}

/// The kinds of a module, in words.
fn kinds(interface: &Interface) -> Vec<&'static str> {
    let names = [(kind::BALANCER, "balancer"), (kind::ROUTER, "router"), (kind::FILTER, "filter")];
    names.into_iter().filter(|(kind, _)| interface.kinds & kind != 0).map(|(_, name)| name).collect()
}

/// What it is, in two lines.
pub(super) fn summary(file: &Path, compiled: &Compiled) -> Result<(), Failure> {
    let (size, memory) = (compiled.size.div_ceil(1024), compiled.interface.memory / 1024);
    let kinds = kinds(&compiled.interface).join(", ");
    print(format_args!("{}: {kinds}, {size} KiB, begins with {memory} KiB of memory", file.display()))?;
    print(format_args!("  sha256: {}", compiled.digest))
}

/// All that can be told of it.
pub(super) fn describe(file: &Path, compiled: &Compiled) -> Result<(), Failure> {
    summary(file, compiled)?;
    let interface = &compiled.interface;
    print(format_args!("  interface: version {VERSION}"))?;
    let columns = interface.columns.iter().map(|column| {
        let name = column.name();
        (name, format!("{}, {}", purpose(COLUMNS, name), if column.is_live() { "before each pick" } else { "fixed" }))
    });
    list("reads of endpoints", columns)?;
    let is_column = |name: &str| Column::ALL.iter().any(|column| column.import() == name);
    let imports = interface.imports.iter().map(String::as_str).filter(|name| !is_column(name));
    list("imports", imports.map(|name| (name, purpose(IMPORTS, name).to_owned())))?;
    list("exports", interface.exports.iter().map(|name| (*name, purpose(EXPORTS, name).to_owned())))
}

fn list<'a>(title: &str, rows: impl Iterator<Item = (&'a str, String)>) -> Result<(), Failure> {
    for (number, (name, purpose)) in rows.enumerate() {
        if number == 0 {
            print(format_args!("  {title}:"))?;
        }
        print(format_args!("    {name:20} {purpose}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_at_the_boundary_has_a_purpose() {
        let imports = gatewright_abi::IMPORTS.iter().map(|import| import.name);
        assert!(imports.eq(IMPORTS.iter().map(|(name, _)| *name)));
        assert!(Column::ALL.iter().map(|column| column.name()).eq(COLUMNS.iter().map(|(name, _)| *name)));
        for table in [IMPORTS, COLUMNS, EXPORTS] {
            assert!(table.iter().all(|(_, purpose)| !purpose.is_empty()));
        }
    }
}
