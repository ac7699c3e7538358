//! Who the client is behind the proxies before us, and what we tell the next one.
//!
//! In: the peer of a connection and the fields of a request. Out: the decision who the client is ([`Seen`]), a request
//! id, and the fields `X-Forwarded-*`, `Forwarded`, `Via` and the request id as they go upstream. Invariants: nothing
//! that a peer outside `forwarded.trusted` says about who it is gets past here, and whichever of the forwarding fields
//! an upstream reads, it learns the same. Limits: a request id has at most `MAX_ID` bytes, and more than `MAX_VIA`
//! members of `Via` are taken for a loop.

mod seen;

use std::fmt::{self, Write};
use std::net::IpAddr;

use ipnet::IpNet;
use smallvec::SmallVec;

use crate::config::model::Forwarded;
use crate::error::{Bound, Error, Kind};
use crate::http::claims::{is_forwarding, strip_alike};
use crate::http::fields::InvalidField;
use crate::http::{Fields, Name, RequestHead, Version, name};
pub use seen::Seen;

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
        if self.trusted { Seen::behind(config, self.address, request) } else { Seen::plainly(self.address, request) }
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

    /// Removes what an untrusted peer says and sets what goes upstream. Call it before the route's own header changes.
    pub fn announce(
        &self,
        config: &Forwarded,
        seen: &Seen,
        request: &mut RequestHead,
        id: &RequestId,
    ) -> Result<(), Error> {
        // Whoever is not trusted may say nothing; of those who are, what was said has become the decision.
        request.fields.retain(|field, _| if self.trusted { !is_decided(field) } else { !is_forwarding(field) });
        if request.fields.members(name::VIA).nth(MAX_VIA).is_some() {
            return Err(Error::client(Kind::Refused("too many proxies in Via")));
        }
        self.set_fields(config, seen, request, id).map_err(|_| Error::client(Kind::HeadTooLarge(Bound::Size)))
    }

    fn set_fields(
        &self,
        config: &Forwarded,
        seen: &Seen,
        request: &mut RequestHead,
        id: &RequestId,
    ) -> Result<(), InvalidField> {
        let RequestHead { fields, authority, version, .. } = request;
        // These may stand in a host by the letter of RFC 3986, and simple readers would take it for more than a host.
        let is_simple = |host: &&str| !host.contains([',', ';', '=']);
        let host = Some(seen.host(authority)).filter(is_simple).unwrap_or_default();
        if config.x_forwarded {
            fields.append(name::X_FORWARDED_FOR, &self.chain(seen).0)?;
            fields.append(name::X_FORWARDED_PROTO, seen.scheme.text().as_bytes())?;
            if !host.is_empty() {
                fields.append(name::X_FORWARDED_HOST, host.as_bytes())?;
            }
        }
        if config.forwarded {
            fields.append(name::FORWARDED, &elements(seen, host).0)?;
        }
        if let Some(field) = &config.request_id {
            strip_alike(fields, field);
            fields.set(field, &id.0)?;
        }
        via(fields, *version, &config.via)
    }

    fn chain(&self, seen: &Seen) -> Line<64> {
        let mut line = Line::default();
        for address in seen.chain() {
            if !line.0.is_empty() {
                line.0.extend_from_slice(b", ");
            }
            if address == self.address {
                line.0.extend_from_slice(&self.text.0);
            } else {
                // Writing to a Line cannot fail.
                let _ = write!(line, "{address}");
            }
        }
        line
    }
}

/// The same as RFC 7239 section 4 writes it. Scheme and host stand once, with the client: whether a reader takes the first,
/// the last or the one beside the client, it is that.
fn elements(seen: &Seen, host: &str) -> Line<128> {
    let mut line = Line::default();
    for (at, address) in seen.chain().enumerate() {
        // Section 6: an IPv6 address stands in brackets, and so in quotes. Writing to a Line cannot fail.
        let separator = if at > 0 { ", " } else { "" };
        let _ = match address.is_ipv6() {
            true => write!(line, "{separator}for=\"[{address}]\""),
            false => write!(line, "{separator}for={address}"),
        };
        if at > 0 {
            continue;
        }
        let _ = write!(line, ";proto={}", seen.scheme.text());
        if !host.is_empty() {
            // A checked authority holds neither a quote nor a backslash, but perhaps a colon, which is not in a token.
            line.0.extend_from_slice(b";host=\"");
            line.0.extend(host.bytes().filter(|b| !matches!(b, b'"' | b'\\')));
            line.0.push(b'"');
        }
    }
    line
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

/// Whether a field is one of those that are made anew from the decision, whoever sent it.
fn is_decided(field: Name<'_>) -> bool {
    let Name::Known(known) = field else { return false };
    let decided = [name::FORWARDED, name::X_FORWARDED_FOR, name::X_FORWARDED_HOST, name::X_FORWARDED_PROTO];
    decided.contains(&known)
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
