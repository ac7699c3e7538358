//! How many requests a pool should have at the same time. Pure: time is given.
//!
//! In: windows of what was seen, one after the other. Out: how many may be in the pool until the next window, and how many of
//! those may be at endpoints. Means are of logarithms, so that a few slow answers among many do not count for much.
//!
//! The floor is the latency without a queue. Where answers take `tolerance` times as long there is one, or everything has become
//! slower: which of the two, a probe tells. For a moment half as many requests are let through and the others wait. If
//! answers become quicker by that, there was a queue, and half of those are let through, and so on; if they do not, that is the floor. So
//! nobody is refused for a probe, nor because an endpoint has become slower, and an old floor is not believed for ever. With a queue, what
//! is too much of it leaves the limit: only that, so that long polls, which are no queue, keep their room.

use std::time::Duration;

/// What an operator gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// So many may always be there.
    pub least: u32,
    /// Never more.
    pub most: u32,
    /// How many times the floor answers may take.
    pub tolerance: f64,
}

/// What was seen since the last step.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    /// Answers that came.
    pub answers: u32,
    /// The mean of the logarithms of their latencies in microseconds.
    pub mean: f64,
    /// The variance of these logarithms.
    pub variance: f64,
    /// The longest latency.
    pub slowest: Duration,
    /// The most requests at endpoints at the same time.
    pub most: u32,
    /// Whether one was refused.
    pub shed: bool,
}

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shed {
    /// More would only wait for one another.
    Queue,
    /// Nothing is answered any more.
    Silence,
}

/// The state between windows.
#[derive(Clone, Debug)]
pub(super) struct Controller {
    bounds: Bounds,
    limit: f64,
    /// Logarithms of microseconds, like all means.
    floor: Option<f64>,
    last: f64,
    variance: f64,
    slowest: Duration,
    /// When the window began.
    began: Duration,
    /// The answers in it when it was looked at last, and when the last one was there.
    answers: u32,
    heard: Duration,
    phase: Phase,
    silent: bool,
    /// The last probe, or what made one needless: when, and the limit then.
    probed: Option<(Duration, f64)>,
    /// With how many requests the first floor was found.
    first: f64,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Steady,
    /// Until then answers come to what was sent under another limit.
    Settling(Duration),
    /// Fewer requests are let through; at first until then to no purpose.
    Probing(Probe, Option<Duration>),
    /// A probe is over: those that waited for it go on, no more than these at a time, until then.
    Recovering(f64, Duration),
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    /// With how many requests it began.
    here: f64,
    /// So many of those that are answered in the usual time are let through,
    usual: f64,
    /// beside these, which take much longer.
    others: f64,
    /// What was seen with all of them, and with twice as many as now. At first nothing: latencies tell of a time when there were
    /// fewer, so it is waited until there are no more than `here`, and all answers come to those.
    seen: Option<(f64, f64)>,
    /// The most answers a second so far.
    rate: f64,
    /// It is asked since answers are slow.
    is_slow: bool,
}

impl Probe {
    fn pace(&self) -> f64 {
        self.usual + self.others
    }
}

/// Fewer answers say nothing.
const ENOUGH: u32 = 30;
/// More are not waited for.
const PLENTY: f64 = 300.0;
/// The shortest window.
const SHORTEST: Duration = Duration::from_millis(100);
/// The longest time that is waited for one latency to pass.
const LONGEST: Duration = Duration::from_secs(5);
/// A stage of a probe that has not ended by then finds nothing; likewise those that wait after it wait no longer.
const STAGE: Duration = Duration::from_secs(2);
/// After so long a floor is looked at again while requests are refused.
const STALE: Duration = Duration::from_secs(30);
/// The shortest time without an answer that is a silence; else it is [`PATIENCE`] times the longest latency.
const SILENCE: Duration = Duration::from_secs(3);
const PATIENCE: u32 = 8;
/// After so much more of it the limit falls further.
const AGAIN: Duration = Duration::from_secs(1);
/// Half of what answers would become quicker by, if there is a queue and half as many requests are let through.
const SHRUNK: f64 = std::f64::consts::LN_2 / 2.0;

impl Controller {
    /// At first everything is let through, so that nobody is refused for what is not known.
    pub(super) fn new(bounds: Bounds, now: Duration) -> Controller {
        Controller {
            bounds,
            limit: bounds.most.into(),
            floor: None,
            last: 0.0,
            variance: 0.0,
            slowest: Duration::ZERO,
            began: now,
            answers: 0,
            heard: now,
            phase: Phase::Steady,
            silent: false,
            probed: None,
            first: 0.0,
        }
    }

    /// Goes on with other bounds.
    pub(super) fn rebound(&mut self, bounds: Bounds) {
        if bounds == self.bounds {
            return;
        }
        let free = self.limit >= f64::from(self.bounds.most);
        self.bounds = bounds;
        self.set_limit(if free { bounds.most.into() } else { self.limit });
    }

    /// How many requests may be in the pool.
    pub(super) fn limit(&self) -> u32 {
        self.limit as u32
    }

    /// How many of them may be at endpoints; the others wait.
    pub(super) fn pace(&self) -> u32 {
        match self.phase {
            Phase::Probing(probe, _) => probe.pace().min(self.limit) as u32,
            Phase::Recovering(pace, _) => pace.min(self.limit) as u32,
            Phase::Steady | Phase::Settling(_) => self.limit(),
        }
    }

    /// Whether requests wait: others have to wait behind them, and no more than there are in the limit.
    pub(super) fn holds(&self) -> bool {
        matches!(self.phase, Phase::Probing(..) | Phase::Recovering(..))
    }

    /// Why requests beyond the limit are refused.
    pub(super) fn reason(&self) -> Shed {
        if self.silent { Shed::Silence } else { Shed::Queue }
    }

    /// The latency without a queue.
    pub(super) fn floor(&self) -> Option<Duration> {
        self.floor.map(time)
    }

    /// The latency that was seen last.
    pub(super) fn latency(&self) -> Option<Duration> {
        self.floor.map(|_| time(self.last))
    }

    /// Whether the window is to end now, with so many answers in it, while so many requests wait in the gateway.
    pub(super) fn is_due(&mut self, now: Duration, answers: u32, waiting: u32) -> bool {
        let passed = now.saturating_sub(self.began);
        if self.answers != answers {
            (self.answers, self.heard) = (answers, now);
        }
        match self.phase {
            Phase::Settling(until) | Phase::Probing(_, Some(until)) => now >= until,
            Phase::Recovering(_, until) => waiting == 0 || now >= until,
            Phase::Probing(probe, None) => {
                // So many that half of what is looked for stands out.
                let enough = (4.0 * self.variance / (SHRUNK / 2.0).powi(2)).clamp(ENOUGH.into(), PLENTY);
                let latency = span(probe.usual / probe.rate, self.last);
                passed >= latency && f64::from(answers) >= enough || passed >= STAGE + latency
            }
            Phase::Steady => {
                let latency = time(self.last).min(LONGEST);
                // After twice as many answers as there may be requests, all come to what is there now.
                let is_new = passed >= 2 * latency || f64::from(answers) >= 2.0 * self.limit;
                passed >= SHORTEST && answers >= ENOUGH && is_new || self.is_silence(now)
            }
        }
    }

    fn is_silence(&self, now: Duration) -> bool {
        let patience = if self.silent { AGAIN } else { SILENCE.max(self.slowest * PATIENCE) };
        now.saturating_sub(self.heard) >= patience
    }

    /// Ends the window.
    pub(super) fn step(&mut self, now: Duration, seen: &Window) {
        let passed = now.saturating_sub(self.began).as_secs_f64();
        let is_silence = self.is_silence(now);
        (self.began, self.answers, self.heard) = (now, 0, now);
        match self.phase {
            Phase::Settling(_) => self.phase = Phase::Steady,
            Phase::Probing(probe, Some(_)) => self.phase = Phase::Probing(probe, None),
            Phase::Recovering(..) => self.settle(now, time(self.last)),
            _ if seen.answers < ENOUGH || passed <= 0.0 => self.heard_little(now, seen, is_silence),
            Phase::Probing(probe, None) => {
                self.note(passed, seen);
                self.end_stage(now, seen.mean, f64::from(seen.answers) / passed, probe);
            }
            Phase::Steady => {
                self.note(passed, seen);
                self.regulate(now, seen, f64::from(seen.answers) / passed);
            }
        }
    }

    fn note(&mut self, passed: f64, seen: &Window) {
        self.silent = false;
        (self.last, self.variance) = (seen.mean, seen.variance.max(0.0));
        // What is slow seldom is remembered for minutes.
        self.slowest = seen.slowest.max(self.slowest.div_f64(1.0 + passed / 60.0));
    }

    fn regulate(&mut self, now: Duration, seen: &Window, rate: f64) {
        let sure = 2.0 * (self.variance / f64::from(seen.answers)).sqrt();
        let here = self.limit.min(f64::from(seen.most));
        let floor = self.follow(now, seen.mean, sure, (here, rate));
        let target = floor + self.bounds.tolerance.ln();
        let is_slow = seen.mean - sure > target;
        if self.is_probe_wanted(now, is_slow, here, seen.shed) {
            self.begin_stage(now, here, Probe { here, usual: here, others: 0.0, seen: None, rate, is_slow });
        } else if is_slow {
            self.give_way(now, seen, rate, target, here);
        } else if seen.shed && seen.mean < target {
            // Without any sign of a queue it goes faster.
            let is_free = seen.mean < floor + 0.25 * (target - floor);
            self.set_limit(self.limit + if is_free { self.limit / 4.0 } else { self.limit.sqrt() });
        } else if seen.mean < target {
            // A limit that is not needed is forgotten.
            self.set_limit(self.limit * 1.05);
        }
    }

    /// Moves the floor with what was seen.
    fn follow(&mut self, now: Duration, mean: f64, sure: f64, (here, rate): (f64, f64)) -> f64 {
        let floor = match self.floor {
            None => {
                self.first = here;
                mean
            }
            // As far as chance does not explain it.
            Some(floor) => floor.min(mean + sure),
        };
        self.floor = Some(floor);
        // Twice as many requests and no queue: that is as good as a probe.
        let is_steady = here <= 1.5 * self.usual(mean, rate);
        if self.probed.is_none() && here >= 2.0 * self.first && is_steady && mean < floor + SHRUNK / 2.0 {
            self.probed = Some((now, self.limit));
        }
        floor
    }

    fn is_probe_wanted(&self, now: Duration, is_slow: bool, here: f64, shed: bool) -> bool {
        if here <= f64::from(self.bounds.least) {
            return false;
        }
        match self.probed {
            None => is_slow || here >= 2.0 * f64::from(self.bounds.least),
            Some((then, limit)) => {
                let is_old = now.saturating_sub(then) >= STALE;
                // A fall that goes on may be in vain.
                (is_slow || shed) && is_old || is_slow && here < 0.6 * limit
            }
        }
    }

    /// Takes what is too much in the queue from the limit, but no more than half.
    fn give_way(&mut self, now: Duration, seen: &Window, rate: f64, target: f64, here: f64) {
        let excess = self.usual(seen.mean, rate) - self.usual(target, rate);
        let to = (here - excess).max(here / 2.0) + here.sqrt();
        if to < here {
            self.set_limit(to);
            self.settle(now, span(here / rate, seen.mean));
        } else if seen.shed {
            self.set_limit(self.limit.max(to));
        }
    }

    /// Waits until there are no more than the probe lets through, and answers come to those.
    fn begin_stage(&mut self, now: Duration, here: f64, probe: Probe) {
        self.phase = Phase::Probing(probe, Some(now + span(here / probe.rate, self.last)));
    }

    /// Fewer requests were let through for a while.
    fn end_stage(&mut self, now: Duration, mean: f64, rate: f64, probe: Probe) {
        let probe = Probe { rate: probe.rate.max(rate), ..probe };
        let tolerance = self.bounds.tolerance.ln();
        match probe.seen {
            // It was a moment's matter.
            None if probe.is_slow && self.floor.is_some_and(|floor| mean < floor + tolerance) => {
                return self.recover(now, probe.here);
            }
            None => {
                let usual = self.usual(mean, rate).min(probe.here);
                let (others, seen) = (probe.here - usual, Some((mean, mean)));
                return self.begin_stage(now, usual, Probe { usual: half(usual), others, seen, ..probe });
            }
            Some((all, twice)) if mean < twice - SHRUNK && probe.usual > 1.0 => {
                let (usual, seen) = (half(probe.usual), Some((all, mean)));
                return self.begin_stage(now, probe.usual, Probe { usual, seen, ..probe });
            }
            Some((all, twice)) => {
                let floor = mean.min(twice);
                self.floor = Some(floor);
                if all > floor + tolerance {
                    let right = self.usual(floor + tolerance, probe.rate) + probe.others;
                    self.set_limit((right + right.sqrt()).min(self.limit));
                }
                self.recover(now, probe.here);
            }
        }
        self.probed = Some((now, self.limit));
    }

    /// How many requests there are when so many a second are answered in so long: of means of logarithms, that of a spread
    /// as it was seen.
    fn usual(&self, mean: f64, rate: f64) -> f64 {
        rate * (mean + self.variance / 2.0).exp() / 1e6
    }

    /// A probe that took too long, or a silence.
    fn heard_little(&mut self, now: Duration, seen: &Window, is_silence: bool) {
        if let Phase::Probing(probe, _) = self.phase {
            self.probed = Some((now, self.limit));
            return self.recover(now, probe.here);
        }
        // Those that wait are what is known of the latency now. Before anything is known, nothing is unusual.
        if is_silence && self.floor.is_some() && seen.most > self.bounds.least {
            self.silent = true;
            self.set_limit(half(self.limit.min(seen.most.into())));
        }
    }

    fn recover(&mut self, now: Duration, here: f64) {
        self.phase = Phase::Recovering(here * 1.25 + 1.0, now + STAGE);
    }

    fn settle(&mut self, now: Duration, time: Duration) {
        self.phase = Phase::Settling(now + time.min(LONGEST));
    }

    fn set_limit(&mut self, limit: f64) {
        self.limit = limit.clamp(self.bounds.least.into(), self.bounds.most.into());
    }
}

fn half(count: f64) -> f64 {
    (count / 2.0).max(1.0)
}

/// So many seconds, by requests and their rate; but long polls among them are not waited for.
fn span(seconds: f64, mean: f64) -> Duration {
    let most = (4 * time(mean) + 2 * SHORTEST).min(LONGEST);
    Duration::try_from_secs_f64(seconds).map_or(most, |time| time.min(most))
}

/// The time of which this is the logarithm.
fn time(mean: f64) -> Duration {
    Duration::from_secs_f64((mean.exp() / 1e6).clamp(0.0, 3600.0))
}

#[cfg(test)]
mod tests;
