//! Whether a request is let in, and what is put in order before anything is decided.
//!
//! In: a request whose framing is sound. Out: the same with its true client, its id and its forwarding fields, or why it is
//! refused.

use std::borrow::Cow;

use super::exchange::Exchange;
use crate::error::{Bound, Error, Kind};
use crate::http::{Method, RequestHead, claims, name};
use crate::route::{self, PathProblem};

/// Lets a request in.
pub(super) fn admit(x: &mut Exchange<'_>) -> Result<(), Error> {
    let view = x.view.clone();
    let forwarded = &view.snapshot.config.forwarded;
    let peer = &x.client.forwarded;
    x.facts.request_id = peer.request_id(forwarded, &x.request.fields);
    if let Some(error) = x.refused {
        // For the log alone: who it was that a trusted proxy passed on.
        x.facts.client = peer.seen(forwarded, &x.request).client();
        return Err(error);
    }
    // A proxy that opens tunnels to wherever a client says is an open relay (RFC 9110 section 9.3.6).
    if x.request.method == Method::CONNECT && x.request.upgrade.is_none() {
        return Err(Error::client(Kind::Refused("CONNECT is not served")));
    }
    // RFC 8441 section 4: of the protocols that a stream may change to, this is the one that both versions of HTTP know.
    if x.request.method == Method::CONNECT && x.request.upgrade.as_deref() != Some("websocket") {
        return Err(Error::client(Kind::Refused("the one protocol for extended CONNECT is websocket")));
    }
    // RFC 9110 section 10.1.1. HTTP/1 has looked at it before.
    if x.request.fields.members(name::EXPECT).any(|value| !value.eq_ignore_ascii_case(b"100-continue")) {
        return Err(Error::client(Kind::ExpectationFailed));
    }
    claims::strip_lookalikes(&mut x.request.fields);
    if x.request.target.len() as u64 > view.snapshot.limits.uri_size {
        return Err(Error::client(Kind::UriTooLong));
    }
    // Two readings of a path are how access rules are passed by.
    count_down_forwards(&mut x.request)?;
    if let Some(target) = settle_path(&x.request)? {
        x.facts.original_target = Some(std::mem::replace(&mut x.request.target, target));
    }
    let seen = peer.seen(forwarded, &x.request);
    peer.announce(forwarded, &seen, &mut x.request, &x.facts.request_id)?;
    x.facts.client = seen.client();
    x.facts.scheme = seen.scheme;
    x.request.scheme = seen.scheme;
    identify(x)
}

/// RFC 9110 section 7.6.2: a TRACE or OPTIONS says how many more may forward it.
fn count_down_forwards(request: &mut RequestHead) -> Result<(), Error> {
    if !matches!(request.method, Method::TRACE | Method::OPTIONS) || !request.fields.contains(name::MAX_FORWARDS) {
        return Ok(());
    }
    let several = request.fields.values(name::MAX_FORWARDS).nth(1).is_some();
    let digits = |text: &&str| text.bytes().all(|b| b.is_ascii_digit()) && !several;
    let left = request.fields.text(name::MAX_FORWARDS).filter(digits).and_then(|text| text.parse::<u32>().ok());
    match left.map(|left| left.checked_sub(1)) {
        None => Err(Error::client(Kind::Malformed("max-forwards is not a number"))),
        // We would be the last recipient, and have nothing to say to either.
        Some(None) => Err(Error::client(Kind::MethodNotAllowed)),
        Some(Some(left)) => request
            .fields
            .set(name::MAX_FORWARDS, itoa::Buffer::new().format(left).as_bytes())
            .map_err(|_| Error::client(Kind::HeadTooLarge(Bound::Size))),
    }
}

/// The target without dot segments, when it had some: what is routed is what the upstream sees.
fn settle_path(request: &RequestHead) -> Result<Option<String>, Error> {
    let path = request.path();
    let malformed = |problem: PathProblem| Error::client(Kind::Malformed(problem.text()));
    match route::normalise(path).map_err(malformed)? {
        Cow::Owned(normal) if path.split('/').any(is_dots) => Ok(Some(match request.query() {
            Some(query) => format!("{normal}?{query}"),
            None => normal,
        })),
        _ => Ok(None),
    }
}

/// `.` or `..`, however they are written.
fn is_dots(segment: &str) -> bool {
    let plain = segment.replace("%2e", ".").replace("%2E", ".");
    plain == "." || plain == ".."
}

/// Tells upstreams who the client proved to be, and believes nobody else who says so.
fn identify(x: &mut Exchange<'_>) -> Result<(), Error> {
    let forged = &x.view.snapshot.identity_fields;
    if !forged.is_empty() {
        x.request.fields.retain(|field, _| !forged.iter().any(|name| claims::is_alike(field.text(), name.text())));
    }
    if x.client.tls.is_none() {
        return Ok(());
    }
    let settings = x.client.listener.settings.load();
    let Some(client) = settings.model.tls.as_ref().and_then(|tls| tls.client.as_ref()) else { return Ok(()) };
    let identity = x.client.tls.as_ref().and_then(|tls| tls.identity.as_deref());
    let told = [
        (&client.subject_header, identity.map(|identity| &identity.subject)),
        (&client.san_header, identity.map(|identity| &identity.san)),
        (&client.fingerprint_header, identity.map(|identity| &identity.fingerprint)),
    ];
    for (field, value) in told {
        if let (Some(field), Some(value)) = (field, value) {
            x.request
                .fields
                .set(field, value.as_bytes())
                .map_err(|_| Error::client(Kind::HeadTooLarge(Bound::Size)))?;
        }
    }
    Ok(())
}
