//! How an entry lies in a file.
//!
//! In: a head and the length of a body. Out: bytes, and back. Pure. Invariant: what is read is what was written into this file at
//! this place, or it is [`Damage`]: every part has a sum that counts in the file's salt and the part's place, so that neither a
//! flipped bit nor a part of another file passes.
//!
//! ```text
//! prelude   magic and version, id, salt, length of the body, size of a chunk, sum
//! chunks    bytes and sum, all of one size but the last
//! heads     length, bytes and sum; of several the last one holds
//! ```
//!
//! A head that is freshened or made stale is put at the end, and nothing before it is touched: whoever reads meanwhile knows how
//! far the file went, and reads no further.

use twox_hash::XxHash3_64;

use crate::cache::policy::freshness::{Basis, Times};
use crate::http::{Fields, StatusCode};

/// Says what it is, and how it is written; another number with each change of either.
const MAGIC: u64 = u64::from_le_bytes(*b"gwcache\x01");

/// Bytes before the body.
pub const PRELUDE: usize = 48;

/// Bytes of a body that have one sum.
pub const CHUNK: usize = 64 << 10;

/// Bytes of a sum.
const SUM: usize = 8;

/// What stands before a head.
const LENGTH: usize = 4;

/// A head beyond this is not kept on disk.
pub const LARGEST_HEAD: usize = 256 << 10;

/// All heads of a file. What would go beyond is written anew.
pub const MOST_HEADS: usize = 512 << 10;

/// Where requests go that an entry is for: route, pool and what was rewritten, in a form that outlives the process.
pub type Place = [u8; 32];

/// Why a file is none of ours, or no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Damage {
    /// It does not begin like one of this version.
    #[error("it is none that this version has written")]
    Foreign,
    /// It is another one than its name says.
    #[error("it belongs under another name")]
    Misplaced,
    /// It ends too early, or goes on after its end.
    #[error("it has another length than it says")]
    Length,
    /// Its bytes are others than those that were written.
    #[error("a sum is wrong")]
    Sum,
    /// A sum is right, but what it covers has no meaning.
    #[error("it makes no sense")]
    Sense,
}

/// How a file begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prelude {
    /// Its number, which is its name.
    pub id: u64,
    /// Counted in with each sum.
    pub salt: u64,
    /// Bytes of the body.
    pub length: u64,
}

/// All that is known of an entry beside its body.
#[derive(Clone, Debug)]
pub struct Head {
    /// When it was put, on the count of everything that is put or thrown away.
    pub stamp: u64,
    /// It is not to be given without asking its origin.
    pub is_stale: bool,
    /// What it is the answer to.
    pub url: String,
    /// Requests by which way.
    pub place: Place,
    /// By which fields of the request it varies, and what those said.
    pub vary: (Vec<String>, Vec<u8>),
    /// Names that it can be purged by.
    pub tags: Vec<String>,
    /// Its status.
    pub status: StatusCode,
    /// When it was asked for and came, by the clock on the wall.
    pub times: Times,
    /// How old it was then.
    pub initial_age: u64,
    /// For how long it is fresh, and why.
    pub lifetime: (u64, Basis),
    /// Its fields.
    pub fields: Fields,
    /// What follows its body.
    pub trailers: Option<Fields>,
}

/// The sum of one part of a file.
fn sum(salt: u64, part: u64, bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(salt ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15), bytes)
}

/// Chunks have even parts, heads odd ones; the prelude has the last.
const fn chunk_part(number: u64) -> u64 {
    number << 1
}

impl Prelude {
    /// As it is written.
    pub fn bytes(&self) -> [u8; PRELUDE] {
        let mut bytes = [0; PRELUDE];
        let words = [MAGIC, self.id, self.salt, self.length, CHUNK as u64];
        let (all, own) = bytes.split_at_mut(PRELUDE - SUM);
        for (to, word) in all.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        own.copy_from_slice(&sum(0, u64::MAX, all).to_le_bytes());
        bytes
    }

    /// From what was written.
    pub fn of(bytes: &[u8]) -> Result<Prelude, Damage> {
        let mut rest = bytes.get(..PRELUDE).ok_or(Damage::Length)?;
        let all = rest;
        let mut word = || number(&mut rest);
        let (magic, id, salt, length, chunk, own) = (word()?, word()?, word()?, word()?, word()?, word()?);
        if magic != MAGIC {
            return Err(Damage::Foreign);
        }
        if all.get(..PRELUDE - SUM).map(|all| sum(0, u64::MAX, all)) != Some(own) {
            return Err(Damage::Sum);
        }
        match chunk == CHUNK as u64 && length <= u64::MAX >> 8 {
            true => Ok(Prelude { id, salt, length }),
            false => Err(Damage::Foreign),
        }
    }

    /// How many chunks the body has.
    pub fn chunks(&self) -> u64 {
        self.length.div_ceil(CHUNK as u64)
    }

    /// Where the first head begins.
    pub fn heads(&self) -> u64 {
        PRELUDE as u64 + self.length + self.chunks() * SUM as u64
    }

    /// Where a chunk lies with its sum, and how long both are together.
    pub fn chunk_at(&self, number: u64) -> (u64, usize) {
        let before = number.saturating_mul(CHUNK as u64);
        let own = self.length.saturating_sub(before).min(CHUNK as u64) as usize;
        (PRELUDE as u64 + before + number * SUM as u64, own + SUM)
    }

    /// What follows a chunk.
    pub fn sum_of(&self, number: u64, chunk: &[u8]) -> [u8; SUM] {
        sum(self.salt, chunk_part(number), chunk).to_le_bytes()
    }

    /// The chunk in what was read at its place.
    pub fn checked<'c>(&self, number: u64, read: &'c [u8]) -> Result<&'c [u8], Damage> {
        let (chunk, own) = read.split_last_chunk::<SUM>().ok_or(Damage::Length)?;
        match self.sum_of(number, chunk) == *own {
            true => Ok(chunk),
            false => Err(Damage::Sum),
        }
    }

    /// A head as it is written at this place of the file. `None`: it is too large.
    pub fn head_bytes(&self, at: u64, head: &Head) -> Option<Vec<u8>> {
        let mut bytes = vec![0; LENGTH];
        head.write(&mut bytes);
        let length = bytes.len() - LENGTH;
        if length > LARGEST_HEAD {
            return None;
        }
        bytes.get_mut(..LENGTH)?.copy_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
        let sum = sum(self.salt, at << 1 | 1, &bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        Some(bytes)
    }

    /// The head that holds, of all that lies from the end of the body to the end of the file.
    pub fn head_of(&self, bytes: &[u8]) -> Result<Head, Damage> {
        let (mut rest, mut at, mut last) = (bytes, self.heads(), None);
        while !rest.is_empty() {
            let length = rest.first_chunk::<LENGTH>().ok_or(Damage::Length)?;
            let length = u32::from_le_bytes(*length) as usize;
            if length > LARGEST_HEAD {
                return Err(Damage::Sense);
            }
            let (own, after) = rest.split_at_checked(LENGTH + length).ok_or(Damage::Length)?;
            let (right, after) = after.split_first_chunk::<SUM>().ok_or(Damage::Length)?;
            if sum(self.salt, at << 1 | 1, own).to_le_bytes() != *right {
                return Err(Damage::Sum);
            }
            last = own.get(LENGTH..);
            at += (LENGTH + length + SUM) as u64;
            rest = after;
        }
        // Of what an older head said, nothing is of use.
        Head::read(last.ok_or(Damage::Length)?)
    }
}

const STALE: u8 = 1;
const TRAILERS: u8 = 2;

impl Head {
    fn write(&self, to: &mut Vec<u8>) {
        to.push((u8::from(self.is_stale) * STALE) | (u8::from(self.trailers.is_some()) * TRAILERS));
        to.push(match self.lifetime.1 {
            Basis::Explicit => 0,
            Basis::Heuristic => 1,
            Basis::Default => 2,
            Basis::Nothing => 3,
        });
        to.extend_from_slice(&self.status.as_u16().to_le_bytes());
        let Times { requested, received } = self.times;
        for number in [self.stamp, requested, received, self.initial_age, self.lifetime.0] {
            to.extend_from_slice(&number.to_le_bytes());
        }
        to.extend_from_slice(&self.place);
        put(to, self.url.as_bytes());
        put_all(to, &self.vary.0);
        put(to, &self.vary.1);
        put_all(to, &self.tags);
        put_fields(to, &self.fields);
        if let Some(trailers) = &self.trailers {
            put_fields(to, trailers);
        }
    }

    fn read(mut from: &[u8]) -> Result<Head, Damage> {
        let from = &mut from;
        let (flags, basis) = (byte(from)?, byte(from)?);
        let basis = match basis {
            0 => Basis::Explicit,
            1 => Basis::Heuristic,
            2 => Basis::Default,
            3 => Basis::Nothing,
            _ => return Err(Damage::Sense),
        };
        let status = StatusCode::from_u16(u16::from_le_bytes([byte(from)?, byte(from)?])).map_err(|_| Damage::Sense)?;
        let stamp = number(from)?;
        let times = Times { requested: number(from)?, received: number(from)? };
        let (initial_age, lifetime) = (number(from)?, number(from)?);
        let (place, rest) = from.split_first_chunk().ok_or(Damage::Sense)?;
        *from = rest;
        let head = Head {
            stamp,
            is_stale: flags & STALE != 0,
            url: text(from)?,
            place: *place,
            vary: (texts(from)?, taken(from)?.to_vec()),
            tags: texts(from)?,
            status,
            times,
            initial_age,
            lifetime: (lifetime, basis),
            fields: fields(from)?,
            trailers: if flags & TRAILERS != 0 { Some(fields(from)?) } else { None },
        };
        match from.is_empty() && flags & !(STALE | TRAILERS) == 0 {
            true => Ok(head),
            false => Err(Damage::Sense),
        }
    }
}

/// What is too long for its length becomes a head that is too long for a file.
fn put(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    to.extend_from_slice(bytes);
}

fn put_all(to: &mut Vec<u8>, texts: &[String]) {
    to.extend_from_slice(&u32::try_from(texts.len()).unwrap_or(u32::MAX).to_le_bytes());
    texts.iter().for_each(|text| put(to, text.as_bytes()));
}

fn put_fields(to: &mut Vec<u8>, fields: &Fields) {
    to.extend_from_slice(&u32::try_from(fields.len()).unwrap_or(u32::MAX).to_le_bytes());
    for (name, value) in fields.iter() {
        put(to, name.text().as_bytes());
        put(to, value);
    }
}

fn byte(from: &mut &[u8]) -> Result<u8, Damage> {
    let (first, rest) = from.split_first().ok_or(Damage::Sense)?;
    *from = rest;
    Ok(*first)
}

fn number(from: &mut &[u8]) -> Result<u64, Damage> {
    let (first, rest) = from.split_first_chunk().ok_or(Damage::Sense)?;
    *from = rest;
    Ok(u64::from_le_bytes(*first))
}

fn count(from: &mut &[u8]) -> Result<usize, Damage> {
    let (first, rest) = from.split_first_chunk().ok_or(Damage::Sense)?;
    *from = rest;
    Ok(u32::from_le_bytes(*first) as usize)
}

fn taken<'b>(from: &mut &'b [u8]) -> Result<&'b [u8], Damage> {
    let length = count(from)?;
    let (first, rest) = from.split_at_checked(length).ok_or(Damage::Sense)?;
    *from = rest;
    Ok(first)
}

fn text(from: &mut &[u8]) -> Result<String, Damage> {
    String::from_utf8(taken(from)?.to_vec()).map_err(|_| Damage::Sense)
}

/// Nothing is set aside for what is only said to come.
fn texts(from: &mut &[u8]) -> Result<Vec<String>, Damage> {
    let (count, mut texts) = (count(from)?, Vec::new());
    for _ in 0..count {
        texts.push(text(from)?);
    }
    Ok(texts)
}

fn fields(from: &mut &[u8]) -> Result<Fields, Damage> {
    let (count, mut fields) = (count(from)?, Fields::new());
    for _ in 0..count {
        let (name, value) = (taken(from)?, taken(from)?);
        fields.append_bytes(name, value).map_err(|_| Damage::Sense)?;
    }
    Ok(fields)
}
