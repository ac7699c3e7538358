//! Which endpoints of a pool get requests, and what share of them.

use std::time::Duration;

/// What the gateway decides about endpoints before any balancer does.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// `distrust_below`: a share of ten thousand; 0: never.
    pub distrust_below: u32,
    /// `spill_factor`: how much more than their share the endpoints of a priority can take.
    pub spill_factor: f64,
    /// `prefer_zone`, where the gateway has a zone: that endpoints in it go before others.
    pub zone: Option<Zone>,
    /// `subset`
    pub subset: Option<Subset>,
    /// `slow_start`
    pub slow_start: Option<SlowStart>,
    /// `load`
    pub load: Option<Load>,
}

impl Default for Selection {
    fn default() -> Selection {
        Selection { distrust_below: 5000, spill_factor: 1.4, zone: None, subset: None, slow_start: None, load: None }
    }
}

/// `prefer_zone = true | { share, spill_factor }`
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    /// The gateway's own.
    pub home: String,
    /// `share`: of all requests to the pool, how many of ten thousand come in at gateways of this zone; `None`: as many as in every other.
    pub share: Option<u32>,
    /// `spill_factor`: how much more than its part the zone keeps. Default 1.
    pub spill_factor: f64,
}

/// `subset`: a gateway uses so many endpoints of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subset {
    /// How many of each priority.
    pub size: u32,
    /// What the gateway is called, by which its endpoints are chosen.
    pub name: String,
}

/// `slow_start = "30s" | { time, curve, least }`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    /// `time`: until it has its whole share.
    pub time: Duration,
    /// `curve`: 1 rises evenly, more is slow at first, less is quick at first. Default 1.
    pub curve: f64,
    /// `least`: what it has at first, of ten thousand. Default 10 %.
    pub least: u32,
}

/// `load = { path, interval, timeout, age, headers, metric }`: what endpoints say of their load.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// `path`: where they are asked; `None`: they are not.
    pub path: Option<String>,
    /// `port`: `None`: the endpoint's own.
    pub port: Option<u16>,
    /// `interval`: how often. Default 2 s.
    pub interval: Duration,
    /// `timeout`: of one question. Default 1 s.
    pub timeout: Duration,
    /// `age`: what is older is forgotten. Default 10 s.
    pub age: Duration,
    /// `headers`: whether `endpoint-load-metrics` in responses is read and taken out. Default false.
    pub headers: bool,
    /// `metric`: which number is the load; `None`: the first that is known.
    pub metric: Option<String>,
}
