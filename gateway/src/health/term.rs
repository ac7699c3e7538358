//! For how long an endpoint is left out: longer each time, and shorter again after times without. Pure.

use std::time::{Duration, Instant};

use crate::config::model::Eject;

/// One endpoint's ejections.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Term {
    until: Option<Instant>,
    /// Ejections that count for the next one.
    times: u32,
    /// Since when it was left alone, as far as that was not thanked yet.
    calm: Option<Instant>,
}

impl Term {
    /// When it ends.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// It is ejected now, for this time.
    pub(super) fn begin(&mut self, eject: &Eject, now: Instant) -> Duration {
        self.relax(eject, now);
        let factor = 1u32.checked_shl(self.times.min(30)).unwrap_or(u32::MAX);
        let time = eject.time.saturating_mul(factor).min(eject.most_time);
        *self = Term { until: Some(now + time), times: self.times.saturating_add(1), calm: None };
        time
    }

    /// Whether it is over now; it is told once.
    pub(super) fn ends(&mut self, now: Instant) -> bool {
        let over = self.until.is_some_and(|until| until <= now);
        if over {
            self.until = None;
            self.calm = Some(now);
        }
        over
    }

    /// Takes one ejection back for each `time` without another.
    fn relax(&mut self, eject: &Eject, now: Instant) {
        let Some(calm) = self.calm else { return };
        let passed = now.saturating_duration_since(calm).as_nanos() / eject.time.as_nanos().max(1);
        self.times = self.times.saturating_sub(u32::try_from(passed).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_twice_as_long_up_to_the_longest() {
        let eject = Eject { time: Duration::from_secs(10), most_time: Duration::from_secs(60), ..Eject::default() };
        let (mut term, mut now) = (Term::default(), Instant::now());
        let times: Vec<u64> = (0..5)
            .map(|_| {
                let time = term.begin(&eject, now);
                assert!(!term.ends(now + time - Duration::from_millis(1)));
                now += time;
                assert!(term.ends(now) && !term.ends(now) && term.until().is_none());
                time.as_secs()
            })
            .collect();
        assert_eq!(times, [10, 20, 40, 60, 60]);
    }

    #[test]
    fn times_without_another_make_it_shorter_again() {
        let seconds = Duration::from_secs;
        let eject = Eject { time: seconds(10), most_time: seconds(3600), ..Eject::default() };
        let (mut term, mut now) = (Term::default(), Instant::now());
        for _ in 0..4 {
            now += term.begin(&eject, now);
            assert!(term.ends(now));
        }
        // The fifth would take 160 s; twice 10 s without one take two back.
        assert_eq!(term.begin(&eject, now + seconds(29)), seconds(40));
        now += seconds(29 + 40);
        assert!(term.ends(now));
        assert_eq!(term.begin(&eject, now + seconds(100_000)), seconds(10));
    }
}
