//! A request as the plugin sees it: who asks, and for what.
//!
//! A thousand clients ask for ten thousand paths, some of them far more often than others, so that a balancer that goes by one
//! of them has something to go by.

use std::fmt::Write;
use std::net::Ipv4Addr;

use gatewright_abi::text;

use super::chance::Chance;
use crate::plugin::request::{Edit, Head, Side, What};

/// Who asks.
const CLIENTS: u32 = 1000;
/// What can be asked for.
const PATHS: f64 = 10_000.0;

/// A request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    number: u64,
    client: u32,
    path: u32,
}

impl Request {
    /// The one with this number.
    pub(super) fn drawn(number: u64, chance: &mut Chance) -> Request {
        // A tenth of the paths has nearly half of the requests.
        let path = PATHS * chance.fraction().powi(3);
        Request { number, client: chance.below(CLIENTS), path: path as u32 }
    }
}

impl Head for Request {
    fn read(&self, what: What<'_>, reader: &mut dyn FnMut(&[u8])) -> bool {
        let mut out = String::new();
        let client = |out: &mut String| write!(out, "{}", Ipv4Addr::from(0xc633_6400 + self.client));
        let user = |out: &mut String| write!(out, "user-{}", self.client);
        let written = match what {
            What::Text(text::METHOD) => write!(out, "GET"),
            What::Text(text::SCHEME) => write!(out, "https"),
            What::Text(text::AUTHORITY) | What::Header(Side::Request, b"host") => write!(out, "shop.example"),
            What::Text(text::PATH) => write!(out, "/items/{}", self.path),
            What::Text(text::PROTOCOL) => write!(out, "HTTP/2"),
            What::Text(text::REQUEST_ID) => write!(out, "{:016x}", self.number),
            What::Text(text::CLIENT) => client(&mut out),
            What::Header(Side::Request, b"x-user") | What::Cookie(b"session") => user(&mut out),
            What::Header(Side::Request, b"cookie") => write!(out, "session=user-{}", self.client),
            _ => return false,
        };
        reader(out.as_bytes());
        // A text takes everything.
        written.is_ok()
    }

    fn each_header(&self, side: Side, reader: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        for name in [&b"host"[..], b"x-user", b"cookie"] {
            self.read(What::Header(side, name), &mut |value| reader(name, value));
        }
        side == Side::Request
    }

    fn status(&self) -> Option<u16> {
        None
    }

    fn allows(&self, _: &Edit<'_>) -> bool {
        true
    }
}
