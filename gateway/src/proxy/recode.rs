//! The stage of compression.
//!
//! In: a response on its way to its client. Out: the same, coded as the client has it best.

use super::exchange::{Exchange, Response};
use crate::compress::{self, Asked};
use crate::config::model::Compress;
use crate::error::Error;

/// Compresses a response, or decompresses it. Bytes of a tunnel are no response.
pub(super) fn recode(x: &mut Exchange<'_>, asked: (&Compress, Asked), response: &mut Response) -> Result<(), Error> {
    if response.tunnel.is_none() {
        let (head, body) = (&mut response.head, &mut response.body);
        x.facts.recoded = compress::apply(&x.worker.press, &x.view.snapshot.limits, asked, &x.request, head, body)?;
    }
    Ok(())
}
