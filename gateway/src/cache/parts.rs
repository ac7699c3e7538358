//! Parts of a response of which there is not all (RFC 9111 sections 3.3 and 3.4).
//!
//! In: answers to requests for ranges, and bodies that broke off. Out: ranges that lie within what came, and what is missing of
//! the whole. Parts are put together only when a strong validator says that they are of one version (RFC 9110 section 15.3.7.3).
//! Limit: [`MOST`] pieces.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::body::Shared;
use super::entry::Entry;
use super::flight::BELOW;
use super::key::Url;
use crate::http::{Fields, StatusCode, name};

/// So many pieces are held of one whole. What came last is held in any case.
pub const MOST: usize = 64;

/// What one piece takes besides its bytes.
const OVERHEAD: u64 = 64;

/// Where a part lies in the whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// These bytes, at least one.
    pub range: Range<u64>,
    /// Of so many.
    pub total: u64,
}

/// What came of a response.
#[derive(Clone, Debug)]
pub struct Parts {
    /// What is said of the whole. It has no body.
    pub head: Arc<Entry>,
    total: u64,
    /// In order, apart from each other, none empty.
    pieces: Vec<(u64, Bytes)>,
}

impl Span {
    /// What a response with one part says (RFC 9110 section 14.4); nothing where it does not know the length of the whole.
    pub fn of(fields: &Fields) -> Option<Span> {
        let mut values = fields.values(name::CONTENT_RANGE);
        let value = values.next().filter(|_| values.next().is_none())?;
        let (unit, rest) = std::str::from_utf8(value).ok()?.split_once(' ')?;
        let (range, total) = rest.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
        let (first, last, total) = (number(first)?, number(last)?, number(total)?);
        let fits = unit.eq_ignore_ascii_case("bytes") && first <= last && last < total;
        fits.then(|| Span { range: first..last + 1, total })
    }

    /// How many bytes.
    pub fn length(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// The key of parts: below the URL.
pub(super) fn key(url: &[u8]) -> Url {
    let mut key = Url::with_capacity(url.len() + 6);
    key.extend_from_slice(url);
    key.push(BELOW);
    key.extend_from_slice(b"parts");
    key
}

impl Parts {
    /// One part. `None` when these are not its bytes.
    pub fn new(head: &Entry, span: &Span, bytes: Vec<Bytes>) -> Option<Parts> {
        let (mut pieces, mut at) = (Vec::with_capacity(bytes.len()), span.range.start);
        for piece in bytes.into_iter().filter(|piece| !piece.is_empty()) {
            let length = piece.len() as u64;
            pieces.push((at, piece));
            at += length;
        }
        let fits = at == span.range.end && pieces.len() <= MOST;
        // Without its own body, which would be held beside the pieces.
        let head = Arc::new(head.with_body(StatusCode::PARTIAL_CONTENT, Shared::whole(Bytes::new())));
        fits.then_some(Parts { head, total: span.total, pieces })
    }

    /// How long the whole is.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes that they take.
    pub fn weight(&self) -> u64 {
        self.head.overhead() + self.pieces.len() as u64 * OVERHEAD + self.length()
    }

    /// How many bytes there are.
    fn length(&self) -> u64 {
        self.pieces.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }

    /// With what came before, where that is of the same version and both together are no longer than `most`. What came last goes before
    /// it where both have the same bytes.
    #[must_use]
    pub fn over(self, old: &Parts, most: u64) -> Parts {
        let is_same = self.head.strong().is_some_and(|strong| old.head.strong() == Some(strong));
        if !is_same || old.total != self.total || old.head.vary != self.head.vary || old.head.place != self.head.place {
            return self;
        }
        let Some(new) = self.pieces.first().map(|(at, _)| *at).zip(self.pieces.last().map(end)) else { return self };
        let mut joined = Vec::with_capacity(self.pieces.len() + old.pieces.len());
        for (at, bytes) in &old.pieces {
            let cut = |from: u64, to: u64| {
                let range = from.saturating_sub(*at) as usize..to.saturating_sub(*at).min(bytes.len() as u64) as usize;
                let piece = if range == (0..bytes.len()) {
                    bytes.clone()
                } else {
                    // A slice would hold all of it.
                    Bytes::copy_from_slice(bytes.get(range).unwrap_or_default())
                };
                (from.max(*at), piece)
            };
            joined.extend([cut(*at, new.0), cut(new.1, u64::MAX)].into_iter().filter(|(_, piece)| !piece.is_empty()));
        }
        joined.extend(self.pieces.iter().cloned());
        joined.sort_unstable_by_key(|(at, _)| *at);
        let joined = Parts { head: self.head.clone(), total: self.total, pieces: joined };
        if joined.pieces.len() <= MOST && joined.length() <= most { joined } else { self }
    }

    /// The bytes of a range, when all of them are there.
    pub fn slices(&self, range: &Range<u64>) -> Option<Vec<Bytes>> {
        let (mut at, mut found) = (range.start, Vec::new());
        for (from, bytes) in self.pieces.iter().filter(|piece| end(piece) > range.start) {
            if at >= range.end {
                break;
            }
            let begin = at.checked_sub(*from)?;
            let until = range.end.min(from + bytes.len() as u64) - from;
            found.push(bytes.slice(usize::try_from(begin).ok()?..usize::try_from(until).ok()?));
            at = from + until;
        }
        (at == range.end).then_some(found)
    }

    /// From the first byte that is missing to the last. `None` when none is.
    pub fn missing(&self) -> Option<Range<u64>> {
        let (mut begin, mut end) = (0, self.total);
        for piece in &self.pieces {
            if piece.0 != begin {
                break;
            }
            begin = self::end(piece);
        }
        for piece in self.pieces.iter().rev() {
            if self::end(piece) != end {
                break;
            }
            end = piece.0;
        }
        (begin < end).then_some(begin..end)
    }

    /// The whole, when all of it is there.
    pub fn whole(&self) -> Option<Entry> {
        let bytes = self.slices(&(0..self.total))?;
        let (body, filler) = Shared::coming(Some(self.total), self.total);
        bytes.into_iter().for_each(|piece| {
            filler.add(piece);
        });
        drop(filler.finish(None, None));
        Some(self.head.with_body(StatusCode::OK, body))
    }
}

fn end(piece: &(u64, Bytes)) -> u64 {
    piece.0 + piece.1.len() as u64
}

#[cfg(test)]
mod tests {
    use super::super::entry::Asked;
    use super::super::key::Way;
    use super::super::policy::advice::Advice;
    use super::super::policy::freshness::Times;
    use super::super::policy::rules::Rules;
    use super::*;
    use proptest::prelude::*;

    const TOTAL: u64 = 40;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        list.iter().for_each(|(name, value)| fields.append(*name, value.as_bytes()).unwrap());
        fields
    }

    fn head(tag: &str) -> Arc<Entry> {
        let times = Times { requested: 1, received: 1 };
        let asked = Asked { url: "/".to_owned(), place: Way::default(), fields: &Fields::new(), advice: Advice::NONE };
        let head = (StatusCode::PARTIAL_CONTENT, &fields(&[("etag", tag)]));
        Arc::new(Entry::new(asked, head, Shared::whole(Bytes::new()), times, &Rules::default()))
    }

    fn part(tag: &str, range: Range<u64>) -> Parts {
        let bytes: Vec<u8> = range.clone().map(|at| at as u8).collect();
        let (one, other) = bytes.split_at(bytes.len() / 2);
        let bytes = [one, other].map(Bytes::copy_from_slice).to_vec();
        Parts::new(&head(tag), &Span { range, total: TOTAL }, bytes).unwrap()
    }

    #[test]
    fn a_part_says_where_it_lies() {
        let of = |value: &str| Span::of(&fields(&[("content-range", value)]));
        assert_eq!(of("bytes 0-3/10"), Some(Span { range: 0..4, total: 10 }));
        assert_eq!(of("Bytes 9-9/10"), Some(Span { range: 9..10, total: 10 }));
        for odd in [
            "bytes 0-3/*",
            "bytes */10",
            "bytes 3-2/10",
            "bytes 0-10/10",
            "bytes 0-3",
            "bytes=0-3/10",
            "lines 0-3/10",
            "bytes +0-3/10",
            "bytes -3/10",
            "bytes 0-18446744073709551615/18446744073709551616",
            "",
        ] {
            assert_eq!(of(odd), None, "{odd}");
        }
        assert_eq!(Span::of(&fields(&[("content-range", "bytes 0-3/10"), ("content-range", "bytes 0-3/10")])), None);
    }

    #[test]
    fn only_parts_of_one_version_are_put_together() {
        let joined = part("\"a\"", 0..4).over(&part("\"a\"", 4..9), 9);
        assert_eq!(joined.missing(), Some(9..TOTAL));
        // Too much of it: what came last is held.
        assert_eq!(part("\"a\"", 0..4).over(&part("\"a\"", 4..9), 8).missing(), Some(4..TOTAL));
        for (one, other) in [("\"a\"", "\"b\""), ("W/\"a\"", "W/\"a\""), ("\"a\"", "W/\"a\"")] {
            assert_eq!(part(one, 0..4).over(&part(other, 4..9), TOTAL).missing(), Some(4..TOTAL), "{one} {other}");
        }
        let span = Span { range: 0..4, total: TOTAL };
        assert!(Parts::new(&head("\"a\""), &span, vec![Bytes::from_static(b"123")]).is_none());
    }

    proptest! {
        /// Byte by byte: what came is there, what did not is not.
        #[test]
        fn what_came_is_there_and_no_more(
            ranges in prop::collection::vec((0..TOTAL, 1..TOTAL), 1..12), wanted in (0..TOTAL, 1..=TOTAL),
        ) {
            let mut came = [false; TOTAL as usize];
            let mut parts: Option<Parts> = None;
            for (begin, length) in ranges {
                let range = begin..(begin + length).min(TOTAL);
                range.clone().for_each(|at| came[at as usize] = true);
                let next = part("\"a\"", range);
                parts = Some(match parts { Some(old) => next.over(&old, TOTAL), None => next });
            }
            let parts = parts.unwrap();
            let wanted = wanted.0..(wanted.0 + wanted.1).min(TOTAL);
            let is_there = wanted.clone().all(|at| came[at as usize]);
            let bytes = parts.slices(&wanted).map(|slices| slices.concat());
            prop_assert_eq!(bytes, is_there.then(|| wanted.map(|at| at as u8).collect::<Vec<u8>>()));
            let missing = came.iter().position(|there| !there).zip(came.iter().rposition(|there| !there));
            prop_assert_eq!(parts.missing(), missing.map(|(first, last)| first as u64..last as u64 + 1));
            let whole: Vec<u8> = (0..TOTAL).map(|at| at as u8).collect();
            let found = parts.whole().map(|entry| entry.body.bytes().unwrap().to_vec());
            prop_assert_eq!(found, missing.is_none().then_some(whole));
            prop_assert!(parts.weight() >= came.iter().filter(|there| **there).count() as u64);
        }
    }
}
