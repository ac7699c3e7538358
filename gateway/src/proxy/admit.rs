//! Whether a request is let in, and what is put in order before anything is decided.
//!
//! In: a request whose framing is sound. Out: the same with its true client, its id and its forwarding fields, or why it is
//! refused.

use std::borrow::Cow;

use super::exchange::Exchange;
use crate::clock::Deadline;
use crate::error::{Error, Kind, Phase, Side};
use crate::http::{Method, RequestHead, StatusCode, forwarded};
use crate::route;

/// Lets a request in.
pub(super) fn admit(x: &mut Exchange<'_>) -> Result<(), Error> {
    if let Some(error) = x.refused {
        return Err(error);
    }
    // A proxy that opens tunnels to wherever a client says is an open relay (RFC 9110 section 9.3.6).
    if x.request.method == Method::CONNECT && x.request.upgrade.is_none() {
        return Err(Error::client(Kind::Refused("CONNECT is not served")));
    }
    Ok(())
}
