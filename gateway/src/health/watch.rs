//! The checks of one endpoint, one after the other.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use tokio::task::AbortHandle;

use super::check::{self, Bad};
use super::{Desk, Kept, Watched};
use crate::balance::Checked;
use crate::config::model::Health;
use crate::notice;

/// Begins to check an endpoint of the pool.
pub(super) fn begin(desk: &Rc<Desk>, kept: &Rc<Kept>, watched: &Rc<Watched>) -> AbortHandle {
    let (desk, kept, watched) = (desk.clone(), kept.clone(), watched.clone());
    tokio::task::spawn_local(async move { go_on(&desk, &kept, &watched).await }).abort_handle()
}

async fn go_on(desk: &Desk, kept: &Kept, watched: &Watched) {
    let mut is_first = true;
    loop {
        // Nobody ever closes this.
        let turn = desk.turns().acquire_owned().await.ok();
        let state = kept.state();
        let Some(settings) = &state.model.health else { return };
        let began = Instant::now();
        // Boxed, so that thousands that wait are small.
        let found = Box::pin(check::run(&state, &watched.endpoint(), settings)).await;
        drop(turn);
        desk.shared.metrics.health_check(*kept.id.borrow(), found.as_ref().err().map_or("ok", |bad| bad.label));
        match found {
            Err(bad) if bad.label == Bad::OURS => not_made(&state.model.name, &bad.reason),
            found => {
                watched.take(&state.model.name, settings, found.map_err(|bad| bad.reason));
                watched.mark(&state, Instant::now());
            }
        }
        let healthy = watched.verdict.borrow().healthy() != Some(false);
        let interval = if healthy { settings.interval } else { settings.unhealthy_interval };
        let pause = pause(interval, std::mem::take(&mut is_first), fastrand::f64());
        let pause = pause.saturating_sub(began.elapsed());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = watched.changed.notified() => {}
        }
    }
}

/// How long after the begin of a check the next one begins. All first ones are made at once, so the second ones are spread over
/// the interval; `random` is from 0 to 1.
fn pause(interval: Duration, is_first: bool, random: f64) -> Duration {
    interval.mul_f64(if is_first { random } else { 0.9 + 0.2 * random })
}

impl Watched {
    /// Takes in what a check found, and tells when that changes what is known.
    fn take(&self, pool: &str, settings: &Health, found: Result<String, String>) {
        let good = found.is_ok();
        let (Ok(last) | Err(last)) = found;
        let before = self.verdict.borrow().healthy();
        let changed = self.verdict.borrow_mut().take(good, settings.rise, settings.fall);
        let endpoint = self.endpoint();
        let mut standing = endpoint.standing();
        match &mut standing.checked {
            Some(checked) if !changed => {
                checked.last = last;
                checked.last_good = good;
            }
            slot => {
                let (reason, since) = (last.clone(), SystemTime::now());
                *slot = Some(Checked { healthy: good, since, reason, last: last.clone(), last_good: good });
                drop(standing);
                tell(pool, &endpoint.address, good, before, &last);
            }
        }
    }
}

/// A check that could not be made: what was known stays known.
fn not_made(pool: &str, reason: &str) {
    if let Some(suppressed) = notice::due((pool, "check", reason)) {
        tracing::warn!(pool, reason, suppressed, "endpoints cannot be checked");
    }
}

/// One line for a change. That an endpoint is well at its first check is nothing to speak of.
fn tell(pool: &str, endpoint: &str, good: bool, before: Option<bool>, reason: &str) {
    if good && before.is_none() {
        return;
    }
    if let Some(suppressed) = notice::due((pool, endpoint, "health", good)) {
        match good {
            true => tracing::info!(pool, endpoint, reason, suppressed, "the endpoint is healthy again"),
            false => tracing::warn!(pool, endpoint, reason, suppressed, "the endpoint is unhealthy"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_check_may_be_at_any_time_and_later_ones_at_their_own() {
        let second = Duration::from_secs(1);
        assert_eq!((pause(second, true, 0.0), pause(second, true, 1.0)), (Duration::ZERO, second));
        let later = [0.0, 0.5, 1.0].map(|random| pause(second, false, random).as_millis());
        assert_eq!(later, [900, 1000, 1100]);
    }
}
