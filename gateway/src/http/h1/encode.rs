//! Heads, chunks and trailers as HTTP/1.1 bytes.
//!
//! Pure: everything is appended to a buffer. Framing fields are written from the framing, never copied, so that a
//! message can have only one.

use super::framing::Framing;
use crate::clock;
use crate::http::{Fields, Method, RequestHead, ResponseHead, Version, name};

/// What a response says about its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Nothing: HTTP/1.1 keeps by default.
    Keep,
    /// `keep-alive`, which HTTP/1.0 has to be told.
    KeepHttp10,
    /// `close`.
    Close,
    /// `upgrade`, to the protocol in the head's `upgrade` field.
    Upgrade,
}

/// A request head towards an upstream.
pub fn request(out: &mut Vec<u8>, head: &RequestHead, framing: Framing) {
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    out.extend_from_slice(head.authority.as_bytes());
    out.extend_from_slice(b"\r\n");
    // Whatever the fields say, a length goes out only for a body that goes out: the upstream would wait for it, and take
    // somebody else's request for it.
    // RFC 9110 section 8.6: where a method usually has a body, that there is none is said.
    let is_told = head.fields.contains(name::CONTENT_LENGTH) || has_usually_a_body(&head.method);
    let empty = framing == Framing::None && head.upgrade.is_none() && is_told;
    let framing = if empty { Framing::Length(0) } else { framing };
    fields(out, &head.fields, true);
    framing_field(out, framing);
    match &head.upgrade {
        Some(protocol) => {
            out.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
            out.extend_from_slice(protocol.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        // RFC 9110 section 10.1.4: who sends TE names it in Connection.
        None if head.fields.contains(name::TE) => out.extend_from_slice(b"connection: te\r\n"),
        None => {}
    }
    out.extend_from_slice(b"\r\n");
}

fn has_usually_a_body(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}

/// A response head towards a client.
pub fn response(out: &mut Vec<u8>, head: &ResponseHead, framing: Framing, fate: Fate) {
    status_line(out, head);
    // Without a body the field tells what a GET would have had; with one, the framing says it.
    fields(out, &head.fields, framing != Framing::None);
    framing_field(out, framing);
    // RFC 9110 section 6.6.1: whoever forwards a response without a date gives it one.
    if !head.fields.contains(name::DATE) {
        out.extend_from_slice(b"date: ");
        clock::with_date(|date| out.extend_from_slice(date));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(match fate {
        Fate::Keep => b"",
        Fate::KeepHttp10 => b"connection: keep-alive\r\n",
        Fate::Close => b"connection: close\r\n",
        Fate::Upgrade => b"connection: upgrade\r\n",
    });
    out.extend_from_slice(b"\r\n");
}

/// A 1xx response towards a client.
pub fn informational(out: &mut Vec<u8>, head: &ResponseHead) {
    status_line(out, head);
    fields(out, &head.fields, true);
    out.extend_from_slice(b"\r\n");
}

/// What stands before so many bytes of a chunk.
pub fn chunk_head(out: &mut Vec<u8>, size: usize) {
    let mut digits = [0u8; 16];
    let mut at = digits.len();
    let mut left = size;
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[left & 15];
        left >>= 4;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

/// The last chunk with its trailers.
pub fn last_chunk(out: &mut Vec<u8>, trailers: Option<&Fields>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        fields(out, trailers, true);
    }
    out.extend_from_slice(b"\r\n");
}

fn status_line(out: &mut Vec<u8>, head: &ResponseHead) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(head.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn fields(out: &mut Vec<u8>, fields: &Fields, framed: bool) {
    for (known, field, value) in fields.iter_bytes() {
        match known {
            Some(name::TRANSFER_ENCODING) => continue,
            Some(name::CONTENT_LENGTH) if framed => continue,
            _ => {}
        }
        out.extend_from_slice(field);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
}

fn framing_field(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::None | Framing::UntilClose => {}
    }
}

/// Whether a peer of this version understands chunks.
pub fn takes_chunks(version: Version) -> bool {
    version != Version::Http10
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::StatusCode;

    #[test]
    fn a_message_has_one_framing_whatever_its_fields_say() {
        let mut head = ResponseHead::new(StatusCode::OK);
        head.fields.append(name::CONTENT_LENGTH, b"9").unwrap();
        head.fields.append(name::TRANSFER_ENCODING, b"chunked").unwrap();
        head.fields.append(name::DATE, b"x").unwrap();
        let mut out = Vec::new();
        response(&mut out, &head, Framing::Length(5), Fate::Close);
        let expected = "HTTP/1.1 200 OK\r\ndate: x\r\ncontent-length: 5\r\nconnection: close\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_request_without_a_body_promises_none() {
        let mut head = RequestHead {
            method: crate::http::Method::POST,
            version: Version::Http11,
            scheme: crate::http::Scheme::Http,
            authority: "a".into(),
            target: "/".into(),
            upgrade: None,
            fields: Fields::new(),
        };
        head.fields.append(name::CONTENT_LENGTH, b"263").unwrap();
        let written = |head: &RequestHead| {
            let mut out = Vec::new();
            request(&mut out, head, Framing::None);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(&head), "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
        head.fields.clear();
        for (method, is_told) in [("POST", true), ("PUT", true), ("PATCH", true), ("GET", false), ("DELETE", false)] {
            head.method = method.parse().unwrap();
            assert_eq!(written(&head).contains("content-length: 0\r\n"), is_told, "{method}");
        }
        head.method = crate::http::Method::POST;
        head.upgrade = Some("websocket".into());
        assert!(!written(&head).contains("content-length"));
    }

    #[test]
    fn chunk_heads_are_hexadecimal() {
        for size in [1, 9, 10, 15, 16, 255, 256, 65535, 1 << 20] {
            let mut out = Vec::new();
            chunk_head(&mut out, size);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{size:x}\r\n"));
        }
    }
}
