//! Heads and bodies of HTTP/1 from the wire: whatever is taken can be written without becoming something else.

#![no_main]

use bytes::BytesMut;
use gatewright::error::Side;
use gatewright::http::Scheme;
use gatewright::http::h1::decode::{Decoded, Decoder};
use gatewright::http::h1::framing::Framing;
use gatewright::http::h1::lines::Scan;
use gatewright::http::h1::{encode, parse};
use gatewright::limits::Limits;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    let Ok(Some(end)) = Scan::default().head(bytes, &limits, Side::Client) else { return };
    let Ok(request) = parse::request(&bytes[end.start..end.end], Scheme::Http, &limits) else { return };
    let mut written = Vec::new();
    encode::request(&mut written, &request.head, request.framing);
    if request.head.method != "CONNECT" {
        // One head, read again as the same request.
        let again = Scan::default().head(&written, &limits, Side::Client).expect("sound lines").expect("a whole head");
        assert_eq!(again.end, written.len());
        let again = parse::request(&written, Scheme::Http, &limits).expect("a request");
        assert_eq!((again.head.method, again.head.target), (request.head.method, request.head.target));
    }
    let mut decoder = Decoder::new(request.framing, Side::Client);
    let mut rest = BytesMut::from(&bytes[end.end..]);
    let mut left = rest.len();
    while let Ok(Decoded::Data(data)) = decoder.decode(&mut rest, &limits) {
        left = left.checked_sub(data.len()).expect("no more data than bytes");
        if let Framing::None = request.framing {
            panic!("data without a body");
        }
    }
});
