//! Holds the documentation against the code.
//!
//! In: the tables of the code and the Markdown files beside it. A table that differs is printed as it should be; a
//! configuration that is shown must be one that loads.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::config;
use crate::error;
use crate::http::Ending;
use crate::limits;
use crate::metrics;

/// Files with configurations in them.
const FILES: &[&str] = &["README.md", "config/README.md", "plugins/README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Says how the table must look when it does not stand in the file like this.
fn holds_table(file: &str, table: &str) {
    let first = table.lines().next().unwrap();
    let text = read(file);
    let found: Vec<&str> =
        text.lines().skip_while(|line| *line != first).take_while(|line| line.starts_with('|')).collect();
    assert!(
        found.join("\n") == table.trim_end(),
        "the table in {file} is not that of the code; it must be:\n\n{table}"
    );
}

/// A cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[test]
fn the_limits_are_those_of_the_code() {
    let mut table = String::from("| limit | default | what it bounds |\n|---|---|---|\n");
    for row in limits::TABLE {
        writeln!(table, "| `{}` | `{}` | {} |", row.name, row.default, cell(row.meaning)).unwrap();
    }
    holds_table("config/README.md", &table);
}

#[test]
fn the_metrics_are_those_of_the_code() {
    let mut table = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for family in metrics::TABLE {
        let labels: Vec<String> =
            family.labels.split(", ").filter(|label| !label.is_empty()).map(|label| format!("`{label}`")).collect();
        let kind = family.kind.text();
        writeln!(table, "| `{}` | {kind} | {} | {} |", family.name, labels.join(", "), cell(family.help)).unwrap();
    }
    holds_table("config/README.md", &table);
}

#[test]
fn the_reasons_for_closing_are_those_of_the_code() {
    let mut table = String::from("| reason | when |\n|---|---|\n");
    for ending in Ending::EVERY {
        writeln!(table, "| `{}` | {} |", ending.reason(), cell(ending.meaning())).unwrap();
    }
    holds_table("config/README.md", &table);
}

#[test]
fn the_words_for_errors_are_those_of_the_code() {
    let text = read("config/README.md");
    let rows = text.lines().skip_while(|line| *line != "| words | status |").skip(2);
    let written: BTreeSet<(String, String)> = rows
        .take_while(|line| line.starts_with('|'))
        .flat_map(|row| {
            let status = row.trim_end_matches(" |").rsplit("| ").next().unwrap_or_default();
            let status = status.split(':').next().unwrap_or_default();
            row.split('`').skip(1).step_by(2).map(|word| (status.to_owned(), word.to_owned())).collect::<Vec<_>>()
        })
        .collect();
    let outcomes = error::tests::every().map(|error| error.outcome());
    let spoken: BTreeSet<_> =
        outcomes.map(|o| (o.status.map_or("none".into(), |s| s.as_str().to_owned()), o.label.to_owned())).collect();
    let missing: Vec<_> = spoken.difference(&written).collect();
    let unknown: Vec<_> = written.difference(&spoken).collect();
    assert!(missing.is_empty(), "config/README.md does not name {missing:?}");
    assert!(unknown.is_empty(), "config/README.md names {unknown:?}, which the code does not know");
}

#[test]
fn the_faults_of_plugins_are_those_of_the_code() {
    let text = read("config/README.md");
    let rows = text.lines().skip_while(|line| *line != "| fault | what happened |").skip(2);
    let written: Vec<&str> =
        rows.take_while(|line| line.starts_with('|')).filter_map(|row| row.split('`').nth(1)).collect();
    assert_eq!(written, crate::plugin::Fault::LABELS);
}

/// A piece of a configuration as a whole one: with what it leaves to the reader.
fn completed(piece: &str) -> String {
    let mut whole = piece.to_owned();
    if !piece.contains("[[listener]]") {
        whole.push_str("\n[[listener]]\naddress = \"127.0.0.1:8080\"\n");
    }
    if !piece.contains("[[route]]") {
        whole.push_str("\n[[route]]\nrespond = \"ok\"\n");
    }
    if piece.contains("pool = \"app\"") && !piece.contains("[pool.app]") {
        whole.push_str("\n[pool.app]\nendpoints = [\"127.0.0.1:9001\"]\n");
    }
    whole
}

#[test]
fn every_configuration_that_is_shown_loads() {
    let mut shown = 0;
    for file in FILES {
        let text = read(file);
        for (number, rest) in text.split("```toml\n").skip(1).enumerate() {
            let piece = rest.split("```").next().unwrap();
            let whole = completed(piece);
            if let Err(problems) = config::parse(&whole, &root().join(file)) {
                panic!("{file}, configuration {}:\n{problems}\nin:\n{whole}", number + 1);
            }
            shown += 1;
        }
    }
    assert!(shown > 3, "only {shown} were found");
}

#[test]
fn links_lead_somewhere() {
    for file in FILES {
        let text = read(file);
        let folder = root().join(file).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap();
            if !path.is_empty() && !path.contains("://") {
                assert!(folder.join(path).exists(), "{file}: {link} is not there");
            }
        }
    }
}
