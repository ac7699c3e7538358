//! The response that a filter sees.

use gatewright_abi::{edit, side};

use crate::encoded::Pairs;
use crate::request::{edited, taken, utf8};
use crate::sys::{self, Arena};

/// A response's head. It can be changed as a [request](crate::RequestMut) can.
#[derive(Debug)]
pub struct Response {
    arena: Arena,
}

impl Response {
    pub(crate) const fn new() -> Response {
        Response { arena: Arena::new() }
    }

    pub(crate) fn begin(&mut self) {
        self.arena.clear();
    }

    /// Its status.
    pub fn status(&self) -> u16 {
        u16::try_from(sys::status()).unwrap_or(0)
    }

    /// Gives it another status.
    pub fn set_status(&self, status: u16) -> bool {
        taken("status", "", sys::set_status(status.into()))
    }

    /// The first field of this name, if its value is UTF-8. Names are the same in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        utf8(self.header_bytes(name)?)
    }

    /// The first field of this name, whatever its value.
    pub fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        sys::header(&self.arena, side::RESPONSE, name.as_bytes())
    }

    /// All fields, in their order.
    pub fn headers(&self) -> Pairs<'_> {
        Pairs::of(sys::headers(&self.arena, side::RESPONSE).unwrap_or_default())
    }

    /// Makes this the only field of its name.
    pub fn set_header(&self, name: &str, value: impl AsRef<[u8]>) -> bool {
        edited(edit::SET, side::RESPONSE, name, value.as_ref())
    }

    /// Adds a field.
    pub fn add_header(&self, name: &str, value: impl AsRef<[u8]>) -> bool {
        edited(edit::ADD, side::RESPONSE, name, value.as_ref())
    }

    /// Removes all fields of this name.
    pub fn remove_header(&self, name: &str) -> bool {
        edited(edit::REMOVE, side::RESPONSE, name, &[])
    }
}
