//! What is known of an answer before it is asked for, and what the origin makes of it.
//!
//! In: entries that may hold, or parts of one. Out: the conditions to ask with, in place of the client's, which are about what it
//! has; then whether the origin's response is about what is known.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::cache::Entry;
use crate::cache::parts::{Parts, Span};
use crate::cache::policy::reuse::Failures;
use crate::cache::policy::rules::Rules;
use crate::cache::policy::storable;
use crate::clock;
use crate::error::{Error, Kind, Retry};
use crate::http::{Body, Fields, Frame, ResponseHead, Source, StatusCode, name};
use crate::proxy::exchange::Response;

/// What there is.
pub(super) enum Known {
    /// Nothing that helps.
    Nothing,
    /// This may still hold; and after these failures it would do anyway.
    Entry(Arc<Entry>, Failures),
    /// Answers to other requests for the same URL. One may be the answer to this one, too.
    Variants(Vec<Arc<Entry>>),
    /// Parts of it.
    Parts(Arc<Parts>),
}

/// What a response is.
pub(super) enum Met {
    /// The word that this holds.
    Holds(Arc<Entry>),
    /// An answer by itself.
    Answer,
    /// About something that is not known here: all of it has to be asked for.
    Other,
}

/// Bytes of tags that are sent in one request: not more than any origin takes in a field.
const TAGS: usize = 2 << 10;

impl Known {
    /// Of these the newest that fit into a request.
    pub(super) fn variants(mut variants: Vec<Arc<Entry>>) -> Known {
        let mut left = TAGS;
        variants.retain(|entry| {
            let length = entry.fields.value(name::ETAG).map_or(usize::MAX, |tag| tag.len() + 2);
            let fits = length <= left;
            left -= if fits { length } else { 0 };
            fits
        });
        if variants.is_empty() { Known::Nothing } else { Known::Variants(variants) }
    }

    /// Takes the client's conditions out, and asks by what is known (RFC 9111 section 4.3.1).
    pub(super) fn condition(&self, fields: &mut Fields) {
        for field in [name::IF_NONE_MATCH, name::IF_MODIFIED_SINCE, name::IF_RANGE, name::RANGE] {
            fields.remove(field);
        }
        // Whatever is appended was a field before, or is a number: so it is one.
        let mut set = |field, value: &[u8]| {
            let _ = fields.append(field, value);
        };
        match self {
            Known::Nothing => {}
            Known::Entry(kept, _) => {
                for (field, validator) in
                    [(name::IF_NONE_MATCH, name::ETAG), (name::IF_MODIFIED_SINCE, name::LAST_MODIFIED)]
                {
                    kept.fields.value(validator).into_iter().for_each(|value| set(field, value));
                }
            }
            Known::Variants(variants) => {
                let tags: Vec<&[u8]> = variants.iter().filter_map(|entry| entry.fields.value(name::ETAG)).collect();
                set(name::IF_NONE_MATCH, &tags.join(&b", "[..]));
            }
            Known::Parts(parts) => {
                if let (Some(span), Some(strong)) = (missing(parts), parts.head.strong()) {
                    let range = span.range;
                    let last = if range.end == span.total { String::new() } else { (range.end - 1).to_string() };
                    set(name::RANGE, format!("bytes={}-{last}", range.start).as_bytes());
                    set(name::IF_RANGE, strong);
                }
            }
        }
    }

    /// After which failures of the origin what is kept is the answer.
    pub(super) fn after(&self) -> Failures {
        match self {
            Known::Entry(_, after) => *after,
            _ => Failures::default(),
        }
    }

    /// What a response is to what is known. One that completes the parts becomes the whole.
    pub(super) fn meet(&self, response: &mut Response, rules: &Rules) -> Met {
        let (status, news) = (response.head.status, &response.head.fields);
        match self {
            Known::Nothing => Met::Answer,
            _ if status == StatusCode::NOT_MODIFIED => match self.that_holds(news) {
                Some(entry) => Met::Holds(entry),
                None => Met::Other,
            },
            Known::Parts(parts) => match status {
                StatusCode::PARTIAL_CONTENT if complete(parts, response, rules).is_none() => Met::Other,
                StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE => Met::Other,
                _ => Met::Answer,
            },
            _ => Met::Answer,
        }
    }

    /// RFC 9111 section 4.3.4.
    fn that_holds(&self, news: &Fields) -> Option<Arc<Entry>> {
        let found = match self {
            Known::Entry(kept, _) => Some(kept),
            // A tag that is weak is that of several: of the compressed one and the plain one, say.
            Known::Variants(variants) => match (&**variants, news.value(name::ETAG)) {
                ([one], None) => Some(one),
                (_, Some(tag)) if tag.starts_with(b"\"") => {
                    variants.iter().find(|entry| entry.fields.value(name::ETAG) == Some(tag))
                }
                _ => None,
            },
            _ => None,
        };
        found.filter(|entry| storable::is_about(&entry.fields, news)).cloned()
    }
}

/// What is to be asked for, where that is less than all.
fn missing(parts: &Parts) -> Option<Span> {
    let (range, total) = (parts.missing()?, parts.total());
    (range.end - range.start < total).then_some(Span { range, total })
}

/// RFC 9110 section 15.3.7.3: makes a response with what is missing into one with all. `None` when it is something else.
fn complete(parts: &Parts, response: &mut Response, rules: &Rules) -> Option<()> {
    let (wanted, news) = (missing(parts)?, &response.head.fields);
    let is_meant = Span::of(news).as_ref() == Some(&wanted)
        && storable::strong(news, clock::second()) == parts.head.strong()
        && response.body.length().is_none_or(|length| length == wanted.length());
    if !is_meant {
        return None;
    }
    let pieces = |range| parts.slices(&range).map(VecDeque::from);
    let (before, after) = (pieces(0..wanted.range.start)?, pieces(wanted.range.end..wanted.total)?);
    let mut fields = parts.head.fields.clone();
    if news.contains(name::DATE) {
        fields.remove(name::DATE);
    }
    storable::freshen(&mut fields, news, rules);
    for field in [name::AGE, name::SET_COOKIE] {
        if !fields.contains(field) {
            news.values(field).for_each(|value| {
                // It was a field before, so it is one.
                let _ = fields.append(field, value);
            });
        }
    }
    for field in [name::CONTENT_LENGTH, name::CONTENT_RANGE] {
        fields.remove(field);
    }
    let _ = fields.append(name::CONTENT_LENGTH, wanted.total.to_string().as_bytes());
    response.head = ResponseHead::new(StatusCode::OK);
    response.head.fields = fields;
    let between = std::mem::take(&mut response.body);
    let body = Completed { before, between, expected: wanted.length(), after, left: wanted.total };
    response.body = Body::source(body);
    Some(())
}

/// A body of which a part comes, and the rest is there.
struct Completed {
    before: VecDeque<Bytes>,
    between: Body,
    /// So many bytes come yet.
    expected: u64,
    after: VecDeque<Bytes>,
    left: u64,
}

impl Source for Completed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        let broken = || Poll::Ready(Some(Err(Error::upstream(Kind::Truncated, Retry::Never))));
        let bytes = loop {
            if let Some(bytes) = self.before.pop_front() {
                break Some(bytes);
            }
            if self.expected == 0 {
                break self.after.pop_front();
            }
            match ready!(self.between.poll_frame(cx)) {
                Some(Ok(Frame::Data(bytes))) => match self.expected.checked_sub(bytes.len() as u64) {
                    Some(expected) => {
                        self.expected = expected;
                        break Some(bytes);
                    }
                    None => return broken(),
                },
                // Trailers of a part say nothing of the whole.
                Some(Ok(Frame::Trailers(_))) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return broken(),
            }
        };
        Poll::Ready(bytes.map(|bytes| {
            self.left = self.left.saturating_sub(bytes.len() as u64);
            Ok(Frame::Data(bytes))
        }))
    }

    fn length(&self) -> Option<u64> {
        Some(self.left)
    }

    fn is_end(&self) -> bool {
        self.left == 0
    }
}
