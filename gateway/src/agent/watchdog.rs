//! What is too much, and for how long.
//!
//! Pure. In: a measurement and the time. Out: whether all is well, something is too much, or has been for too long.

use std::time::{Duration, Instant};

use super::load::Load;

/// What is too much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Share of the processors.
    pub cpu: Option<f64>,
    /// Share of the memory.
    pub memory: Option<f64>,
    /// Connections to the backend.
    pub connections: Option<u64>,
    /// Requests under way.
    pub requests: Option<u64>,
    /// For how long.
    pub patience: Duration,
}

impl Bounds {
    /// How much of what it may the backend takes, where it takes most; `None` without bounds.
    pub(super) fn used(&self, load: &Load) -> Option<f64> {
        let part = |value: f64, most: Option<f64>| most.filter(|most| *most > 0.0).map(|most| value / most);
        let shares = [
            part(load.cpu, self.cpu),
            part(load.memory, self.memory),
            part(load.connections as f64, self.connections.map(|most| most as f64)),
            part(load.requests as f64, self.requests.map(|most| most as f64)),
        ];
        shares.into_iter().flatten().reduce(f64::max)
    }
}

/// Looks at one measurement after the other.
pub(super) struct Watchdog {
    bounds: Bounds,
    over: Option<Instant>,
}

/// What it thinks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// All is well.
    Fine,
    /// This is too much now.
    Over(&'static str),
    /// This, or something else before it, was too much for too long.
    Restart(&'static str),
}

impl Watchdog {
    pub(super) fn new(bounds: Bounds) -> Watchdog {
        Watchdog { bounds, over: None }
    }

    pub(super) fn judge(&mut self, load: &Load, answers: bool, now: Instant) -> Verdict {
        let bounds = &self.bounds;
        let over = [
            ("it does not answer", !answers),
            ("it takes too much of the processors", bounds.cpu.is_some_and(|most| load.cpu > most)),
            ("it takes too much memory", bounds.memory.is_some_and(|most| load.memory > most)),
            ("it has too many connections", bounds.connections.is_some_and(|most| load.connections > most)),
            ("it has too many requests", bounds.requests.is_some_and(|most| load.requests > most)),
        ];
        let Some((what, _)) = over.into_iter().find(|(_, over)| *over) else {
            self.over = None;
            return Verdict::Fine;
        };
        let since = *self.over.get_or_insert(now);
        match now.saturating_duration_since(since) >= bounds.patience {
            true => Verdict::Restart(what),
            false => Verdict::Over(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_for_long_enough_is_a_reason_to_restart() {
        let (patience, start) = (Duration::from_secs(10), Instant::now());
        let bounds = Bounds { cpu: Some(0.9), memory: Some(0.5), connections: Some(10), requests: Some(5), patience };
        let mut watchdog = Watchdog::new(bounds);
        let fine = Load { cpu: 0.9, memory: 0.5, connections: 10, ..Load::default() };
        let (busy, full) = (Load { cpu: 0.95, ..fine }, Load { memory: 0.6, ..fine });
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(watchdog.judge(&fine, true, at(0)), Verdict::Fine);
        assert_eq!(watchdog.judge(&busy, true, at(1)), Verdict::Over("it takes too much of the processors"));
        assert_eq!(watchdog.judge(&fine, true, at(10)), Verdict::Fine);
        assert_eq!(watchdog.judge(&fine, false, at(11)), Verdict::Over("it does not answer"));
        assert_eq!(watchdog.judge(&full, true, at(20)), Verdict::Over("it takes too much memory"));
        assert_eq!(watchdog.judge(&full, true, at(21)), Verdict::Restart("it takes too much memory"));
        let mut calm = Watchdog::new(Bounds { cpu: None, memory: None, connections: None, requests: None, patience });
        let crowded = Load { cpu: 5.0, memory: 1.0, connections: 1000, ..fine };
        assert_eq!(calm.judge(&crowded, true, at(100)), Verdict::Fine);
        let many = Load { requests: 6, ..fine };
        assert_eq!(Watchdog::new(bounds).judge(&many, true, at(0)), Verdict::Over("it has too many requests"));
        assert_eq!((bounds.used(&many), bounds.used(&fine), calm.bounds.used(&many)), (Some(1.2), Some(1.0), None));
    }
}
