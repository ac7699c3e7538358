//! What can go wrong with one exchange: who is at fault, and whether the request may be sent again.
//!
//! The match from an error to a status, a connection's fate and a label stands in [`Error::outcome`], once.

use std::fmt;
use std::io;

use http::StatusCode;

/// Who is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The client sent what it may not, or went away.
    Client,
    /// The backend did.
    Upstream,
    /// A bound of our own, or our own failure.
    Gateway,
}

/// Whether a request that met this error may be sent to an upstream again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// The upstream cannot have seen it.
    Safe,
    /// The upstream cannot have seen it, and a moment later all would be the same there: only to another one.
    Elsewhere,
    /// It may have been processed: only when the method is idempotent.
    Idempotent,
    /// Not at all.
    Never,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A message that breaks the protocol; the text says how, in a few words.
    Malformed(&'static str),
    /// A valid request for what the gateway does not do; the text says what.
    Refused(&'static str),
    /// An expectation other than 100-continue.
    ExpectationFailed,
    /// A method that this route does not serve.
    MethodNotAllowed,
    /// The client's address may not do this.
    Forbidden,
    /// No route matches.
    NoRoute,
    /// A file or folder that is not there.
    NotFound,
    /// The start line's target is too long.
    UriTooLong,
    /// The head goes over this bound.
    HeadTooLarge(Bound),
    /// The body is larger than allowed.
    BodyTooLarge,
    /// A body is longer than allowed, once it is decompressed.
    DecodedTooLarge,
    /// The line before a chunk is longer than allowed.
    ChunkHeadTooLarge,
    /// More requests at the same time on one HTTP/2 connection than allowed.
    TooManyStreams,
    /// Time is up; the phase says which time.
    Timeout(Phase),
    /// The peer ended the connection in the middle of a message.
    Truncated,
    /// The peer ended the connection, or was found to have ended it, before anything was said.
    Closed,
    /// The peer reset the stream with this HTTP/2 error code.
    Reset(u32),
    /// No connection to the upstream.
    Connect,
    /// The TLS handshake with the upstream failed.
    Tls,
    /// Reading or writing failed.
    Io,
    /// The pool has no endpoint to send this to.
    NoEndpoint,
    /// As many requests wait for a connection as may.
    Overloaded,
    /// The pool would only let it wait for others.
    Shed,
    /// A filter failed, or answered with what is no response.
    Plugin,
    /// A plugin refuses the request with this status.
    PluginRefused(u16),
    /// The gateway was told to leave before it was over.
    Cut,
    /// Our own failure.
    Internal(&'static str),
}

/// Which bound a head goes over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// Bytes.
    Size,
    /// The number of fields.
    Fields,
    /// Bytes as HTTP/2 counts them.
    List,
}

/// Which time is up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Until a request head is complete.
    Head,
    /// Until more of a body arrives or can be sent.
    BodyIdle,
    /// Until something moves in a tunnel.
    TunnelIdle,
    /// Until as much of a request body has arrived as should have.
    BodyPace,
    /// Until an upstream connection stands.
    Connect,
    /// Until one of the allowed connections is free.
    Queue,
    /// Until the first byte of the upstream's response.
    FirstByte,
    /// Until the first byte of the response, of one try among several.
    Try,
    /// Until the whole exchange is over.
    Request,
    /// Until more of a response goes to a client that will send no more.
    HalfClosed,
}

/// One error of one exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Error {
    /// What happened.
    pub kind: Kind,
    /// Who is at fault.
    pub side: Side,
    /// Whether it may be tried again.
    pub retry: Retry,
}

/// What the client is told and what becomes of its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The status, when no response has begun; `None`: nobody is left to be told, or no time.
    pub status: Option<StatusCode>,
    /// Whether the client's HTTP/1 connection can carry another request.
    pub keep: bool,
    /// The word for it in logs and metrics.
    pub label: &'static str,
}

impl Error {
    /// The client's fault; never tried again.
    pub const fn client(kind: Kind) -> Error {
        Error { kind, side: Side::Client, retry: Retry::Never }
    }

    /// The upstream's fault.
    pub const fn upstream(kind: Kind, retry: Retry) -> Error {
        Error { kind, side: Side::Upstream, retry }
    }

    /// Our own fault or bound; never tried again.
    pub const fn gateway(kind: Kind) -> Error {
        Error { kind, side: Side::Gateway, retry: Retry::Never }
    }

    /// A failure of reading or writing on a connection of that side.
    pub fn io(error: &io::Error, side: Side) -> Error {
        let kind = match error.kind() {
            io::ErrorKind::UnexpectedEof => Kind::Truncated,
            io::ErrorKind::InvalidData => Kind::Tls,
            _ => Kind::Io,
        };
        Error { kind, side, retry: Retry::Idempotent }
    }

    /// The word for it in logs and metrics.
    pub fn label(&self) -> &'static str {
        self.outcome().label
    }

    /// What the client is told and what becomes of its connection.
    pub fn outcome(&self) -> Outcome {
        let answer = |status: StatusCode, keep, label| Outcome { status: Some(status), keep, label };
        let nobody = |label| Outcome { status: None, keep: false, label };
        let upstream = self.side == Side::Upstream;
        match self.kind {
            Kind::Malformed(_) | Kind::ChunkHeadTooLarge if upstream => {
                answer(StatusCode::BAD_GATEWAY, true, "upstream-malformed")
            }
            Kind::Malformed(_) | Kind::ChunkHeadTooLarge => answer(StatusCode::BAD_REQUEST, false, "malformed"),
            Kind::Refused(_) => answer(StatusCode::NOT_IMPLEMENTED, false, "refused"),
            Kind::ExpectationFailed => answer(StatusCode::EXPECTATION_FAILED, false, "expectation"),
            Kind::MethodNotAllowed => answer(StatusCode::METHOD_NOT_ALLOWED, true, "method"),
            Kind::Forbidden => answer(StatusCode::FORBIDDEN, true, "forbidden"),
            Kind::NoRoute => answer(StatusCode::NOT_FOUND, true, "no-route"),
            Kind::NotFound => answer(StatusCode::NOT_FOUND, true, "not-found"),
            Kind::UriTooLong => answer(StatusCode::URI_TOO_LONG, false, "uri-too-long"),
            Kind::HeadTooLarge(_) if upstream => answer(StatusCode::BAD_GATEWAY, true, "upstream-head-too-large"),
            Kind::HeadTooLarge(_) => answer(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, false, "head-too-large"),
            Kind::BodyTooLarge if upstream => answer(StatusCode::BAD_GATEWAY, true, "upstream-body-too-large"),
            Kind::BodyTooLarge => answer(StatusCode::PAYLOAD_TOO_LARGE, false, "body-too-large"),
            Kind::DecodedTooLarge => answer(StatusCode::BAD_GATEWAY, true, "decoded-too-large"),
            // The stream is reset, so that the client sends it again.
            Kind::TooManyStreams => nobody("too-many-streams"),
            Kind::Timeout(Phase::Head) => answer(StatusCode::REQUEST_TIMEOUT, false, "head-timeout"),
            Kind::Timeout(Phase::BodyIdle) if upstream => {
                answer(StatusCode::GATEWAY_TIMEOUT, true, "upstream-idle-timeout")
            }
            Kind::Timeout(Phase::BodyIdle) => answer(StatusCode::REQUEST_TIMEOUT, false, "body-timeout"),
            Kind::Timeout(Phase::TunnelIdle) => answer(StatusCode::REQUEST_TIMEOUT, false, "tunnel-idle"),
            Kind::Timeout(Phase::BodyPace) => answer(StatusCode::REQUEST_TIMEOUT, false, "body-too-slow"),
            Kind::Timeout(Phase::Connect) => answer(StatusCode::GATEWAY_TIMEOUT, true, "connect-timeout"),
            Kind::Timeout(Phase::Queue) => answer(StatusCode::SERVICE_UNAVAILABLE, true, "queue-timeout"),
            Kind::Timeout(Phase::FirstByte) => answer(StatusCode::GATEWAY_TIMEOUT, true, "first-byte-timeout"),
            Kind::Timeout(Phase::Try) => answer(StatusCode::GATEWAY_TIMEOUT, true, "try-timeout"),
            Kind::Timeout(Phase::Request) => answer(StatusCode::GATEWAY_TIMEOUT, true, "request-timeout"),
            Kind::Timeout(Phase::HalfClosed) => nobody("client-closed"),
            Kind::Truncated if upstream => answer(StatusCode::BAD_GATEWAY, true, "upstream-truncated"),
            Kind::Truncated => answer(StatusCode::BAD_REQUEST, false, "client-truncated"),
            Kind::Closed if upstream => answer(StatusCode::BAD_GATEWAY, true, "upstream-closed"),
            Kind::Closed => nobody("client-closed"),
            Kind::Reset(_) if upstream => answer(StatusCode::BAD_GATEWAY, true, "upstream-reset"),
            Kind::Reset(_) => nobody("client-reset"),
            Kind::Connect => answer(StatusCode::BAD_GATEWAY, true, "connect-failed"),
            Kind::Tls if upstream => answer(StatusCode::BAD_GATEWAY, true, "upstream-tls"),
            Kind::Tls => answer(StatusCode::BAD_REQUEST, false, "client-tls"),
            Kind::Io if upstream => answer(StatusCode::BAD_GATEWAY, true, "upstream-io"),
            Kind::Io => nobody("client-io"),
            Kind::NoEndpoint => answer(StatusCode::SERVICE_UNAVAILABLE, true, "no-endpoint"),
            Kind::Overloaded => answer(StatusCode::SERVICE_UNAVAILABLE, true, "overloaded"),
            Kind::Shed => answer(StatusCode::SERVICE_UNAVAILABLE, true, "shed"),
            Kind::Plugin => answer(StatusCode::INTERNAL_SERVER_ERROR, true, "plugin"),
            Kind::PluginRefused(status) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
                answer(status, true, "refused-by-plugin")
            }
            Kind::Cut => nobody("cut"),
            Kind::Internal(_) => answer(StatusCode::INTERNAL_SERVER_ERROR, false, "internal"),
        }
    }

    /// The bound of [`crate::limits`] that was hit, when it was one.
    pub fn limit(&self) -> Option<&'static str> {
        match self.kind {
            Kind::UriTooLong => Some("uri_size"),
            Kind::HeadTooLarge(Bound::Size) => Some("header_size"),
            Kind::HeadTooLarge(Bound::Fields) => Some("header_fields"),
            Kind::HeadTooLarge(Bound::List) => Some("http2_header_list_size"),
            Kind::BodyTooLarge => Some("body_size"),
            Kind::DecodedTooLarge => Some("decoded_size"),
            Kind::ChunkHeadTooLarge => Some("chunk_header_size"),
            Kind::TooManyStreams => Some("http2_streams"),
            Kind::Timeout(Phase::Head) => Some("header_time"),
            Kind::Timeout(Phase::BodyIdle) => Some("body_idle_time"),
            Kind::Timeout(Phase::HalfClosed) => Some("half_close_time"),
            Kind::Timeout(Phase::TunnelIdle) => Some("tunnel_idle_time"),
            Kind::Timeout(Phase::BodyPace) => Some("body_min_rate"),
            _ => None,
        }
    }

    /// What went wrong in words that a client may read: no addresses, no chains.
    pub fn explanation(&self) -> &'static str {
        match self.kind {
            Kind::Malformed(what) if self.side == Side::Client => what,
            Kind::ChunkHeadTooLarge if self.side == Side::Client => "chunk head is too long",
            Kind::Refused(what) => what,
            _ => "",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())?;
        match self.kind {
            Kind::Malformed(what) | Kind::Refused(what) | Kind::Internal(what) => write!(f, ": {what}"),
            Kind::Reset(code) => write!(f, ": code {code}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The kind that follows in a walk over all of them, and over all phases; a new one finds no place to hide.
    fn after(kind: Kind) -> Option<Kind> {
        Some(match kind {
            Kind::Malformed(_) => Kind::Refused(""),
            Kind::Refused(_) => Kind::ExpectationFailed,
            Kind::ExpectationFailed => Kind::MethodNotAllowed,
            Kind::MethodNotAllowed => Kind::Forbidden,
            Kind::Forbidden => Kind::NoRoute,
            Kind::NoRoute => Kind::NotFound,
            Kind::NotFound => Kind::UriTooLong,
            Kind::UriTooLong => Kind::HeadTooLarge(Bound::Size),
            Kind::HeadTooLarge(Bound::Size) => Kind::HeadTooLarge(Bound::Fields),
            Kind::HeadTooLarge(Bound::Fields) => Kind::HeadTooLarge(Bound::List),
            Kind::HeadTooLarge(Bound::List) => Kind::BodyTooLarge,
            Kind::BodyTooLarge => Kind::DecodedTooLarge,
            Kind::DecodedTooLarge => Kind::ChunkHeadTooLarge,
            Kind::ChunkHeadTooLarge => Kind::TooManyStreams,
            Kind::TooManyStreams => Kind::Timeout(Phase::Head),
            Kind::Timeout(Phase::Head) => Kind::Timeout(Phase::BodyIdle),
            Kind::Timeout(Phase::BodyIdle) => Kind::Timeout(Phase::BodyPace),
            Kind::Timeout(Phase::BodyPace) => Kind::Timeout(Phase::HalfClosed),
            Kind::Timeout(Phase::HalfClosed) => Kind::Timeout(Phase::TunnelIdle),
            Kind::Timeout(Phase::TunnelIdle) => Kind::Timeout(Phase::Connect),
            Kind::Timeout(Phase::Connect) => Kind::Timeout(Phase::Queue),
            Kind::Timeout(Phase::Queue) => Kind::Timeout(Phase::FirstByte),
            Kind::Timeout(Phase::FirstByte) => Kind::Timeout(Phase::Try),
            Kind::Timeout(Phase::Try) => Kind::Timeout(Phase::Request),
            Kind::Timeout(Phase::Request) => Kind::Truncated,
            Kind::Truncated => Kind::Closed,
            Kind::Closed => Kind::Reset(0),
            Kind::Reset(_) => Kind::Connect,
            Kind::Connect => Kind::Tls,
            Kind::Tls => Kind::Io,
            Kind::Io => Kind::NoEndpoint,
            Kind::NoEndpoint => Kind::Overloaded,
            Kind::Overloaded => Kind::Shed,
            Kind::Shed => Kind::Plugin,
            Kind::Plugin => Kind::PluginRefused(403),
            Kind::PluginRefused(_) => Kind::Cut,
            Kind::Cut => Kind::Internal(""),
            Kind::Internal(_) => return None,
        })
    }

    /// Every error that there can be.
    pub(crate) fn every() -> impl Iterator<Item = Error> {
        std::iter::successors(Some(Kind::Malformed("")), |kind| after(*kind)).flat_map(|kind| {
            [Side::Client, Side::Upstream, Side::Gateway].map(|side| Error { kind, side, retry: Retry::Never })
        })
    }

    #[test]
    fn a_bound_that_an_error_names_is_one() {
        for name in every().filter_map(|error| error.limit()) {
            assert!(crate::limits::TABLE.iter().any(|row| row.name == name), "{name}");
        }
    }

    #[test]
    fn a_word_has_one_status() {
        let mut words = std::collections::BTreeMap::new();
        for outcome in every().map(|error| error.outcome()) {
            let status = *words.entry(outcome.label).or_insert(outcome.status);
            assert_eq!(status, outcome.status, "{}", outcome.label);
        }
        assert!(words.len() > 30, "{words:?}");
    }
}
