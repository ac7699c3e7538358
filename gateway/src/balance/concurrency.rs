//! How many requests a pool has at the same time, where it finds that out by itself.
//!
//! In: requests and how long their answers took, from all workers. Out: the right to go on to an endpoint, until the first byte of
//! the answer; or that there is none. Requests touch atomics only. Between windows, a worker's clock has the [`Controller`] say
//! how many there may be; the lock around that is only ever tried, and no request takes it.

mod controller;
mod samples;

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use tokio::sync::Notify;

pub use controller::{Bounds, Shed};

use controller::Controller;
use samples::Samples;

/// The limit of one pool, and what it goes by. All workers write here.
#[derive(Debug)]
pub struct Concurrency {
    limit: AtomicU32,
    /// How many of them may be at endpoints: fewer while requests wait.
    pace: AtomicU32,
    /// Whether requests wait for a probe.
    holds: AtomicBool,
    silent: AtomicBool,
    /// Requests at endpoints.
    there: AtomicU32,
    /// Requests that wait for a probe to end.
    waiting: AtomicU32,
    freed: Notify,
    samples: Samples,
    controller: Mutex<Controller>,
}

/// The right to be at an endpoint, until it is dropped.
#[derive(Debug)]
pub struct Admitted(Arc<Concurrency>);

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// How many requests there may be.
    pub limit: u32,
    /// How many wait for the first byte of their answer.
    pub there: u32,
    /// The latency without a queue, when it is known.
    pub floor: Option<Duration>,
    /// The latency that was seen last.
    pub latency: Option<Duration>,
}

/// Counts a request that waits, until it is dropped.
struct Waiting<'a>(&'a Concurrency);

impl Concurrency {
    /// With these bounds; `now` since any fixed time.
    pub fn new(bounds: Bounds, now: Duration) -> Concurrency {
        let controller = Controller::new(bounds, now);
        Concurrency {
            limit: AtomicU32::new(controller.limit()),
            pace: AtomicU32::new(controller.pace()),
            holds: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            there: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            freed: Notify::new(),
            samples: Samples::default(),
            controller: Mutex::new(controller),
        }
    }

    /// Goes on with other bounds.
    pub fn rebound(&self, bounds: Bounds) {
        let mut controller = self.controller.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        controller.rebound(bounds);
        self.publish(&controller);
    }

    /// The right to go on, when there is room just now and nobody waits for it.
    pub fn try_enter(self: &Arc<Concurrency>) -> Option<Admitted> {
        let others_wait = self.holds.load(Ordering::Relaxed) && self.waiting.load(Ordering::SeqCst) > 0;
        if others_wait { None } else { self.take() }
    }

    fn take(self: &Arc<Concurrency>) -> Option<Admitted> {
        let pace = self.pace.load(Ordering::SeqCst);
        let enter = |there: u32| (there < pace).then(|| there + 1);
        let there = self.there.fetch_update(Ordering::SeqCst, Ordering::SeqCst, enter).ok()?;
        self.samples.there(there + 1);
        Some(Admitted(self.clone()))
    }

    /// The same; while it is probed, after a wait.
    pub async fn enter(self: &Arc<Concurrency>) -> Result<Admitted, Shed> {
        if let Some(admitted) = self.try_enter() {
            return Ok(admitted);
        }
        let limit = self.limit.load(Ordering::SeqCst);
        let before = self.there.load(Ordering::SeqCst).saturating_add(self.waiting.load(Ordering::SeqCst));
        if before >= limit || !self.holds.load(Ordering::SeqCst) {
            return Err(self.refuse());
        }
        let _waiting = Waiting::begin(self);
        loop {
            let mut freed = pin!(self.freed.notified());
            // From here on a place that is given back is not missed.
            freed.as_mut().enable();
            if let Some(admitted) = self.take() {
                return Ok(admitted);
            }
            if !self.holds.load(Ordering::SeqCst) {
                return Err(self.refuse());
            }
            freed.await;
        }
    }

    fn refuse(&self) -> Shed {
        self.samples.shed();
        if self.silent.load(Ordering::Relaxed) { Shed::Silence } else { Shed::Queue }
    }

    /// Takes in how long an answer took to its first byte.
    pub fn took(&self, latency: Duration) {
        self.samples.note(latency);
    }

    /// Takes in that a client did not wait longer for an answer: only that it is slow can be told by that.
    pub fn given_up(&self, after: Duration) {
        if self.samples.is_slow(after) {
            self.samples.note(after);
        }
    }

    /// Lets time pass.
    pub fn pass_time(&self, now: Duration) {
        let mut controller = match self.controller.try_lock() {
            Ok(controller) => controller,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let waiting = self.waiting.load(Ordering::SeqCst);
        if controller.is_due(now, self.samples.answers(), waiting) {
            controller.step(now, &self.samples.take(self.there.load(Ordering::SeqCst)));
            self.publish(&controller);
        }
    }

    fn publish(&self, controller: &Controller) {
        let (limit, pace, holds) = (controller.limit(), controller.pace(), controller.holds());
        self.silent.store(controller.reason() == Shed::Silence, Ordering::Relaxed);
        self.limit.store(limit, Ordering::SeqCst);
        let before = (self.holds.swap(holds, Ordering::SeqCst), self.pace.swap(pace, Ordering::SeqCst));
        if before != (holds, pace) {
            // Whoever waits may go on now, or has to leave.
            self.freed.notify_waiters();
        }
    }

    /// How it stands. Not for the path of requests.
    pub fn figures(&self) -> Figures {
        let controller = self.controller.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let there = self.there.load(Ordering::Relaxed);
        Figures { limit: controller.limit(), there, floor: controller.floor(), latency: controller.latency() }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.there.fetch_sub(1, Ordering::SeqCst);
        if self.0.waiting.load(Ordering::SeqCst) > 0 {
            self.0.freed.notify_one();
        }
    }
}

impl Waiting<'_> {
    fn begin(concurrency: &Concurrency) -> Waiting<'_> {
        concurrency.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(concurrency)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concurrency(least: u32, most: u32) -> Arc<Concurrency> {
        let bounds = Bounds { least, most, tolerance: 1.5 };
        Arc::new(Concurrency::new(bounds, Duration::ZERO))
    }

    async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn beyond_the_limit_nobody_waits_but_while_it_is_probed() {
        let pool = concurrency(1, 2);
        let (first, second) = (pool.enter().await, pool.enter().await);
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(pool.enter().await.err(), Some(Shed::Queue));
        drop(second);
        pool.pace.store(1, Ordering::SeqCst);
        pool.holds.store(true, Ordering::SeqCst);
        let mut waits = Box::pin(pool.enter());
        assert!(is_pending(&mut waits).await);
        // No more wait than have room when it is over.
        assert_eq!(pool.enter().await.err(), Some(Shed::Queue));
        drop(first);
        let third = waits.await;
        let mut waits = Box::pin(pool.enter());
        assert!(is_pending(&mut waits).await);
        // Nobody goes before who waits.
        pool.pace.store(2, Ordering::SeqCst);
        assert!(pool.try_enter().is_none());
        pool.pace.store(1, Ordering::SeqCst);
        pool.holds.store(false, Ordering::SeqCst);
        pool.freed.notify_waiters();
        assert_eq!(waits.await.err(), Some(Shed::Queue));
        drop(third);
        assert_eq!((pool.there.load(Ordering::SeqCst), pool.waiting.load(Ordering::SeqCst)), (0, 0));
    }

    #[test]
    fn many_threads_share_it_and_never_exceed_it() {
        let pool = concurrency(1, 3);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..2000u64 {
                        let admitted = pool.try_enter();
                        assert!(pool.there.load(Ordering::SeqCst) <= 3);
                        pool.took(Duration::from_micros(100));
                        pool.pass_time(Duration::from_millis(number));
                        drop(admitted);
                    }
                });
            }
        });
        assert_eq!(pool.figures().there, 0);
        let floor = pool.figures().floor.expect("it is known").as_micros();
        assert!((95..=105).contains(&floor), "{floor}");
    }
}
