//! From a file and a request to a response: conditions, then ranges, then the whole.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::body::{FileBody, Piece};
use super::listing::List;
use super::load::{Content, Loaded};
use crate::http::accept::{self, Liked};
use crate::http::conditional::{self, Validators, Verdict};
use crate::http::ranges::{self, Multipart, Selection};
use crate::http::{Body, Fields, Known, Method, RequestHead, ResponseHead, StatusCode, name};

/// Room for what a response has beside the fields of its file: Content-Length, Content-Range, Date, and some of a route's.
const ADDED: usize = 8;
const ADDED_TEXT: usize = 192;

/// The response to a GET or HEAD for this file.
pub(super) fn file(file: &Loaded, request: &RequestHead) -> (ResponseHead, Body) {
    let known = Validators { tag: Some(file.tag.as_bytes()), modified: Some(file.modified) };
    match conditional::evaluate(&request.fields, known) {
        Verdict::Proceed => {}
        Verdict::NotModified => return (not_modified(file), Body::Empty),
        Verdict::Failed => return empty(StatusCode::PRECONDITION_FAILED),
    }
    let length = file.identity.length;
    // RFC 9110 section 14.2: Range is for GET only.
    let range = request.fields.value(name::RANGE).filter(|_| request.method == Method::GET);
    let selection = match range {
        Some(range) if conditional::range_holds(&request.fields, known) => ranges::select(range, length),
        _ => Selection::Whole,
    };
    match selection {
        Selection::Whole => {
            let mut head = ResponseHead::new(StatusCode::OK);
            head.fields = file.fields.copy(ADDED, ADDED_TEXT);
            number(&mut head.fields, name::CONTENT_LENGTH, length);
            let body = if request.method == Method::HEAD { Body::Empty } else { whole(file) };
            (head, body)
        }
        Selection::Parts(parts) => partial(file, &parts),
        Selection::Unsatisfiable => {
            let (mut head, body) = empty(StatusCode::RANGE_NOT_SATISFIABLE);
            text(&mut head.fields, name::CONTENT_RANGE, &format!("bytes */{length}"));
            (head, body)
        }
    }
}

/// To the same path with a slash.
pub(super) fn redirect(location: &str) -> (ResponseHead, Body) {
    let (mut head, body) = empty(StatusCode::PERMANENT_REDIRECT);
    text(&mut head.fields, name::LOCATION, location);
    (head, body)
}

/// A folder's list, as a page or for programs.
pub(super) fn listing(list: &List, request: &RequestHead) -> (ResponseHead, Body) {
    let mut head = ResponseHead::new(StatusCode::OK);
    let page = match wants_json(&request.fields) {
        true => {
            text(&mut head.fields, name::CONTENT_TYPE, "application/json");
            list.json()
        }
        false => {
            text(&mut head.fields, name::CONTENT_TYPE, "text/html; charset=utf-8");
            text(&mut head.fields, name::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'");
            list.html()
        }
    };
    number(&mut head.fields, name::CONTENT_LENGTH, page.len() as u64);
    text(&mut head.fields, name::CACHE_CONTROL, "no-cache");
    text(&mut head.fields, name::VARY, "accept");
    (head, if request.method == Method::HEAD { Body::Empty } else { Body::full(page) })
}

fn wants_json(request: &Fields) -> bool {
    let (mut html, mut json) = (Liked::default(), Liked::default());
    for range in accept::ranges(request) {
        html.consider(range, b"text/html", b"text/*");
        json.consider(range, b"application/json", b"application/*");
    }
    json.is_named() && json.quality > 0 && (json.quality > html.quality || !html.is_named())
}

/// The file that tells of an error, whole: of this content no one has a part or another version.
pub(super) fn error_page(status: StatusCode, file: &Loaded, request: &RequestHead) -> (ResponseHead, Body) {
    let mut head = ResponseHead::new(status);
    for field in [name::CONTENT_TYPE, name::CONTENT_ENCODING, name::VARY] {
        copy(file, field, &mut head.fields);
    }
    number(&mut head.fields, name::CONTENT_LENGTH, file.identity.length);
    text(&mut head.fields, name::CACHE_CONTROL, "no-store");
    if status == StatusCode::METHOD_NOT_ALLOWED {
        // RFC 9110 section 15.5.6.
        text(&mut head.fields, name::ALLOW, "GET, HEAD");
    }
    (head, if request.method == Method::HEAD { Body::Empty } else { whole(file) })
}

/// RFC 9110 section 15.4.5: what a 200 would have said of the version, and no content.
fn not_modified(file: &Loaded) -> ResponseHead {
    let mut head = ResponseHead::new(StatusCode::NOT_MODIFIED);
    for field in [name::ETAG, name::LAST_MODIFIED, name::CACHE_CONTROL, name::VARY] {
        copy(file, field, &mut head.fields);
    }
    head
}

fn copy(file: &Loaded, field: Known, fields: &mut Fields) {
    if let Some(value) = file.fields.value(field) {
        // It comes out of other fields, so it is a value.
        let _ = fields.append(field, value);
    }
}

fn partial(file: &Loaded, parts: &[Range<u64>]) -> (ResponseHead, Body) {
    let mut head = ResponseHead::new(StatusCode::PARTIAL_CONTENT);
    head.fields = file.fields.copy(ADDED, ADDED_TEXT);
    let length = file.identity.length;
    if let [part] = parts {
        text(&mut head.fields, name::CONTENT_RANGE, &ranges::content_range(part, length));
        number(&mut head.fields, name::CONTENT_LENGTH, part.end - part.start);
        return (head, body(file, VecDeque::from([Piece::File(part.clone())])));
    }
    let content_type = file.fields.text(name::CONTENT_TYPE).unwrap_or_default();
    let multipart = Multipart::new(parts, content_type, length);
    let mut pieces = VecDeque::with_capacity(parts.len() * 2 + 1);
    for (opening, part) in multipart.openings.into_iter().zip(parts) {
        pieces.push_back(Piece::Text(opening.into()));
        pieces.push_back(Piece::File(part.clone()));
    }
    pieces.push_back(Piece::Text(multipart.end.into()));
    let total = pieces.iter().map(Piece::length).sum();
    let _ = head.fields.set(name::CONTENT_TYPE, multipart.content_type.as_bytes());
    number(&mut head.fields, name::CONTENT_LENGTH, total);
    (head, body(file, pieces))
}

fn whole(file: &Loaded) -> Body {
    match &file.content {
        Content::Memory(bytes) => Body::full(bytes.clone()),
        Content::Disk(_) => body(file, VecDeque::from([Piece::File(0..file.identity.length)])),
    }
}

fn body(file: &Loaded, pieces: VecDeque<Piece>) -> Body {
    match &file.content {
        Content::Disk(open) => Body::source(FileBody::new(open.clone(), file.identity, pieces)),
        Content::Memory(bytes) => Body::full(cut(bytes, &pieces)),
    }
}

/// The pieces from memory, in one: without a copy when it is only one.
fn cut(bytes: &Bytes, pieces: &VecDeque<Piece>) -> Bytes {
    let slice = |range: &Range<u64>| {
        let end = (range.end as usize).min(bytes.len());
        bytes.slice((range.start as usize).min(end)..end)
    };
    if let (Some(Piece::File(range)), 1) = (pieces.front(), pieces.len()) {
        return slice(range);
    }
    let mut out = BytesMut::with_capacity(pieces.iter().map(|piece| piece.length() as usize).sum());
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text),
            Piece::File(range) => out.extend_from_slice(&slice(range)),
        }
    }
    out.freeze()
}

fn empty(status: StatusCode) -> (ResponseHead, Body) {
    let mut head = ResponseHead::new(status);
    number(&mut head.fields, name::CONTENT_LENGTH, 0);
    (head, Body::Empty)
}

fn number(fields: &mut Fields, field: Known, value: u64) {
    text(fields, field, itoa::Buffer::new().format(value));
}

/// All values here are our own or come out of a target, which holds no control characters.
fn text(fields: &mut Fields, field: Known, value: &str) {
    let _ = fields.append(field, value.as_bytes());
}
