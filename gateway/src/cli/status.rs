//! `gatewright status`: the pools of a running gateway as a table.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::Value;

use super::admin::{Gateway, Where};
use super::{Failure, print};

/// How often it is asked for under `--watch`.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(super) struct Arguments {
    /// Print all that is known, as JSON
    #[arg(long, conflicts_with = "watch")]
    json: bool,
    /// Show it anew each second
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    place: Where,
}

/// Prints how a gateway is.
pub(super) fn status(arguments: &Arguments) -> Result<(), Failure> {
    let gateway = arguments.place.gateway()?;
    if arguments.json {
        return print(ask(&gateway)?.1.trim_end());
    }
    loop {
        let (status, _) = ask(&gateway)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
        let page = page(&status, now);
        if !arguments.watch {
            return print(page.trim_end());
        }
        let mut out = io::stdout();
        let clear = if out.is_terminal() { "\x1b[H\x1b[2J" } else { "" };
        // Whoever does not read it any more does not want the next one.
        if write!(out, "{clear}{page}").and_then(|()| out.flush()).is_err() {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}

fn ask(gateway: &Gateway) -> Result<(Value, String), Failure> {
    let answered = gateway.ask("GET", "/status", b"")?;
    match answered.status {
        200 => Ok((answered.json(), answered.body)),
        status => Err(Failure(format!("the gateway answered {status}: {}", answered.body.trim()))),
    }
}

/// The whole page; `now` in seconds, as the gateway tells times.
fn page(status: &Value, now: f64) -> String {
    let mut page = String::new();
    let pools = list(&status["pools"]);
    let _ = writeln!(
        page,
        "gatewright {}, configuration {}: {}, {} under way\n",
        text(&status["version"]),
        number(&status["configuration"]),
        counted(number(&status["connections"]), "connection"),
        counted(number(&status["requests_in_flight"]), "request"),
    );
    for pool in pools {
        page.push_str(&section(pool, now));
        page.push('\n');
    }
    if pools.iter().any(|pool| pool["availability"].is_number()) {
        page.push_str(NOTE);
    }
    page
}

const NOTE: &str = "\
UP is the share of time that an endpoint was neither unhealthy nor ejected, since it is looked at.
The availability of a pool is 1 - (1 - UP) * (1 - UP) * ... of its endpoints: the chance that one of
them at least is up, if they fail independently of each other.
";

fn section(pool: &Value, now: f64) -> String {
    let endpoints = list(&pool["endpoints"]);
    let mut section = format!(
        "{} ({}): {} of {} usable, {:.0} under way, {:.1} requests/s",
        text(&pool["name"]),
        text(&pool["balance"]),
        number(&pool["usable"]),
        counted(endpoints.len() as f64, "endpoint"),
        number(&pool["active"]),
        number(&pool["rate"]),
    );
    if let Some(availability) = pool["availability"].as_f64() {
        let _ = write!(section, ", availability {}", percent(availability));
    }
    if let Some(limit) = pool["concurrency"]["limit"].as_f64() {
        let _ = write!(section, ", limit {limit}");
    }
    section.push('\n');
    if let [home, others @ ..] = list(&pool["zones"]) {
        let share = |zone: &Value| format!("{} {}", text(&zone["zone"]), percent(number(&zone["share"])));
        let others: Vec<String> = others.iter().map(share).collect();
        let _ = writeln!(section, "  zones: {} (its own), {}", share(home), others.join(", "));
    }
    // Of a subset those are shown that are used, and those of which there is something to be said.
    let is_shown = |endpoint: &&Value| endpoint["spare"] != true || why(endpoint, now).is_some();
    let shown: Vec<&Value> = endpoints.iter().filter(is_shown).collect();
    let rows: Vec<[String; 8]> = shown.iter().map(|endpoint| row(endpoint)).collect();
    let mut widths = HEADINGS.map(str::len);
    for cells in &rows {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; 8]| {
        let mut line = String::from(" ");
        for (column, (cell, width)) in cells.into_iter().zip(widths).enumerate() {
            // Words to the left, numbers to the right.
            let _ = if column < 2 { write!(line, " {cell:width$} ") } else { write!(line, " {cell:>width$} ") };
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    };
    section.push_str(&line(HEADINGS));
    for (cells, endpoint) in rows.iter().zip(&shown) {
        section.push_str(&line(cells.each_ref().map(String::as_str)));
        if let Some(why) = why(endpoint, now) {
            let _ = writeln!(section, "      {why}");
        }
    }
    if endpoints.len() > shown.len() {
        let _ = writeln!(
            section,
            "  and {} spare, for other gateways or for when these fail",
            endpoints.len() - shown.len()
        );
    }
    section
}

const HEADINGS: [&str; 8] = ["ENDPOINT", "STATE", "WEIGHT", "ACTIVE", "REQUESTS/S", "LATENCY", "ERRORS", "UP"];

fn row(endpoint: &Value) -> [String; 8] {
    let or_none = |value: &Value, show: fn(f64) -> String| value.as_f64().map_or_else(|| "-".to_owned(), show);
    [
        text(&endpoint["address"]).to_owned(),
        text(&endpoint["state"]).to_owned(),
        number(&endpoint["weight"]).to_string(),
        number(&endpoint["active"]).to_string(),
        format!("{:.1}", number(&endpoint["rate"])),
        or_none(&endpoint["latency_ms"], |latency| format!("{latency:.1} ms")),
        or_none(&endpoint["errors"], |errors| format!("{:.1}%", errors * 100.0)),
        or_none(&endpoint["availability"], percent),
    ]
}

/// Why it is not used, or soon may not be.
fn why(endpoint: &Value, now: f64) -> Option<String> {
    let check = &endpoint["last_check"];
    let failing = (check["good"] == false).then(|| text(&check["found"]));
    if text(&endpoint["state"]) == "healthy" {
        return failing.map(|found| format!("the last check failed: {found}"));
    }
    let mut line = endpoint["reason"].as_str()?.to_owned();
    if let Some(since) = endpoint["since"].as_f64() {
        line = format!("for {}: {line}", span(now - since));
    }
    if let Some(until) = endpoint["until"].as_f64() {
        let _ = write!(line, "; back in {}", span(until - now));
    }
    Some(line)
}

/// With as many digits as tell it from 100%, but no more than six behind the point.
fn percent(share: f64) -> String {
    let digits = (1..6).find(|digits| (1.0 - share) * 100.0 >= 0.1f64.powi(*digits) || share >= 1.0).unwrap_or(6);
    let text = format!("{:.*}", digits as usize, share * 100.0);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}%")
}

fn span(seconds: f64) -> String {
    match seconds.max(0.0) {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

fn counted(count: f64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1.0 { "" } else { "s" })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_a_page_of_a_hundred_columns() {
        let status = serde_json::json!({
            "version": "1.2.3", "configuration": 4, "connections": 1, "requests_in_flight": 12,
            "pools": [
                { "name": "api", "balance": "p2c", "availability": 0.99999, "usable": 1, "active": 12, "rate": 340.25, "endpoints": [
                    { "address": "10.20.30.40:9001", "weight": 1, "state": "healthy", "reason": "HTTP 200 to GET /healthz", "since": 900.0,
                      "last_check": { "good": true, "found": "HTTP 200 to GET /healthz" }, "active": 12, "rate": 340.25,
                      "latency_ms": 1.23, "errors": 0.001, "availability": 1.0 },
                    { "address": "10.20.30.41:9001", "weight": 20, "state": "healthy", "reason": "HTTP 200 to GET /healthz", "since": 900.0,
                      "last_check": { "good": false, "found": "no answer to GET /healthz in 2 s" }, "active": 0, "rate": 0.0,
                      "latency_ms": null, "errors": 0.0, "availability": 0.99951 },
                    { "address": "10.20.30.42:9001", "weight": 1, "state": "unhealthy", "since": 400.0,
                      "reason": "connect: connection refused: nobody listens there", "last_check": { "good": false, "found": "x" },
                      "active": 0, "rate": 0.0, "latency_ms": 812.0, "errors": 1.0, "availability": 0.4 },
                    { "address": "10.20.30.43:9001", "weight": 1, "state": "ejected", "since": 990.0, "until": 1020.0,
                      "reason": "5 requests failed in a row", "last_check": null, "active": 0, "rate": 0.0, "latency_ms": 2.0,
                      "errors": 0.9, "availability": 0.987 },
                ] },
                { "name": "plain", "balance": "fastest", "availability": null,
                  "zones": [{ "zone": "a", "share": 0.8 }, { "zone": "b", "share": 0.2 }], "usable": 1, "active": 0, "rate": 0.0, "concurrency": { "limit": 75 }, "endpoints": [
                    { "address": "b:80", "weight": 1, "state": "unchecked", "reason": null, "since": null, "last_check": null,
                      "active": 0, "rate": 0.0, "latency_ms": null, "errors": 0.0, "availability": null },
                    { "address": "c:80", "weight": 1, "state": "unchecked", "reason": null, "spare": true },
                ] },
            ],
        });
        let page = page(&status, 1000.0);
        assert!(page.lines().all(|line| line.chars().count() <= 100), "{page}");
        assert_eq!(page, PAGE);
    }

    const PAGE: &str = "\
gatewright 1.2.3, configuration 4: 1 connection, 12 requests under way

api (p2c): 1 of 4 endpoints usable, 12 under way, 340.2 requests/s, availability 99.999%
  ENDPOINT          STATE      WEIGHT  ACTIVE  REQUESTS/S   LATENCY  ERRORS      UP
  10.20.30.40:9001  healthy         1      12       340.2    1.2 ms    0.1%    100%
  10.20.30.41:9001  healthy        20       0         0.0         -    0.0%  99.95%
      the last check failed: no answer to GET /healthz in 2 s
  10.20.30.42:9001  unhealthy       1       0         0.0  812.0 ms  100.0%     40%
      for 10 min: connect: connection refused: nobody listens there
  10.20.30.43:9001  ejected         1       0         0.0    2.0 ms   90.0%   98.7%
      for 10 s: 5 requests failed in a row; back in 20 s

plain (fastest): 1 of 2 endpoints usable, 0 under way, 0.0 requests/s, limit 75
  zones: a 80% (its own), b 20%
  ENDPOINT  STATE      WEIGHT  ACTIVE  REQUESTS/S  LATENCY  ERRORS  UP
  b:80      unchecked       1       0         0.0        -    0.0%   -
  and 1 spare, for other gateways or for when these fail

UP is the share of time that an endpoint was neither unhealthy nor ejected, since it is looked at.
The availability of a pool is 1 - (1 - UP) * (1 - UP) * ... of its endpoints: the chance that one of
them at least is up, if they fail independently of each other.
";

    #[test]
    fn shares_have_as_many_digits_as_matter() {
        let shown = [1.0, 0.0, 0.5, 0.987, 0.9995, 0.99995, 0.9999999, 0.12345].map(percent);
        assert_eq!(shown, ["100%", "0%", "50%", "98.7%", "99.95%", "99.995%", "99.99999%", "12.3%"]);
    }
}
