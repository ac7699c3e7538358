//! Asks endpoints for their load.
//!
//! In: the snapshot in force. Out: what they report, in their statistics. It runs on the control thread, so that no worker waits.
//! Invariant: an endpoint is asked once at a time. Limits: `AT_ONCE` questions at a time; each has a time and a size.

mod ask;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::balance::Endpoint;
use crate::config::model::Load;
use crate::notice;
use crate::upstream::{self, PoolState};
use crate::worker::Shared;

/// Questions at a time; those that are due wait.
const AT_ONCE: usize = 64;
/// How often it is looked who is due.
const LOOK: Duration = Duration::from_millis(50);

/// When each endpoint is asked next; none while it is being asked. By where it lies in memory, as long as it does.
type Due = HashMap<*const Endpoint, (Weak<Endpoint>, Option<Instant>)>;

/// Asks until the thread ends.
pub async fn run(shared: Arc<Shared>) {
    let due = Rc::new(RefCell::new(Due::new()));
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut timer = tokio::time::interval(LOOK);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let snapshot = shared.snapshot();
        due.borrow_mut().retain(|_, (endpoint, _)| endpoint.strong_count() > 0);
        for pool in snapshot.pools.iter().map(|compiled| &compiled.state) {
            let Some(load) = pool.model.selection.load.as_ref() else { continue };
            let Some(path) = &load.path else { continue };
            for candidate in pool.candidates.iter() {
                if !is_due(&due, &candidate.endpoint, load) {
                    continue;
                }
                let (pool, endpoint, path) = (pool.clone(), candidate.endpoint.clone(), path.clone());
                let (due, places, load) = (due.clone(), places.clone(), load.clone());
                tokio::task::spawn_local(async move {
                    let _place = places.acquire().await;
                    sample(&pool, &endpoint, &path, &load).await;
                    let next = Instant::now() + jittered(load.interval, fastrand::f64());
                    due.borrow_mut().insert(Arc::as_ptr(&endpoint), (Arc::downgrade(&endpoint), Some(next)));
                });
            }
        }
    }
}

/// Whether it is to be asked now, which is noted. The first time is somewhere within the interval, so that not all are asked at once.
fn is_due(due: &RefCell<Due>, endpoint: &Arc<Endpoint>, load: &Load) -> bool {
    let (now, mut due) = (Instant::now(), due.borrow_mut());
    let first = || (Arc::downgrade(endpoint), Some(now + load.interval.mul_f64(fastrand::f64())));
    let (_, at) = due.entry(Arc::as_ptr(endpoint)).or_insert_with(first);
    match at {
        Some(time) if *time <= now => {
            *at = None;
            true
        }
        _ => false,
    }
}

/// The interval, up to a tenth more or less.
fn jittered(interval: Duration, random: f64) -> Duration {
    interval.mul_f64(0.9 + 0.2 * random)
}

async fn sample(pool: &PoolState, endpoint: &Endpoint, path: &str, load: &Load) {
    let asked = tokio::time::timeout(load.timeout, ask::ask(pool, endpoint, path, load.port)).await;
    let problem = match asked {
        Ok(Ok(text)) if upstream::report(pool, endpoint, &text) => return,
        Ok(Ok(_)) => "what it answers tells no load".to_owned(),
        Ok(Err(problem)) => {
            pool.watch.reports.failed();
            problem
        }
        Err(_) => {
            pool.watch.reports.failed();
            format!("no answer within {:?}", load.timeout)
        }
    };
    if let Some(suppressed) = notice::due(("load", &pool.model.name, endpoint.id)) {
        let (pool, endpoint, reason) = (&*pool.model.name, &*endpoint.address, &*problem);
        tracing::warn!(pool, endpoint, reason, suppressed, "the endpoint does not tell its load");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_between_two_questions_vary_by_a_tenth() {
        let of = |random| jittered(Duration::from_secs(10), random);
        assert_eq!(
            (of(0.0), of(0.5), of(1.0)),
            (Duration::from_secs(9), Duration::from_secs(10), Duration::from_secs(11))
        );
    }
}
