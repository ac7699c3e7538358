//! What a pool answered, before it is kept in the cache.

use std::time::Duration;

use gatewright_abi::cache;

use crate::encoded::Pairs;
use crate::request::cached;
use crate::response::Response;

/// The head of a response that may be kept, and what a filter may say of that. When the pool says that what is kept still
/// holds, it is the head of what is kept, with the news.
#[derive(Debug)]
pub struct Fetched {
    response: Response,
}

impl Fetched {
    pub(crate) const fn new() -> Fetched {
        Fetched { response: Response::new() }
    }

    pub(crate) fn begin(&mut self) {
        self.response.begin();
    }

    /// Its status.
    pub fn status(&self) -> u16 {
        self.response.status()
    }

    /// The first field of this name, if its value is UTF-8. Names are the same in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.header(name)
    }

    /// The first field of this name, whatever its value.
    pub fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        self.response.header_bytes(name)
    }

    /// All fields, in their order.
    pub fn headers(&self) -> Pairs<'_> {
        self.response.headers()
    }

    /// It is fresh for so long from now on, in whole seconds, whatever it says itself, and whatever
    /// [`cache_for`](crate::RequestMut::cache_for) said. What forbids keeping it still does.
    pub fn cache_for(&self, time: Duration) -> bool {
        cached(cache::TTL, "time to live", b"", time.as_secs())
    }

    /// It is not kept. Those who wait for it too ask for themselves.
    pub fn do_not_store(&self) -> bool {
        cached(cache::NO_STORE, "prohibition", b"", 0)
    }

    /// It can also be purged by this tag, as by one in `Surrogate-Key`; 256 bytes at the most.
    pub fn cache_tag(&self, tag: impl AsRef<str>) -> bool {
        cached(cache::TAG, "tag of the cache", tag.as_ref().as_bytes(), 0)
    }
}
