//! Who the client is behind the proxies before us, and what we tell the next one.
//!
//! In: the peer of a connection and the fields of a request. Out: the client's address and scheme ([`Seen`]), a
//! request id, and the fields `X-Forwarded-*`, `Forwarded`, `Via` and the request id as they go upstream. Invariant:
//! nothing that a peer outside `forwarded.trusted` says about who it is gets past here. Limits: `MAX_HOPS` addresses
//! are walked back, a request id has at most `MAX_ID` bytes, and more than `MAX_VIA` members of `Via` are taken for
//! a loop.
//!
//! `X-Forwarded-For` is read when it is there, else `Forwarded`. Trusted proxies must set or remove both, for one that
//! knows only one of them passes on what the client wrote in the other.

use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use smallvec::SmallVec;

use crate::config::model::Forwarded;
use crate::error::{Bound, Error, Kind};
use crate::http::fields::{InvalidField, trim};
use crate::http::hygiene::is_alike;
use crate::http::{Fields, Name, RequestHead, Scheme, Version, name};

/// How many addresses are walked back from the peer on.
const MAX_HOPS: usize = 32;
/// How long a request id of a trusted peer may be.
const MAX_ID: usize = 128;
/// Members of `Via` beyond which a request is refused.
const MAX_VIA: usize = 32;

/// Whether an address is in one of the networks; an IPv4 address written as IPv6 is the IPv4 address.
pub fn is_trusted(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// Who is at the other end of a client connection (or who the PROXY header says is). Made once for a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    address: IpAddr,
    trusted: bool,
    text: Line<40>,
}

/// The client of a request as the first proxy saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The client's address.
    pub client: IpAddr,
    /// The scheme that the client used.
    pub scheme: Scheme,
}

/// A request id: visible ASCII.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestId(SmallVec<[u8; 32]>);

impl Peer {
    /// The peer at an address.
    pub fn new(config: &Forwarded, address: IpAddr) -> Peer {
        let address = address.to_canonical();
        let mut text = Line::default();
        // Writing to a Line cannot fail.
        let _ = write!(text, "{address}");
        Peer { address, trusted: is_trusted(&config.trusted, address), text }
    }

    /// Its address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether its forwarding fields and request id are believed.
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Who the client is.
    pub fn seen(&self, config: &Forwarded, request: &RequestHead) -> Seen {
        let ours = Seen { client: self.address, scheme: request.scheme };
        if !self.trusted {
            return ours;
        }
        let fields = &request.fields;
        if !fields.contains(name::X_FORWARDED_FOR) && fields.contains(name::FORWARDED) {
            return seen_in_forwarded(config, fields, ours);
        }
        let mut walk = Walk { config, client: self.address, hops: 0 };
        let lines: SmallVec<[&[u8]; 4]> = fields.values(name::X_FORWARDED_FOR).collect();
        let members = lines.iter().rev().flat_map(|line| line.rsplit(|&b| b == b',')).map(trim);
        walk.back(members.filter(|member| !member.is_empty()).map(address));
        // Who said where the client is also says what the client asked for: proxies that add a member to one list
        // add one to the others too, and those that set a single value leave only that.
        let by_same = |field| from_right(fields.members(field), walk.hops.max(1));
        Seen { client: walk.client, scheme: by_same(name::X_FORWARDED_PROTO).and_then(scheme).unwrap_or(ours.scheme) }
    }

    /// The id of a request: the one that a trusted peer sent if it is a sane one, else a new one.
    pub fn request_id(&self, config: &Forwarded, fields: &Fields) -> RequestId {
        let sent = config.request_id.as_ref().filter(|_| self.trusted).and_then(|field| fields.value(field));
        match sent {
            Some(id) if !id.is_empty() && id.len() <= MAX_ID && id.iter().all(u8::is_ascii_graphic) => {
                RequestId(SmallVec::from_slice(id))
            }
            _ => RequestId::random(),
        }
    }

    /// Removes what an untrusted peer says and sets what goes upstream. Call it after [`Peer::seen`] and
    /// [`Peer::request_id`], and before the route's own header changes.
    pub fn announce(&self, config: &Forwarded, request: &mut RequestHead, id: &RequestId) -> Result<(), Error> {
        if !self.trusted {
            request.fields.retain(|field, _| !is_forwarding(field));
        }
        if request.fields.members(name::VIA).nth(MAX_VIA).is_some() {
            return Err(Error::client(Kind::Refused("too many proxies in Via")));
        }
        self.set_fields(config, request, id).map_err(|_| Error::client(Kind::HeadTooLarge(Bound::Size)))
    }

    fn set_fields(&self, config: &Forwarded, request: &mut RequestHead, id: &RequestId) -> Result<(), InvalidField> {
        let RequestHead { fields, authority, scheme, version, .. } = request;
        if config.x_forwarded {
            // Each proxy adds the address that it was called from, not the one it believes in.
            extend(fields, name::X_FORWARDED_FOR.into(), &self.text.0)?;
            if !fields.contains(name::X_FORWARDED_PROTO) {
                fields.append(name::X_FORWARDED_PROTO, scheme.text().as_bytes())?;
            }
            if !fields.contains(name::X_FORWARDED_HOST) && !authority.is_empty() {
                fields.append(name::X_FORWARDED_HOST, authority.as_bytes())?;
            }
        }
        if config.forwarded {
            extend(fields, name::FORWARDED.into(), &self.element(authority, *scheme).0)?;
        }
        if let Some(field) = &config.request_id {
            fields.set(field, &id.0)?;
        }
        via(fields, *version, &config.via)
    }

    /// What we know of a request, as RFC 7239 section 4 writes it.
    fn element(&self, authority: &str, scheme: Scheme) -> Line<128> {
        let mut line = Line::default();
        // Section 6: an IPv6 address stands in brackets, and so in quotes.
        let (open, close) = if self.address.is_ipv6() { ("\"[", "]\"") } else { ("", "") };
        for text in ["for=".as_bytes(), open.as_bytes(), &self.text.0, close.as_bytes(), b";proto="] {
            line.0.extend_from_slice(text);
        }
        line.0.extend_from_slice(scheme.text().as_bytes());
        if !authority.is_empty() {
            // A checked authority holds neither a quote nor a backslash, but perhaps a colon, which is not in a token.
            line.0.extend_from_slice(b";host=\"");
            line.0.extend(authority.bytes().filter(|b| !matches!(b, b'"' | b'\\')));
            line.0.push(b'"');
        }
        line
    }
}

impl RequestId {
    /// The id of a request that was never given one.
    pub fn none() -> RequestId {
        RequestId(SmallVec::new())
    }

    /// A new one: 128 random bits, as hexadecimal digits.
    pub fn random() -> RequestId {
        let number = fastrand::u128(..);
        let digit = |at: u32| b"0123456789abcdef".get((number >> (at * 4)) as usize & 15).copied().unwrap_or(b'0');
        RequestId((0..32).map(digit).collect())
    }

    /// As it stands in fields and logs.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Says in `Via` that a message came through us (RFC 9110 section 7.6.3), in either direction; `received` is the
/// protocol that it came to us by. An empty name says nothing.
pub fn via(fields: &mut Fields, received: Version, pseudonym: &str) -> Result<(), InvalidField> {
    if pseudonym.is_empty() {
        return Ok(());
    }
    let version: &[u8] = match received {
        Version::Http10 => b"1.0 ",
        Version::Http11 => b"1.1 ",
        Version::Http2 => b"2.0 ",
    };
    let mut line: SmallVec<[u8; 64]> = SmallVec::from_slice(version);
    line.extend_from_slice(pseudonym.as_bytes());
    fields.append(name::VIA, &line)
}

/// Whether a field tells who the client is or what it asked for before a proxy changed it. A dash and an underscore
/// are the same to CGI and its kin, which read `X_Forwarded_For` as `X-Forwarded-For`.
///
/// `X-Original-URL` and `X-Rewrite-URL` make some frameworks serve another path than the one that was routed.
pub(super) fn is_forwarding(field: Name<'_>) -> bool {
    const NAMES: [&str; 11] = [
        "x-real-port",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-original-forwarded-for",
        "x-original-host",
        "x-original-uri",
        "x-original-url",
        "x-rewrite-url",
        "true-client-ip",
        "cf-connecting-ip",
        "fastly-client-ip",
    ];
    let text = match field {
        Name::Known(known) => {
            return matches!(
                known,
                name::FORWARDED
                    | name::X_FORWARDED_FOR
                    | name::X_FORWARDED_HOST
                    | name::X_FORWARDED_PROTO
                    | name::X_REAL_IP
            );
        }
        Name::Text(text) => text,
    };
    if !text.starts_with(['x', 't', 'c', 'f']) {
        return false;
    }
    const START: &str = "x-forwarded";
    text.get(..START.len()).is_some_and(|start| is_alike(start, START)) || NAMES.iter().any(|name| is_alike(text, name))
}

/// Adds a member to the list that the fields of this name make up, and makes it one field.
fn extend(fields: &mut Fields, field: Name<'_>, member: &[u8]) -> Result<(), InvalidField> {
    if !fields.contains(field) {
        return fields.append(field, member);
    }
    let mut line: SmallVec<[u8; 128]> = SmallVec::new();
    for value in fields.values(field).filter(|value| !value.is_empty()) {
        line.extend_from_slice(value);
        line.extend_from_slice(b", ");
    }
    line.extend_from_slice(member);
    fields.set(field, &line)
}

/// The way back from the peer over trusted proxies.
struct Walk<'c> {
    config: &'c Forwarded,
    /// The farthest address that a trusted proxy vouches for.
    client: IpAddr,
    /// How many members were taken.
    hops: usize,
}

impl Walk<'_> {
    /// Takes members from the nearest on, as long as who wrote them is trusted. One that is no address (`unknown`, an
    /// obfuscated identifier, garbage) ends the walk: what is before it has no witness.
    fn back(&mut self, members: impl Iterator<Item = Option<IpAddr>>) {
        for member in members.take(MAX_HOPS) {
            let Some(address) = member.filter(|_| is_trusted(&self.config.trusted, self.client)) else { return };
            self.client = address;
            self.hops += 1;
        }
    }
}

fn seen_in_forwarded(config: &Forwarded, fields: &Fields, ours: Seen) -> Seen {
    // Quotes are only to be told from the left, so the last members are kept on the way.
    let mut last: [&[u8]; MAX_HOPS] = [b""; MAX_HOPS];
    let mut count = 0;
    for element in fields.members(name::FORWARDED) {
        if let Some(place) = last.get_mut(count % MAX_HOPS) {
            *place = element;
        }
        count += 1;
    }
    let nearest = |hop: usize| last.get((count - 1 - hop) % MAX_HOPS).copied().unwrap_or_default();
    let mut walk = Walk { config, client: ours.client, hops: 0 };
    walk.back((0..count.min(MAX_HOPS)).map(|hop| parameter(nearest(hop), b"for").and_then(address)));
    let element = if count == 0 { b"" } else { nearest(walk.hops.saturating_sub(1)) };
    Seen { client: walk.client, scheme: parameter(element, b"proto").and_then(scheme).unwrap_or(ours.scheme) }
}

/// The value of a parameter of an element of `Forwarded`, without its quotes. What needs a backslash in quotes is
/// neither an address nor a scheme.
fn parameter<'e>(element: &'e [u8], wanted: &[u8]) -> Option<&'e [u8]> {
    element.split(|&b| b == b';').find_map(|pair| {
        let at = memchr::memchr(b'=', pair)?;
        let (name, value) = (trim(pair.get(..at)?), trim(pair.get(at + 1..)?));
        let value = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value);
        name.eq_ignore_ascii_case(wanted).then_some(value)
    })
}

/// An address as it stands in forwarding fields: IPv4 or IPv6, with or without brackets and port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let is_port = |port: &str| {
        !port.is_empty() && port.len() <= 6 && port.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port_fits = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return port_fits.then(|| address.parse::<Ipv6Addr>().ok()).flatten().map(|a| IpAddr::V6(a).to_canonical());
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (address, port) = text.split_once(':')?;
    is_port(port).then(|| address.parse::<Ipv4Addr>().ok()).flatten().map(IpAddr::V4)
}

fn scheme(text: &[u8]) -> Option<Scheme> {
    match text {
        _ if text.eq_ignore_ascii_case(b"http") => Some(Scheme::Http),
        _ if text.eq_ignore_ascii_case(b"https") => Some(Scheme::Https),
        _ => None,
    }
}

/// The member that stands so far from the right, counted from 1; the first one when there are fewer.
fn from_right<'f>(mut members: impl Iterator<Item = &'f [u8]>, position: usize) -> Option<&'f [u8]> {
    let mut last: SmallVec<[&[u8]; MAX_HOPS]> = SmallVec::new();
    for member in &mut members {
        if last.len() == position.min(MAX_HOPS) {
            last.remove(0);
        }
        last.push(member);
    }
    last.first().copied()
}

/// A short text that is put together on the stack.
#[derive(Clone, Debug)]
struct Line<const N: usize>(SmallVec<[u8; N]>);

impl<const N: usize> Default for Line<N> {
    fn default() -> Line<N> {
        Line(SmallVec::new())
    }
}

impl<const N: usize> Write for Line<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
