//! What is known of an endpoint's health: whether it may be used, why not, and since when. For people; the path of requests
//! knows only the flags.

use std::time::{Duration, Instant, SystemTime};

/// An endpoint's health. Written by those who check and judge it.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// What the checks say; `None`: there are none, or none has ended.
    pub checked: Option<Checked>,
    /// Why it is left out for a while; `None`: it is not.
    pub ejected: Option<Ejected>,
    /// How often it was.
    pub ejections: u64,
    /// How long it could be used.
    pub uptime: Uptime,
}

/// What the checks say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What they come to.
    pub healthy: bool,
    /// Since when.
    pub since: SystemTime,
    /// What made it so, in words.
    pub reason: String,
    /// What the last check found, in words.
    pub last: String,
    /// Whether the last check was good.
    pub last_good: bool,
}

/// Why it is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ejected {
    /// Since when.
    pub since: SystemTime,
    /// Until when.
    pub until: SystemTime,
    /// In words.
    pub reason: String,
}

/// How long something was up, of the time in which it was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uptime {
    since: Option<Instant>,
    before: Duration,
    up_since: Option<Instant>,
}

impl Uptime {
    /// It is so from now on.
    pub fn observe(&mut self, up: bool, now: Instant) {
        self.since.get_or_insert(now);
        match (up, self.up_since) {
            (true, None) => self.up_since = Some(now),
            (false, Some(since)) => {
                self.before += now.saturating_duration_since(since);
                self.up_since = None;
            }
            _ => {}
        }
    }

    /// The share of time that it was up, from 0 to 1; `None` when it was not looked at.
    pub fn share(&self, now: Instant) -> Option<f64> {
        let observed = now.saturating_duration_since(self.since?);
        let up = self.before + self.up_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        match observed {
            Duration::ZERO => Some(f64::from(u8::from(self.up_since.is_some()))),
            observed => Some((up.as_secs_f64() / observed.as_secs_f64()).min(1.0)),
        }
    }

    /// For how long it was looked at.
    pub fn observed(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_up_is_added_over_its_pieces() {
        let (start, mut uptime) = (Instant::now(), Uptime::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(uptime.share(start), None);
        uptime.observe(true, at(10));
        assert_eq!(uptime.share(at(10)), Some(1.0));
        uptime.observe(true, at(12));
        uptime.observe(false, at(15));
        uptime.observe(false, at(16));
        assert_eq!(uptime.share(at(20)), Some(0.5));
        uptime.observe(true, at(20));
        assert_eq!((uptime.share(at(30)), uptime.observed(at(30))), (Some(0.75), Duration::from_secs(20)));
    }
}
