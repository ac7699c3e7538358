//! What operators ask about plugins: which versions there are, and to bring another one into force.
//!
//! In: `GET /plugins`; `POST /plugins/push` with a module, `/plugins/rollback`, `/plugins/promote`; all parameters in the query.
//! Out: JSON. An order is answered when it is carried out: a version is in force or on trial, or it is refused and everything is as
//! it was. The answer names the attempt, of which `GET /plugins` tells how it ended.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::board::{Ended, Work};
use super::query::Query;
use super::waiting::Waiting;
use super::{Answer, Desk};
use crate::clock::{Deadline, Watchdog};
use crate::config::model::Config;
use crate::config::value;
use crate::error::{Phase, Side};
use crate::http::{Body, Frame, RequestHead, StatusCode};
use crate::plugin::{Entry, LEAST_DECISIONS, MODULE_SIZE, Rollout, Stage, Standing, Trial};
use crate::reload::{About, Change, Push, Pushed, ReloadError, Reply};
use crate::snapshot::Deployed;

/// Modules that are on their way at a time, from the first byte to the answer.
const UPLOADS: usize = 4;
/// For a module to arrive.
const UPLOAD_TIME: Duration = Duration::from_secs(60);
/// The share of requests of a canary of which only the time is said.
const SHARE: &str = "10%";
/// The time of a canary of which only the share is said.
const TIME: &str = "30s";

impl Desk {
    /// All plugins, what is being done about them, and how that ended the last time.
    pub(super) fn plugins(&self) -> Answer {
        let snapshot = self.shared.snapshot();
        let work = |work: &Work| json!({ "plugin": work.plugin, "what": work.what, "seconds": work.since.elapsed().as_secs_f64() });
        let works: Vec<Value> = self.board.works().iter().map(work).collect();
        let ends = self.board.ended();
        let plugins: Vec<Value> =
            snapshot.plugins.iter().map(|deployed| plugin(deployed, &snapshot.config, &ends)).collect();
        let ends: Vec<Value> = ends.iter().map(ended).collect();
        Answer::json(StatusCode::OK, &json!({ "work": works, "plugins": plugins, "ended": ends }))
    }

    /// A module for a plugin.
    pub(super) async fn push(&self, request: &RequestHead, body: Body, watchdog: &mut Watchdog) -> Answer {
        let wanted = match Wanted::of(request, Wanted::PUSH) {
            Ok(wanted) => wanted,
            Err(problem) => return Answer::problem(StatusCode::BAD_REQUEST, &problem),
        };
        let (Some(_waiting), Some(_upload)) = (self.waiting.long(), Waiting::begin(&self.uploads, UPLOADS)) else {
            return Answer::full();
        };
        let deadline = Deadline::after(UPLOAD_TIME, Phase::BodyIdle, Side::Client);
        let module = match watchdog.within(deadline, async { Ok(collect(body).await) }).await {
            Ok(Some(module)) => module,
            Ok(None) => {
                let problem = format!("a module has at most {MODULE_SIZE} bytes, all of which must come");
                return Answer::problem(StatusCode::PAYLOAD_TOO_LARGE, &problem);
            }
            Err(_) => return Answer::problem(StatusCode::REQUEST_TIMEOUT, "the module did not come in time"),
        };
        let Wanted { plugin, rollout, .. } = wanted;
        self.ordered(|reply| Change::Push(Push { plugin, module, rollout }, reply)).await
    }

    /// Back to an earlier version.
    pub(super) async fn roll_back(&self, request: &RequestHead) -> Answer {
        self.quick(request, Wanted::ROLL_BACK, |Wanted { plugin, to, trial, version, .. }, reply| {
            Change::RollBack(About { plugin, trial, version }, to, reply)
        })
        .await
    }

    /// The end of a trial.
    pub(super) async fn promote(&self, request: &RequestHead) -> Answer {
        self.quick(request, Wanted::PROMOTE, |Wanted { plugin, trial, version, .. }, reply| {
            Change::Promote(About { plugin, trial, version }, reply)
        })
        .await
    }

    async fn quick(
        &self,
        request: &RequestHead,
        known: &[&str],
        change: impl FnOnce(Wanted, Reply<Pushed>) -> Change,
    ) -> Answer {
        let Some(_waiting) = self.waiting.quick() else { return Answer::full() };
        match Wanted::of(request, known) {
            Ok(wanted) => self.ordered(|reply| change(wanted, reply)).await,
            Err(problem) => Answer::problem(StatusCode::BAD_REQUEST, &problem),
        }
    }

    async fn ordered(&self, change: impl FnOnce(Reply<Pushed>) -> Change) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.order(change(reply));
        match answer.await {
            Ok(Ok(Pushed { attempt, version, state })) => {
                Answer::json(StatusCode::OK, &json!({ "id": attempt.name(), "version": version, "state": state }))
            }
            Ok(Err(ReloadError::Conflict(problem))) => Answer::problem(StatusCode::CONFLICT, &problem),
            Ok(Err(error @ ReloadError::NoPlugin(..))) => Answer::problem(StatusCode::NOT_FOUND, &error.to_string()),
            Ok(Err(error)) => Answer::problem(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
            Err(_) => Answer::problem(StatusCode::SERVICE_UNAVAILABLE, "the gateway is stopping"),
        }
    }
}

/// What a query asks for.
struct Wanted {
    plugin: String,
    to: Option<String>,
    trial: Option<String>,
    version: Option<String>,
    rollout: Option<Rollout>,
}

impl Wanted {
    /// How a module that comes is to be tried.
    const PUSH: &[&str] = &["plugin", "shadow", "canary", "for", "at_once"];
    const ROLL_BACK: &[&str] = &["plugin", "to", "trial", "version"];
    const PROMOTE: &[&str] = &["plugin", "trial", "version"];

    fn of(request: &RequestHead, known: &[&str]) -> Result<Wanted, String> {
        let query = Query::of(request, known)?;
        let plugin = query.text("plugin").ok_or("the query needs plugin=NAME")?;
        let rollout = rollout(&query)?;
        let [to, trial, version] = ["to", "trial", "version"].map(|name| query.text(name));
        Ok(Wanted { plugin, to, trial, version, rollout })
    }
}

/// How the query wants a version to be tried, if it says anything about that.
fn rollout(query: &Query) -> Result<Option<Rollout>, String> {
    let time = |name: &str| {
        let wrong = |error: String| format!("{name} {error}");
        query.text(name).map(|text| value::duration(&text).map_err(wrong)).transpose()
    };
    let shadow = time("shadow")?.filter(|time| !time.is_zero());
    let canary = match (query.text("canary"), query.text("for")) {
        (None, None) => None,
        (share, length) => {
            let share = value::share(share.as_deref().unwrap_or(SHARE)).map_err(|error| format!("canary {error}"))?;
            let length = value::duration(length.as_deref().unwrap_or(TIME)).map_err(|error| format!("for {error}"))?;
            Some((share, length))
        }
    };
    match (query.flag("at_once")?, Rollout { shadow, canary }) {
        (true, rollout) if rollout.stages().is_some() => Err("at_once goes with neither shadow nor canary".to_owned()),
        (true, _) => Ok(Some(Rollout::default())),
        (false, rollout) => Ok(rollout.stages().map(|_| rollout)),
    }
}

impl Answer {
    pub(super) fn problem(status: StatusCode, problem: &str) -> Answer {
        Answer::json(status, &json!({ "problem": problem }))
    }
}

/// The whole body, unless it is too long or breaks.
async fn collect(mut body: Body) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Frame::Data(bytes) = frame.ok()? {
            let most = usize::try_from(MODULE_SIZE).unwrap_or(usize::MAX);
            if all.len() + bytes.len() > most {
                return None;
            }
            all.extend_from_slice(&bytes);
        }
    }
    Some(all)
}

fn plugin(deployed: &Deployed, config: &Config, ends: &[Ended]) -> Value {
    let version = &deployed.version;
    let config = config.plugins.iter().find(|model| model.name == version.plugin.name());
    let last = ends.iter().rev().find(|ended| ended.plugin == version.plugin.name());
    let entry = |entry: &Entry| {
        json!({
            "version": entry.version.name(),
            "entered": seconds(entry.entered),
            "reason": entry.reason.text(),
            "in_force": entry.version.is(version),
            "quarantined": entry.version.is_quarantined(),
        })
    };
    json!({
        "name": version.plugin.name(),
        "version": version.name(),
        "reason": deployed.reason.text(),
        "quarantined": version.is_quarantined(),
        "used": deployed.used,
        "source_gives": config.map(|model| deployed.given.with(&model.config)),
        "faults": version.plugin.faults().filter(|(_, count)| *count > 0).collect::<BTreeMap<_, _>>(),
        "trial": deployed.trial.as_deref().map(trial),
        "ended": last.map(ended),
        "history": version.plugin.history().iter().map(entry).collect::<Vec<_>>(),
    })
}

fn ended(ended: &Ended) -> Value {
    json!({
        "id": ended.attempt.name(),
        "plugin": ended.plugin,
        "version": ended.version,
        "result": ended.result.text(),
        "why": ended.why,
    })
}

fn trial(trial: &Trial) -> Value {
    let [live, candidate] = trial.standings();
    let standing = |standing: &Standing| {
        json!({
            "decisions": standing.decisions,
            "faults": standing.faults,
            "requests": standing.requests,
            "failed": standing.failed,
            "p50_ms": standing.p50.as_secs_f64() * 1e3,
            "p90_ms": standing.p90.as_secs_f64() * 1e3,
        })
    };
    let share = match trial.stage {
        Stage::Canary { share, .. } => Some(f64::from(share) / 100.0),
        Stage::Shadow { .. } => None,
    };
    let same = matches!(trial.stage, Stage::Shadow { .. }).then(|| trial.same());
    json!({
        "id": trial.attempt.name(),
        "version": trial.candidate.name(),
        "reason": trial.reason.text(),
        "stage": trial.stage.text(),
        "share_percent": share,
        "then": trial.then.map(Stage::text),
        "seconds": trial.lasted(Instant::now()).as_secs_f64(),
        "of_seconds": trial.stage.time().as_secs_f64(),
        "decisions_needed": LEAST_DECISIONS,
        "same_decisions": same,
        "live": standing(&live),
        "candidate": standing(&candidate),
    })
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}
