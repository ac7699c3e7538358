//! `gatewright cache`: what a running gateway keeps, and throwing it away.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::admin::{Where, escaped};
use super::{Failure, print};

/// What is done.
#[derive(Subcommand)]
pub(super) enum Command {
    /// How much is kept
    Stats(Where),
    /// What is kept: URL, status, size, age, for how long it is still fresh, and what plugins added to its key
    List {
        /// Only URLs that begin so
        #[arg(default_value = "")]
        prefix: String,
        #[command(flatten)]
        place: Where,
    },
    /// All that is kept of one URL, with its headers
    Show {
        /// As in http://shop.example/a?b
        url: String,
        #[command(flatten)]
        place: Where,
    },
    /// Throw away what is kept
    Purge(Purge),
}

/// What is thrown away.
#[derive(Args)]
#[group(required = true, multiple = false, id = "what")]
pub(super) struct What {
    /// One URL
    #[arg(group = "what")]
    url: Option<String>,
    /// All URLs that begin so
    #[arg(long, value_name = "URL", group = "what")]
    prefix: Option<String>,
    /// All with this tag in Surrogate-Key or Cache-Tag
    #[arg(long, group = "what")]
    tag: Option<String>,
    /// Everything
    #[arg(long, group = "what")]
    all: bool,
}

/// What is thrown away, and how.
#[derive(Args)]
pub(super) struct Purge {
    #[command(flatten)]
    what: What,
    /// Only make it stale: the pool is asked whether it still holds, and it is there when the pool fails
    #[arg(long)]
    soft: bool,
    #[command(flatten)]
    place: Where,
}

/// Asks the gateway.
pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Stats(place) => {
            let answer = ask(place, "GET", "/cache")?;
            let (entries, bytes, most) = (&answer["entries"], &answer["bytes"], &answer["bytes_most"]);
            print(format_args!("{entries} entries, {bytes} of {most} bytes"))
        }
        Command::List { prefix, place } => {
            let answer = ask(place, "GET", &format!("/cache/list?prefix={}", escaped(prefix)))?;
            for entry in answer["entries"].as_array().into_iter().flatten() {
                print(line(entry))?;
            }
            Ok(())
        }
        Command::Show { url, place } => {
            let answer = ask(place, "GET", &format!("/cache/list?url={}", escaped(url)))?;
            let entries = answer["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
            if entries.is_empty() {
                return Err(Failure(format!("nothing is kept of {url}")));
            }
            for entry in entries {
                print(line(entry))?;
                for field in entry["fields"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                    print(format_args!("    {field}"))?;
                }
            }
            Ok(())
        }
        Command::Purge(Purge { what, soft, place }) => {
            let parameter = match what {
                What { url: Some(url), .. } => format!("url={}", escaped(url)),
                What { prefix: Some(prefix), .. } => format!("prefix={}", escaped(prefix)),
                What { tag: Some(tag), .. } => format!("tag={}", escaped(tag)),
                What { .. } => "all".to_owned(),
            };
            let softly = if *soft { "&soft" } else { "" };
            let answer = ask(place, "POST", &format!("/cache/purge?{parameter}{softly}"))?;
            let what = if *soft { "made stale" } else { "purged" };
            print(format_args!("{} {what}", answer["purged"]))
        }
    }
}

fn ask(place: &Where, method: &str, target: &str) -> Result<Value, Failure> {
    let gateway = place.gateway()?;
    let answered = gateway.ask(method, target, b"")?;
    let answer = answered.json();
    if answered.status == 200 {
        return Ok(answer);
    }
    let problem = answer["problem"].as_str().unwrap_or(answered.body.trim());
    Err(Failure(format!("{} answered {}: {problem}", gateway.address, answered.status)))
}

fn line(entry: &Value) -> String {
    let url = entry["url"].as_str().unwrap_or_default();
    let stale = if entry["stale"].as_bool() == Some(true) { ", stale" } else { "" };
    let (status, bytes, age, ttl) = (&entry["status"], &entry["bytes"], &entry["age"], &entry["ttl"]);
    let list = |key: &str| {
        let names: Vec<&str> = entry[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if names.is_empty() { String::new() } else { format!(", {key} {}", names.join(" ")) }
    };
    format!(
        "{url}  {status}, {bytes} bytes, age {age}, ttl {ttl}{stale}{}{}{}",
        list("tags"),
        list("vary"),
        list("key")
    )
}
