//! A request, and its response when there is one, as plugins see them.
//!
//! In: an exchange's parts, borrowed. Out: texts by their numbers, fields, cookies, parameters, tags. What a plugin may not
//! change is decided here: what frames a message, what names the connection, what would not be a field or a path.

use std::io::Write;

use gatewright_abi::text;

use super::exchange::{Client, Facts};
use crate::http::fields::{is_value, with_name};
use crate::http::head::query_values;
use crate::http::{RequestHead, ResponseHead, hygiene};
use crate::plugin::request::{Edit, Head, Side, What, Wish};
use crate::route;
use crate::snapshot::Snapshot;

/// What a plugin is shown.
pub(super) struct Shown<'a> {
    /// The request as it is now.
    pub(super) request: &'a RequestHead,
    /// The response, when there is one.
    pub(super) response: Option<&'a ResponseHead>,
    /// What is known of the exchange.
    pub(super) facts: &'a Facts,
    /// Whose request it is.
    pub(super) client: &'a Client,
    /// Where routes and pools have their names.
    pub(super) snapshot: &'a Snapshot,
    /// What of the cache may be spoken of.
    pub(super) matter: Matter,
}

/// What a call may say to the cache.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Matter {
    /// Nothing: it has been asked, or there is none.
    None,
    /// Of a request that may go there.
    Request,
    /// Of a response that may be kept.
    Fetched,
}

impl<'a> Shown<'a> {
    /// A request that has no response yet.
    pub(super) fn request(
        request: &'a RequestHead,
        facts: &'a Facts,
        client: &'a Client,
        snapshot: &'a Snapshot,
    ) -> Shown<'a> {
        Shown { request, response: None, facts, client, snapshot, matter: Matter::None }
    }
}

impl Shown<'_> {
    fn text(&self, what: u32, reader: &mut dyn FnMut(&[u8])) -> bool {
        let tls = self.client.tls.as_ref();
        let route = || self.facts.route.and_then(|route| self.snapshot.routes.get(route));
        let pool = || self.facts.pool.and_then(|pool| self.snapshot.pools.get(pool));
        let text = match what {
            text::METHOD => Some(self.request.method.as_str()),
            text::SCHEME => Some(self.facts.scheme.text()),
            text::AUTHORITY => Some(&*self.request.authority),
            text::PATH => Some(self.request.path()),
            text::QUERY => self.request.query(),
            text::CLIENT => {
                // The longest address has 45 characters.
                let mut room = [0u8; 48];
                let mut rest = &mut room[..];
                let _ = write!(rest, "{}", self.facts.client);
                let left = rest.len();
                reader(room.get(..room.len() - left).unwrap_or_default());
                return true;
            }
            text::REQUEST_ID => Some(self.facts.request_id.text()),
            text::PROTOCOL => Some(self.request.version.text()),
            text::TLS_VERSION => tls.map(|tls| tls.version),
            text::TLS_NAME => tls.and_then(|tls| tls.server_name.as_deref()),
            text::TLS_SUBJECT => tls.and_then(|tls| Some(&*tls.identity.as_ref()?.subject)),
            text::ROUTE => route().map(|route| &*route.model.name),
            text::POOL => pool().map(|pool| &*pool.state.model.name),
            _ => None,
        };
        text.map(|text| reader(text.as_bytes())).is_some()
    }

    fn fields(&self, side: Side) -> Option<&crate::http::Fields> {
        match side {
            Side::Request => Some(&self.request.fields),
            Side::Response => self.response.map(|response| &response.fields),
        }
    }
}

impl Head for Shown<'_> {
    fn draw(&self) -> u32 {
        self.facts.draw
    }

    fn read(&self, what: What<'_>, reader: &mut dyn FnMut(&[u8])) -> bool {
        let name = |name| std::str::from_utf8(name).ok();
        match what {
            What::Text(what) => self.text(what, reader),
            // The host stands apart from the fields.
            What::Header(Side::Request, wanted) if wanted == b"host" => self.text(text::AUTHORITY, reader),
            What::Header(side, wanted) => {
                let value = self.fields(side).zip(name(wanted)).and_then(|(fields, name)| fields.value(name));
                value.map(reader).is_some()
            }
            What::Cookie(wanted) => {
                let value = name(wanted).and_then(|name| self.request.cookie(name));
                value.map(reader).is_some()
            }
            What::Query(wanted) => {
                let value = self.request.query().and_then(|query| query_values(query, wanted).next());
                value.map(|value| reader(&value.collect::<Vec<u8>>())).is_some()
            }
            What::Tag(wanted) => {
                let tag = self.facts.tags.iter().find(|(name, _)| name.as_bytes() == wanted);
                tag.map(|(_, value)| reader(value.as_bytes())).is_some()
            }
        }
    }

    fn each_header(&self, side: Side, reader: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        let Some(fields) = self.fields(side) else { return false };
        if side == Side::Request && !self.request.authority.is_empty() {
            reader(b"host", self.request.authority.as_bytes());
        }
        fields.iter().for_each(|(name, value)| reader(name.text().as_bytes(), value));
        true
    }

    fn status(&self) -> Option<u16> {
        self.response.map(|response| response.status.as_u16())
    }

    fn allows(&self, edit: &Edit<'_>) -> bool {
        // Of either side: a response may still be to come.
        let may_name = |name: &[u8]| with_name(name, |name| !hygiene::is_framing(name)).unwrap_or(false);
        let is_fetched = self.matter == Matter::Fetched;
        match edit {
            Edit::Cache(Wish::Key(_) | Wish::Bypass) => self.matter == Matter::Request,
            Edit::Cache(Wish::Ttl(_)) => self.matter != Matter::None,
            Edit::Cache(Wish::NoStore | Wish::Tag(_)) => is_fetched,
            // What is kept is what the pool sent.
            Edit::Set(..) | Edit::Add(..) | Edit::Remove(..) | Edit::Status(_) if is_fetched => false,
            Edit::Set(_, name, value) | Edit::Add(_, name, value) => may_name(name) && is_value(value),
            Edit::Remove(_, name) => may_name(name),
            Edit::Path(path) => self.response.is_none() && target(path).is_some(),
            Edit::Status(status) => self.response.is_some() && (200..600).contains(status),
            Edit::Tag(name, value) => std::str::from_utf8(name).is_ok() && std::str::from_utf8(value).is_ok(),
        }
    }
}

/// A path of a plugin as a target, without dots; `None` when it is none.
pub(super) fn target(path: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(path).ok()?;
    let is_target = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    let path = route::normalise(path).ok().filter(|_| is_target)?;
    Some(match query {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    })
}
