//! WebSocket over HTTP/1.1 (RFC 6455) and over HTTP/2 (RFC 8441), each in the words of the other.
//!
//! HTTP/1.1 upgrades a GET and proves by a key that the server understood; HTTP/2 has an extended CONNECT and needs no key.

use aws_lc_rs::digest;

use super::{Method, RequestHead, ResponseHead, StatusCode, Version, name};

const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// An extended CONNECT as the GET with an upgrade that HTTP/1.1 has for it; `None` when it is one already.
pub fn towards_h1(head: &RequestHead) -> Option<RequestHead> {
    if head.method != Method::CONNECT {
        return None;
    }
    let mut head = RequestHead { method: Method::GET, ..head.clone() };
    let key = base64(&std::array::from_fn::<u8, 16, _>(|_| fastrand::u8(..)));
    // The key is made of printable characters.
    let _ = head.fields.set(name::SEC_WEBSOCKET_KEY, key.as_bytes());
    Some(head)
}

/// A GET with an upgrade as the extended CONNECT that HTTP/2 has for it; `None` when it is one already.
pub fn towards_h2(head: &RequestHead) -> Option<RequestHead> {
    if head.method == Method::CONNECT {
        return None;
    }
    let mut head = RequestHead { method: Method::CONNECT, ..head.clone() };
    head.fields.remove(name::SEC_WEBSOCKET_KEY);
    Some(head)
}

/// The response to an accepted upgrade, as this client has to hear it.
pub fn accepted(request: &RequestHead, mut response: ResponseHead) -> ResponseHead {
    if request.version == Version::Http2 {
        response.status = StatusCode::OK;
        response.fields.remove(name::SEC_WEBSOCKET_ACCEPT);
        response.fields.remove(name::UPGRADE);
        return response;
    }
    if response.status != StatusCode::SWITCHING_PROTOCOLS {
        response.status = StatusCode::SWITCHING_PROTOCOLS;
        if let Some(key) = request.fields.value(name::SEC_WEBSOCKET_KEY) {
            let _ = response.fields.set(name::SEC_WEBSOCKET_ACCEPT, accept(key).as_bytes());
        }
    }
    if let Some(protocol) = &request.upgrade {
        let _ = response.fields.set(name::UPGRADE, protocol.as_bytes());
    }
    response
}

/// What proves that a WebSocket key was understood (RFC 6455 section 4.2.2).
pub fn accept(key: &[u8]) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(MAGIC);
    base64(context.finish().as_ref())
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, &b| bits << 8 | u32::from(b)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let six = (bits >> (18 - 6 * place)) & 63;
            out.push(if place <= group.len() { ALPHABET[six as usize] as char } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_6455_is_accepted() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn base64_pads() {
        assert_eq!([&b""[..], b"f", b"fo", b"foo", b"foob"].map(base64), ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }
}
