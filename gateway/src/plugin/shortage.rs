//! Instances that a crew is short of.
//!
//! In: that one is missing, and whether it could be made. Out: when to ask for one again, and whether the version is of no
//! use any more. Invariant: a worker that has lost its instance gets another sooner or later, or its version leaves: what
//! configures itself badly once, on a machine that is busy or short of memory, may do better the next time.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::crew::{Crew, Want};

/// What is known of the instances that are missing.
#[derive(Default)]
pub(super) struct Shortage {
    /// Asked for, and not yet tried.
    awaited: AtomicUsize,
    /// How many in a row could not be made.
    failed: AtomicU32,
    /// When one could not be made, in nanoseconds since the version was.
    tried: AtomicU64,
}

/// An instance that is awaited, until this is dropped.
pub struct Missing(Weak<Crew>);

/// Until one is asked for again that could not be made; twice as long after each time.
const PAUSE: Duration = Duration::from_millis(100);
/// So often the pause grows.
const GROWS: u32 = 6;
/// So many in a row, and the version leaves, if there is one to go back to.
const TOLERATED: u32 = 5;

impl Shortage {
    /// Whether it is time to ask for one again.
    pub(super) fn is_due(&self, since: Duration) -> bool {
        let failed = self.failed.load(Ordering::Relaxed).min(GROWS);
        let tried = Duration::from_nanos(self.tried.load(Ordering::Relaxed));
        let pause = PAUSE.saturating_mul(1 << failed);
        self.awaited.load(Ordering::Acquire) == 0 && since.saturating_sub(tried) >= pause
    }

    /// One was made.
    fn made(&self) {
        self.failed.store(0, Ordering::Relaxed);
    }

    /// One could not be made. Whether those were too many.
    fn missed(&self, since: Duration) -> bool {
        self.tried.store(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.failed.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= TOLERATED
    }
}

impl Missing {
    /// One of this crew.
    pub(super) fn of(crew: &Arc<Crew>) -> Missing {
        crew.shortage.awaited.fetch_add(1, Ordering::AcqRel);
        Missing(Arc::downgrade(crew))
    }

    /// Whose it is, unless nobody wants it any more.
    pub(super) fn plugin(&self) -> Option<String> {
        self.0.upgrade().map(|crew| crew.version.plugin.name().to_owned())
    }

    /// Makes it. Off the request path.
    pub fn make(self) {
        let Some(crew) = self.0.upgrade().filter(|crew| !crew.version.is_quarantined()) else { return };
        let (version, made) = (&crew.version, crew.make());
        let Err(error) = made else { return crew.shortage.made() };
        let plugin = version.plugin.name();
        tracing::error!(plugin, version = version.name(), %error, "an instance cannot be replaced");
        let too_many = crew.shortage.missed(since(&crew, version.plugin.services.time().now()));
        // Without one to go back to it is tried on: those workers that have an instance go on with it.
        if too_many && version.plugin.last_good(version).is_some() && version.condemn() {
            tracing::error!(
                plugin,
                version = version.name(),
                "the plugin cannot be made anew and is not called any more"
            );
            crew.tell(Want::Quarantined(version.clone()));
        }
    }
}

impl Drop for Missing {
    fn drop(&mut self) {
        if let Some(crew) = self.0.upgrade() {
            crew.shortage.awaited.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// For how long there has been the crew's version.
pub(super) fn since(crew: &Crew, now: Instant) -> Duration {
    now.saturating_duration_since(crew.version.since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_is_asked_less_and_less_often_and_never_not_at_all() {
        let (shortage, mut now) = (Shortage::default(), PAUSE);
        assert!(shortage.is_due(now));
        for nth in 1..20 {
            assert_eq!(shortage.missed(now), nth >= TOLERATED);
            let pause = PAUSE * (1 << nth.min(GROWS));
            assert!(!shortage.is_due(now + pause - Duration::from_nanos(1)));
            now += pause;
            assert!(shortage.is_due(now), "after {nth}");
        }
        shortage.made();
        assert!(!shortage.missed(now) && shortage.is_due(now + 2 * PAUSE));
    }
}
