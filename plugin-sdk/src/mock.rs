//! A gateway for tests: `cargo test` in a plugin's crate needs neither WebAssembly nor a gateway.
//!
//! ```
//! # use gatewright_sdk::prelude::*;
//! # #[derive(Deserialize)] struct Config { spare: u32 }
//! # struct Fastest { spare: u32 }
//! # impl Balancer for Fastest {
//! #     type Config = Config;
//! #     fn configure(config: Config, _: &Endpoints) -> Result<Self> { Ok(Fastest { spare: config.spare }) }
//! #     fn pick(&mut self, _: &Request, endpoints: &Endpoints) -> Pick {
//! #         endpoints.available().filter(|e| e.active() < self.spare).min_by_key(|e| e.latency() * (e.active() + 1)).into()
//! #     }
//! # }
//! use gatewright_sdk::mock::{Mock, endpoint, get};
//!
//! let endpoints = [endpoint("10.0.0.1:80").latency_us(900), endpoint("10.0.0.2:80").latency_us(300)];
//! let mut gateway = Mock::balancer::<Fastest>(r#"{"spare": 10}"#, endpoints)?;
//! assert_eq!(gateway.pick(&get("http://shop.example/")), Pick::Endpoint(1));
//!
//! gateway.endpoint(1).active(10);
//! assert_eq!(gateway.pick(&get("http://shop.example/")), Pick::Endpoint(0));
//! # Ok::<(), Error>(())
//! ```

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use gatewright_abi::{Column, answer, bound, edit, flag, hash, kind, level, metric, side, text};

use crate::decide::{Route, Verdict};
use crate::error::Result;
use crate::kinds::{Balancer, Filter, Router};
use crate::native::{Host, Instance, Plugin, Table};
use crate::outcome::Outcome;
use crate::pick::Pick;
use crate::runtime::Absent;

mod head;

pub use head::{Head, get, request, response, tcp};

/// A gateway with one plugin.
pub struct Mock {
    instance: Box<dyn Instance>,
    host: Gateway,
    table: Table,
}

/// An endpoint as the plugin sees it. Live values can be changed between picks: [`Mock::endpoint`].
#[derive(Clone, Debug)]
pub struct MockEndpoint {
    address: String,
    zone: String,
    metadata: Vec<(String, String)>,
    id: u64,
    weight: u32,
    priority: u32,
    words: [u32; Column::ALL.len()],
}

/// A healthy endpoint with weight 1 of which nothing is known yet.
pub fn endpoint(address: &str) -> MockEndpoint {
    let mut endpoint = MockEndpoint {
        address: address.into(),
        zone: String::new(),
        metadata: Vec::new(),
        id: crate::hash::bytes(address, 0),
        weight: 1,
        priority: 0,
        words: [0; Column::ALL.len()],
    };
    endpoint.word(Column::Flags, flag::HEALTHY);
    endpoint.word(Column::Load, f32::NAN.to_bits());
    endpoint.word(Column::Warmth, 1f32.to_bits());
    endpoint
}

impl MockEndpoint {
    fn word(&mut self, column: Column, word: u32) {
        if let Some(place) = self.words.get_mut(column.number()) {
            *place = word;
        }
    }

    fn flag(&mut self, flag: u32, is_set: bool) {
        if let Some(flags) = self.words.get_mut(Column::Flags.number()) {
            *flags = if is_set { *flags | flag } else { *flags & !flag };
        }
    }
}

/// Fixed values, for endpoints that are being made.
impl MockEndpoint {
    /// With this id; otherwise it is made of the address.
    #[must_use]
    pub fn id(mut self, id: u64) -> MockEndpoint {
        self.id = id;
        self
    }

    /// With this weight.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> MockEndpoint {
        self.weight = weight;
        self
    }

    /// With this priority.
    #[must_use]
    pub fn priority(mut self, priority: u32) -> MockEndpoint {
        self.priority = priority;
        self
    }

    /// In this zone.
    #[must_use]
    pub fn zone(mut self, zone: &str) -> MockEndpoint {
        self.zone = zone.into();
        self
    }

    /// With this in its metadata.
    #[must_use]
    pub fn metadata(mut self, name: &str, value: &str) -> MockEndpoint {
        self.metadata.push((name.into(), value.into()));
        self
    }
}

macro_rules! live {
    ($($(#[doc = $doc:literal])* $name:ident($value:ident: $type:ty) |$endpoint:ident| $set:expr;)*) => {
        /// Live values, for endpoints that are being made.
        impl MockEndpoint {
            $($(#[doc = $doc])* #[must_use] pub fn $name(mut self, $value: $type) -> MockEndpoint {
                let $endpoint = &mut self;
                $set;
                self
            })*
        }

        /// Live values of an endpoint that is there. They are seen from the next pick on.
        impl LiveEndpoint<'_> {
            $($(#[doc = $doc])* pub fn $name(&mut self, $value: $type) -> &mut Self {
                if let Some($endpoint) = self.endpoints.get_mut(self.index) {
                    $set;
                }
                self
            })*
        }
    };
}

live! {
    /// Whether its checks pass.
    healthy(is: bool) |endpoint| endpoint.flag(flag::HEALTHY, is);
    /// Whether it does less well.
    degraded(is: bool) |endpoint| endpoint.flag(flag::DEGRADED, is);
    /// Whether it was taken out for a while.
    ejected(is: bool) |endpoint| endpoint.flag(flag::EJECTED, is);
    /// Whether it is being taken out for good.
    draining(is: bool) |endpoint| endpoint.flag(flag::DRAINING, is);
    /// Whether the request was sent to it before.
    tried(is: bool) |endpoint| endpoint.flag(flag::TRIED, is);
    /// How much of its share it should get; below 1 it is warming.
    warmth(warmth: f32) |endpoint| {
        endpoint.flag(flag::WARMING, warmth < 1.0);
        endpoint.word(Column::Warmth, warmth.to_bits());
    };
    /// Requests under way to it.
    active(active: u32) |endpoint| endpoint.word(Column::Active, active);
    /// Its latency in microseconds.
    latency_us(micros: u32) |endpoint| endpoint.word(Column::Latency, micros);
    /// Its peak latency in microseconds.
    peak_latency_us(micros: u32) |endpoint| endpoint.word(Column::PeakLatency, micros);
    /// The share of its requests that failed.
    error_rate(share: f32) |endpoint| endpoint.word(Column::Errors, share.to_bits());
    /// Its requests in a second.
    request_rate(rate: f32) |endpoint| endpoint.word(Column::Rate, rate.to_bits());
    /// The load that it reports.
    load(load: f32) |endpoint| endpoint.word(Column::Load, load.to_bits());
}

/// An endpoint whose live values can be changed.
#[derive(Debug)]
pub struct LiveEndpoint<'a> {
    endpoints: std::cell::RefMut<'a, Vec<MockEndpoint>>,
    index: usize,
}

/// A level of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// `log::error!`.
    Error,
    /// `log::warn!`.
    Warn,
    /// `log::info!`.
    Info,
    /// `log::debug!`.
    Debug,
}

impl Mock {
    /// A gateway with this balancer, configured with JSON text, and a pool of these endpoints.
    pub fn balancer<B: Balancer + 'static>(
        config: &str,
        endpoints: impl IntoIterator<Item = MockEndpoint>,
    ) -> Result<Mock> {
        Mock::plugin(Plugin::of::<B, Absent, Absent>(kind::BALANCER), config, endpoints)
    }

    /// A gateway with this router, configured with JSON text.
    pub fn router<R: Router + 'static>(config: &str) -> Result<Mock> {
        Mock::plugin(Plugin::of::<Absent, R, Absent>(kind::ROUTER), config, [])
    }

    /// A gateway with this filter, configured with JSON text.
    pub fn filter<F: Filter + 'static>(config: &str) -> Result<Mock> {
        Mock::plugin(Plugin::of::<Absent, Absent, F>(kind::FILTER), config, [])
    }

    /// A gateway with all kinds of a plugin: what `plugin()` returns.
    pub fn plugin(plugin: Plugin, config: &str, endpoints: impl IntoIterator<Item = MockEndpoint>) -> Result<Mock> {
        let host = Gateway::default();
        let mut table = Table::new();
        host.place(&mut table, endpoints.into_iter().collect());
        let instance = plugin.configure(plugin.kinds(), config, &host, &table)?;
        Ok(Mock { instance, host, table })
    }

    /// What the balancer picks for this request, sent for the first time.
    pub fn pick(&mut self, request: &Head) -> Pick {
        self.pick_again(request, 0)
    }

    /// What the balancer picks for this request, which was sent so often before.
    pub fn pick_again(&mut self, request: &Head, attempt: u32) -> Pick {
        self.host.write_wanted(&self.table);
        self.host.show(Some(request), None);
        self.instance.pick(&self.host, &self.table, attempt)
    }

    /// Tells the balancer how an attempt ended.
    pub fn outcome(&mut self, outcome: Outcome) {
        self.host.show(None, None);
        self.instance.outcome(&self.host, &self.table, &outcome);
    }

    /// Where the router sends this request, which has been changed when this returns.
    pub fn route(&mut self, request: &Head) -> Route {
        self.host.show(Some(request), None);
        let route = self.instance.route(&self.host);
        self.host.do_changes();
        route
    }

    /// What the filter does with this request, which has been changed when this returns.
    pub fn on_request(&mut self, request: &Head) -> Verdict {
        self.host.show(Some(request), None);
        let verdict = self.instance.on_request(&self.host);
        self.host.do_changes();
        verdict
    }

    /// What the filter does with this response, which has been changed when this returns.
    pub fn on_response(&mut self, request: &Head, response: &Head) -> Verdict {
        self.host.show(Some(request), Some(response));
        let verdict = self.instance.on_response(&self.host);
        self.host.do_changes();
        verdict
    }

    /// Lets time pass for the plugin.
    pub fn tick(&mut self) -> Option<Duration> {
        self.host.show(None, None);
        self.instance.tick(&self.host, &self.table)
    }

    /// Other endpoints.
    pub fn change_endpoints(&mut self, endpoints: impl IntoIterator<Item = MockEndpoint>) {
        self.host.show(None, None);
        self.host.place(&mut self.table, endpoints.into_iter().collect());
        self.instance.endpoints_changed(&self.host, &self.table);
    }

    /// An endpoint of which live values change.
    pub fn endpoint(&mut self, index: usize) -> LiveEndpoint<'_> {
        LiveEndpoint { endpoints: self.host.endpoints.borrow_mut(), index }
    }

    /// The state that the plugin hands to its next version.
    pub fn snapshot(&mut self) -> Option<Vec<u8>> {
        self.host.show(None, None);
        self.instance.snapshot(&self.host)
    }

    /// Hands it the state of the version before.
    pub fn restore(&mut self, state: &[u8]) -> Result<()> {
        self.host.show(None, None);
        self.instance.restore(&self.host, &self.table, state)
    }

    /// Moves the clock.
    pub fn advance(&mut self, time: Duration) {
        self.host.now.set(self.host.now.get() + time);
    }

    /// Sets the clock that people use.
    pub fn set_unix_time(&mut self, time: Duration) {
        self.host.unix.set(time.saturating_sub(self.host.now.get()));
    }

    /// Random numbers are the same in every run. This makes them others, for a plugin that has not used one yet.
    pub fn seed(&mut self, seed: u64) {
        self.host.seed.set(seed);
    }

    /// The value of a counter or gauge; of a histogram, the sum of what was recorded. 0 when there is none.
    pub fn metric(&self, name: &str) -> f64 {
        self.labelled_metric(name, "", "")
    }

    /// The same for a series with a label.
    pub fn labelled_metric(&self, name: &str, label: &str, value: &str) -> f64 {
        self.series(name, label, value).iter().sum()
    }

    /// What was recorded in a histogram.
    pub fn recorded(&self, name: &str) -> Vec<f64> {
        self.series(name, "", "")
    }

    fn series(&self, name: &str, label: &str, value: &str) -> Vec<f64> {
        let wanted = [name, label, value].map(|part| part.as_bytes().to_vec());
        let series = self.host.series.borrow();
        series.iter().find(|one| one.name == wanted).map(|one| one.values.clone()).unwrap_or_default()
    }

    /// The lines that were logged so far, each once.
    pub fn logs(&mut self) -> Vec<(Level, String)> {
        self.host.logs.take()
    }
}

impl std::fmt::Debug for Mock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mock").field("table", &self.table).finish_non_exhaustive()
    }
}

struct Series {
    kind: u32,
    /// Name, label, value of the label.
    name: [Vec<u8>; 3],
    values: Vec<f64>,
}

/// What the plugin asks.
struct Gateway {
    endpoints: RefCell<Vec<MockEndpoint>>,
    request: RefCell<Option<Head>>,
    response: RefCell<Option<Head>>,
    changes: RefCell<Vec<Change>>,
    now: Cell<Duration>,
    unix: Cell<Duration>,
    seed: Cell<u64>,
    logs: RefCell<Vec<(Level, String)>>,
    series: RefCell<Vec<Series>>,
    slots: RefCell<[i64; bound::SLOTS as usize]>,
    shared: RefCell<HashMap<Vec<u8>, Entry>>,
}

impl Default for Gateway {
    fn default() -> Gateway {
        Gateway {
            endpoints: RefCell::default(),
            request: RefCell::default(),
            response: RefCell::default(),
            changes: RefCell::default(),
            now: Cell::default(),
            unix: Cell::default(),
            seed: Cell::new(1),
            logs: RefCell::default(),
            series: RefCell::default(),
            slots: RefCell::new([0; bound::SLOTS as usize]),
            shared: RefCell::default(),
        }
    }
}

/// What a plugin wants changed: done when its call has returned.
enum Change {
    Field { how: u32, side: u32, name: Vec<u8>, value: Vec<u8> },
    Path(Vec<u8>),
    Status(u16),
}

struct Entry {
    value: Vec<u8>,
    ends: Option<Duration>,
}

impl Gateway {
    /// What the next call is about.
    fn show(&self, request: Option<&Head>, response: Option<&Head>) {
        self.request.replace(request.cloned());
        self.response.replace(response.cloned());
        self.changes.take();
    }

    fn note(&self, side: u32, allowed: bool, change: Change) -> i32 {
        let mut changes = self.changes.borrow_mut();
        match self.of_side(side, |_| ()) {
            None => answer::NOT_NOW,
            Some(()) if !allowed => answer::INVALID,
            Some(()) if changes.len() >= bound::EDITS => answer::FULL,
            Some(()) => {
                changes.push(change);
                answer::DONE
            }
        }
    }

    fn do_changes(&self) {
        for change in self.changes.take() {
            match change {
                Change::Field { how, side, name, value } => self.of_side(side, |head| head.edit(how, &name, &value)),
                Change::Path(path) => self.of_request(|head| head.set_path(&path)),
                Change::Status(status) => self.of_side(side::RESPONSE, |head| head.set_status(status)),
            };
        }
    }

    fn place(&self, table: &mut Table, endpoints: Vec<MockEndpoint>) {
        table.reset(u32::try_from(endpoints.len()).unwrap_or(0));
        for (index, endpoint) in (0..table.count()).zip(&endpoints) {
            table.set_id(index, endpoint.id);
            table.set_text(Column::Address, index, endpoint.address.as_bytes());
            table.set_text(Column::Zone, index, endpoint.zone.as_bytes());
            let metadata = endpoint.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            table.set_metadata(index, metadata);
        }
        for (column, value) in [
            (Column::Weight, (|endpoint| endpoint.weight) as fn(&MockEndpoint) -> u32),
            (Column::Priority, |endpoint| endpoint.priority),
        ] {
            for (word, endpoint) in table.words(column).iter().zip(&endpoints) {
                word.set(value(endpoint));
            }
        }
        self.endpoints.replace(endpoints);
        self.write_wanted(table);
    }

    fn write_wanted(&self, table: &Table) {
        for column in table.wanted() {
            self.column(table, column);
        }
    }

    fn of_side<T>(&self, number: u32, work: impl FnOnce(&Head) -> T) -> Option<T> {
        match number {
            side::REQUEST => self.request.borrow().as_ref().map(work),
            side::RESPONSE => self.response.borrow().as_ref().map(work),
            _ => None,
        }
    }

    fn change(&self, metric: i32, change: impl FnOnce(&mut Vec<f64>)) {
        let mut series = self.series.borrow_mut();
        if let Some(one) = usize::try_from(metric).ok().and_then(|number| series.get_mut(number)) {
            change(&mut one.values);
        }
    }

    fn of_request<T>(&self, work: impl FnOnce(&Head) -> T) -> Option<T> {
        self.of_side(side::REQUEST, work)
    }
}

/// Hands a value over, if there is one.
fn tell(value: Option<Option<Vec<u8>>>, read: &mut dyn FnMut(&[u8])) -> bool {
    match value.flatten() {
        Some(value) => {
            read(&value);
            true
        }
        None => false,
    }
}

impl Host for Gateway {
    fn column(&self, table: &Table, column: Column) {
        for (word, endpoint) in table.words(column).iter().zip(self.endpoints.borrow().iter()) {
            word.set(endpoint.words.get(column.number()).copied().unwrap_or(0));
        }
    }

    fn request_text(&self, what: u32, read: &mut dyn FnMut(&[u8])) -> bool {
        tell(self.of_request(|head| head.text(what)), read)
    }

    fn cookie(&self, name: &[u8], read: &mut dyn FnMut(&[u8])) -> bool {
        tell(self.of_request(|head| head.cookie(name)), read)
    }

    fn query_value(&self, name: &[u8], read: &mut dyn FnMut(&[u8])) -> bool {
        tell(self.of_request(|head| head.query_value(name)), read)
    }

    fn header(&self, side: u32, name: &[u8], read: &mut dyn FnMut(&[u8])) -> bool {
        tell(self.of_side(side, |head| head.first(name)), read)
    }

    fn headers(&self, side: u32, each: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        self.of_side(side, |head| head.each(each)).is_some()
    }

    fn hash(&self, what: u32, name: &[u8], seed: u64) -> u64 {
        let value = self.of_request(|head| match what {
            hash::CLIENT => head.text(text::CLIENT),
            hash::PATH => head.text(text::PATH),
            hash::AUTHORITY => head.text(text::AUTHORITY),
            hash::HEADER => head.first(name),
            hash::COOKIE => head.cookie(name),
            hash::QUERY => head.query_value(name),
            hash::TAG => head.tag_bytes(name),
            _ => None,
        });
        value.flatten().map_or(0, |value| gatewright_abi::hash64(&value, seed).max(1))
    }

    fn edit_header(&self, how: u32, side: u32, name: &[u8], value: &[u8]) -> i32 {
        let allowed = matches!(how, edit::SET | edit::ADD | edit::REMOVE) && head::allows(name, value);
        self.note(side, allowed, Change::Field { how, side, name: name.to_vec(), value: value.to_vec() })
    }

    fn set_path(&self, path: &[u8]) -> i32 {
        self.note(side::REQUEST, path.starts_with(b"/") && str::from_utf8(path).is_ok(), Change::Path(path.to_vec()))
    }

    fn status(&self) -> i32 {
        self.of_side(side::RESPONSE, |head| head.status().into()).unwrap_or(answer::NOT_NOW)
    }

    fn set_status(&self, status: u32) -> i32 {
        let known = u16::try_from(status).ok().filter(|status| (200..600).contains(status));
        self.note(side::RESPONSE, known.is_some(), Change::Status(known.unwrap_or(0)))
    }

    fn tag(&self, name: &[u8], read: &mut dyn FnMut(&[u8])) -> bool {
        tell(self.of_request(|head| head.tag_bytes(name)), read)
    }

    fn set_tag(&self, name: &[u8], value: &[u8]) -> i32 {
        self.of_request(|head| head.set_tag(name, value)).unwrap_or(answer::NOT_NOW)
    }

    fn log(&self, number: u32, text: &[u8]) {
        let level = match number {
            level::ERROR => Level::Error,
            level::WARN => Level::Warn,
            level::INFO => Level::Info,
            _ => Level::Debug,
        };
        self.logs.borrow_mut().push((level, String::from_utf8_lossy(text).into_owned()));
    }

    fn clock(&self) -> u64 {
        u64::try_from(self.now.get().as_micros()).unwrap_or(u64::MAX)
    }

    fn unix_time(&self) -> u64 {
        u64::try_from((self.unix.get() + self.now.get()).as_millis()).unwrap_or(u64::MAX)
    }

    fn random(&self) -> u64 {
        self.seed.get()
    }

    fn metric(&self, kind: u32, name: &[u8], label: &[u8], value: &[u8]) -> i32 {
        let is_word = |name: &[u8]| name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let parts = [name, label, value];
        let is_long = parts.iter().any(|part| part.len() > bound::METRIC_BYTES);
        if kind > metric::HISTOGRAM || name.is_empty() || is_long || !is_word(name) || !is_word(label) {
            return answer::INVALID;
        }
        let mut series = self.series.borrow_mut();
        let parts = parts.map(<[u8]>::to_vec);
        let number = match series.iter().position(|one| one.name == parts) {
            Some(number) if series.get(number).is_some_and(|one| one.kind != kind) => return answer::INVALID,
            Some(number) => number,
            None if series.len() >= bound::METRICS => return answer::FULL,
            None => {
                series.push(Series { kind, name: parts, values: Vec::new() });
                series.len() - 1
            }
        };
        i32::try_from(number).unwrap_or(answer::FULL)
    }

    fn metric_add(&self, metric: i32, by: f64) {
        self.change(metric, |values| *values = vec![values.iter().sum::<f64>() + by]);
    }

    fn metric_set(&self, metric: i32, value: f64) {
        self.change(metric, |values| *values = vec![value]);
    }

    fn metric_record(&self, metric: i32, value: f64) {
        self.change(metric, |values| values.push(value));
    }

    fn slot_load(&self, slot: u32) -> i64 {
        self.slots.borrow().get(slot as usize).copied().unwrap_or(0)
    }

    fn slot_store(&self, slot: u32, value: i64) {
        if let Some(place) = self.slots.borrow_mut().get_mut(slot as usize) {
            *place = value;
        }
    }

    fn slot_add(&self, slot: u32, by: i64) -> i64 {
        let before = self.slot_load(slot);
        self.slot_store(slot, before.wrapping_add(by));
        before
    }

    fn slot_swap(&self, slot: u32, expected: i64, value: i64) -> i64 {
        let before = self.slot_load(slot);
        if before == expected {
            self.slot_store(slot, value);
        }
        before
    }

    fn shared_get(&self, key: &[u8], read: &mut dyn FnMut(&[u8])) -> bool {
        let shared = self.shared.borrow();
        let lives = |entry: &&Entry| entry.ends.is_none_or(|ends| self.now.get() < ends);
        tell(Some(shared.get(key).filter(lives).map(|entry| entry.value.clone())), read)
    }

    fn shared_set(&self, key: &[u8], value: &[u8], ms: u64) -> i32 {
        if key.is_empty() || key.len() > bound::SHARED_KEY_BYTES {
            return answer::INVALID;
        }
        let mut shared = self.shared.borrow_mut();
        let bytes: usize = shared.iter().filter(|(known, _)| *known != key).map(|(k, e)| k.len() + e.value.len()).sum();
        let is_new = !shared.contains_key(key);
        if bytes + key.len() + value.len() > bound::SHARED_BYTES || (is_new && shared.len() >= bound::SHARED_ENTRIES) {
            return answer::FULL;
        }
        let ends = (ms > 0).then(|| self.now.get().saturating_add(Duration::from_millis(ms)));
        shared.insert(key.to_vec(), Entry { value: value.to_vec(), ends });
        answer::DONE
    }

    fn shared_remove(&self, key: &[u8]) -> i32 {
        match self.shared.borrow_mut().remove(key) {
            Some(_) => answer::DONE,
            None => answer::ABSENT,
        }
    }
}
