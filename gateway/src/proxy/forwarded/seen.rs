//! Who the client is and what it asked for, from what trusted proxies say.
//!
//! In: the peer of a connection and the fields of a request. Out: one decision, [`Seen`], from which both families of
//! forwarding fields are made and which the log and the routes mean. Invariant: an address is in it only because a
//! trusted proxy was called from there. Limits: `MAX_HOPS` addresses are walked back.
//!
//! One family is read. `X-Forwarded-*` goes before `Forwarded`, since it is what nearly every proxy writes; where one of
//! its three fields is there, nothing of `Forwarded` counts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smallvec::SmallVec;

use super::is_trusted;
use crate::config::model::Forwarded;
use crate::http::fields::{Known, trim};
use crate::http::hygiene::check_authority;
use crate::http::{Fields, RequestHead, Scheme, name};

/// How many addresses are walked back from the peer on.
pub(super) const MAX_HOPS: usize = 32;

/// The client of a request as the first trusted proxy saw it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The scheme that the client used.
    pub scheme: Scheme,
    /// The peer, who called it, and so on to the client.
    chain: SmallVec<[IpAddr; 2]>,
    /// The host that the client asked for, when a proxy says that it was not the one in the request.
    host: Option<String>,
}

impl Seen {
    /// What is seen without anybody's word for it.
    pub(super) fn plainly(peer: IpAddr, request: &RequestHead) -> Seen {
        Seen { scheme: request.scheme, chain: SmallVec::from_slice(&[peer]), host: None }
    }

    /// What is seen behind a peer that is trusted.
    pub(super) fn behind(config: &Forwarded, peer: IpAddr, request: &RequestHead) -> Seen {
        let mut seen = Seen::plainly(peer, request);
        let fields = &request.fields;
        if [name::X_FORWARDED_FOR, name::X_FORWARDED_PROTO, name::X_FORWARDED_HOST].iter().any(|&n| fields.contains(n))
        {
            seen.read_x_forwarded(config, fields);
        } else if fields.contains(name::FORWARDED) {
            seen.read_forwarded(config, fields);
        }
        seen
    }

    /// The client's address.
    pub fn client(&self) -> IpAddr {
        self.chain.last().copied().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// From the client to the peer.
    pub(super) fn chain(&self) -> impl Iterator<Item = IpAddr> {
        self.chain.iter().rev().copied()
    }

    /// The host that the client asked for, with its port if it wrote one; checked like an authority.
    pub fn host<'a>(&'a self, authority: &'a str) -> &'a str {
        self.host.as_deref().unwrap_or(authority)
    }

    fn read_x_forwarded(&mut self, config: &Forwarded, fields: &Fields) {
        self.walk(config, from_right(fields, name::X_FORWARDED_FOR).map(address));
        // Who said where the client is also says what the client asked for: proxies that add a member to one list
        // add one to the others too, and those that set a single value leave only that.
        let by_same = |field| from_right(fields, field).take(self.hops().max(1)).last();
        let (scheme, host) = (by_same(name::X_FORWARDED_PROTO), by_same(name::X_FORWARDED_HOST));
        self.asked(scheme, host);
    }

    fn read_forwarded(&mut self, config: &Forwarded, fields: &Fields) {
        // Quotes are only to be told from the left, so the last elements are kept on the way.
        let mut last: [&[u8]; MAX_HOPS] = [b""; MAX_HOPS];
        let mut count = 0;
        for element in fields.members(name::FORWARDED) {
            if let Some(place) = last.get_mut(count % MAX_HOPS) {
                *place = element;
            }
            count += 1;
        }
        let nearest = |hop: usize| match (count > hop).then(|| last.get((count - 1 - hop) % MAX_HOPS)).flatten() {
            Some(text) => Element::read(text).unwrap_or_default(),
            None => Element::default(),
        };
        self.walk(config, (0..count.min(MAX_HOPS)).map(|hop| nearest(hop).client.and_then(address)));
        let element = nearest(self.hops().saturating_sub(1));
        self.asked(element.proto, element.host);
    }

    /// How far it was walked back.
    fn hops(&self) -> usize {
        self.chain.len() - 1
    }

    /// Takes members from the nearest on, as long as who wrote them is trusted. One that is no address (`unknown`, an
    /// obfuscated identifier, garbage) ends the walk: what is before it has no witness.
    fn walk(&mut self, config: &Forwarded, members: impl Iterator<Item = Option<IpAddr>>) {
        for member in members.take(MAX_HOPS) {
            let Some(address) = member.filter(|_| is_trusted(&config.trusted, self.client())) else { return };
            self.chain.push(address);
        }
    }

    fn asked(&mut self, proto: Option<&[u8]>, host: Option<&[u8]>) {
        self.scheme = proto.and_then(scheme).unwrap_or(self.scheme);
        let host = host.and_then(|host| std::str::from_utf8(host).ok());
        self.host = host.filter(|host| !host.is_empty() && check_authority(host).is_ok()).map(str::to_owned);
    }
}

/// The members of a list, from the last one on, without the empty ones. Quotes mean nothing in `X-Forwarded-*`: one that a
/// client leaves open must not join what proxies add.
fn from_right(fields: &Fields, field: Known) -> impl Iterator<Item = &[u8]> {
    let lines: SmallVec<[&[u8]; 4]> = fields.values(field).collect();
    let members = lines.into_iter().rev().flat_map(|line| line.rsplit(|&b| b == b','));
    members.map(trim).filter(|member| !member.is_empty())
}

/// What one proxy says in `Forwarded`, without quotes.
#[derive(Clone, Copy, Default)]
struct Element<'e> {
    client: Option<&'e [u8]>,
    proto: Option<&'e [u8]>,
    host: Option<&'e [u8]>,
}

impl<'e> Element<'e> {
    /// RFC 7239 section 4: pairs in any order, no name twice. What breaks that says nothing, or a client whose words a proxy
    /// puts in quotes could add a pair. Blanks around the signs are borne with, and colons and brackets without quotes.
    fn read(text: &'e [u8]) -> Option<Element<'e>> {
        let mut element = Element::default();
        let mut rest = Some(text);
        while let Some(text) = rest {
            let (pair, after) = first_pair(text)?;
            rest = after;
            let pair = trim(pair);
            if pair.is_empty() {
                continue;
            }
            let (name, value) = pair.split_at_checked(memchr::memchr(b'=', pair)?)?;
            let value = plain(trim(value.get(1..)?))?;
            let slot = match trim(name) {
                name if name.eq_ignore_ascii_case(b"for") => &mut element.client,
                name if name.eq_ignore_ascii_case(b"proto") => &mut element.proto,
                name if name.eq_ignore_ascii_case(b"host") => &mut element.host,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return None;
            }
        }
        Some(element)
    }
}

/// What is before the first semicolon outside quotes, and what is behind it. None: a quote stays open.
fn first_pair(text: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, &b) in text.iter().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b';' if !quoted => return Some((text.get(..at)?, text.get(at + 1..))),
            _ => {}
        }
    }
    (!quoted).then_some((text, None))
}

/// A value without its quotes. What needs a backslash in them is neither an address nor a host, and is seen to be none later.
fn plain(value: &[u8]) -> Option<&[u8]> {
    let inner = match value {
        [b'"', inner @ .., b'"'] => inner,
        bare => return (!bare.contains(&b'"')).then_some(bare),
    };
    (!inner.contains(&b'"') || inner.contains(&b'\\')).then_some(inner)
}

/// An address as it stands in forwarding fields: IPv4 or IPv6, with or without brackets and port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    // RFC 7239 section 6.2: a port may be obfuscated too, and then begins with an underscore.
    let is_port = |port: &str| match port.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
        None => (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit()),
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
