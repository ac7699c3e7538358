//! The rules of RFC 9113 and RFC 7541, one case each: what a client sends, what becomes of it.

use std::time::Duration;

use super::raw::{Outcome, Raw, data, frame, get, headers, number, post, request, settings};
use super::{run, served};
use crate::http::h2::frame::{FrameHeader, PREFACE, flag, kind};
use crate::limits::Limits;

use Outcome::{Alive, Goaway, Reset, Response};

const PROTOCOL: u32 = 1;
const FLOW: u32 = 3;
const CLOSED: u32 = 5;
const SIZE: u32 = 6;
const REFUSED: u32 = 7;
const COMPRESSION: u32 = 9;
const CALM: u32 = 11;

const END: u8 = flag::END_STREAM;
const WHOLE: u8 = flag::END_HEADERS;
const LAST: u8 = END | WHOLE;

type Case = (&'static str, Vec<u8>, Outcome);

fn cat(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

fn malformed(more: &[(&str, &str)]) -> Vec<u8> {
    headers(1, LAST, &request("GET", "/", more))
}

fn raw_block(bytes: &[u8]) -> Vec<u8> {
    headers(1, LAST, &[&request("GET", "/", &[])[..], bytes].concat())
}

/// `x-test` with a value that follows.
fn huffman(value: &[u8]) -> Vec<u8> {
    [&[0, 0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff], value].concat()
}

fn pseudo(fields: &[(&str, &str)]) -> Vec<u8> {
    headers(1, LAST, &super::raw::block(fields))
}

fn framing() -> Vec<Case> {
    let large = |kind, flags, stream| frame(kind, flags, stream, &vec![0; 16_385]);
    let half = || headers(1, END, &request("GET", "/", &[]));
    vec![
        ("a request", get(1, "/"), Response(1)),
        ("a request with a body", cat(&[post(1, "/"), data(1, END, b"abc")]), Response(1)),
        ("4.1 unknown frame", cat(&[frame(0x16, 0xff, 0, b"12345678"), get(1, "/")]), Response(1)),
        ("4.1 undefined flags", frame(kind::PING, 0xfe, 0, b"12345678"), Alive),
        ("4.1 reserved bit", frame(kind::PING, 0, 0x8000_0000, b"12345678"), Alive),
        ("4.2 DATA of the largest size", cat(&[post(1, "/"), data(1, END, &[0; 16_384])]), Response(1)),
        ("4.2 DATA too large", cat(&[post(1, "/"), large(kind::DATA, 0, 1)]), Goaway(SIZE)),
        ("4.2 HEADERS too large", large(kind::HEADERS, LAST, 1), Goaway(SIZE)),
        ("4.3 not HPACK", headers(1, LAST, &[0xff; 20]), Goaway(COMPRESSION)),
        ("4.3 PRIORITY in a block", cat(&[half(), frame(kind::PRIORITY, 0, 1, &[0; 5])]), Goaway(PROTOCOL)),
        ("4.3 HEADERS in a block", cat(&[half(), get(3, "/")]), Goaway(PROTOCOL)),
        ("5.1 DATA on idle", data(1, END, b"a"), Goaway(PROTOCOL)),
        ("5.1 RST_STREAM on idle", number(kind::RST_STREAM, 1, 8), Goaway(PROTOCOL)),
        ("5.1 WINDOW_UPDATE on idle", number(kind::WINDOW_UPDATE, 1, 8), Goaway(PROTOCOL)),
        ("5.1 CONTINUATION on idle", frame(kind::CONTINUATION, WHOLE, 1, b""), Goaway(PROTOCOL)),
        ("5.1 PRIORITY on idle", cat(&[frame(kind::PRIORITY, 0, 9, &[0; 5]), get(1, "/")]), Response(1)),
        ("5.1 DATA on half-closed", cat(&[get(1, "/hold"), data(1, END, b"a")]), Reset(1, CLOSED)),
        ("5.1 HEADERS on half-closed", cat(&[get(1, "/hold"), get(1, "/")]), Reset(1, CLOSED)),
        (
            "5.1 CONTINUATION on half-closed",
            cat(&[get(1, "/hold"), frame(kind::CONTINUATION, WHOLE, 1, b"")]),
            Goaway(PROTOCOL),
        ),
        (
            "5.1 DATA after RST_STREAM",
            cat(&[post(1, "/hold"), number(kind::RST_STREAM, 1, 8), data(1, END, b"a")]),
            Reset(1, CLOSED),
        ),
        (
            "5.1 HEADERS after RST_STREAM",
            cat(&[post(1, "/hold"), number(kind::RST_STREAM, 1, 8), get(1, "/")]),
            Reset(1, CLOSED),
        ),
        (
            "5.1 WINDOW_UPDATE after RST_STREAM",
            cat(&[post(1, "/hold"), number(kind::RST_STREAM, 1, 8), number(kind::WINDOW_UPDATE, 1, 9)]),
            Alive,
        ),
        ("5.1.1 even id", get(2, "/"), Goaway(PROTOCOL)),
        ("5.1.1 lower id", cat(&[get(5, "/hold"), get(3, "/")]), Goaway(PROTOCOL)),
        (
            "5.3.1 HEADERS depends on itself",
            headers(1, LAST | flag::PRIORITY, &[&[0, 0, 0, 1, 5][..], &request("GET", "/", &[])].concat()),
            Reset(1, PROTOCOL),
        ),
        (
            "6.2 HEADERS with priority and padding",
            headers(
                1,
                LAST | flag::PRIORITY | flag::PADDED,
                &[&[3, 0, 0, 0, 0, 5][..], &request("GET", "/", &[]), &[0; 3]].concat(),
            ),
            Response(1),
        ),
        ("5.3.1 PRIORITY on itself", frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 1, 5]), Goaway(PROTOCOL)),
        ("5.5 unknown frame in a block", cat(&[half(), frame(0x16, 0, 1, b"a")]), Goaway(PROTOCOL)),
    ]
}

fn kinds() -> Vec<Case> {
    let half = |stream| headers(stream, END, &request("GET", "/", &[]));
    let more = |flags| frame(kind::CONTINUATION, flags, 1, &super::raw::block(&[("x", "y")]));
    vec![
        ("6.1 DATA on stream 0", data(0, END, b"a"), Goaway(PROTOCOL)),
        ("6.1 DATA with much padding", cat(&[post(1, "/"), data(1, END | flag::PADDED, b"\x04abc")]), Goaway(PROTOCOL)),
        ("6.1 DATA with padding", cat(&[post(1, "/"), data(1, END | flag::PADDED, b"\x02abc")]), Response(1)),
        ("6.1 DATA padded with nothing", cat(&[post(1, "/"), data(1, END | flag::PADDED, b"")]), Goaway(SIZE)),
        ("6.2 HEADERS on stream 0", headers(0, LAST, &request("GET", "/", &[])), Goaway(PROTOCOL)),
        ("6.2 HEADERS with much padding", headers(1, LAST | flag::PADDED, b"\x09abc"), Goaway(PROTOCOL)),
        ("6.3 PRIORITY on stream 0", frame(kind::PRIORITY, 0, 0, &[0; 5]), Goaway(PROTOCOL)),
        ("6.3 PRIORITY of 4 bytes", cat(&[get(1, "/hold"), frame(kind::PRIORITY, 0, 1, &[0; 4])]), Reset(1, SIZE)),
        ("6.4 RST_STREAM on stream 0", number(kind::RST_STREAM, 0, 8), Goaway(PROTOCOL)),
        ("6.4 RST_STREAM of 3 bytes", cat(&[get(1, "/hold"), frame(kind::RST_STREAM, 0, 1, &[0; 3])]), Goaway(SIZE)),
        ("6.5 SETTINGS acknowledgement with a payload", frame(kind::SETTINGS, flag::ACK, 0, &[0; 6]), Goaway(SIZE)),
        ("6.5 SETTINGS on a stream", frame(kind::SETTINGS, 0, 1, &[]), Goaway(PROTOCOL)),
        ("6.5 SETTINGS of 5 bytes", frame(kind::SETTINGS, 0, 0, &[0; 5]), Goaway(SIZE)),
        ("6.5.2 ENABLE_PUSH 2", settings(&[(2, 2)]), Goaway(PROTOCOL)),
        ("6.5.2 INITIAL_WINDOW_SIZE too large", settings(&[(4, 1 << 31)]), Goaway(FLOW)),
        ("6.5.2 MAX_FRAME_SIZE too small", settings(&[(5, 16_383)]), Goaway(PROTOCOL)),
        ("6.5.2 MAX_FRAME_SIZE too large", settings(&[(5, 1 << 24)]), Goaway(PROTOCOL)),
        ("6.5.2 unknown setting", settings(&[(0xff, 1)]), Alive),
        ("6.6 PUSH_PROMISE", frame(kind::PUSH_PROMISE, WHOLE, 1, &[0, 0, 0, 2]), Goaway(PROTOCOL)),
        ("6.7 PING acknowledgement", frame(kind::PING, flag::ACK, 0, b"12345678"), Alive),
        ("6.7 PING on a stream", frame(kind::PING, 0, 1, b"12345678"), Goaway(PROTOCOL)),
        ("6.7 PING of 6 bytes", frame(kind::PING, 0, 0, b"123456"), Goaway(SIZE)),
        ("6.8 GOAWAY on a stream", frame(kind::GOAWAY, 0, 1, &[0; 8]), Goaway(PROTOCOL)),
        ("6.8 GOAWAY too short", frame(kind::GOAWAY, 0, 0, &[0; 7]), Goaway(SIZE)),
        ("7 RST_STREAM with an unknown code", cat(&[get(1, "/hold"), number(kind::RST_STREAM, 1, 0xff)]), Alive),
        ("6.9 WINDOW_UPDATE of 0", number(kind::WINDOW_UPDATE, 0, 0), Goaway(PROTOCOL)),
        (
            "6.9 WINDOW_UPDATE of 0 on a stream",
            cat(&[get(1, "/hold"), number(kind::WINDOW_UPDATE, 1, 0)]),
            Reset(1, PROTOCOL),
        ),
        ("6.9 WINDOW_UPDATE of 3 bytes", frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 1]), Goaway(SIZE)),
        ("6.9.1 connection window too large", number(kind::WINDOW_UPDATE, 0, 0x7fff_ffff), Goaway(FLOW)),
        (
            "6.9.1 stream window too large",
            cat(&[get(1, "/hold"), number(kind::WINDOW_UPDATE, 1, 0x7fff_ffff)]),
            Reset(1, FLOW),
        ),
        (
            "6.9.2 INITIAL_WINDOW_SIZE makes a window too large",
            cat(&[get(1, "/hold"), number(kind::WINDOW_UPDATE, 1, 0x7fff_0000), settings(&[(4, 0x7fff_ffff)])]),
            Goaway(FLOW),
        ),
        ("6.10 CONTINUATION", cat(&[half(1), more(0), more(WHOLE)]), Response(1)),
        ("6.10 CONTINUATION on stream 0", cat(&[half(1), frame(kind::CONTINUATION, WHOLE, 0, b"")]), Goaway(PROTOCOL)),
        (
            "6.10 CONTINUATION on another stream",
            cat(&[half(1), frame(kind::CONTINUATION, WHOLE, 3, b"")]),
            Goaway(PROTOCOL),
        ),
        ("6.10 CONTINUATION after the end", cat(&[post(1, "/hold"), more(WHOLE)]), Goaway(PROTOCOL)),
        ("6.10 CONTINUATION twice at the end", cat(&[half(1), more(WHOLE), more(WHOLE)]), Goaway(PROTOCOL)),
        ("6.10 too many CONTINUATIONs", cat(&[half(1), vec![more(0); 9].concat()]), Goaway(CALM)),
    ]
}

fn semantics() -> Vec<Case> {
    let with_length = |length| headers(1, WHOLE, &request("POST", "/", &[("content-length", length)]));
    let trailers = |flags, fields: &[(&str, &str)]| headers(1, flags, &super::raw::block(fields));
    let bad = Reset(1, PROTOCOL);
    vec![
        ("8.1 HEADERS without END_STREAM again", cat(&[post(1, "/"), post(1, "/")]), bad),
        ("8.1 trailers", cat(&[post(1, "/"), data(1, 0, b"a"), trailers(LAST, &[("x", "y")])]), Response(1)),
        ("8.1 trailers with a pseudo field", cat(&[post(1, "/"), trailers(LAST, &[(":method", "GET")])]), bad),
        ("8.2 upper case", malformed(&[("X-A", "b")]), bad),
        ("8.2.1 line feed in a value", malformed(&[("x", "a\nb")]), bad),
        ("8.2.1 white space around a value", malformed(&[("x", "a ")]), bad),
        ("8.2.2 connection", malformed(&[("connection", "keep-alive")]), bad),
        ("8.2.2 transfer-encoding", malformed(&[("transfer-encoding", "chunked")]), bad),
        ("8.2.2 te", malformed(&[("te", "trailers, deflate")]), bad),
        ("8.2.2 te trailers", malformed(&[("te", "trailers")]), Response(1)),
        ("8.3 unknown pseudo field", malformed(&[(":test", "a")]), bad),
        ("8.3 response pseudo field", malformed(&[(":status", "200")]), bad),
        ("8.3 pseudo field twice", malformed(&[(":path", "/")]), bad),
        ("8.3 pseudo field after another", malformed(&[("x", "y"), (":authority", "a")]), bad),
        ("8.3.1 empty path", headers(1, LAST, &request("GET", "", &[])), bad),
        ("8.3.1 no method", pseudo(&[(":scheme", "http"), (":path", "/"), (":authority", "a")]), bad),
        ("8.3.1 no scheme", pseudo(&[(":method", "GET"), (":path", "/"), (":authority", "a")]), bad),
        ("8.3.1 no path", pseudo(&[(":method", "GET"), (":scheme", "http"), (":authority", "a")]), bad),
        (
            "8.3.1 host instead",
            pseudo(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "a")]),
            Response(1),
        ),
        ("8.3.1 host differs", malformed(&[("host", "other")]), bad),
        ("8.1.1 Content-Length too small", cat(&[with_length("1"), data(1, END, b"ab")]), bad),
        ("8.1.1 Content-Length too large", cat(&[with_length("3"), data(1, END, b"ab")]), bad),
        (
            "8.1.1 Content-Length of several frames",
            cat(&[with_length("3"), data(1, 0, b"ab"), data(1, END, b"ab")]),
            bad,
        ),
        ("8.1.1 Content-Length kept", cat(&[with_length("3"), data(1, 0, b"ab"), data(1, END, b"c")]), Response(1)),
        ("8.1.1 Content-Length and no body", malformed(&[("content-length", "1")]), bad),
        ("8.1.1 Content-Length and trailers", cat(&[with_length("3"), trailers(LAST, &[("x", "y")])]), bad),
        ("RFC 7541 2.3.3 no such index", raw_block(&[0xc6]), Goaway(COMPRESSION)),
        ("RFC 7541 4.2 size update at the end", raw_block(&[0x20]), Goaway(COMPRESSION)),
        ("RFC 7541 5.2 a Huffman string", raw_block(&huffman(&[0x83, 0x49, 0x50, 0x9f])), Response(1)),
        ("RFC 7541 5.2 padding too long", raw_block(&huffman(&[0x84, 0x49, 0x50, 0x9f, 0xff])), Goaway(COMPRESSION)),
        ("RFC 7541 5.2 padding not ones", raw_block(&huffman(&[0x83, 0x49, 0x50, 0x90])), Goaway(COMPRESSION)),
        (
            "RFC 7541 5.2 EOS",
            raw_block(&huffman(&[0x88, 0x49, 0x50, 0x9f, 0xff, 0xff, 0xff, 0xfa, 0x7f])),
            Goaway(COMPRESSION),
        ),
        ("RFC 7541 6.1 index 0", raw_block(&[0x80]), Goaway(COMPRESSION)),
        ("RFC 7541 6.3 size update too large", headers(1, LAST, &[0x3f, 0xe2, 0x1f]), Goaway(COMPRESSION)),
    ]
}

fn check(cases: Vec<Case>) {
    run(async move {
        for slow in [false, true] {
            for (name, bytes, wanted) in &cases {
                // One byte at a time is for what is small.
                if slow && bytes.len() > 5000 {
                    continue;
                }
                let mut raw = Raw::greeted(served(&Limits::default()).await).await;
                raw.slow = slow;
                raw.send(bytes).await;
                let wait_for = match wanted {
                    Response(stream) => Some(*stream),
                    Alive => None,
                    _ => Some(0),
                };
                let outcome = tokio::time::timeout(Duration::from_secs(10), raw.outcome(wait_for)).await;
                assert_eq!(outcome, Ok(*wanted), "{name}, slow: {slow}");
            }
        }
    });
}

#[test]
fn frames_and_states() {
    check(framing());
}

#[test]
fn each_kind_of_frame() {
    check(kinds());
}

#[test]
fn messages_and_header_blocks() {
    check(semantics());
}

#[test]
fn the_preface_comes_first_and_then_settings() {
    run(async {
        let mut raw = Raw::new(served(&Limits::default()).await);
        raw.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(raw.outcome(Some(0)).await, Goaway(PROTOCOL));
        let mut raw = Raw::new(served(&Limits::default()).await);
        raw.send(&[PREFACE, &get(1, "/")].concat()).await;
        assert_eq!(raw.outcome(Some(0)).await, Goaway(PROTOCOL));
        let mut raw = Raw::new(served(&Limits::default()).await);
        raw.send(&[PREFACE, &frame(kind::SETTINGS, flag::ACK, 0, &[])].concat()).await;
        assert_eq!(raw.outcome(Some(0)).await, Goaway(PROTOCOL));
    });
}

#[test]
fn frames_on_a_stream_that_is_complete_end_the_connection() {
    run(async {
        for after in [data(1, END, b"a"), get(1, "/")] {
            let mut raw = Raw::greeted(served(&Limits::default()).await).await;
            raw.send(&get(1, "/")).await;
            assert_eq!(raw.outcome(Some(1)).await, Response(1));
            raw.send(&after).await;
            assert_eq!(raw.outcome(Some(0)).await, Goaway(CLOSED));
        }
    });
}

#[test]
fn settings_and_pings_are_acknowledged() {
    run(async {
        let mut raw = Raw::greeted(served(&Limits::default()).await).await;
        let (header, _) = raw.next_of(kind::SETTINGS).await.unwrap();
        assert!(!header.has(flag::ACK));
        let (header, payload) = raw.next_of(kind::SETTINGS).await.unwrap();
        assert!(header.has(flag::ACK) && payload.is_empty());
        assert_eq!(raw.outcome(None).await, Alive);
    });
}

#[test]
fn too_many_streams_are_refused() {
    run(async {
        let limits = Limits { http2_streams: 2, ..Limits::default() };
        let mut raw = Raw::greeted(served(&limits).await).await;
        raw.send(&cat(&[get(1, "/hold"), get(3, "/hold"), get(5, "/")])).await;
        assert_eq!(raw.outcome(Some(0)).await, Reset(5, REFUSED));
        // A stream that ends makes room.
        raw.send(&cat(&[number(kind::RST_STREAM, 1, 8), get(7, "/")])).await;
        assert_eq!(raw.outcome(Some(7)).await, Response(7));
    });
}

/// Waits for a DATA frame and says how long it is and whether it is the last.
async fn next_data(raw: &mut Raw) -> (usize, bool) {
    let (header, _) = raw.next_of(kind::DATA).await.unwrap();
    (header.length, header.has(END))
}

#[test]
fn data_keeps_to_windows_of_any_sign() {
    run(async {
        let mut raw = Raw::greeted(served(&Limits::default()).await).await;
        raw.send(&cat(&[settings(&[(4, 3)]), get(1, "/")])).await;
        assert_eq!(next_data(&mut raw).await, (3, false));
        // 3 were sent, so 2 makes the window -1; the update makes it 0, the next 1.
        raw.send(&cat(&[settings(&[(4, 2)]), number(kind::WINDOW_UPDATE, 1, 1)])).await;
        assert_eq!(raw.outcome(None).await, Alive);
        raw.send(&number(kind::WINDOW_UPDATE, 1, 1)).await;
        assert_eq!(next_data(&mut raw).await, (1, false));
        raw.send(&settings(&[(4, 100)])).await;
        assert_eq!(next_data(&mut raw).await, (1, true));
    });
}

#[test]
fn the_connection_window_holds_for_all_streams_together() {
    run(async {
        let mut raw = Raw::greeted(served(&Limits::default()).await).await;
        raw.send(&cat(&[settings(&[(4, 1 << 20)]), get(1, "/size/60000"), get(3, "/size/60000")])).await;
        let mut sum = 0;
        while sum < 65_535 {
            sum += next_data(&mut raw).await.0;
        }
        assert_eq!(sum, 65_535);
        assert_eq!(raw.outcome(None).await, Alive);
        raw.send(&number(kind::WINDOW_UPDATE, 0, 100_000)).await;
        while sum < 120_000 {
            sum += next_data(&mut raw).await.0;
        }
        assert_eq!(sum, 120_000);
    });
}

#[test]
fn streams_take_turns() {
    run(async {
        let mut raw = Raw::greeted(served(&Limits::default()).await).await;
        let many = settings(&[(4, 0)]);
        raw.send(&cat(&[many, get(1, "/size/60000"), get(3, "/size/60000"), get(5, "/size/60000")])).await;
        assert_eq!(raw.outcome(None).await, Alive);
        // 20 000 bytes of each wait; a window for all, opened at once, is used in turn.
        raw.send(&settings(&[(4, 1 << 20)])).await;
        let mut order = Vec::new();
        for _ in 0..3 {
            order.push(raw.next_of(kind::DATA).await.unwrap().0.stream);
        }
        order.sort_unstable();
        assert_eq!(order, [1, 3, 5]);
    });
}

#[test]
fn more_than_the_window_is_refused() {
    run(async {
        let limits = Limits { http2_stream_window: 65_535, http2_connection_window: 100_000, ..Limits::default() };
        let mut raw = Raw::greeted(served(&limits).await).await;
        raw.send(&post(1, "/hold")).await;
        let chunks = |stream, count| vec![data(stream, 0, &[0; 16_384]); count].concat();
        raw.send(&chunks(1, 4)).await;
        assert_eq!(raw.outcome(Some(0)).await, Reset(1, FLOW));
        let limits = Limits { http2_connection_window: 65_535, ..Limits::default() };
        let mut raw = Raw::greeted(served(&limits).await).await;
        raw.send(&cat(&[post(1, "/hold"), post(3, "/hold"), chunks(1, 3), chunks(3, 2)])).await;
        assert_eq!(raw.outcome(Some(0)).await, Goaway(FLOW));
    });
}

#[test]
fn what_nobody_reads_does_not_use_up_the_connection() {
    run(async {
        let limits = Limits {
            http2_stream_window: 65_535,
            http2_connection_window: 65_535,
            discard_size: 10_000,
            ..Limits::default()
        };
        let mut raw = Raw::greeted(served(&limits).await).await;
        for stream in (1..40).step_by(2) {
            raw.send(&post(stream, "/no-body")).await;
            raw.next_of(kind::HEADERS).await.unwrap();
            raw.send(&data(stream, 0, &[0; 16_000])).await;
            let (reset, payload) = raw.next_of(kind::RST_STREAM).await.unwrap();
            assert_eq!((reset.stream, &payload[..]), (stream, &[0, 0, 0, 0][..]));
            // Still on its way when the reset came.
            raw.send(&data(stream, END | flag::PADDED, &[&[255][..], &[0; 9000]].concat())).await;
        }
        assert_eq!(raw.outcome(None).await, Alive);
    });
}

#[test]
fn a_request_may_go_on_for_a_while_after_its_answer() {
    run(async {
        let limits = Limits { http2_stream_window: 65_535, discard_size: 200_000, ..Limits::default() };
        let mut raw = Raw::greeted(served(&limits).await).await;
        for stream in (1..40).step_by(2) {
            raw.send(&post(stream, "/no-body")).await;
            assert!(raw.next_of(kind::HEADERS).await.unwrap().0.has(END));
            let (window, payload) = raw.next_of(kind::WINDOW_UPDATE).await.unwrap();
            assert_eq!((window.stream, &payload[..]), (stream, &(200_000u32 - 65_535).to_be_bytes()[..]));
            raw.send(&vec![data(stream, 0, &[0; 10_000]); 19].concat()).await;
            raw.send(&data(stream, END, &[0; 10_000])).await;
            assert_eq!(raw.outcome(None).await, Alive);
        }
    });
}

#[test]
fn large_heads_are_refused_and_the_tables_stay_in_step() {
    run(async {
        let limits = Limits { http2_header_list_size: 1000, ..Limits::default() };
        let mut raw = Raw::greeted(served(&limits).await).await;
        // Inserted into the table, then referred to after the refusal.
        let mut block = request("GET", "/", &[]);
        block.extend_from_slice(&[0x40, 1, b'x', 1, b'y']);
        block.extend_from_slice(&super::raw::block(&[("a", "b".repeat(100).as_str()); 10]));
        raw.send(&headers(1, LAST, &block)).await;
        let (header, payload) = raw.next_of(kind::HEADERS).await.unwrap();
        assert!(header.has(END));
        assert_eq!(&payload[..5], b"\x08\x03431");
        let block = [&request("GET", "/", &[])[..], &[0xbe]].concat();
        raw.send(&headers(3, LAST, &block)).await;
        assert_eq!(raw.outcome(Some(3)).await, Response(3));
    });
}

#[test]
fn floods_end_the_connection() {
    let limits = Limits {
        http2_resets_per_second: 20,
        http2_control_frames_per_second: 50,
        http2_empty_frames_per_second: 20,
        ..Limits::default()
    };
    let many = |one: &dyn Fn(u32) -> Vec<u8>| (0..200).flat_map(|n| one(2 * n + 1)).collect::<Vec<u8>>();
    let floods: [(&str, Vec<u8>); 10] = [
        ("rapid reset", many(&|id| cat(&[get(id, "/hold"), number(kind::RST_STREAM, id, 8)]))),
        ("resets that we are made to send", many(&|id| cat(&[get(id, "/hold"), number(kind::WINDOW_UPDATE, id, 0)]))),
        ("malformed requests", many(&|id| headers(id, LAST, &request("GET", "", &[])))),
        ("SETTINGS", many(&|_| settings(&[]))),
        ("PING", many(&|_| frame(kind::PING, 0, 0, b"12345678"))),
        ("PRIORITY", many(&|id| frame(kind::PRIORITY, 0, id, &[0; 5]))),
        ("WINDOW_UPDATE", many(&|_| number(kind::WINDOW_UPDATE, 0, 1))),
        ("empty DATA", cat(&[post(1, "/"), many(&|_| data(1, 0, b""))])),
        ("padding", cat(&[post(1, "/"), many(&|_| data(1, flag::PADDED, &[2, 0, 0]))])),
        ("unknown frames", many(&|_| frame(0x77, 0, 0, b""))),
    ];
    run(async move {
        for (name, bytes) in floods {
            let mut raw = Raw::greeted(served(&limits).await).await;
            raw.send(&bytes).await;
            loop {
                match raw.outcome(Some(0)).await {
                    Reset(..) => {}
                    outcome => {
                        assert_eq!(outcome, Goaway(CALM), "{name}");
                        break;
                    }
                }
            }
        }
    });
}

#[test]
fn a_peer_that_does_not_read_is_not_read_either() {
    run(async {
        let limits = Limits { http2_control_frames_per_second: u32::MAX, ..Limits::default() };
        let mut raw = Raw::greeted(served(&limits).await).await;
        let ping = frame(kind::PING, 0, 0, b"12345678");
        let pings = ping.repeat(4000);
        // Until the buffers of both sockets and ours are full: more than 64 MiB would be a queue without a bound.
        let mut sent = 0;
        loop {
            let write = tokio::io::AsyncWriteExt::write(&mut raw.tcp, &pings[sent % ping.len()..]);
            match tokio::time::timeout(Duration::from_millis(500), write).await {
                Ok(written) => sent += written.unwrap(),
                Err(_) => break,
            }
            assert!(sent < 64 << 20, "pings pile up");
        }
    });
}

#[test]
fn a_shutdown_is_announced_and_what_runs_is_finished() {
    run(async {
        let mut raw = Raw::greeted(served(&Limits::default()).await).await;
        raw.send(&cat(&[post(1, "/echo"), get(3, "/shutdown")])).await;
        let (_, payload) = raw.next_of(kind::GOAWAY).await.unwrap();
        assert_eq!(payload, [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        let (_, ping) = raw.next_of(kind::PING).await.unwrap();
        // What the client sent before it saw the warning is still answered.
        raw.send(&cat(&[get(5, "/"), frame(kind::PING, flag::ACK, 0, &ping), get(7, "/")])).await;
        let mut ended = Vec::new();
        let mut last = None;
        while let Some((header, payload)) = raw.next().await {
            let FrameHeader { kind, stream, .. } = header;
            match kind {
                kind::GOAWAY => {
                    last = Some(payload[3]);
                    raw.send(&data(1, END, b"late")).await;
                }
                kind::DATA if header.has(END) => ended.push(stream),
                _ => {}
            }
        }
        ended.sort_unstable();
        assert_eq!((last, ended), (Some(5), vec![1, 3, 5]));
    });
}

#[test]
fn a_response_that_breaks_off_is_reset() {
    run(async {
        for path in ["/cut", "/drop"] {
            let mut raw = Raw::greeted(served(&Limits::default()).await).await;
            raw.send(&get(1, path)).await;
            assert_eq!(raw.outcome(Some(0)).await, Reset(1, 2), "{path}");
        }
    });
}
