//! A response that is kept.
//!
//! In: the head of a response, what was asked, and its body, which may still be coming. Out: the head to answer with, and what
//! the policy wants to know. Immutable but for a mark that it was made stale and a count of its uses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use super::body::Shared;
use super::codings::Codings;
use super::key::Way;
use super::policy::advice::Advice;
use super::policy::directives::ResponseDirectives;
use super::policy::freshness::{self, Basis, Times};
use super::policy::reuse::Kept;
use super::policy::rules::Rules;
use super::policy::{storable, vary};
use super::tiers::Home;
use crate::http::{Fields, Known, StatusCode, name};

/// What one entry takes besides its texts and its body: this structure, its place in the store.
const OVERHEAD: u64 = 512;

/// A response, ready to be given again.
#[derive(Debug)]
pub struct Entry {
    /// What it is the answer to, as people write it.
    pub url: String,
    /// Its status.
    pub status: StatusCode,
    /// Its fields, without those that are for one connection or user.
    pub fields: Fields,
    /// What it says to caches.
    pub directives: ResponseDirectives,
    /// How long it is fresh, in seconds, and why.
    pub lifetime: (u64, Basis),
    /// Its body.
    pub body: Arc<Shared>,
    /// Its body as it was compressed here.
    pub codings: Arc<Codings>,
    /// Names that it can be purged by.
    pub tags: Vec<String>,
    /// What it varies by, and what the request said there.
    pub vary: (Vec<String>, Vec<u8>),
    /// By what route it came and went, and what plugins added to its key: requests that would go elsewhere, or have other parts, have another.
    pub place: Way,
    /// Where it belongs on disk.
    pub(super) home: Option<Home>,
    pub(super) times: Times,
    pub(super) initial_age: u64,
    pub(super) stale: AtomicBool,
    pub(super) invalid: AtomicBool,
    pub(super) uses: AtomicU64,
}

/// To what request a response is the answer.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Its URL, as it stands in keys.
    pub url: String,
    /// By what route it goes, and what plugins added to its key.
    pub place: Way,
    /// Its fields.
    pub fields: &'a Fields,
    /// What plugins say of keeping the response.
    pub advice: &'a Advice,
}

impl Entry {
    /// From a response that may be kept, to this request.
    pub fn new(
        asked: Asked<'_>,
        (status, fields): (StatusCode, &Fields),
        body: Arc<Shared>,
        times: Times,
        rules: &Rules,
    ) -> Entry {
        let directives = ResponseDirectives::of(fields);
        let mut names = vary::names(fields).unwrap_or_default();
        if !rules.key_fields.is_empty() {
            names.extend(rules.key_fields.iter().cloned());
            names.sort_unstable();
            names.dedup();
        }
        let selecting = vary::selecting(asked.fields, &names);
        let mut kept = storable::kept_fields(fields, &directives, rules);
        if freshness::moment(&kept, name::DATE, times.received).is_none() {
            // RFC 9110 section 6.6.1. A date is a valid value.
            let received = UNIX_EPOCH + Duration::from_secs(times.received);
            let _ = kept.set(name::DATE, httpdate::fmt_http_date(received).as_bytes());
        }
        let initial_age = freshness::initial_age(fields, times);
        Entry {
            url: asked.url,
            place: asked.place,
            status,
            lifetime: freshness::advised(asked.advice.ttl, initial_age, rules)
                .unwrap_or_else(|| freshness::lifetime(status, fields, &directives, times, rules)),
            initial_age,
            fields: kept,
            tags: tags(fields, &asked.advice.tags),
            vary: (names, selecting),
            directives,
            body,
            codings: Arc::default(),
            home: None,
            times,
            stale: AtomicBool::new(false),
            invalid: AtomicBool::new(false),
            uses: AtomicU64::new(0),
        }
    }

    /// Its fields after the origin said that it still holds (RFC 9111 section 4.3.4).
    pub fn fresh_fields(&self, news: &Fields, rules: &Rules) -> Fields {
        let mut fields = self.fields.clone();
        // Its age counts from the news, so a date of before is out of place.
        fields.remove(name::DATE);
        storable::freshen(&mut fields, news, rules);
        if let Some(age) = news.value(name::AGE) {
            let _ = fields.append(name::AGE, age);
        }
        fields
    }

    /// The same with these fields, as it is kept from now on.
    pub fn freshened(&self, asked: &Fields, fields: Fields, times: Times, rules: &Rules, advice: &Advice) -> Entry {
        let asked = Asked { url: self.url.clone(), place: self.place.clone(), fields: asked, advice };
        let renewed = Entry::new(asked, (self.status, &fields), self.body.clone(), times, rules);
        let mut renewed = renewed.at_home(self.home.clone());
        renewed.codings = self.codings.clone();
        renewed.uses.store(self.uses(), Ordering::Relaxed);
        renewed
    }

    /// The same with another body: a whole, or parts of it.
    pub(super) fn with_body(&self, status: StatusCode, body: Arc<Shared>) -> Entry {
        Entry {
            url: self.url.clone(),
            status,
            fields: self.fields.clone(),
            directives: self.directives.clone(),
            lifetime: self.lifetime,
            body,
            codings: Arc::default(),
            tags: self.tags.clone(),
            vary: self.vary.clone(),
            place: self.place.clone(),
            home: self.home.clone(),
            times: self.times,
            initial_age: self.initial_age,
            stale: AtomicBool::new(self.stale.load(Ordering::Acquire)),
            invalid: AtomicBool::new(self.invalid.load(Ordering::Acquire)),
            uses: AtomicU64::new(self.uses()),
        }
    }

    /// How old it is.
    pub fn age(&self, now: u64) -> u64 {
        freshness::current_age(self.initial_age, self.times, now)
    }

    /// Seconds for which it is still fresh; negative since when it is not (RFC 9211 section 2.4).
    pub fn ttl(&self, now: u64) -> i64 {
        let seconds = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        seconds(self.lifetime.0) - seconds(self.age(now))
    }

    /// What the policy wants to know.
    pub fn kept(&self, now: u64) -> Kept<'_> {
        let (invalidated, invalid) = (self.stale.load(Ordering::Acquire), self.invalid.load(Ordering::Acquire));
        Kept { directives: &self.directives, lifetime: self.lifetime.0, age: self.age(now), invalidated, invalid }
    }

    /// When it was made, as it says; else when it came.
    pub fn dated(&self) -> u64 {
        self.moment(name::DATE).unwrap_or(self.times.received)
    }

    /// A date that it bears.
    pub fn moment(&self, field: Known) -> Option<u64> {
        freshness::moment(&self.fields, field, self.times.received)
    }

    /// What tells it from every other version, for parts of it (RFC 9110 section 8.8.1).
    pub fn strong(&self) -> Option<&[u8]> {
        storable::strong(&self.fields, self.times.received)
    }

    /// Whether it answers a request that goes by this route with these fields.
    pub fn answers(&self, place: &Way, asked: &Fields) -> bool {
        self.place == *place && (self.vary.0.is_empty() || vary::selecting(asked, &self.vary.0) == self.vary.1)
    }

    /// Whether the origin can be asked if it still holds.
    pub fn has_validator(&self) -> bool {
        self.fields.contains(name::ETAG) || self.fields.contains(name::LAST_MODIFIED)
    }

    /// From now on the origin is asked before it is given again.
    pub fn make_stale(&self) {
        self.stale.store(true, Ordering::Release);
    }

    /// It was changed: it is not given before the origin has said that it holds.
    pub fn invalidate(&self) {
        self.make_stale();
        self.invalid.store(true, Ordering::Release);
    }

    /// Counts a use.
    pub fn used(&self) {
        self.uses.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was given.
    pub fn uses(&self) -> u64 {
        self.uses.load(Ordering::Relaxed)
    }

    /// Bytes that it takes.
    pub fn weight(&self) -> u64 {
        self.overhead() + self.body.length().unwrap_or(0) + self.codings.weight()
    }

    /// The same without the body.
    pub(super) fn overhead(&self) -> u64 {
        let texts = self.url.len()
            + self.fields.list_size()
            + self.tags.iter().chain(&self.vary.0).map(|text| text.len() + 24).sum::<usize>();
        OVERHEAD + (texts + self.vary.1.len() + self.place.part.bytes().len()) as u64
    }
}

/// `Surrogate-Key` has its tags apart by spaces, `Cache-Tag` by commas. `more` come from plugins.
fn tags(fields: &Fields, more: &[String]) -> Vec<String> {
    let text = |tag: &[u8]| String::from_utf8_lossy(tag).into_owned();
    let keys = fields.values("surrogate-key").flat_map(|value| value.split(u8::is_ascii_whitespace));
    let tags = fields.values("cache-tag").flat_map(|value| value.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
    let mut all: Vec<String> = keys.chain(tags).filter(|tag| !tag.is_empty()).map(text).collect();
    all.extend_from_slice(more);
    all.sort_unstable();
    all.dedup();
    all
}
