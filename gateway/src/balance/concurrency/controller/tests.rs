//! The controller before a simulated pool: servers with one queue, requests that come at random, clients that are refused go away.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::super::samples::Samples;
use super::*;

const MS: f64 = 0.001;

/// A pool with servers and a queue before them.
struct Pool {
    now: f64,
    random: fastrand::Rng,
    servers: usize,
    /// Seconds.
    service: f64,
    /// Of the logarithms of service times.
    spread: f64,
    /// Requests a second.
    rate: f64,
    /// Of all requests, those that take so long and no server: long polls.
    polls: (f64, f64),
    next: f64,
    /// When each server will be done, and when its request came.
    at_work: BinaryHeap<Reverse<(u64, u64)>>,
    polling: BinaryHeap<Reverse<(u64, u64)>>,
    queue: VecDeque<f64>,
    waiting: VecDeque<f64>,
    controller: Controller,
    samples: Samples,
    ticked: f64,
}

/// What happened in a while.
#[derive(Default, Debug)]
struct Seen {
    answered: u32,
    refused: u32,
    /// Seconds from coming to the answer, of those that are no long polls.
    latencies: Vec<f64>,
}

impl Seen {
    fn percentile(&self, part: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get((sorted.len() as f64 * part) as usize).copied().unwrap_or(f64::NAN)
    }

    fn refused_share(&self) -> f64 {
        f64::from(self.refused) / f64::from(self.refused + self.answered)
    }
}

fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

impl Pool {
    fn new(servers: usize, service: f64, load: f64) -> Pool {
        let bounds = Bounds { least: 10, most: 10_000, tolerance: 1.5 };
        Pool {
            now: 0.0,
            random: fastrand::Rng::with_seed(7),
            servers,
            service,
            spread: 0.3,
            rate: load * servers as f64 / service,
            polls: (0.0, 0.0),
            next: 0.0,
            at_work: BinaryHeap::new(),
            polling: BinaryHeap::new(),
            queue: VecDeque::new(),
            waiting: VecDeque::new(),
            controller: Controller::new(bounds, Duration::ZERO),
            samples: Samples::default(),
            ticked: 0.0,
        }
    }

    fn load(&mut self, load: f64) {
        self.rate = load * self.servers as f64 / self.service;
    }

    fn there(&self) -> u32 {
        (self.at_work.len() + self.polling.len() + self.queue.len()) as u32
    }

    fn normal(&mut self) -> f64 {
        let (a, b) = (self.random.f64().max(1e-12), self.random.f64());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    /// Lets servers take what waits for them.
    fn serve(&mut self) {
        while self.at_work.len() < self.servers && !self.queue.is_empty() {
            let came = self.queue.pop_front().unwrap();
            let time = self.service * (self.spread * self.normal() - self.spread * self.spread / 2.0).exp();
            self.at_work.push(Reverse((nanos(self.now + time), nanos(came))));
        }
    }

    fn enter(&mut self) {
        let came = self.now;
        if self.random.f64() < self.polls.0 {
            self.polling.push(Reverse((nanos(self.now + self.polls.1), nanos(came))));
        } else {
            self.queue.push_back(came);
            self.serve();
        }
        self.samples.there(self.there());
    }

    /// Lets those go on that wait for a probe, or refuses them.
    fn admit(&mut self, seen: &mut Seen) {
        while !self.waiting.is_empty() && self.there() < self.controller.pace() {
            self.waiting.pop_front();
            self.enter();
        }
        if !self.controller.holds() {
            (0..self.waiting.len()).for_each(|_| self.refuse(seen));
            self.waiting.clear();
        }
    }

    fn refuse(&mut self, seen: &mut Seen) {
        self.samples.shed();
        seen.refused += 1;
    }

    fn run(&mut self, seconds: f64) -> Seen {
        let (mut seen, end) = (Seen::default(), self.now + seconds);
        loop {
            let done = self.at_work.peek().map_or(f64::MAX, |Reverse((at, _))| *at as f64 / 1e9);
            let polled = self.polling.peek().map_or(f64::MAX, |Reverse((at, _))| *at as f64 / 1e9);
            let tick = self.ticked + 0.1;
            let soonest = done.min(polled).min(tick).min(self.next).min(end);
            self.now = self.now.max(soonest);
            if soonest == end {
                return seen;
            } else if soonest == tick {
                self.ticked = tick;
                let now = Duration::from_secs_f64(tick);
                if self.controller.is_due(now, self.samples.answers(), self.waiting.len() as u32) {
                    self.controller.step(now, &self.samples.take(self.there()));
                }
            } else if soonest == done || soonest == polled {
                let of = if soonest == done { &mut self.at_work } else { &mut self.polling };
                let Some(Reverse((_, came))) = of.pop() else { continue };
                let took = self.now - came as f64 / 1e9;
                self.samples.note(Duration::from_secs_f64(took.max(0.0)));
                seen.answered += 1;
                if soonest == done {
                    seen.latencies.push(took);
                }
                self.serve();
            } else {
                self.next = self.now - self.random.f64().max(1e-12).ln() / self.rate;
                let all = self.there() + self.waiting.len() as u32;
                if self.controller.holds() && all >= self.controller.limit() {
                    self.refuse(&mut seen);
                } else {
                    self.waiting.push_back(self.now);
                }
            }
            self.admit(&mut seen);
        }
    }
}

#[test]
fn twice_as_much_as_can_be_done_is_halved_and_stays_quick() {
    for (servers, service) in [(40, 50.0 * MS), (16, 5.0 * MS), (200, 200.0 * MS)] {
        let mut pool = Pool::new(servers, service, 0.5);
        assert_eq!(pool.run(5.0).refused, 0);
        pool.load(2.0);
        pool.run(10.0);
        let seen = pool.run(60.0);
        let goodput = seen.latencies.len() as f64 / 60.0 * service / servers as f64;
        let (median, p99) = (seen.percentile(0.5) / service, seen.percentile(0.99) / service);
        assert!(goodput > 0.95 && median < 2.2 && p99 < 5.0, "{servers}: {goodput} {median} {p99}");
    }
}

#[test]
fn below_what_can_be_done_nobody_is_refused() {
    for (load, spread, most) in [(0.1, 1.0, 0.0), (0.5, 1.0, 0.0), (0.8, 0.0, 0.0), (0.8, 0.5, 0.0), (0.8, 1.0, 0.005)]
    {
        let mut pool = Pool::new(40, 50.0 * MS, load);
        pool.spread = spread;
        let seen = pool.run(120.0);
        // What comes at random is too much for a moment, now and then.
        assert!(seen.refused_share() <= most, "load {load}, spread {spread}: {}", seen.refused_share());
    }
}

#[test]
fn a_start_into_too_much_finds_the_limit_too() {
    let mut pool = Pool::new(40, 50.0 * MS, 2.0);
    pool.run(10.0);
    let seen = pool.run(60.0);
    let goodput = seen.latencies.len() as f64 / 60.0 * pool.service / 40.0;
    assert!(goodput > 0.95 && seen.percentile(0.5) < 2.2 * pool.service);
}

#[test]
fn half_of_the_servers_go_and_come_back_and_the_limit_follows() {
    let mut pool = Pool::new(40, 50.0 * MS, 1.5);
    pool.run(20.0);
    let before = pool.controller.limit();
    pool.servers = 20;
    pool.run(10.0);
    let seen = pool.run(30.0);
    let goodput = seen.latencies.len() as f64 / 30.0 * pool.service / 20.0;
    assert!(goodput > 0.95 && seen.percentile(0.5) < 2.2 * pool.service);
    assert!(pool.controller.limit() < before * 3 / 4);
    pool.servers = 40;
    pool.run(10.0);
    let seen = pool.run(30.0);
    let goodput = seen.latencies.len() as f64 / 30.0 * pool.service / 40.0;
    assert!(goodput > 0.95 && seen.percentile(0.5) < 2.2 * pool.service);
}

#[test]
fn what_becomes_slower_without_a_queue_is_not_refused() {
    let mut pool = Pool::new(100, 20.0 * MS, 0.4);
    assert_eq!(pool.run(20.0).refused, 0);
    // Twice as slow, with servers enough.
    pool.service *= 2.0;
    let seen = pool.run(60.0);
    assert_eq!(seen.refused, 0);
    let floor = pool.controller.floor().unwrap().as_secs_f64();
    assert!((0.7..1.3).contains(&(floor / pool.service)), "{floor}");
    pool.service /= 4.0;
    assert_eq!(pool.run(60.0).refused, 0);
    let floor = pool.controller.floor().unwrap().as_secs_f64();
    assert!((0.7..1.3).contains(&(floor / pool.service)), "{floor}");
}

#[test]
fn long_polls_beside_quick_requests_teach_nothing() {
    let mut pool = Pool::new(40, 20.0 * MS, 0.6);
    pool.polls = (0.02, 10.0);
    let seen = pool.run(120.0);
    assert_eq!(seen.refused, 0);
    // And when there is too much, they keep their room.
    pool.load(2.0);
    pool.run(30.0);
    let seen = pool.run(60.0);
    let goodput = seen.latencies.len() as f64 / 60.0 * pool.service / 40.0;
    assert!(goodput > 0.9 && seen.percentile(0.5) < 2.5 * pool.service, "{goodput}");
}

#[test]
fn noise_is_no_queue_and_does_not_hide_one() {
    let mut pool = Pool::new(40, 50.0 * MS, 0.6);
    pool.spread = 1.2;
    let seen = pool.run(300.0);
    assert_eq!(seen.refused, 0);
    pool.load(2.0);
    pool.run(10.0);
    let seen = pool.run(60.0);
    let goodput = seen.latencies.len() as f64 / 60.0 * pool.service / 40.0;
    assert!(goodput > 0.9 && seen.percentile(0.5) < 2.5 * pool.service, "{goodput}");
}

#[test]
fn a_pool_that_hangs_is_left_alone_until_it_answers() {
    let mut pool = Pool::new(40, 20.0 * MS, 0.5);
    pool.run(10.0);
    let servers = std::mem::replace(&mut pool.servers, 0);
    pool.run(20.0);
    assert_eq!((pool.controller.limit(), pool.controller.reason()), (10, Shed::Silence));
    pool.servers = servers;
    pool.serve();
    pool.run(10.0);
    let seen = pool.run(30.0);
    assert_eq!((seen.refused, pool.controller.reason()), (0, Shed::Queue));
}

#[test]
fn silence_is_nothing_to_go_by_before_anything_is_known_and_for_long_polls() {
    let mut pool = Pool::new(40, 20.0 * MS, 0.5);
    pool.polls = (1.0, 60.0);
    pool.rate = 5.0;
    let seen = pool.run(59.0);
    assert_eq!((seen.refused, pool.controller.limit()), (0, 10_000));
    assert_eq!(pool.run(120.0).refused, 0);
}

#[test]
fn other_bounds_hold_at_once() {
    let mut controller = Controller::new(Bounds { least: 10, most: 100, tolerance: 1.5 }, Duration::ZERO);
    controller.rebound(Bounds { least: 10, most: 1000, tolerance: 1.5 });
    assert_eq!(controller.limit(), 1000);
    controller.set_limit(50.0);
    controller.rebound(Bounds { least: 60, most: 1000, tolerance: 1.5 });
    assert_eq!((controller.limit(), controller.pace()), (60, 60));
}
