//! Why an upstream failed, in plain words for the log.
//!
//! In: what went wrong with an endpoint. Out: a warning, unless the same was said of it a moment ago ([`crate::notice`]).

use std::io;

use rustix::io::Errno;

use super::PoolState;
use crate::error::{Error, Kind, Phase, Retry, Side};
use crate::notice;
use crate::tls;

/// Which step towards a connection failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Resolve,
    Connect,
    Tls,
}

/// Warns that no connection came about.
pub(super) fn no_connection(pool: &PoolState, endpoint: &str, step: Step, error: &io::Error) {
    let reason = match step {
        Step::Resolve => "its name cannot be resolved",
        Step::Connect => refusal(error),
        Step::Tls => tls::upstream_failure(error),
    };
    let pool = &*pool.model.name;
    if let Some(suppressed) = notice::due((pool, endpoint, reason)) {
        tracing::warn!(pool, endpoint, reason, %error, suppressed, "no connection to the upstream");
    }
}

/// Warns that an endpoint failed a request. That there was no connection was said where the cause is known.
pub fn tell(pool: &PoolState, endpoint: &str, error: &Error) {
    let Some(reason) = reason(error) else { return };
    let pool = &*pool.model.name;
    if let Some(suppressed) = notice::due((pool, endpoint, reason)) {
        tracing::warn!(pool, endpoint, reason, error = error.label(), suppressed, "the upstream failed");
    }
}

/// Whose fault it is that no connection came about, and where the request may go instead. What we lack ourselves is no fault of the
/// endpoint: it is not ejected for that. Of descriptors there are no more for another one, either; but a port may be free towards that.
pub(super) fn blame(step: Step, error: &io::Error) -> Error {
    let kind = if step == Step::Tls { Kind::Tls } else { Kind::Connect };
    match Errno::from_io_error(error) {
        Some(Errno::ADDRNOTAVAIL) => Error { retry: Retry::Elsewhere, ..Error::gateway(Kind::Connect) },
        _ if is_shortage(error) => Error::gateway(Kind::Connect),
        _ if may_pass(step, error) => Error::upstream(kind, Retry::Safe),
        _ => Error::upstream(kind, Retry::Elsewhere),
    }
}

/// Whether another attempt may fare better at once: an endpoint that restarts refuses or closes connections for a moment.
/// Names that are not known and certificates that are not believed stay so, and what took its time would take it again.
fn may_pass(step: Step, error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, UnexpectedEof};
    step != Step::Resolve && matches!(error.kind(), BrokenPipe | ConnectionRefused | ConnectionReset | UnexpectedEof)
}

/// Whether a connection did not come about for what we lack ourselves, which says nothing of the endpoint.
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::ADDRNOTAVAIL))
}

/// Why a connection did not come about, in plain words.
pub fn refusal(error: &io::Error) -> &'static str {
    if let Some(Errno::MFILE | Errno::NFILE) = Errno::from_io_error(error) {
        return "no file descriptor is free";
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused: nobody listens there",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "there is no way to its address",
        io::ErrorKind::TimedOut => "no answer from its address",
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "it closed the connection at once",
        io::ErrorKind::AddrNotAvailable => "no local port is free",
        _ => "connecting failed",
    }
}

/// Why an endpoint failed, in plain words; `None`: it is not what failed, or the cause was told before.
pub fn reason(error: &Error) -> Option<&'static str> {
    match error.kind {
        Kind::Overloaded => return Some("as many requests wait as `max_waiting` allows"),
        Kind::Timeout(Phase::Queue) => return Some("none of its connections became free in time"),
        _ if error.side != Side::Upstream => return None,
        _ => {}
    }
    Some(match error.kind {
        Kind::Malformed(what) => what,
        Kind::HeadTooLarge(_) => "the head of its response is over a limit",
        Kind::ChunkHeadTooLarge => "a chunk head of its response is over a limit",
        Kind::Timeout(Phase::Connect) => "no connection in time",
        Kind::Timeout(Phase::FirstByte | Phase::Try) => "no response in time",
        Kind::Timeout(Phase::Request) => "the whole request took too long",
        Kind::Timeout(_) => "it stopped in the middle of a body",
        Kind::Truncated => "it closed the connection in the middle of a response",
        Kind::Closed => "it closed the connection without a response",
        Kind::Reset(_) => "it reset the stream",
        Kind::Io => "reading or writing failed",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_lack_ourselves_is_no_fault_of_an_endpoint() {
        let blame = |step, errno: Errno| {
            let error = blame(step, &errno.into());
            (error.side, error.retry)
        };
        assert_eq!(blame(Step::Connect, Errno::MFILE), (Side::Gateway, Retry::Never));
        assert_eq!(blame(Step::Resolve, Errno::NFILE), (Side::Gateway, Retry::Never));
        assert_eq!(blame(Step::Connect, Errno::ADDRNOTAVAIL), (Side::Gateway, Retry::Elsewhere));
        assert_eq!(blame(Step::Connect, Errno::CONNREFUSED), (Side::Upstream, Retry::Safe));
        assert_eq!(blame(Step::Connect, Errno::HOSTUNREACH), (Side::Upstream, Retry::Elsewhere));
        assert_eq!(blame(Step::Tls, Errno::CONNRESET), (Side::Upstream, Retry::Safe));
    }

    #[test]
    fn clients_are_no_reason_to_warn_of_an_upstream() {
        for kind in [Kind::Io, Kind::Truncated, Kind::Malformed("x"), Kind::Timeout(Phase::BodyIdle)] {
            assert_eq!(reason(&Error::client(kind)), None);
            assert!(reason(&Error::upstream(kind, Retry::Never)).is_some());
        }
        assert!(reason(&Error::gateway(Kind::Overloaded)).is_some());
        assert_eq!(reason(&Error::gateway(Kind::NoEndpoint)), None);
        assert_eq!(reason(&Error::upstream(Kind::Connect, Retry::Safe)), None);
    }
}
