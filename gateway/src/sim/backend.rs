//! A backend: so many servers and a queue before them.
//!
//! Requests are served in the order in which they came. It does not notice that somebody has gone: work that was accepted is
//! done, which is what makes an overload last.

use std::collections::VecDeque;

use super::plan::{Failing, Rules};

/// A backend at work.
#[derive(Debug)]
pub struct Backend<T> {
    servers: usize,
    queue: usize,
    /// `None` while it is not there; else when it started.
    started: Option<u64>,
    /// How often it has gone, so that what was under way then is known to be lost.
    pub lives: u32,
    running: Vec<T>,
    waiting: VecDeque<Job<T>>,
    /// Most requests that it had at once.
    pub peak: u32,
}

/// Work for one request.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Job<T> {
    /// Whose.
    pub request: T,
    /// How long it takes a backend of the usual speed, in nanoseconds.
    pub work: f64,
    /// From 0 to 1; less than the rate of errors and it fails.
    pub luck: f64,
}

/// What a backend makes of a job.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Offered {
    /// It has begun.
    Begun(Begun),
    /// It waits.
    Waits,
    /// It has as many waiting as it takes.
    Full,
    /// Nobody is there.
    Down,
}

/// A job that has begun.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Begun {
    /// When it will be done.
    pub done: u64,
    /// Whether as an error.
    pub failed: bool,
}

impl<T: Copy + PartialEq> Backend<T> {
    /// One that has just started, unless it is down.
    pub fn new(rules: &Rules) -> Backend<T> {
        Backend {
            servers: rules.group.servers as usize,
            queue: rules.group.queue as usize,
            started: (!rules.is_down(0)).then_some(0),
            lives: 0,
            running: Vec::new(),
            waiting: VecDeque::new(),
            peak: 0,
        }
    }

    /// Whether it is there.
    pub fn is_up(&self) -> bool {
        self.started.is_some()
    }

    /// Takes a job, if it can.
    pub fn offer(&mut self, job: Job<T>, now: u64, rules: &Rules) -> Offered {
        let Some(started) = self.started else { return Offered::Down };
        if self.running.len() < self.servers {
            self.running.push(job.request);
            self.note();
            return Offered::Begun(begin(&job, now, started, rules));
        }
        if self.waiting.len() >= self.queue {
            return Offered::Full;
        }
        self.waiting.push_back(job);
        self.note();
        Offered::Waits
    }

    /// A job is done; the next one that has begun therefore.
    pub fn done(&mut self, request: T, now: u64, rules: &Rules) -> Option<(T, Begun)> {
        if let Some(at) = self.running.iter().position(|running| *running == request) {
            self.running.swap_remove(at);
        }
        let (started, next) = (self.started?, self.waiting.pop_front()?);
        self.running.push(next.request);
        Some((next.request, begin(&next, now, started, rules)))
    }

    /// Leaves or returns, as its rules say. Those whose requests are lost.
    pub fn turn(&mut self, now: u64, rules: &Rules) -> Vec<T> {
        match (self.started, rules.is_down(now)) {
            (Some(_), true) => {
                self.started = None;
                self.lives += 1;
                let waiting = self.waiting.drain(..).map(|job| job.request);
                self.running.drain(..).chain(waiting).collect()
            }
            (None, false) => {
                self.started = Some(now);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn note(&mut self) {
        let load = self.running.len() + self.waiting.len();
        self.peak = self.peak.max(u32::try_from(load).unwrap_or(u32::MAX));
    }
}

fn begin<T>(job: &Job<T>, now: u64, started: u64, rules: &Rules) -> Begun {
    let takes = || (job.work * rules.slowness(now, started)) as u64;
    match rules.failing(now, job.luck) {
        Some(Failing(time)) => Begun { done: now.saturating_add(time.unwrap_or_else(takes)), failed: true },
        None => Begun { done: now.saturating_add(takes()), failed: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::plan::Plan;
    use crate::sim::scenario::Scenario;

    fn rules(text: &str) -> Rules {
        let scenario = Scenario::parse(&format!("rate = 10\n[[backend]]\nservers = 1\nqueue = 1\n{text}")).unwrap();
        Plan::new(&scenario, 100).unwrap().rules.remove(0)
    }

    fn job(request: u8) -> Job<u8> {
        Job { request, work: 100.0, luck: 0.5 }
    }

    #[test]
    fn jobs_run_wait_and_are_turned_away() {
        let rules = rules("slow = 2");
        let mut backend = Backend::new(&rules);
        assert_eq!(backend.offer(job(1), 0, &rules), Offered::Begun(Begun { done: 200, failed: false }));
        assert_eq!(backend.offer(job(2), 10, &rules), Offered::Waits);
        assert_eq!(backend.offer(job(3), 20, &rules), Offered::Full);
        assert_eq!(backend.done(1, 200, &rules), Some((2, Begun { done: 400, failed: false })));
        assert_eq!((backend.done(2, 400, &rules), backend.peak), (None, 2));
    }

    #[test]
    fn whoever_is_there_when_it_goes_is_lost() {
        let rules = rules("down = [{ from = '1s', to = '2s' }]");
        let mut backend = Backend::new(&rules);
        backend.offer(job(1), 0, &rules);
        backend.offer(job(2), 0, &rules);
        assert_eq!(backend.turn(1_000_000_000, &rules), [1, 2]);
        assert_eq!(backend.offer(job(3), 1_500_000_000, &rules), Offered::Down);
        assert_eq!((backend.turn(2_000_000_000, &rules), backend.lives), (vec![], 1));
        assert!(matches!(backend.offer(job(3), 2_000_000_000, &rules), Offered::Begun(_)));
    }

    #[test]
    fn a_failure_takes_its_own_time() {
        let rules = rules("errors = [{ rate = 0.6, time = '1ms' }]");
        let begun = Backend::new(&rules).offer(job(1), 0, &rules);
        assert_eq!(begun, Offered::Begun(Begun { done: 1_000_000, failed: true }));
    }
}
