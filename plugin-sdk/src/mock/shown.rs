//! Recorded heads, to be shown to a plugin once more.

use gatewright_abi::{bound, cache, side};

use super::head::{self, Head, Parts};

/// A request, and its response when there is one, as a mock gateway shows them.
#[derive(Clone, Debug)]
pub struct Shown {
    request: Head,
    response: Option<Head>,
    matter: Matter,
}

/// What of the cache a call may speak of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Matter {
    /// Nothing.
    #[default]
    None,
    /// A request that may go to the cache: in `route` and `on_request`.
    Request,
    /// A response that may be kept: in `on_fetch`.
    Fetched,
}

impl Matter {
    /// Whether this may be said of it. Beside it: whether the text can be one.
    pub fn allows(self, what: u32, text: &[u8]) -> bool {
        let is_one = match what {
            cache::KEY => text.len() <= bound::CACHE_BYTES,
            cache::TAG => !text.is_empty() && text.len() <= bound::CACHE_BYTES && str::from_utf8(text).is_ok(),
            _ => true,
        };
        is_one
            && match self {
                Matter::None => false,
                Matter::Request => matches!(what, cache::KEY | cache::BYPASS | cache::TTL),
                Matter::Fetched => matches!(what, cache::TTL | cache::NO_STORE | cache::TAG),
            }
    }
}

impl Shown {
    /// Of these, in a call that speaks of this.
    pub fn of(request: &Parts, response: Option<&Parts>, matter: Matter) -> Shown {
        Shown { request: request.into(), response: response.map(Head::from), matter }
    }

    fn of_side(&self, number: u32) -> Option<&Head> {
        match number {
            side::REQUEST => Some(&self.request),
            side::RESPONSE => self.response.as_ref(),
            _ => None,
        }
    }

    /// `request_text`.
    pub fn text(&self, what: u32) -> Option<Vec<u8>> {
        self.request.text(what)
    }

    /// `header`.
    pub fn header(&self, of: u32, name: &[u8]) -> Option<Vec<u8>> {
        self.of_side(of)?.first(name)
    }

    /// `cookie`.
    pub fn cookie(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.request.cookie(name)
    }

    /// `query_value`.
    pub fn query_value(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.request.query_value(name)
    }

    /// `tag`.
    pub fn tag(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.request.tag_bytes(name)
    }

    /// `headers`: whether there is that side.
    pub fn each_header(&self, of: u32, each: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        self.of_side(of).map(|head| head.each(each)).is_some()
    }

    /// `status`.
    pub fn status(&self) -> Option<u16> {
        self.response.as_ref().map(Head::status)
    }

    /// Whether this field may have this value; an empty one when it is to be removed. A response may still be to come.
    pub fn allows_field(&self, of: u32, name: &[u8], value: &[u8]) -> bool {
        self.matter != Matter::Fetched && matches!(of, side::REQUEST | side::RESPONSE) && head::allows(name, value)
    }

    /// Whether this may be the path.
    pub fn allows_path(&self, path: &[u8]) -> bool {
        self.response.is_none() && head::is_path(path)
    }

    /// Whether this may be the status.
    pub fn allows_status(&self, status: u16) -> bool {
        self.matter != Matter::Fetched && self.response.is_some() && (200..600).contains(&status)
    }

    /// Whether this may be said to the cache.
    pub fn allows_cache(&self, what: u32, text: &[u8]) -> bool {
        self.matter.allows(what, text)
    }
}
