//! What the mock gateway answers when a plugin asks.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use gatewright_abi::{Column, answer, bound, cache, edit, hash, level, metric, side, text};

use super::head::{self, Head};
use super::record::{self, Around, Facts};
use super::shown::Matter;
use super::{Level, MockEndpoint};
use crate::native::{Host, Table};

pub(super) struct Series {
    kind: u32,
    /// Name, label, value of the label.
    pub(super) name: [Vec<u8>; 3],
    pub(super) values: Vec<f64>,
}

/// What the plugin asks.
pub(super) struct Gateway {
    pub(super) endpoints: RefCell<Vec<MockEndpoint>>,
    request: RefCell<Option<Head>>,
    response: RefCell<Option<Head>>,
    changes: RefCell<Vec<Change>>,
    /// What of the cache the call may speak of.
    matter: Cell<Matter>,
    /// The request is to go past the cache: the plugin says so, or a part of the key was not taken.
    bypass: Cell<bool>,
    pub(super) now: Cell<Duration>,
    pub(super) unix: Cell<Duration>,
    pub(super) seed: Cell<u64>,
    pub(super) logs: RefCell<Vec<(Level, String)>>,
    pub(super) series: RefCell<Vec<Series>>,
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
            matter: Cell::default(),
            bypass: Cell::default(),
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
    Field {
        how: u32,
        side: u32,
        name: Vec<u8>,
        value: Vec<u8>,
    },
    Path(Vec<u8>),
    Status(u16),
    Cache {
        what: u32,
        text: Vec<u8>,
        seconds: u64,
    },
    /// Done at once, since it is read at once.
    Tag {
        name: Vec<u8>,
        value: Vec<u8>,
    },
}

struct Entry {
    value: Vec<u8>,
    ends: Option<Duration>,
}

impl Gateway {
    /// What the next call is about.
    pub(super) fn show(&self, request: Option<&Head>, response: Option<&Head>) {
        self.request.replace(request.cloned());
        self.response.replace(response.cloned());
        self.changes.take();
        self.matter.set(Matter::None);
        self.bypass.set(false);
    }

    /// What of the cache that call may speak of.
    pub(super) fn about(&self, matter: Matter) {
        self.matter.set(matter);
    }

    fn note(&self, side: u32, allowed: bool, change: Change) -> i32 {
        let mut changes = self.changes.borrow_mut();
        // Fields of a response that is still to come are those of its request.
        let later = matches!(change, Change::Field { .. }) && side == side::RESPONSE;
        match self.of_side(if later { side::REQUEST } else { side }, |_| ()) {
            None => answer::NOT_NOW,
            Some(()) if !allowed => answer::INVALID,
            Some(()) if changes.len() >= bound::EDITS => answer::FULL,
            Some(()) => {
                changes.push(change);
                answer::DONE
            }
        }
    }

    /// Does what a pick may change.
    pub(super) fn do_response_changes(&self) {
        let is_of_response = |change: &mut Change| matches!(change, Change::Field { side: side::RESPONSE, .. });
        let kept: Vec<Change> = self.changes.borrow_mut().extract_if(.., is_of_response).collect();
        self.of_request(Head::clear_response);
        self.changes.replace(kept);
        self.do_changes();
    }

    pub(super) fn do_changes(&self) {
        for change in self.changes.take() {
            match change {
                Change::Field { how, side, name, value } if self.of_side(side, |_| ()).is_none() => {
                    self.of_request(|head| head.edit_response(how, &name, &value))
                }
                Change::Field { how, side, name, value } => self.of_side(side, |head| head.edit(how, &name, &value)),
                Change::Path(path) => self.of_request(|head| head.set_path(&path)),
                Change::Status(status) => self.of_side(side::RESPONSE, |head| head.set_status(status)),
                Change::Cache { what, text, seconds } => self.of_matter(|head| head.say_to_cache(what, &text, seconds)),
                Change::Tag { .. } => None,
            };
        }
        if self.bypass.take() {
            self.of_request(|head| head.say_to_cache(cache::BYPASS, b"", 0));
        }
    }

    /// What the cache is spoken to about.
    fn of_matter<T>(&self, work: impl FnOnce(&Head) -> T) -> Option<T> {
        let fetched = self.matter.get() == Matter::Fetched;
        self.of_side(if fetched { side::RESPONSE } else { side::REQUEST }, work)
    }

    /// The changes that the plugin wants, in words.
    pub(super) fn changes(&self) -> Vec<String> {
        let words = |change: &Change| match change {
            Change::Field { how, side, name, value } => record::field(*how, *side, name, value),
            Change::Path(path) => record::path(path),
            Change::Status(status) => record::status(*status),
            Change::Cache { what, text, seconds } => record::cache(*what, text, *seconds),
            Change::Tag { name, value } => record::tag(name, value),
        };
        let bypass = self.bypass.get().then(|| record::cache(cache::BYPASS, b"", 0));
        self.changes.borrow().iter().map(words).chain(bypass).collect()
    }

    /// The endpoints as they are now.
    pub(super) fn facts(&self) -> Vec<Facts> {
        self.endpoints.borrow().iter().map(|endpoint| endpoint.0.clone()).collect()
    }

    /// Time and chance as they are now.
    pub(super) fn around(&self) -> Around {
        Around { micros: self.clock(), unix_ms: self.unix_time(), random: self.random() }
    }

    pub(super) fn place(&self, table: &mut Table, endpoints: Vec<MockEndpoint>) {
        table.reset(u32::try_from(endpoints.len()).unwrap_or(0));
        for (index, endpoint) in (0..table.count()).zip(&endpoints) {
            table.set_id(index, endpoint.0.id);
            table.set_text(Column::Address, index, endpoint.0.address.as_bytes());
            table.set_text(Column::Zone, index, endpoint.0.zone.as_bytes());
            let metadata = endpoint.0.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            table.set_metadata(index, metadata);
        }
        for (column, value) in [
            (Column::Weight, (|endpoint| endpoint.0.weight) as fn(&MockEndpoint) -> u32),
            (Column::Priority, |endpoint| endpoint.0.priority),
        ] {
            for (word, endpoint) in table.words(column).iter().zip(&endpoints) {
                word.set(value(endpoint));
            }
        }
        self.endpoints.replace(endpoints);
        self.write_wanted(table);
    }

    pub(super) fn write_wanted(&self, table: &Table) {
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
            word.set(endpoint.0.words.get(column.number()).copied().unwrap_or(0));
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
        let how_known = matches!(how, edit::SET | edit::ADD | edit::REMOVE);
        let allowed = how_known && self.matter.get() != Matter::Fetched && head::allows(name, value);
        self.note(side, allowed, Change::Field { how, side, name: name.to_vec(), value: value.to_vec() })
    }

    fn set_path(&self, path: &[u8]) -> i32 {
        self.note(side::REQUEST, head::is_path(path), Change::Path(path.to_vec()))
    }

    fn status(&self) -> i32 {
        self.of_side(side::RESPONSE, |head| head.status().into()).unwrap_or(answer::NOT_NOW)
    }

    fn set_status(&self, status: u32) -> i32 {
        let may = self.matter.get() != Matter::Fetched;
        let known = u16::try_from(status).ok().filter(|status| may && (200..600).contains(status));
        self.note(side::RESPONSE, known.is_some(), Change::Status(known.unwrap_or(0)))
    }

    fn tag(&self, name: &[u8], read: &mut dyn FnMut(&[u8])) -> bool {
        tell(self.of_request(|head| head.tag_bytes(name)), read)
    }

    fn set_tag(&self, name: &[u8], value: &[u8]) -> i32 {
        let done = self.of_request(|head| head.set_tag(name, value)).unwrap_or(answer::NOT_NOW);
        if done == answer::DONE {
            self.changes.borrow_mut().push(Change::Tag { name: name.to_vec(), value: value.to_vec() });
        }
        done
    }

    fn cache(&self, what: u32, text: &[u8], seconds: u64) -> i32 {
        let allowed = self.matter.get().allows(what, text);
        if what == cache::BYPASS && allowed {
            self.bypass.set(true);
            return answer::DONE;
        }
        let told = self.note(side::REQUEST, allowed, Change::Cache { what, text: text.to_vec(), seconds });
        // Without it the answer would be another's.
        self.bypass.set(self.bypass.get() || (what == cache::KEY && told < 0));
        told
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

    fn secret(&self) -> [u8; 32] {
        record::SECRET
    }

    fn shared_remove(&self, key: &[u8]) -> i32 {
        match self.shared.borrow_mut().remove(key) {
            Some(_) => answer::DONE,
            None => answer::ABSENT,
        }
    }
}
