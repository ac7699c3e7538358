//! `gatewright plugin push`, `list`, `history`, `rollback`, `promote`: the plugins of a running gateway.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::Value;

use super::check::read;
use super::interrupt::Interrupt;
use super::progress::{Line, progress, stage};
use crate::cli::admin::{Answered, Gateway, Where, escaped, quoted};
use crate::cli::{Failure, print};
use crate::config::value;
use crate::reload::About;

/// How often the gateway is asked how it goes.
const ASK: Duration = Duration::from_millis(250);

#[derive(Args)]
pub(in crate::cli) struct Push {
    /// The plugin's name in the configuration
    name: String,
    /// The module
    file: PathBuf,
    /// Let it decide for a share of the requests first, such as 10%
    #[arg(long, value_name = "SHARE", value_parser = checked(|text| value::share(text).map(drop)))]
    canary: Option<String>,
    /// How long it is a canary [default: 30s]
    #[arg(long = "for", value_name = "TIME", requires = "canary", value_parser = checked(|text| value::duration(text).map(drop)))]
    time: Option<String>,
    /// Let it watch first, for so long: asked about every request and not heard
    #[arg(long, value_name = "TIME", value_parser = checked(|text| value::duration(text).map(drop)))]
    shadow: Option<String>,
    /// At once, also if the configuration says how new versions are tried
    #[arg(long, conflicts_with_all = ["canary", "shadow"])]
    at_once: bool,
    /// Do not wait for the end of a trial
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    place: Where,
}

/// A text that is right, as it is.
fn checked(check: fn(&str) -> Result<(), String>) -> impl Fn(&str) -> Result<String, String> + Clone {
    move |text| check(text).map(|()| text.to_owned())
}

/// Hands a module to the gateway and tells what comes of it.
pub(super) fn push(push: &Push) -> Result<(), Failure> {
    let gateway = push.place.gateway()?;
    let module = read(&push.file)?;
    let mut target = format!("/plugins/push?plugin={}", escaped(&push.name));
    for (key, value) in [("canary", &push.canary), ("for", &push.time), ("shadow", &push.shadow)] {
        if let Some(value) = value {
            let _ = write!(target, "&{key}={}", escaped(value));
        }
    }
    if push.at_once {
        target.push_str("&at_once");
    }
    let before = plugin(&gateway, &push.name)?;
    let again = |what: &str| format!("gatewright plugin {what}{}", push.place.again());
    let interrupt = Interrupt::says(format!(
        "The gateway may take the module all the same. To see whether it has: {}",
        again("list")
    ))?;
    print(format_args!("{}: {} bytes from {}", push.name, module.len(), push.file.display()))?;
    let answered = while_working(&gateway, &push.name, || gateway.ask("POST", &target, &module))?;
    let answer = done(&answered, "not taken, the version in force stays")?;
    let (version, state) = (text(&answer["version"]), text(&answer["state"]));
    if state == "in-force" {
        let live = text(&before["version"]);
        return match live == version && before["trial"].is_null() {
            true => print(format_args!("{version} was in force already")),
            false => print(format_args!("{version} is in force; before it {live} was")),
        };
    }
    print(format_args!("{version} is on trial ({state}) beside {}", text(&before["version"])))?;
    if push.no_wait {
        return Ok(());
    }
    let (name, end) = (&push.name, format!("rollback {}", quoted(&push.name)));
    interrupt.now_says(format!(
        "The trial goes on without this command: {version} comes into force or goes back by itself.\n\
         To see how it goes: {}\nTo end it now:      {}",
        again("list"),
        again(&end)
    ));
    watch(&gateway, name, text(&answer["id"]))
}

/// Follows the trial of an attempt to its end.
fn watch(gateway: &Gateway, name: &str, attempt: &str) -> Result<(), Failure> {
    let mut line = Line::default();
    loop {
        let board = board(gateway)?;
        let ended = board["ended"].as_array().into_iter().flatten().find(|ended| ended["id"] == attempt);
        let now = board["plugins"].as_array().into_iter().flatten().find(|plugin| plugin["name"] == name);
        let live = now.map_or_else(String::new, |now| format!("; {} is in force", text(&now["version"])));
        if let Some(ended) = ended {
            line.end();
            let (version, why) = (text(&ended["version"]), text(&ended["why"]));
            return match text(&ended["result"]) {
                "done" => print(format_args!("{version} is in force")),
                "superseded" => Err(Failure(format!("{version} was superseded: {why}{live}"))),
                _ => Err(Failure(format!("{version} was rolled back: {why}{live}"))),
            };
        }
        match now.map(|now| &now["trial"]).filter(|trial| trial["id"] == attempt) {
            Some(trial) => line.show(&progress(trial)),
            None => {
                line.end();
                return Err(Failure(format!("the gateway does not know of this trial any more{live}")));
            }
        }
        std::thread::sleep(ASK);
    }
}

/// Does something that takes a while, and tells what the gateway is at meanwhile.
fn while_working<T: Send>(
    gateway: &Gateway,
    name: &str,
    work: impl FnOnce() -> Result<T, Failure> + Send,
) -> Result<T, Failure> {
    std::thread::scope(|scope| {
        let working = scope.spawn(work);
        let mut told = String::new();
        while !working.is_finished() {
            std::thread::sleep(Duration::from_millis(50));
            let Ok(answered) = gateway.ask("GET", "/plugins", b"") else { continue };
            let board = answered.json();
            let ours = board["work"].as_array().into_iter().flatten().rev().find(|work| work["plugin"] == name);
            let what = ours.map_or("", |work| text(&work["what"]));
            if !what.is_empty() && what != told {
                print(format_args!("{what} …"))?;
                told = what.to_owned();
            }
        }
        working.join().unwrap_or_else(|_| Err(Failure("the push ended without an answer".to_owned())))
    })
}

/// Prints the plugins with their versions.
pub(super) fn list(place: &Where) -> Result<(), Failure> {
    let gateway = place.gateway()?;
    let plugins = plugins(&gateway)?;
    if plugins.is_empty() {
        return print("the configuration has no plugins");
    }
    let mut rows = vec![["NAME", "VERSION", "HOW", "STATE", "FAULTS"].map(str::to_owned)];
    for plugin in &plugins {
        let faults = plugin["faults"].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64());
        let trial = &plugin["trial"];
        let state = match (trial.is_null(), plugin["quarantined"] == true) {
            (false, _) => format!("in force, beside {} as {}", text(&trial["version"]), stage(trial)),
            (_, true) => "quarantined".to_owned(),
            _ if plugin["used"] == false => "in force, but nothing uses it".to_owned(),
            _ => "in force".to_owned(),
        };
        let cells = [text(&plugin["name"]), text(&plugin["version"]), text(&plugin["reason"]), &state];
        let [name, version, from, state] = cells.map(str::to_owned);
        rows.push([name, version, from, state, faults.sum::<u64>().to_string()]);
    }
    print(table(&rows))
}

/// Prints the versions of a plugin that were in force, the latest first.
pub(super) fn history(place: &Where, name: &str) -> Result<(), Failure> {
    let found = plugin(&place.gateway()?, name)?;
    let mut rows = vec![["VERSION", "HOW", "ENTERED", "STATE"].map(str::to_owned)];
    for entry in found["history"].as_array().into_iter().flatten().rev() {
        let state = match (entry["in_force"] == true, entry["quarantined"] == true) {
            (_, true) => "quarantined",
            (true, _) => "in force",
            _ => "",
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
        let ago = ago(since - number(&entry["entered"]));
        rows.push([text(&entry["version"]).to_owned(), text(&entry["reason"]).to_owned(), ago, state.to_owned()]);
    }
    print(table(&rows))
}

/// Goes back to an earlier version, or ends a trial.
pub(super) fn rollback(place: &Where, name: &str, to: Option<&str>) -> Result<(), Failure> {
    let to = to.map(|to| format!("&to={}", escaped(to))).unwrap_or_default();
    order(place, "rollback", name, &to)
}

/// Ends a trial well.
pub(super) fn promote(place: &Where, name: &str) -> Result<(), Failure> {
    order(place, "promote", name, "")
}

/// Orders something about what is in force and on trial now: a trial that ends in this moment makes another order of it.
fn order(place: &Where, what: &str, name: &str, more: &str) -> Result<(), Failure> {
    let gateway = place.gateway()?;
    let seen = plugin(&gateway, name)?;
    let trial = seen["trial"]["id"].as_str().unwrap_or(About::NONE);
    let (name, trial, version) = (escaped(name), escaped(trial), escaped(text(&seen["version"])));
    let target = format!("/plugins/{what}?plugin={name}&trial={trial}&version={version}{more}");
    let answer = done(&gateway.ask("POST", &target, b"")?, "nothing changed")?;
    let (now, old, tried) = (text(&answer["version"]), text(&seen["version"]), text(&seen["trial"]["version"]));
    match (now == old, tried) {
        (true, "") => print(format_args!("{now} was in force already")),
        (true, tried) => print(format_args!("{now} is in force; {tried} is no longer on trial")),
        (false, _) => print(format_args!("{now} is in force; before it {old} was")),
    }
}

fn done(answered: &Answered, otherwise: &str) -> Result<Value, Failure> {
    let answer = answered.json();
    match answered.status {
        200 => Ok(answer),
        status => Err(Failure(match answer["problem"].as_str() {
            Some(problem) => format!("{otherwise}: {problem}"),
            None => format!("the gateway answered {status}: {}", answered.body.trim()),
        })),
    }
}

fn board(gateway: &Gateway) -> Result<Value, Failure> {
    done(&gateway.ask("GET", "/plugins", b"")?, "cannot list plugins")
}

fn plugins(gateway: &Gateway) -> Result<Vec<Value>, Failure> {
    Ok(board(gateway)?["plugins"].as_array().cloned().unwrap_or_default())
}

fn plugin(gateway: &Gateway, name: &str) -> Result<Value, Failure> {
    let plugins = plugins(gateway)?;
    if let Some(found) = plugins.iter().find(|plugin| plugin["name"] == name) {
        return Ok(found.clone());
    }
    let names: Vec<&str> = plugins.iter().map(|plugin| text(&plugin["name"])).collect();
    let known = if names.is_empty() { String::new() } else { format!("; there are {}", names.join(", ")) };
    Err(Failure(format!("the gateway has no plugin {name:?}{known}")))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

fn ago(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    match seconds {
        s if s < 120.0 => format!("{s:.0} s ago"),
        s if s < 7200.0 => format!("{:.0} min ago", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h ago", s / 3600.0),
        s => format!("{:.0} days ago", s / 86_400.0),
    }
}

/// Columns as wide as they need to be.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect::<Vec<_>>();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned() {
        let rows = [["A".to_owned(), "B".to_owned()], ["long".to_owned(), "x".to_owned()]];
        assert_eq!(table(&rows), "A     B\nlong  x");
    }
}
