//! Compresses responses on their way to clients, and decompresses those that a client cannot take.
//!
//! In: a response, what its client said before anybody changed the request, and the route's word. Out: the response in the coding
//! that suits the client best, or as it was; with `Vary` wherever another client could have got it otherwise. What is to be done
//! is decided by [`plan`], what that means for the fields by [`dress`]: pure functions. Bodies stream with back-pressure
//! (`body`): what a body that pauses has brought so far goes out, nothing is buffered whole, and a worker is not held for longer
//! than a slice takes. Under load levels drop (`load`).
//!
//! Ranges are always those of the content without a coding. A response that is coded here has a weak entity tag and offers
//! no ranges, so no client puts parts of one and the other together.
//!
//! Limits: `compression_memory` by worker for what codecs hold; `decoded_size` for what comes out of one response.

mod body;
pub mod codec;
pub mod dress;
pub mod load;
pub mod plan;
mod press;
#[cfg(test)]
mod tests;

use std::rc::Rc;

pub use plan::Asked;
pub use press::Press;

use crate::config::model::Compress;
use crate::error::{Error, Kind};
use crate::http::encoding::Coding;
use crate::http::h1::framing::content_length;
use crate::http::{Body, Method, RequestHead, ResponseHead, StatusCode, name};
use crate::limits::Limits;

/// What was done to a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    /// Compressed so.
    Coded(Coding),
    /// Decompressed.
    Decoded,
}

impl Done {
    /// The word for it in the log.
    pub fn text(self) -> &'static str {
        match self {
            Done::Coded(coding) => coding.text(),
            Done::Decoded => "identity",
        }
    }
}

/// Codes a response as its client has it best. `None`: it goes out as it was. `made` has its body in an encoding that was made
/// before, where there is one.
pub fn apply(
    (press, limits): (&Rc<Press>, &Limits),
    (terms, asked): (&Compress, Asked),
    request: &RequestHead,
    (head, body): (&mut ResponseHead, &mut Body),
    made: impl FnOnce(Coding) -> Option<Body>,
) -> Result<Option<Done>, Error> {
    if head.status == StatusCode::NOT_MODIFIED {
        dress::not_modified(&request.fields, &mut head.fields);
    }
    let is_head = request.method == Method::HEAD;
    let said = content_length(&head.fields).ok().flatten();
    let length = if is_head { said } else { body.length() };
    let plan = plan::plan(terms, asked, head, length);
    if plan.varies {
        dress::vary(&mut head.fields);
    }
    if plan.decode.is_none() && plan.encode.is_none() {
        return Ok(None);
    }
    let mut encode = plan.encode;
    if !is_head {
        let mut coded = std::mem::take(body);
        if let Some(coding) = plan.decode {
            let Some(decoded) = press.decoded(limits, coding, coded) else {
                return Err(Error::gateway(Kind::Overloaded));
            };
            coded = decoded;
        }
        if let Some(coding) = encode {
            let is_prompt = plan::is_prompt(head.fields.value(name::CONTENT_TYPE));
            let level = press.level(terms.levels.of(coding));
            let made = if plan.decode.is_none() { made(coding) } else { None };
            coded = match made.map_or_else(|| press.encoded(limits, (coding, level), is_prompt, coded), Ok) {
                Ok(encoded) => encoded,
                Err(plain) => {
                    encode = None;
                    plain
                }
            };
        }
        *body = coded;
        if plan.decode.is_none() && encode.is_none() {
            return Ok(None);
        }
    }
    dress::recoded(&mut head.fields, encode);
    Ok(Some(encode.map_or(Done::Decoded, Done::Coded)))
}
