//! Byte ranges (RFC 9110 section 14), as a pure decision.
//!
//! In: the value of `Range` and the length of what is asked for. Out: which bytes to send. Invariant: each range lies
//! within the length, none is empty, and together they are never longer than the whole. Limits: [`MOST`] ranges; a request
//! for more is answered with the whole, as section 14.2 allows.

use std::ops::Range;

use smallvec::SmallVec;

use crate::http::fields::{list, trim};

/// As many ranges are served in one response.
pub const MOST: usize = 16;

/// Half-open ranges of bytes, at least one.
pub type Parts = SmallVec<[Range<u64>; 1]>;

/// What becomes of a `Range` field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selection {
    /// It is not understood, or too much to ask: the whole is sent.
    Whole,
    /// These are sent (206).
    Parts(Parts),
    /// None of the ranges lies within (416).
    Unsatisfiable,
}

/// Reads the field.
pub fn select(value: &[u8], length: u64) -> Selection {
    let Some(equals) = value.iter().position(|&b| b == b'=') else { return Selection::Whole };
    let (unit, set) = value.split_at(equals);
    // RFC 9110 section 14.1: range units are case-insensitive; 14.2: others than those that are known are ignored.
    if !trim(unit).eq_ignore_ascii_case(b"bytes") {
        return Selection::Whole;
    }
    let mut parts = Parts::new();
    let mut asked = 0;
    for spec in list(set.get(1..).unwrap_or_default()) {
        asked += 1;
        if asked > MOST {
            return Selection::Whole;
        }
        match one(spec, length) {
            Ok(Some(part)) => parts.push(part),
            Ok(None) => {}
            Err(Malformed) => return Selection::Whole,
        }
    }
    match (asked, parts.is_empty()) {
        (0, _) => Selection::Whole,
        (_, true) => Selection::Unsatisfiable,
        (_, false) => Selection::Parts(without_overlap(parts)),
    }
}

/// The value of `Content-Range` (RFC 9110 section 14.4).
pub fn content_range(part: &Range<u64>, length: u64) -> String {
    format!("bytes {}-{}/{length}", part.start, part.end.saturating_sub(1))
}

/// What stands between the parts of a response with several (RFC 9110 section 14.6).
#[derive(Debug)]
pub struct Multipart {
    /// The response's own type.
    pub content_type: String,
    /// What goes before each part.
    pub openings: Vec<String>,
    /// What goes behind the last.
    pub end: String,
}

impl Multipart {
    /// For these parts of something of this type and length. The boundary cannot be guessed, so nothing can hold it on purpose.
    pub fn new(parts: &[Range<u64>], content_type: &str, length: u64) -> Multipart {
        let boundary = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let opening = |part: &Range<u64>| {
            let range = content_range(part, length);
            format!("\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {range}\r\n\r\n")
        };
        Multipart {
            openings: parts.iter().map(opening).collect(),
            content_type: format!("multipart/byteranges; boundary={boundary}"),
            end: format!("\r\n--{boundary}--\r\n"),
        }
    }
}

struct Malformed;

/// One range-spec; `None` when it is well-formed but outside.
fn one(spec: &[u8], length: u64) -> Result<Option<Range<u64>>, Malformed> {
    let dash = spec.iter().position(|&b| b == b'-').ok_or(Malformed)?;
    let (first, last) = spec.split_at(dash);
    let (first, last) = (number(first)?, number(last.get(1..).unwrap_or_default())?);
    let range = match (first, last) {
        (None, None) => return Err(Malformed),
        // RFC 9110 section 14.1.2: the last so many bytes; all of them when there are fewer.
        // That is satisfiable for an empty file too, but a part of nothing cannot be written down: the whole is sent.
        (None, Some(1..)) if length == 0 => return Err(Malformed),
        (None, Some(suffix)) => length.saturating_sub(suffix)..length,
        (Some(first), None) => first..length,
        (Some(first), Some(last)) if first > last => return Err(Malformed),
        (Some(first), Some(last)) => first..last.saturating_add(1).min(length),
    };
    Ok(Some(range).filter(|range| range.start < range.end))
}

/// Digits only. What does not fit is larger than any file, and so is the largest number.
fn number(text: &[u8]) -> Result<Option<u64>, Malformed> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut value = 0u64;
    for byte in text {
        let digit = char::from(*byte).to_digit(10).ok_or(Malformed)?;
        value = value.saturating_mul(10).saturating_add(digit.into());
    }
    Ok(Some(value))
}

/// RFC 9110 section 15.3.7.2 allows to put overlapping ranges together. Otherwise the order of the request is kept.
fn without_overlap(parts: Parts) -> Parts {
    let mut sorted = parts.clone();
    sorted.sort_by_key(|part| part.start);
    let mut merged = Parts::new();
    for part in sorted {
        match merged.last_mut() {
            Some(last) if part.start < last.end => last.end = last.end.max(part.end),
            _ => merged.push(part),
        }
    }
    if merged.len() == parts.len() { parts } else { merged }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(ranges: &[(u64, u64)]) -> Selection {
        Selection::Parts(ranges.iter().map(|(start, end)| *start..*end).collect())
    }

    #[test]
    fn each_form_of_a_range_is_read() {
        let rows = [
            ("bytes=0-4", parts(&[(0, 5)])),
            ("bytes=5-", parts(&[(5, 10)])),
            ("bytes=-3", parts(&[(7, 10)])),
            ("bytes=-30", parts(&[(0, 10)])),
            ("Bytes=9-99", parts(&[(9, 10)])),
            ("bytes=0-99999999999999999999999999", parts(&[(0, 10)])),
            ("bytes=8-9, 0-1", parts(&[(8, 10), (0, 2)])),
            ("bytes=0-1,1-4,9-9", parts(&[(0, 5), (9, 10)])),
            ("bytes=0-0,20-30", parts(&[(0, 1)])),
            ("bytes= 1-2 , ,", parts(&[(1, 3)])),
            ("bytes=10-", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=99999999999999999999999999-", Selection::Unsatisfiable),
            ("bytes=4-3", Selection::Whole),
            ("bytes=a-b", Selection::Whole),
            ("bytes=1-2,x", Selection::Whole),
            ("bytes=--1", Selection::Whole),
            ("bytes=+1-2", Selection::Whole),
            ("bytes=-", Selection::Whole),
            ("bytes=", Selection::Whole),
            ("bytes", Selection::Whole),
            ("lines=1-2", Selection::Whole),
        ];
        for (value, expected) in rows {
            assert_eq!(select(value.as_bytes(), 10), expected, "{value}");
        }
        assert_eq!(select(b"bytes=0-", 0), Selection::Unsatisfiable);
        assert_eq!(select(b"bytes=-5", 0), Selection::Whole);
        assert_eq!(select(format!("bytes={}", "0-0,".repeat(17)).as_bytes(), 10), Selection::Whole);
    }

    /// The obvious way, byte by byte: which bytes are asked for; `None` where the whole is to be sent.
    fn slowly(value: &str, length: u64) -> Option<Vec<bool>> {
        let (unit, set) = value.split_once('=')?;
        let specs: Vec<&str> = set.split(',').map(str::trim).filter(|spec| !spec.is_empty()).collect();
        if !unit.eq_ignore_ascii_case("bytes") || specs.is_empty() || specs.len() > MOST {
            return None;
        }
        let number = |text: &str| {
            text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u128>().ok().map(|n| n.min(u64::MAX.into())))
        };
        let mut asked = vec![false; length as usize];
        for spec in specs {
            let (first, last) = spec.split_once('-')?;
            let (first, last) = (number(first)?, number(last)?);
            if (first.is_none() && (last.is_none() || (length == 0 && last > Some(0))))
                || (last.is_some() && first > last)
            {
                return None;
            }
            for (at, asked) in (0u128..).zip(&mut asked) {
                *asked |= match (first, last) {
                    (None, Some(suffix)) => at + suffix >= length.into(),
                    (first, last) => Some(at) >= first && last.is_none_or(|last| at <= last),
                };
            }
        }
        Some(asked)
    }

    proptest! {
        #[test]
        fn what_is_selected_is_what_byte_by_byte_is_asked_for(
            length in 0u64..40,
            specs in prop::collection::vec(" ?([0-9]{0,2}|0{9}[0-9]|[0-9]{30}|x)-?([0-9]{0,2}|[0-9]{30}) ?", 0..6),
            unit in "(bytes|Bytes|byte|)",
        ) {
            let value = format!("{unit}={}", specs.join(","));
            let expected = slowly(&value, length);
            match select(value.as_bytes(), length) {
                Selection::Whole => prop_assert_eq!(expected, None, "{}", value),
                Selection::Unsatisfiable => prop_assert!(expected.is_some_and(|asked| !asked.contains(&true)), "{}", value),
                Selection::Parts(parts) => {
                    let mut sent = vec![0u8; length as usize];
                    parts.iter().flat_map(|part| part.clone()).for_each(|at| sent[at as usize] += 1);
                    prop_assert!(sent.iter().all(|times| *times <= 1), "twice: {}", value);
                    let sent: Vec<bool> = sent.iter().map(|times| *times == 1).collect();
                    prop_assert_eq!(expected, Some(sent), "{}", value);
                }
            }
        }

        #[test]
        fn parts_lie_within_and_are_never_more_than_the_whole(
            length in 0u64..100,
            specs in prop::collection::vec("[0-9]{0,3}-[0-9]{0,3}", 0..6),
        ) {
            if let Selection::Parts(parts) = select(format!("bytes={}", specs.join(",")).as_bytes(), length) {
                prop_assert!(!parts.is_empty());
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
                prop_assert!(parts.iter().map(|part| part.end - part.start).sum::<u64>() <= length);
            }
        }

        #[test]
        fn any_bytes_are_taken_without_panic(value: Vec<u8>, length: u64) {
            let _ = select(&value, length);
        }
    }
}
