//! A version that is looked at beside the one in force, before it takes its place.
//!
//! In: decisions of both, and what became of the requests. Out: whether to go on, to promote it, or to go back. A shadow sees
//! every request and its decisions are compared, not applied; a canary decides for a share of the requests. A request has one
//! share, whatever is asked about it and however often. Workers count with atomics, and only while there is a trial;
//! the judgement is pure.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::attempt::Attempt;
use super::decision::Decision;
use super::fault::Fault;
use super::version::{Reason, Version};

/// A version on trial.
pub struct Trial {
    /// How it is tried.
    pub stage: Stage,
    /// What comes when this has gone well; nothing before it is in force.
    pub then: Option<Stage>,
    /// The one on trial.
    pub candidate: Arc<Version>,
    /// How it would come into force.
    pub reason: Reason,
    began: OnceLock<Instant>,
    /// Which attempt it belongs to, with the stages before and after it.
    pub attempt: Attempt,
    live: Tally,
    other: Tally,
    same: AtomicU64,
}

/// How a version is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// It is asked beside the one in force, and not heard.
    Shadow {
        /// For how long.
        time: Duration,
    },
    /// It decides for some of the requests.
    Canary {
        /// For how many of ten thousand.
        share: u32,
        /// For how long.
        time: Duration,
    },
}

/// How a version comes into force.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rollout {
    /// First it only watches, for so long.
    pub shadow: Option<Duration>,
    /// Then it decides for so many of ten thousand requests, for so long.
    pub canary: Option<(u32, Duration)>,
}

/// One request's part in a trial.
#[derive(Clone)]
pub struct Part {
    /// Which trial.
    pub trial: Arc<Trial>,
    /// Whether the version on trial decided.
    pub by_candidate: bool,
}

/// What one of the two has done.
#[derive(Default)]
struct Tally {
    decisions: AtomicU64,
    faults: AtomicU64,
    requests: AtomicU64,
    failed: AtomicU64,
    latency: Latency,
}

/// Latencies in buckets that grow by a quarter of a doubling each.
struct Latency([AtomicU64; BUCKETS]);

const BUCKETS: usize = 112;

/// What is known of one of the two.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Standing {
    /// How often it was asked.
    pub decisions: u64,
    /// How often it failed, whatever it was called for.
    pub faults: u64,
    /// Requests that it decided and that are over.
    pub requests: u64,
    /// Those of them that failed: no response, or one of the server's errors.
    pub failed: u64,
    /// Half of the responses began within this time.
    pub p50: Duration,
    /// Nine of ten responses began within this time.
    pub p90: Duration,
}

/// What a trial has come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing yet.
    Wait,
    /// It did well.
    Promote,
    /// It did not, and why.
    RollBack(String),
}

/// Of ten thousand.
const WHOLE: u32 = 10_000;
/// So many decisions at the least before a version is promoted: one that nobody met has proved nothing.
pub const LEAST_DECISIONS: u64 = 20;
/// Fewer faults than this are an accident.
const FEW_FAULTS: u64 = 3;
/// Fewer failed requests than this are an accident.
const FEW_FAILED: u64 = 5;
/// Requests of each before their latencies are compared.
const ENOUGH_LATENCIES: u64 = 200;

impl Rollout {
    /// How the trial begins, and what comes then. `None`: there is none, the version comes into force at once.
    pub fn stages(self) -> Option<(Stage, Option<Stage>)> {
        let shadow = self.shadow.map(|time| Stage::Shadow { time });
        let canary = self.canary.map(|(share, time)| Stage::Canary { share, time });
        match shadow {
            Some(shadow) => Some((shadow, canary)),
            None => canary.map(|canary| (canary, None)),
        }
    }
}

impl Stage {
    /// The word for it.
    pub const fn text(self) -> &'static str {
        match self {
            Stage::Shadow { .. } => "shadow",
            Stage::Canary { .. } => "canary",
        }
    }

    /// How long it takes.
    pub const fn time(self) -> Duration {
        match self {
            Stage::Shadow { time } | Stage::Canary { time, .. } => time,
        }
    }
}

impl Trial {
    /// Of this version, which so far nobody has seen. Its time begins when it is in place.
    pub fn new(version: &Version, stage: Stage, then: Option<Stage>, reason: Reason, attempt: Attempt) -> Trial {
        let candidate = match stage {
            Stage::Shadow { .. } => version.apart(),
            Stage::Canary { .. } => version.anew(version.budget),
        };
        let (began, live, other, same) = Default::default();
        Trial { stage, then, candidate: Arc::new(candidate), reason, began, attempt, live, other, same }
    }

    /// It is in place, unless it was already: configuring the version may have taken long.
    pub fn begins(&self, now: Instant) {
        let _ = self.began.set(now);
    }

    /// For how long it has been in place.
    pub fn lasted(&self, now: Instant) -> Duration {
        self.began.get().map_or(Duration::ZERO, |began| now.saturating_duration_since(*began))
    }

    /// What comes into force when it went well: it shares what the plugin's versions share.
    pub fn promoted(&self) -> Arc<Version> {
        match self.stage {
            Stage::Shadow { .. } => Arc::new(self.candidate.anew(self.candidate.budget)),
            Stage::Canary { .. } => self.candidate.clone(),
        }
    }

    /// What comes after this stage.
    pub fn next(&self) -> Option<Trial> {
        self.then.map(|stage| Trial::new(&self.candidate, stage, None, self.reason, self.attempt.clone()))
    }

    /// Decides about a request. `draw` is a number of the request's own. Which of the two is heard, and what it says; when the one
    /// on trial fails, the one in force decides.
    pub(super) fn decide(
        &self,
        draw: u32,
        live: impl FnOnce() -> Result<Decision, Fault>,
        candidate: impl FnOnce() -> Result<Decision, Fault>,
    ) -> (bool, Result<Decision, Fault>) {
        match self.stage {
            Stage::Shadow { .. } => {
                let (heard, ignored) = (self.live.asked(live()), self.other.asked(candidate()));
                if let (Ok(heard), Ok(ignored)) = (&heard, &ignored)
                    && heard == ignored
                {
                    self.same.fetch_add(1, Ordering::Relaxed);
                }
                (false, heard)
            }
            Stage::Canary { share, .. } if draw % WHOLE < share => match self.other.asked(candidate()) {
                Ok(decision) => (true, Ok(decision)),
                Err(_) => (false, self.live.asked(live())),
            },
            Stage::Canary { .. } => (false, self.live.asked(live())),
        }
    }

    /// What became of a call that decided nothing: an outcome, a tick, the state of another instance.
    pub(super) fn told(&self, by_candidate: bool, result: Result<(), Fault>) {
        if result.is_err_and(Fault::counts_against_version) {
            let tally = if by_candidate { &self.other } else { &self.live };
            tally.faults.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often both said the same.
    pub fn same(&self) -> u64 {
        self.same.load(Ordering::Relaxed)
    }

    /// What is known of the one in force, and of the one on trial.
    pub fn standings(&self) -> [Standing; 2] {
        [self.live.standing(), self.other.standing()]
    }

    /// What has come of it by now.
    pub fn verdict(&self, now: Instant) -> Verdict {
        if self.candidate.is_quarantined() {
            return Verdict::RollBack("it failed too often".to_owned());
        }
        let [live, candidate] = self.standings();
        let over = self.began.get().is_some() && self.lasted(now) >= self.stage.time();
        judge(&live, &candidate, over)
    }
}

impl Part {
    /// Notes what became of the request.
    pub fn note(&self, failed: bool, latency: Option<Duration>) {
        let tally = if self.by_candidate { &self.trial.other } else { &self.trial.live };
        tally.requests.fetch_add(1, Ordering::Relaxed);
        if failed {
            tally.failed.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(latency) = latency {
            tally.latency.add(latency);
        }
    }
}

fn judge(live: &Standing, candidate: &Standing, over: bool) -> Verdict {
    let share = |some: u64, all: u64| some as f64 / all.max(1) as f64;
    let faulty = share(candidate.faults, candidate.decisions);
    if candidate.faults >= FEW_FAULTS && faulty > 0.01 && faulty > share(live.faults, live.decisions) {
        return Verdict::RollBack(format!("it failed {} times in {} decisions", candidate.faults, candidate.decisions));
    }
    let (theirs, ours) = (share(candidate.failed, candidate.requests), share(live.failed, live.requests));
    if candidate.failed >= FEW_FAILED && theirs > 2.0 * ours + 0.01 {
        let (theirs, ours) = (theirs * 100.0, ours * 100.0);
        return Verdict::RollBack(format!("{theirs:.1} % of its requests failed, {ours:.1} % of the others"));
    }
    let enough = live.requests.min(candidate.requests) >= ENOUGH_LATENCIES;
    if enough && candidate.p90 > live.p90.mul_f64(1.5) + Duration::from_millis(1) {
        let (theirs, ours) = (candidate.p90, live.p90);
        return Verdict::RollBack(format!(
            "nine of ten responses began within {theirs:.1?}, with the other {ours:.1?}"
        ));
    }
    if over && candidate.decisions >= LEAST_DECISIONS { Verdict::Promote } else { Verdict::Wait }
}

impl Tally {
    fn asked(&self, result: Result<Decision, Fault>) -> Result<Decision, Fault> {
        match &result {
            // Nobody was there to be asked, which says nothing of what would have been said.
            Err(fault) if !fault.counts_against_version() => return result,
            Err(_) => drop(self.faults.fetch_add(1, Ordering::Relaxed)),
            Ok(_) => {}
        }
        self.decisions.fetch_add(1, Ordering::Relaxed);
        result
    }

    fn standing(&self) -> Standing {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Standing {
            decisions: read(&self.decisions),
            faults: read(&self.faults),
            requests: read(&self.requests),
            failed: read(&self.failed),
            p50: self.latency.quantile(0.5),
            p90: self.latency.quantile(0.9),
        }
    }
}

impl Default for Latency {
    fn default() -> Latency {
        Latency([const { AtomicU64::new(0) }; BUCKETS])
    }
}

impl Latency {
    fn add(&self, latency: Duration) {
        let micros = latency.as_micros().max(1) as f64;
        let at = ((micros.log2() * 4.0) as usize).min(BUCKETS - 1);
        if let Some(count) = self.0.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The upper bound of the bucket that this share of all lies below or in.
    fn quantile(&self, share: f64) -> Duration {
        let counts = self.0.each_ref().map(|count| count.load(Ordering::Relaxed));
        let wanted = counts.iter().sum::<u64>() as f64 * share;
        let mut seen = 0;
        for (at, count) in counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen as f64 >= wanted {
                return Duration::from_secs_f64(2f64.powf((at + 1) as f64 / 4.0) / 1e6);
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Budget, Plugin, built_in};
    use super::*;

    fn standing(decisions: u64, faults: u64, failed: u64, p90: u64) -> Standing {
        let p90 = Duration::from_millis(p90);
        Standing { decisions, faults, requests: decisions, failed, p50: p90, p90 }
    }

    #[test]
    fn a_candidate_is_judged_by_the_one_in_force() {
        let good = standing(1000, 0, 0, 10);
        for (what, live, candidate, over, expected) in [
            ("still time", good, standing(1000, 0, 0, 10), false, "wait"),
            ("nothing seen", good, standing(19, 0, 0, 10), true, "wait"),
            ("as good", good, standing(20, 0, 0, 10), true, "promote"),
            ("slower, too few to tell", good, standing(199, 0, 0, 1000), true, "promote"),
            ("slower", good, standing(200, 0, 0, 17), false, "nine of ten"),
            ("a little slower", good, standing(200, 0, 0, 15), true, "promote"),
            ("accidents", good, standing(100, 2, 4, 10), true, "promote"),
            ("faults", good, standing(100, 3, 0, 10), false, "failed 3 times in 100 decisions"),
            ("rare faults", good, standing(1000, 9, 0, 10), true, "promote"),
            ("faults like the other", standing(100, 5, 0, 10), standing(100, 5, 0, 10), true, "promote"),
            ("failures", good, standing(100, 0, 5, 10), false, "5.0 % of its requests failed"),
            ("an outage of both", standing(100, 0, 50, 10), standing(100, 0, 60, 10), true, "promote"),
        ] {
            let found = match judge(&live, &candidate, over) {
                Verdict::Wait => "wait".to_owned(),
                Verdict::Promote => "promote".to_owned(),
                Verdict::RollBack(why) => why,
            };
            assert!(found.contains(expected), "{what}: {found}");
        }
    }

    #[test]
    fn the_time_of_a_trial_begins_when_it_is_in_place() {
        let code = built_in("p2c").expect("a built-in");
        let second = Duration::from_secs(1);
        let budget = Budget { decision: second, configure: second, memory: 0 };
        let version = Version::new(Arc::new(Plugin::new("mine")), code, "{}".to_owned(), budget);
        let trial = Trial::new(&version, Stage::Shadow { time: second }, None, Reason::Pushed, Attempt::begin());
        for _ in 0..LEAST_DECISIONS {
            let _ = trial.decide(0, || Ok(Decision::Continue), || Ok(Decision::Continue));
        }
        // Configured for an hour.
        let placed = Instant::now() + 3600 * second;
        assert_eq!((trial.verdict(placed), trial.lasted(placed)), (Verdict::Wait, Duration::ZERO));
        trial.begins(placed);
        trial.begins(placed + second);
        assert_eq!(trial.verdict(placed + second / 2), Verdict::Wait);
        assert_eq!((trial.verdict(placed + second), trial.lasted(placed + second)), (Verdict::Promote, second));
    }

    #[test]
    fn who_was_not_there_has_decided_nothing() {
        let tally = Tally::default();
        for result in [Ok(Decision::Continue), Err(Fault::Trap), Err(Fault::Absent), Err(Fault::Busy)] {
            let _ = tally.asked(result);
        }
        let standing = tally.standing();
        assert_eq!((standing.decisions, standing.faults), (2, 1));
    }

    #[test]
    fn quantiles_are_right_within_a_quarter_of_a_doubling() {
        let latency = Latency::default();
        assert_eq!(latency.quantile(0.9), Duration::ZERO);
        (1..=1000).for_each(|millis| latency.add(Duration::from_millis(millis)));
        for (share, exact) in [(0.5, 0.5), (0.9, 0.9), (1.0, 1.0)] {
            let found = latency.quantile(share).as_secs_f64();
            assert!((exact..exact * 1.2).contains(&found), "{share}: {found}");
        }
        latency.add(Duration::MAX);
        assert!(latency.quantile(1.0) > Duration::from_secs(200));
    }
}
