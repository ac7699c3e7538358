//! The request that a plugin is asked about.
//!
//! Nothing of it is copied before it is asked for; what was read stays until the call ends.

use std::cell::Cell;
use std::net::IpAddr;
use std::ops::Deref;
use std::time::Duration;

use gatewright_abi::{cache, edit, hash, side, text};

use crate::encoded::Pairs;
use crate::sys::{self, Arena};

/// A request's head. What is not there is `None` or empty: for TCP that is everything but the client.
#[derive(Debug)]
pub struct Request {
    arena: Arena,
    attempt: u32,
    /// Whether the call that it was shown to does nothing, ever.
    indifferent: Cell<bool>,
}

impl Request {
    pub(crate) const fn new() -> Request {
        Request { arena: Arena::new(), attempt: 0, indifferent: Cell::new(false) }
    }

    /// Another request than before.
    #[inline(always)]
    pub(crate) fn begin(&mut self, attempt: u32) {
        self.arena.clear();
        self.attempt = attempt;
        self.indifferent.set(false);
    }

    /// Said by calls that a plugin has left as they are.
    #[inline(always)]
    pub(crate) fn ignore(&self) {
        self.indifferent.set(true);
    }

    #[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
    #[inline(always)]
    pub(crate) fn is_ignored(&self) -> bool {
        self.indifferent.get()
    }

    fn text(&self, what: u32) -> Option<&str> {
        utf8(sys::request_text(&self.arena, what)?)
    }

    /// `GET`, `POST` and so on.
    pub fn method(&self) -> &str {
        self.text(text::METHOD).unwrap_or_default()
    }

    /// `http` or `https`, as the client sees it.
    pub fn scheme(&self) -> &str {
        self.text(text::SCHEME).unwrap_or_default()
    }

    /// Host and port that were asked for, as the client wrote them.
    pub fn authority(&self) -> &str {
        self.text(text::AUTHORITY).unwrap_or_default()
    }

    /// The host that was asked for, without a port.
    pub fn host(&self) -> &str {
        let authority = self.authority();
        let name_end = authority.rfind(']').map_or(0, |bracket| bracket + 1);
        let port = authority.get(name_end..).and_then(|rest| rest.find(':'));
        port.and_then(|colon| authority.get(..name_end + colon)).unwrap_or(authority)
    }

    /// The path, beginning with a slash, as it is sent on.
    pub fn path(&self) -> &str {
        self.text(text::PATH).unwrap_or_default()
    }

    /// What follows the question mark.
    pub fn query(&self) -> Option<&str> {
        self.text(text::QUERY)
    }

    /// The first parameter of this name, decoded.
    pub fn query_value(&self, name: &str) -> Option<&str> {
        utf8(sys::query_value(&self.arena, name.as_bytes())?)
    }

    /// The first field of this name, if its value is UTF-8. Names are the same in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        utf8(self.header_bytes(name)?)
    }

    /// The first field of this name, whatever its value.
    pub fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        sys::header(&self.arena, side::REQUEST, name.as_bytes())
    }

    /// All fields, in their order.
    pub fn headers(&self) -> Pairs<'_> {
        Pairs::of(sys::headers(&self.arena, side::REQUEST).unwrap_or_default())
    }

    /// The first cookie of this name.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        utf8(sys::cookie(&self.arena, name.as_bytes())?)
    }

    /// The client's address.
    pub fn client(&self) -> Option<IpAddr> {
        self.text(text::CLIENT)?.parse().ok()
    }

    /// The request's id, as in the access log.
    pub fn id(&self) -> &str {
        self.text(text::REQUEST_ID).unwrap_or_default()
    }

    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    pub fn protocol(&self) -> &str {
        self.text(text::PROTOCOL).unwrap_or_default()
    }

    /// The version of TLS that the client speaks.
    pub fn tls_version(&self) -> Option<&str> {
        self.text(text::TLS_VERSION)
    }

    /// The name that the client asked for in TLS.
    pub fn tls_name(&self) -> Option<&str> {
        self.text(text::TLS_NAME)
    }

    /// The subject of the client's certificate.
    pub fn tls_subject(&self) -> Option<&str> {
        self.text(text::TLS_SUBJECT)
    }

    /// The name of the route that was found.
    pub fn route(&self) -> Option<&str> {
        self.text(text::ROUTE)
    }

    /// The name of the pool that it goes to.
    pub fn pool(&self) -> Option<&str> {
        self.text(text::POOL)
    }

    /// How often this request was sent before: 0 the first time.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// A tag: something that a plugin noted about this request, which the access log shows.
    pub fn tag(&self, name: &str) -> Option<&str> {
        utf8(sys::tag(&self.arena, name.as_bytes())?)
    }

    /// Notes something about this request, for the access log and for all plugins that see it later. Whether it was
    /// taken; if not, that is logged.
    pub fn set_tag(&self, name: &str, value: impl AsRef<str>) -> bool {
        taken("tag", name, sys::set_tag(name.as_bytes(), value.as_ref().as_bytes()))
    }

    /// Makes this the only field of its name in the response to this request, when there is one. Of several picks for one
    /// request those of the last count; a response that the gateway or a plugin makes is left alone.
    pub fn set_response_header(&self, name: &str, value: impl AsRef<[u8]>) -> bool {
        edited(edit::SET, side::RESPONSE, name, value.as_ref())
    }

    /// Adds a field to the response to this request: a cookie, for instance.
    pub fn add_response_header(&self, name: &str, value: impl AsRef<[u8]>) -> bool {
        edited(edit::ADD, side::RESPONSE, name, value.as_ref())
    }

    /// A hash of the client's address, computed by the gateway: [`hash::bytes`](crate::hash::bytes) of its text.
    #[inline]
    pub fn hash_client(&self, seed: u64) -> Option<u64> {
        hashed(hash::CLIENT, "", seed)
    }

    /// A hash of the path.
    #[inline]
    pub fn hash_path(&self, seed: u64) -> Option<u64> {
        hashed(hash::PATH, "", seed)
    }

    /// A hash of host and port.
    #[inline]
    pub fn hash_authority(&self, seed: u64) -> Option<u64> {
        hashed(hash::AUTHORITY, "", seed)
    }

    /// A hash of the first field of this name.
    #[inline]
    pub fn hash_header(&self, name: &str, seed: u64) -> Option<u64> {
        hashed(hash::HEADER, name, seed)
    }

    /// A hash of the first cookie of this name.
    #[inline]
    pub fn hash_cookie(&self, name: &str, seed: u64) -> Option<u64> {
        hashed(hash::COOKIE, name, seed)
    }

    /// A hash of the first parameter of this name.
    #[inline]
    pub fn hash_query_value(&self, name: &str, seed: u64) -> Option<u64> {
        hashed(hash::QUERY, name, seed)
    }

    /// A hash of a tag.
    #[inline]
    pub fn hash_tag(&self, name: &str, seed: u64) -> Option<u64> {
        hashed(hash::TAG, name, seed)
    }
}

#[inline]
fn hashed(what: u32, name: &str, seed: u64) -> Option<u64> {
    match sys::hash(what, name.as_bytes(), seed) {
        0 => None,
        hash => Some(hash),
    }
}

/// A request that can be changed. Changes are collected and done when the call has returned; reading shows what was there
/// before, but for tags.
///
/// Each says whether it was taken. It is not when a name or value is not allowed there: framing and connection fields are
/// the gateway's; or when there are too many. That is logged too, so it need not be looked at.
#[derive(Debug)]
pub struct RequestMut {
    request: Request,
}

impl RequestMut {
    pub(crate) const fn new() -> RequestMut {
        RequestMut { request: Request::new() }
    }

    #[inline(always)]
    pub(crate) fn begin(&mut self, attempt: u32) {
        self.request.begin(attempt);
    }

    /// Makes this the only field of its name.
    pub fn set_header(&self, name: &str, value: impl AsRef<[u8]>) -> bool {
        edited(edit::SET, side::REQUEST, name, value.as_ref())
    }

    /// Adds a field.
    pub fn add_header(&self, name: &str, value: impl AsRef<[u8]>) -> bool {
        edited(edit::ADD, side::REQUEST, name, value.as_ref())
    }

    /// Removes all fields of this name.
    pub fn remove_header(&self, name: &str) -> bool {
        edited(edit::REMOVE, side::REQUEST, name, &[])
    }

    /// Adds a part to the key of the cache, up to 256 bytes: answers to requests with other parts are others, and this one gets
    /// only what was kept for the same. Parts are told apart by the plugin that adds them and by their order; those that filters and a
    /// router add all count. A part that is not taken sends the request past the cache; so does a router that fails.
    pub fn cache_key(&self, part: impl AsRef<[u8]>) -> bool {
        cached(cache::KEY, "part of the key", part.as_ref(), 0)
    }

    /// Past the cache: it is not asked, and the answer is not kept.
    pub fn bypass_cache(&self) -> bool {
        cached(cache::BYPASS, "bypass", b"", 0)
    }

    /// The answer, if it is kept, is fresh for so long, in whole seconds, whatever it says itself. What forbids keeping it still
    /// does: `no-store`, `private`, a cookie, and so on; and `ttl_most` of the route bounds it.
    pub fn cache_for(&self, time: Duration) -> bool {
        cached(cache::TTL, "time to live", b"", time.as_secs())
    }

    /// Sets the path that is sent on; with a question mark, the query too.
    pub fn set_path(&self, path: impl AsRef<str>) -> bool {
        taken("path", path.as_ref(), sys::set_path(path.as_ref().as_bytes()))
    }
}

impl Deref for RequestMut {
    type Target = Request;

    #[inline(always)]
    fn deref(&self) -> &Request {
        &self.request
    }
}

/// Something for the cache.
pub(crate) fn cached(what: u32, name: &str, text: &[u8], seconds: u64) -> bool {
    taken(name, &String::from_utf8_lossy(text), sys::cache(what, text, seconds))
}

pub(crate) fn edited(how: u32, side: u32, name: &str, value: &[u8]) -> bool {
    taken("header", name, sys::edit_header(how, side, name.as_bytes(), value))
}

/// Whether a change was taken; if not, that is logged.
pub(crate) fn taken(what: &str, name: &str, answer: i32) -> bool {
    if answer < 0 {
        not_taken(what, name, answer);
    }
    answer >= 0
}

#[cold]
#[inline(never)]
fn not_taken(what: &str, name: &str, answer: i32) {
    use gatewright_abi::answer::{FULL, INVALID, NOT_NOW};
    let why = match answer {
        INVALID => "it is not allowed",
        FULL => "there are too many",
        NOT_NOW => "not in this call",
        _ => "the gateway does not take it",
    };
    crate::log::write(gatewright_abi::level::WARN, format_args!("{what} {name:?} is not set: {why}"));
}

pub(crate) fn utf8(bytes: &[u8]) -> Option<&str> {
    str::from_utf8(bytes).ok()
}
