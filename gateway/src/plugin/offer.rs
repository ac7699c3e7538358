//! What the gateway does for one instance of a plugin, whichever form it has: `imports` gives it addresses for slices, `native` nothing in
//! between.
//!
//! In: numbers as the boundary has them, slices, and the request of the current call. Out: numbers as the boundary has them. What is wanted of a request is only
//! noted here.

use std::sync::Arc;
use std::time::Duration;

use gatewright_abi::{answer, bound, cache, edit, hash, side, text};

use super::request::{Edit, Edits, Head, Side, What, Wish, in_lower_case};
use super::services::{Series, Services};

/// What an instance has of the gateway.
pub(super) struct Offer {
    /// What it shares with the other instances of its plugin.
    pub(super) services: Arc<Services>,
    /// What the current call wants of the request.
    pub(super) edits: Edits,
    /// Series that it has asked for, by the number that it was given.
    series: Vec<Arc<Series>>,
    random: fastrand::Rng,
}

/// No name is longer.
pub(super) const LONGEST_NAME: usize = 256;

/// The request of the current call.
pub(super) type Now<'a> = Option<&'a dyn Head>;

impl Offer {
    pub(super) fn new(services: Arc<Services>, seed: u64) -> Offer {
        Offer { services, edits: Edits::default(), series: Vec::new(), random: fastrand::Rng::with_seed(seed) }
    }

    /// Reads something of the request; a tag as this call has set it. Whether it is there.
    pub(super) fn read(&self, now: Now<'_>, what: What<'_>, read: &mut dyn FnMut(&[u8])) -> bool {
        if let What::Tag(name) = what
            && let Some(value) = self.edits.tag(name)
        {
            read(value);
            return true;
        }
        now.is_some_and(|head| head.read(what, read))
    }

    /// The hash of something of the request; 0 when it is not there.
    pub(super) fn hash(&self, now: Now<'_>, what: u32, name: &[u8], seed: u64) -> u64 {
        let field;
        let what = match what {
            hash::CLIENT => What::Text(text::CLIENT),
            hash::PATH => What::Text(text::PATH),
            hash::AUTHORITY => What::Text(text::AUTHORITY),
            hash::HEADER => {
                if name.len() > LONGEST_NAME {
                    return 0;
                }
                field = in_lower_case(name);
                What::Header(Side::Request, &field)
            }
            hash::COOKIE => What::Cookie(name),
            hash::QUERY => What::Query(name),
            hash::TAG => What::Tag(name),
            _ => return 0,
        };
        let mut hash = 0;
        self.read(now, what, &mut |value| hash = gatewright_abi::hash64(value, seed).max(1));
        hash
    }

    /// Notes a change that is done when the call has ended well.
    fn note(&mut self, now: Now<'_>, wanted: Edit<'_>) -> i32 {
        match now.map(|head| head.allows(&wanted)) {
            None => answer::NOT_NOW,
            Some(false) => answer::INVALID,
            Some(true) if self.edits.push(wanted) => answer::DONE,
            Some(true) => answer::FULL,
        }
    }

    pub(super) fn edit_header(&mut self, now: Now<'_>, how: u32, of: u32, name: &[u8], value: &[u8]) -> i32 {
        let Some(of) = side(of) else { return answer::INVALID };
        let wanted = match how {
            edit::SET => Edit::Set(of, name, value),
            edit::ADD => Edit::Add(of, name, value),
            edit::REMOVE => Edit::Remove(of, name),
            _ => return answer::INVALID,
        };
        self.note(now, wanted)
    }

    pub(super) fn set_path(&mut self, now: Now<'_>, path: &[u8]) -> i32 {
        self.note(now, Edit::Path(path))
    }

    pub(super) fn set_status(&mut self, now: Now<'_>, status: u32) -> i32 {
        u16::try_from(status).map_or(answer::INVALID, |status| self.note(now, Edit::Status(status)))
    }

    pub(super) fn set_tag(&mut self, now: Now<'_>, name: &[u8], value: &[u8]) -> i32 {
        if name.is_empty() || name.len() > bound::TAG_BYTES || value.len() > bound::TAG_BYTES {
            return answer::INVALID;
        }
        self.note(now, Edit::Tag(name, value))
    }

    pub(super) fn cache(&mut self, now: Now<'_>, what: u32, text: &[u8], seconds: u64) -> i32 {
        let wanted = match what {
            cache::KEY => Wish::Key(text),
            cache::BYPASS => Wish::Bypass,
            cache::TTL => Wish::Ttl(seconds),
            cache::NO_STORE => Wish::NoStore,
            cache::TAG => Wish::Tag(text),
            _ => return answer::INVALID,
        };
        let is_one = match wanted {
            Wish::Key(part) => part.len() <= bound::CACHE_BYTES,
            Wish::Tag(tag) => !tag.is_empty() && tag.len() <= bound::CACHE_BYTES && str::from_utf8(tag).is_ok(),
            Wish::Bypass | Wish::Ttl(_) | Wish::NoStore => true,
        };
        let told = match now {
            Some(_) if !is_one => answer::INVALID,
            now => self.note(now, Edit::Cache(wanted)),
        };
        if told < 0 && matches!(wanted, Wish::Key(_)) {
            // Without it the answer would be another's.
            self.edits.push(Edit::Cache(Wish::Bypass));
        }
        told
    }

    /// Random bits; in a replay those that were told.
    pub(super) fn random(&mut self) -> u64 {
        self.services.told_random().unwrap_or_else(|| self.random.u64(..))
    }

    /// The number by which this instance has a series.
    pub(super) fn metric(&mut self, kind: u32, name: &[u8], label: &[u8], value: &[u8]) -> i32 {
        let series = match self.services.series(kind, name, label, value) {
            Ok(series) => series,
            Err(why) => return why,
        };
        let known = self.series.iter().position(|one| Arc::ptr_eq(one, &series));
        let number = known.unwrap_or_else(|| {
            self.series.push(series);
            self.series.len() - 1
        });
        i32::try_from(number).unwrap_or(answer::FULL)
    }

    /// The series with this number.
    pub(super) fn series(&self, number: u32) -> Option<&Series> {
        self.series.get(number as usize).map(|series| &**series)
    }

    pub(super) fn shared_get(&self, key: &[u8], read: &mut dyn FnMut(&[u8])) -> bool {
        self.services.shared().read(key, self.services.time().now(), read)
    }

    /// Keeps a value for so many milliseconds, or for ever.
    pub(super) fn shared_set(&self, key: &[u8], value: &[u8], ms: u64) -> i32 {
        let life = (ms > 0).then(|| Duration::from_millis(ms));
        self.services.shared().write(key, value, life, self.services.time().now())
    }

    pub(super) fn shared_remove(&self, key: &[u8]) -> i32 {
        self.services.shared().remove(key)
    }
}

/// The side with this number.
pub(super) fn side(number: u32) -> Option<Side> {
    match number {
        side::REQUEST => Some(Side::Request),
        side::RESPONSE => Some(Side::Response),
        _ => None,
    }
}
