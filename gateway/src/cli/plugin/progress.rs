//! How a trial goes, in a line.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How often that is told where lines stay.
const TELL: Duration = Duration::from_secs(5);

/// `canary of 10%, 12 of 30 s | on trial: 120 decisions, 1 fault, 2 failed requests, p90 3.2 ms | in force: …`
pub(super) fn progress(trial: &Value) -> String {
    let (seconds, of) = (number(&trial["seconds"]), number(&trial["of_seconds"]));
    let (ours, theirs) = (&trial["candidate"], &trial["live"]);
    let mut line = format!("{}, {:.0} of {of:.0} s | on trial: {}", stage(trial), seconds.min(of), standing(ours));
    match trial["same_decisions"].as_u64() {
        Some(same) => {
            let _ = write!(line, ", {same} like those of the version in force");
        }
        None => {
            let _ = write!(line, " | in force: {}", standing(theirs));
        }
    }
    let (needed, decisions) = (number(&trial["decisions_needed"]), number(&ours["decisions"]));
    if seconds >= of && decisions < needed {
        let _ = write!(line, " | waits for {}", count(needed - decisions, "more decision"));
    }
    line
}

/// How it is tried: `shadow`, or `canary of 10%`.
pub(super) fn stage(trial: &Value) -> String {
    let stage = trial["stage"].as_str().unwrap_or_default();
    match trial["share_percent"].as_f64() {
        Some(share) => format!("{stage} of {share}%"),
        None => stage.to_owned(),
    }
}

fn standing(standing: &Value) -> String {
    let of = |key: &str| number(&standing[key]);
    let mut text = format!("{}, {}", count(of("decisions"), "decision"), count(of("faults"), "fault"));
    if of("requests") > 0.0 {
        let _ = write!(text, ", {}, p90 {:.1} ms", count(of("failed"), "failed request"), of("p90_ms"));
    }
    text
}

fn count(number: f64, of: &str) -> String {
    format!("{number:.0} {of}{}", if number == 1.0 { "" } else { "s" })
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

/// A line that changes where it can be written over, else a line now and then.
#[derive(Default)]
pub(super) struct Line {
    told: Option<Instant>,
    open: bool,
}

impl Line {
    pub(super) fn show(&mut self, text: &str) {
        let mut out = io::stdout();
        // Whoever does not read it any more waits for the end all the same.
        if out.is_terminal() {
            // Cut at the right edge: what goes on in a second line cannot be written over.
            let _ = write!(out, "\r\x1b[K\x1b[?7l{text}\x1b[?7h").and_then(|()| out.flush());
            self.open = true;
        } else if self.told.is_none_or(|at| at.elapsed() >= TELL) {
            let _ = writeln!(out, "{text}");
            self.told = Some(Instant::now());
        }
    }

    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.open) {
            let _ = writeln!(io::stdout());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_is_told_in_a_line() {
        let trial = serde_json::json!({
            "stage": "canary", "share_percent": 12.5, "seconds": 12.3, "of_seconds": 30.0, "decisions_needed": 20,
            "candidate": { "decisions": 120, "faults": 1, "requests": 119, "failed": 2, "p90_ms": 3.25 },
            "live": { "decisions": 1080, "faults": 0, "requests": 1070, "failed": 1, "p90_ms": 3.0 },
        });
        let line = "canary of 12.5%, 12 of 30 s | on trial: 120 decisions, 1 fault, 2 failed requests, p90 3.2 ms \
                    | in force: 1080 decisions, 0 faults, 1 failed request, p90 3.0 ms";
        assert_eq!(progress(&trial), line);
        let quiet = serde_json::json!({
            "stage": "shadow", "seconds": 61, "of_seconds": 60, "decisions_needed": 20, "same_decisions": 3,
            "candidate": { "decisions": 4, "faults": 0 }, "live": {},
        });
        let line = "shadow, 60 of 60 s | on trial: 4 decisions, 0 faults, 3 like those of the version in force \
                    | waits for 16 more decisions";
        assert_eq!(progress(&quiet), line);
    }
}
