//! From a response that is kept to the response to a request: conditions, then ranges, then the whole.

use std::ops::Range;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::body::Reader;
use super::entry::Entry;
use super::parts::Parts;
use crate::error::{Error, Kind, Retry};
use crate::http::conditional::{self, Validators};
use crate::http::name::{IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE};
use crate::http::ranges::{self, Selection};
use crate::http::{Body, Frame, Known, Method, RequestHead, ResponseHead, Source, StatusCode, name};

/// What a 304 says of the version that it is about (RFC 9110 section 15.4.5).
const OF_NOT_MODIFIED: &[&str] = &[
    "cache-control",
    "cdn-cache-control",
    "content-location",
    "date",
    "etag",
    "expires",
    "last-modified",
    "set-cookie",
    "vary",
];

/// The head of an entry that is given again. With `validated` the origin has just said that it holds.
pub fn head(entry: &Entry, now: u64, validated: bool) -> ResponseHead {
    let mut head = ResponseHead::new(entry.status);
    head.fields = entry.fields.clone();
    if !validated {
        // RFC 9111 section 5.2.2.4: not without asking the origin.
        entry.directives.no_cache.fields().iter().for_each(|field| {
            head.fields.remove(field);
        });
    }
    // What is kept has none. A number is a valid value.
    let _ = head.fields.append(name::AGE, itoa::Buffer::new().format(entry.age(now)).as_bytes());
    head
}

/// The response to a GET or HEAD, out of an entry that answers it and a head for it. `None` when the body cannot be read from
/// its begin any more.
pub fn answer(entry: &Entry, mut head: ResponseHead, request: &RequestHead) -> Option<(ResponseHead, Body)> {
    // RFC 9110 section 13.2.1: conditions are for what would be a success.
    if entry.status.is_success()
        && [RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE].iter().any(|field| request.fields.contains(*field))
    {
        if conditional::is_known(&request.fields, validators(entry)) {
            head.status = StatusCode::NOT_MODIFIED;
            head.fields.retain(|name, _| OF_NOT_MODIFIED.contains(&name.text()) || name.text() == name::AGE.text());
            return Some((head, Body::Empty));
        }
        // Section 14.2: ranges are of what 200 would give.
        let is_whole = request.method == Method::GET && entry.status == StatusCode::OK;
        let range = request.fields.value(name::RANGE).filter(|_| is_whole);
        if let (Some(range), Some(length)) = (range, entry.body.length())
            && conditional::range_holds(&request.fields, for_ranges(entry))
        {
            match ranges::select(range, length) {
                Selection::Whole => {}
                Selection::Parts(parts) => return partial(entry, head, &parts, length),
                Selection::Unsatisfiable => {
                    let mut head = ResponseHead::new(StatusCode::RANGE_NOT_SATISFIABLE);
                    text(&mut head, name::CONTENT_RANGE, &format!("bytes */{length}"));
                    number(&mut head, name::CONTENT_LENGTH, 0);
                    return Some((head, Body::Empty));
                }
            }
        }
    }
    let length = entry.body.length().filter(|_| !has_no_content(entry.status) && !entry.body.has_trailers());
    if let Some(length) = length.filter(|_| !head.fields.contains(name::CONTENT_LENGTH)) {
        number(&mut head, name::CONTENT_LENGTH, length);
    }
    if request.method == Method::HEAD {
        return Some((head, Body::Empty));
    }
    if let Some(bytes) = entry.body.bytes() {
        return Some((head, Body::Full(bytes.clone())));
    }
    if entry.body.is_whole() && length == Some(0) {
        return Some((head, Body::Empty));
    }
    Some((head, Body::source(entry.body.read()?)))
}

/// RFC 9111 section 4.3.2: without Last-Modified the response's date stands in, for conditions.
fn validators(entry: &Entry) -> Validators<'_> {
    let modified = entry.moment(name::LAST_MODIFIED).or_else(|| Some(entry.dated()));
    Validators { tag: entry.fields.value(name::ETAG), modified }
}

/// For ranges nothing stands in, and what may have changed within its second does not count (RFC 9110 section 13.1.5).
fn for_ranges(entry: &Entry) -> Validators<'_> {
    let modified = entry.moment(name::LAST_MODIFIED).filter(|at| *at < entry.dated());
    Validators { tag: entry.fields.value(name::ETAG), modified }
}

/// The response to a request for a range, out of parts that are kept. `None` where they do not hold all of it, or are of another
/// version than the client has (RFC 9111 section 3.3).
pub fn part(parts: &Parts, now: u64, request: &RequestHead) -> Option<(ResponseHead, Body)> {
    let (entry, total) = (&parts.head, parts.total());
    let is_conditional = [IF_NONE_MATCH, IF_MODIFIED_SINCE].iter().any(|field| request.fields.contains(*field));
    if is_conditional || !conditional::range_holds(&request.fields, for_ranges(entry)) {
        return None;
    }
    let Selection::Parts(wanted) = ranges::select(request.fields.value(RANGE)?, total) else { return None };
    let [wanted] = &*wanted else { return None };
    let mut pieces: Vec<Piece> = parts.slices(wanted)?.into_iter().map(Piece::Text).collect();
    let left = wanted.end - wanted.start;
    let mut head = head(entry, now, false);
    head.status = StatusCode::PARTIAL_CONTENT;
    text(&mut head, name::CONTENT_RANGE, &ranges::content_range(wanted, total));
    number(&mut head, name::CONTENT_LENGTH, left);
    pieces.reverse();
    Some((head, Body::source(Several { pieces, left })))
}

fn has_no_content(status: StatusCode) -> bool {
    matches!(status.as_u16(), 204 | 304)
}

fn partial(entry: &Entry, mut head: ResponseHead, parts: &[Range<u64>], length: u64) -> Option<(ResponseHead, Body)> {
    head.status = StatusCode::PARTIAL_CONTENT;
    let size = |part: &Range<u64>| part.end.saturating_sub(part.start);
    if let [part] = parts {
        text(&mut head, name::CONTENT_RANGE, &ranges::content_range(part, length));
        number(&mut head, name::CONTENT_LENGTH, size(part));
        return Some((head, Body::source(entry.body.part(part.start, Some(size(part)))?)));
    }
    let content_type = entry.fields.text(name::CONTENT_TYPE).unwrap_or("application/octet-stream");
    let multipart = ranges::Multipart::new(parts, content_type, length);
    let mut pieces = Vec::with_capacity(parts.len() * 2 + 1);
    for (opening, part) in multipart.openings.into_iter().zip(parts) {
        pieces.push(Piece::Text(opening.into()));
        pieces.push(Piece::Part(entry.body.part(part.start, Some(size(part)))?));
    }
    pieces.push(Piece::Text(multipart.end.into()));
    let left = pieces.iter().map(Piece::length).sum();
    let _ = head.fields.set(name::CONTENT_TYPE, multipart.content_type.as_bytes());
    number(&mut head, name::CONTENT_LENGTH, left);
    pieces.reverse();
    Some((head, Body::source(Several { pieces, left })))
}

/// Several parts of a body with texts between them.
struct Several {
    /// The last one first.
    pieces: Vec<Piece>,
    left: u64,
}

enum Piece {
    Text(Bytes),
    Part(Reader),
}

impl Piece {
    fn length(&self) -> u64 {
        match self {
            Piece::Text(text) => text.len() as u64,
            Piece::Part(reader) => reader.length().unwrap_or(0),
        }
    }
}

impl Source for Several {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        loop {
            let frame = match self.pieces.last_mut() {
                None => return Poll::Ready(None),
                Some(Piece::Text(text)) => Some(Ok(Frame::Data(std::mem::take(text)))),
                Some(Piece::Part(reader)) => std::task::ready!(reader.poll_frame(cx)),
            };
            if matches!(self.pieces.last(), Some(Piece::Text(_))) || frame.is_none() {
                let is_short = matches!(self.pieces.pop(), Some(Piece::Part(reader)) if !reader.is_end() || reader.length() != Some(0));
                if is_short {
                    return Poll::Ready(Some(Err(Error::upstream(Kind::Truncated, Retry::Never))));
                }
            }
            if let Some(frame) = frame {
                if let Ok(Frame::Data(bytes)) = &frame {
                    self.left = self.left.saturating_sub(bytes.len() as u64);
                }
                return Poll::Ready(Some(frame));
            }
        }
    }

    fn length(&self) -> Option<u64> {
        Some(self.left)
    }
}

fn number(head: &mut ResponseHead, field: Known, value: u64) {
    text(head, field, itoa::Buffer::new().format(value));
}

/// All values here are our own or come out of other fields.
fn text(head: &mut ResponseHead, field: Known, value: &str) {
    let _ = head.fields.set(field, value.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::super::body::Shared;
    use super::super::entry::Asked;
    use super::super::policy::freshness::Times;
    use super::super::policy::rules::Rules;
    use super::*;
    use crate::cache::key::Way;
    use crate::cache::policy::advice::Advice;
    use crate::http::{Fields, Scheme, Version};

    const NOW: u64 = 784_111_777;
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn request(method: Method, list: &[(&str, &str)]) -> RequestHead {
        RequestHead {
            method,
            version: Version::Http11,
            scheme: Scheme::Http,
            authority: "x".to_owned(),
            target: "/".to_owned(),
            upgrade: None,
            fields: fields(list),
        }
    }

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        list.iter().for_each(|(name, value)| fields.append(*name, value.as_bytes()).unwrap());
        fields
    }

    fn entry(status: u16, list: &[(&str, &str)]) -> Entry {
        let times = Times { requested: NOW, received: NOW };
        let body = Shared::whole(Bytes::from_static(b"0123456789"));
        let status = StatusCode::from_u16(status).unwrap();
        let (place, advice) = (Way::default(), Advice::NONE);
        let asked = Asked { url: "http://x/".to_owned(), place, fields: &Fields::new(), advice };
        Entry::new(asked, (status, &fields(list)), body, times, &Rules::default())
    }

    fn read(body: Body) -> String {
        let (mut body, mut bytes) = (body, Vec::new());
        while let Poll::Ready(Some(Ok(Frame::Data(data)))) = body.poll_frame(&mut Context::from_waker(Waker::noop())) {
            bytes.extend_from_slice(&data);
        }
        String::from_utf8(bytes).unwrap()
    }

    /// Status, Content-Range and body.
    fn answered(entry: &Entry, list: &[(&str, &str)]) -> (u16, String, String) {
        let (head, body) = answer(entry, super::head(entry, NOW + 5, false), &request(Method::GET, list)).unwrap();
        let length = head.fields.text(name::CONTENT_LENGTH).map(str::to_owned);
        let body = read(body);
        assert!(length.as_ref().is_none_or(|length| *length == body.len().to_string()), "{length:?} {body:?}");
        (head.status.as_u16(), head.fields.text(name::CONTENT_RANGE).unwrap_or_default().to_owned(), body)
    }

    #[test]
    fn conditions_and_ranges_are_answered_from_what_is_kept() {
        let tagged = entry(200, &[("etag", "\"a\""), ("last-modified", EARLIER)]);
        let weak = entry(200, &[("etag", "W/\"a\"")]);
        let dated = entry(200, &[("date", DATE)]);
        let just_now = entry(200, &[("date", DATE), ("last-modified", DATE)]);
        let missing = entry(404, &[("etag", "\"a\"")]);
        let all = || (200, String::new(), "0123456789".to_owned());
        let nothing = || (304, String::new(), String::new());
        let part = |range: &str, text: &str| (206, format!("bytes {range}/10"), text.to_owned());
        for (entry, list, expected) in [
            (&tagged, vec![], all()),
            (&tagged, vec![("if-none-match", "W/\"a\"")], nothing()),
            (&weak, vec![("if-none-match", "\"a\"")], nothing()),
            (&tagged, vec![("if-none-match", "\"b\""), ("if-modified-since", DATE)], all()),
            (&tagged, vec![("if-modified-since", EARLIER)], nothing()),
            (&dated, vec![("if-modified-since", DATE)], nothing()),
            (&dated, vec![("if-modified-since", EARLIER)], all()),
            (&missing, vec![("if-none-match", "\"a\"")], (404, String::new(), "0123456789".to_owned())),
            (&tagged, vec![("if-match", "\"b\"")], all()),
            (&tagged, vec![("range", "bytes=2-4")], part("2-4", "234")),
            (&tagged, vec![("range", "bytes=-3")], part("7-9", "789")),
            (&tagged, vec![("range", "bytes=5-")], part("5-9", "56789")),
            (&tagged, vec![("range", "bytes=10-")], (416, "bytes */10".to_owned(), String::new())),
            (&tagged, vec![("range", "bytes=2-4"), ("if-range", "\"a\"")], part("2-4", "234")),
            (&tagged, vec![("range", "bytes=2-4"), ("if-range", EARLIER)], part("2-4", "234")),
            (&tagged, vec![("range", "bytes=2-4"), ("if-range", "\"b\"")], all()),
            (&weak, vec![("range", "bytes=2-4"), ("if-range", "W/\"a\"")], all()),
            (&dated, vec![("range", "bytes=2-4"), ("if-range", DATE)], all()),
            (&just_now, vec![("range", "bytes=2-4"), ("if-range", DATE)], all()),
            (&missing, vec![("range", "bytes=2-4")], (404, String::new(), "0123456789".to_owned())),
        ] {
            assert_eq!(answered(entry, &list), expected, "{list:?}");
        }
        let (status, _, body) = answered(&tagged, &[("range", "bytes=0-1,8-")]);
        assert!(
            status == 206
                && body.contains("bytes 0-1/10\r\n\r\n01\r\n--")
                && body.contains("bytes 8-9/10\r\n\r\n89\r\n--")
        );
    }

    #[test]
    fn heads_say_how_old_it_is_and_hold_back_what_must_be_asked_for() {
        let entry = entry(200, &[("cache-control", "max-age=9, no-cache=\"x-a\""), ("x-a", "1"), ("age", "3")]);
        let (head, body) = answer(&entry, super::head(&entry, NOW + 5, false), &request(Method::HEAD, &[])).unwrap();
        assert_eq!((head.fields.text("age"), head.fields.text("content-length")), (Some("8"), Some("10")));
        assert!(!head.fields.contains("x-a") && read(body).is_empty());
        let (head, _) = answer(&entry, super::head(&entry, NOW + 5, true), &request(Method::GET, &[])).unwrap();
        assert!(head.fields.contains("x-a"));
    }
}
