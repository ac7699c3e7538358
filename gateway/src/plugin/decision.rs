//! What a plugin decided, read from a number and its memory, and looked at before anybody acts on it.

use gatewright_abi::{bound, decision};
use smallvec::SmallVec;
use std::time::Duration;

use super::fault::Fault;
use super::imports::slice;
use super::request::{Edit, Head, Side};

/// A decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// As if it had not been asked.
    Continue,
    /// This endpoint.
    Endpoint(usize),
    /// These, one after the other.
    List(SmallVec<[usize; 4]>),
    /// The first, and the second too when the first has not answered in time.
    Hedge(usize, usize, Duration),
    /// Whatever the pool falls back to.
    Fallback,
    /// No, with this status.
    Refuse(u16),
    /// The route of this name.
    Route(String),
    /// The pool of this name.
    Pool(String),
    /// To another place.
    Redirect(u16, Vec<u8>),
    /// This response.
    Answer(Box<Answer>),
}

/// A response of a plugin's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its fields, names and values as the plugin wrote them.
    pub fields: Vec<Field>,
    /// Its body.
    pub body: Vec<u8>,
}

/// A name and a value.
pub type Field = (Vec<u8>, Vec<u8>);

/// The endpoint that a balancer has taken, if it has taken one.
#[inline]
pub(super) fn endpoint(packed: i64, endpoints: usize) -> Option<usize> {
    let (kind, value) = decision::unpack(packed);
    Some(value as usize).filter(|index| kind == decision::TAKE && *index < endpoints)
}

/// Reads what a balancer returned.
pub(super) fn of_pick(packed: i64, memory: &[u8], endpoints: usize) -> Result<Decision, Fault> {
    let index = |number: u32| Some(number as usize).filter(|index| *index < endpoints).ok_or(Fault::Index);
    let (kind, value) = decision::unpack(packed);
    match kind {
        decision::TAKE => Ok(Decision::Endpoint(index(value)?)),
        decision::FALLBACK => Ok(Decision::Fallback),
        decision::REFUSE => refusal(value),
        decision::LIST => {
            let [count] = words(memory, value)?;
            if count == 0 || count > bound::LIST {
                return Err(Fault::Output("a list that is empty or too long"));
            }
            let list = slice(memory, value.checked_add(4).ok_or(Fault::Pointer)?, count * 4)?;
            let list = list.as_chunks::<4>().0.iter().map(|word| index(u32::from_le_bytes(*word)));
            Ok(Decision::List(list.collect::<Result<_, _>>()?))
        }
        decision::HEDGE => {
            let [first, second, micros] = words(memory, value)?;
            Ok(Decision::Hedge(index(first)?, index(second)?, Duration::from_micros(micros.into())))
        }
        _ => Err(UNKNOWN),
    }
}

/// Reads what a router returned.
pub(super) fn of_route(packed: i64, memory: &[u8]) -> Result<Decision, Fault> {
    let (kind, value) = decision::unpack(packed);
    match kind {
        decision::ROUTE => Ok(Decision::Route(name(memory, value)?)),
        decision::POOL => Ok(Decision::Pool(name(memory, value)?)),
        _ => of_filter(packed, memory),
    }
}

/// Reads what a filter returned.
pub(super) fn of_filter(packed: i64, memory: &[u8]) -> Result<Decision, Fault> {
    let (kind, value) = decision::unpack(packed);
    match kind {
        decision::TAKE => Ok(Decision::Continue),
        decision::REFUSE => refusal(value),
        decision::REDIRECT => {
            let [status, at, size] = words(memory, value)?;
            let status = u16::try_from(status).ok().filter(|status| matches!(status, 301 | 302 | 303 | 307 | 308));
            let status =
                status.ok_or(Fault::Output("a redirect with another status than 301, 302, 303, 307 or 308"))?;
            Ok(Decision::Redirect(status, slice(memory, at, size)?.to_vec()))
        }
        decision::ANSWER => answer(memory, value),
        _ => Err(UNKNOWN),
    }
}

/// Reads what a filter returned about a response that may be kept, which it cannot answer.
pub(super) fn of_fetch(packed: i64) -> Result<Decision, Fault> {
    let (kind, _) = decision::unpack(packed);
    if kind == decision::TAKE { Ok(Decision::Continue) } else { Err(UNKNOWN) }
}

/// A decision, unless it answers with what cannot be written in a response.
pub(super) fn sayable(decision: Decision, head: &dyn Head) -> Result<Decision, Fault> {
    let may_stand = |name: &[u8], value: &[u8]| head.allows(&Edit::Add(Side::Response, name, value));
    match &decision {
        Decision::Redirect(_, location) if !may_stand(b"location", location) => {
            Err(Fault::Output("a location that no field may have"))
        }
        Decision::Answer(answer) if !answer.fields.iter().all(|(name, value)| may_stand(name, value)) => {
            Err(Fault::Output("a field that no answer may have"))
        }
        _ => Ok(decision),
    }
}

const UNKNOWN: Fault = Fault::Output("a decision that this call does not know");

fn refusal(status: u32) -> Result<Decision, Fault> {
    let status = u16::try_from(status).ok().filter(|status| (400..600).contains(status));
    status.map(Decision::Refuse).ok_or(Fault::Output("a refusal with a status that is none"))
}

fn answer(memory: &[u8], at: u32) -> Result<Decision, Fault> {
    let [status, fields, fields_size, body, body_size] = words(memory, at)?;
    let status = u16::try_from(status).ok().filter(|status| (200..600).contains(status));
    let status = status.ok_or(Fault::Output("an answer with a status that is none"))?;
    if body_size as usize > bound::BODY_BYTES || fields_size as usize > bound::EDIT_BYTES {
        return Err(Fault::Output("an answer that is too large"));
    }
    let fields = pairs(slice(memory, fields, fields_size)?)?;
    Ok(Decision::Answer(Box::new(Answer { status, fields, body: slice(memory, body, body_size)?.to_vec() })))
}

/// Names and values of a list.
fn pairs(mut list: &[u8]) -> Result<Vec<Field>, Fault> {
    const CUT: Fault = Fault::Output("a list of fields that is cut short");
    let mut pairs = Vec::new();
    while !list.is_empty() {
        if pairs.len() >= bound::EDITS {
            return Err(Fault::Output("too many fields"));
        }
        let mut next = || {
            let (size, rest) = list.split_first_chunk::<4>().ok_or(CUT)?;
            let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*size) as usize).ok_or(CUT)?;
            list = rest;
            Ok::<_, Fault>(text.to_vec())
        };
        pairs.push((next()?, next()?));
    }
    Ok(pairs)
}

fn name(memory: &[u8], at: u32) -> Result<String, Fault> {
    let [at, size] = words(memory, at)?;
    let name = slice(memory, at, size.min(1024))?;
    String::from_utf8(name.to_vec()).map_err(|_| Fault::Output("a name that is no text"))
}

/// The words at an address.
fn words<const COUNT: usize>(memory: &[u8], at: u32) -> Result<[u32; COUNT], Fault> {
    let bytes = slice(memory, at, u32::try_from(COUNT * 4).unwrap_or(u32::MAX))?;
    let mut words = [0; COUNT];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    Ok(words)
}
