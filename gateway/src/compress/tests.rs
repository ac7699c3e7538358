//! Bodies through codecs: whatever the pieces and pauses, what comes out decodes to what went in.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::Read;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use proptest::prelude::*;

use super::codec::{Codec, Decoder, Encoder, Push};
use super::press::Press;
use crate::error::{Error, Kind, Retry};
use crate::http::encoding::Coding;
use crate::http::{Body, Fields, Frame, Source};
use crate::limits::Limits;
use crate::metrics::Metrics;

fn press() -> Rc<Press> {
    Rc::new(Press::new(Rc::new(Metrics::new(1).worker(0).unwrap())))
}

/// A body in pieces; `None` is a pause until it is asked again.
struct Pieces(VecDeque<Option<Result<Frame, Error>>>);

impl Source for Pieces {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        match self.0.pop_front() {
            Some(Some(frame)) => Poll::Ready(Some(frame)),
            Some(None) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => Poll::Ready(None),
        }
    }

    fn length(&self) -> Option<u64> {
        None
    }
}

fn pieces(list: impl IntoIterator<Item = Option<Vec<u8>>>) -> Body {
    let frame = |piece: Vec<u8>| Ok(Frame::Data(piece.into()));
    let list = list.into_iter().filter(|piece| piece.as_ref().is_none_or(|piece| !piece.is_empty()));
    Body::source(Pieces(list.map(|piece| piece.map(frame)).collect()))
}

/// All of it, and whether it ended well.
async fn read(mut body: Body) -> (Vec<u8>, Result<Option<Box<Fields>>, Error>) {
    let mut bytes = Vec::new();
    loop {
        match body.frame().await {
            Some(Ok(Frame::Data(data))) => {
                assert!(!data.is_empty());
                bytes.extend_from_slice(&data);
            }
            Some(Ok(Frame::Trailers(trailers))) => return (bytes, Ok(Some(trailers))),
            Some(Err(error)) => return (bytes, Err(error)),
            None => return (bytes, Ok(None)),
        }
    }
}

fn encoded(press: &Rc<Press>, coding: Coding, level: u8, body: Body) -> Body {
    press.encoded(&Limits::default(), (coding, level), false, body).unwrap()
}

fn decoded(press: &Rc<Press>, coding: Coding, body: Body) -> Body {
    press.decoded(&Limits::default(), coding, body).unwrap()
}

/// By the decoders that others use.
fn reference(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap(),
        Coding::Deflate => flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut out).unwrap(),
        Coding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out).unwrap(),
        Coding::Zstd => {
            out.resize(1 << 20, 0);
            let length = zstd_safe::decompress(&mut out[..], bytes).unwrap();
            out.truncate(length);
            length
        }
    };
    out
}

fn text(length: usize) -> Vec<u8> {
    let words = ["alpha", "beta", "\"name\":", "{", "}", "12345", "gamma", "\n"];
    let mut random = fastrand::Rng::with_seed(7);
    let mut text = Vec::with_capacity(length + 8);
    while text.len() < length {
        text.extend_from_slice(words[random.usize(..words.len())].as_bytes());
        text.push(b' ');
    }
    text.truncate(length);
    text
}

fn codings() -> impl Strategy<Value = Coding> {
    prop::sample::select(Coding::ALL.to_vec())
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_went_in_comes_out(
        coding in codings(),
        level in 1u8..=8,
        sizes in prop::collection::vec(prop_oneof![Just(None), (0usize..100).prop_map(Some), (0usize..100_000).prop_map(Some)], 0..6),
        is_prompt: bool,
    ) {
        let all = text(300_000);
        let mut at = 0;
        let list: Vec<Option<Vec<u8>>> = sizes.into_iter().map(|size| size.map(|size| {
            let end = (at + size).min(all.len());
            all[std::mem::replace(&mut at, end)..end].to_vec()
        })).collect();
        let plain: Vec<u8> = list.iter().flatten().flatten().copied().collect();
        let press = press();
        run(async {
            let body = press.encoded(&Limits::default(), (coding, level), is_prompt, pieces(list)).unwrap();
            let (coded, end) = read(body).await;
            assert!(end.is_ok());
            assert!(reference(coding, &coded) == plain, "the others decode it");
            // In pieces of any size it is decoded, too.
            let parts = coded.chunks(1 + plain.len() % 97).flat_map(|part| [Some(part.to_vec()), None]);
            let (back, end) = read(decoded(&press, coding, pieces(parts))).await;
            assert!(end.is_ok() && back == plain, "we decode it");
        });
    }

    /// What is cut off anywhere is no whole content; what is wrong anywhere is no content or another one, and never a panic.
    #[test]
    fn what_is_broken_does_not_look_whole(coding in codings(), cut in 0.0f64..1.0, flip: (prop::sample::Index, u8)) {
        let press = press();
        run(async {
            let plain = text(5000);
            let (coded, _) = read(encoded(&press, coding, 5, Body::full(plain.clone()))).await;
            let cut = (coded.len() as f64 * cut) as usize;
            if cut > 0 {
                let (got, end) = read(decoded(&press, coding, Body::full(coded[..cut].to_vec()))).await;
                assert!(end.is_err() && plain.starts_with(&got), "{cut} of {}", coded.len());
            }
            let mut wrong = coded.clone();
            *flip.0.get_mut(&mut wrong) ^= flip.1;
            read(decoded(&press, coding, Body::full(wrong))).await.1.ok();
        });
    }

    #[test]
    fn noise_is_decoded_to_something_or_nothing(coding in codings(), noise in prop::collection::vec(any::<u8>(), 0..300)) {
        run(async { read(decoded(&press(), coding, Body::full(noise))).await.1.ok() });
    }
}

#[test]
fn a_body_in_memory_ends_with_its_last_piece() {
    let press = press();
    run(async {
        for coding in Coding::ALL {
            let mut body = encoded(&press, coding, 3, Body::full(text(20_000)));
            let Some(Ok(Frame::Data(data))) = body.frame().await else { panic!("{coding:?}") };
            assert!(body.is_end(), "{coding:?}: {} bytes, and more", data.len());
            assert_eq!(reference(coding, &data), text(20_000));
        }
    });
}

#[test]
fn trailers_come_behind_the_content() {
    let press = press();
    run(async {
        let mut trailers = Fields::new();
        trailers.append("x-sum", b"1").unwrap();
        let list =
            [Some(Ok(Frame::Data(Bytes::from(text(3000))))), None, Some(Ok(Frame::Trailers(Box::new(trailers))))];
        let body = encoded(&press, Coding::Gzip, 3, Body::source(Pieces(list.into())));
        let (coded, end) = read(decoded(&press, Coding::Gzip, body)).await;
        assert_eq!((coded, end.unwrap().unwrap().text("x-sum")), (text(3000), Some("1")));
    });
}

#[test]
fn a_source_that_breaks_breaks_what_is_made_of_it() {
    let press = press();
    run(async {
        let error = Error::upstream(Kind::Truncated, Retry::Never);
        let list = [Some(Ok(Frame::Data(Bytes::from(text(100_000))))), Some(Err(error))];
        let (_, end) = read(encoded(&press, Coding::Zstd, 3, Body::source(Pieces(list.into())))).await;
        assert_eq!(end.unwrap_err(), error);
    });
}

/// A source that brings what it is given.
struct Fed(tokio::sync::mpsc::UnboundedReceiver<Vec<u8>>);

impl Source for Fed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        self.0.poll_recv(cx).map(|piece| Some(Ok(Frame::Data(piece?.into()))))
    }

    fn length(&self) -> Option<u64> {
        None
    }
}

#[test]
fn what_a_source_brought_before_it_pauses_can_be_decoded_then() {
    let press = press();
    run(async {
        for (coding, is_prompt) in Coding::ALL.into_iter().flat_map(|coding| [(coding, true), (coding, false)]) {
            let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
            let body = Body::source(Fed(receiver));
            let mut body = press.encoded(&Limits::default(), (coding, 5), is_prompt, body).unwrap();
            let mut decoder = Decoder::new(coding).unwrap();
            for event in ["data: one\n\n", "data: two\n\n", "data: three\n\n"] {
                sender.send(event.as_bytes().to_vec()).unwrap();
                let (mut got, mut room) = (Vec::new(), vec![0; 1000]);
                while got.len() < event.len() {
                    let Some(Ok(Frame::Data(data))) = body.frame().await else { panic!("{coding:?} ended") };
                    let mut data = &data[..];
                    loop {
                        let step = decoder.step(data, &mut room, Push::More).unwrap();
                        got.extend_from_slice(&room[..step.made]);
                        data = &data[step.taken..];
                        if step.done && data.is_empty() {
                            break;
                        }
                    }
                }
                assert_eq!(got, event.as_bytes(), "{coding:?}");
            }
        }
    });
}

/// The first poll of a body that is as long as that.
fn polls(press: &Rc<Press>, length: usize) -> usize {
    let mut body = encoded(press, Coding::Brotli, 8, Body::full(text(length)));
    let mut pauses = 0;
    run(poll_fn(|cx| {
        loop {
            match body.poll_frame(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(end) => return Poll::Ready(end.is_none()),
                Poll::Pending => {
                    pauses += 1;
                    return Poll::Pending;
                }
            }
        }
    }));
    pauses
}

#[test]
fn a_large_body_lets_others_have_their_turn() {
    let press = press();
    assert_eq!(polls(&press, 100), 0);
    assert!(polls(&press, 4 << 20) > 20);
}

#[test]
fn a_bomb_takes_no_memory_and_ends_at_the_limit() {
    let press = press();
    run(async {
        for coding in Coding::ALL {
            let zeros = (0..1000).map(|_| Some(vec![0; 100_000]));
            let (bomb, _) = read(encoded(&press, coding, 8, pieces(zeros))).await;
            assert!(bomb.len() < 200_000, "{coding:?}: {}", bomb.len());
            let limits = Limits { decoded_size: 10_000_000, ..Limits::default() };
            let mut body = press.decoded(&limits, coding, Body::full(bomb)).unwrap();
            let mut came = 0;
            let error = loop {
                match body.frame().await {
                    Some(Ok(Frame::Data(data))) => {
                        assert!(data.len() <= 128 << 10, "{coding:?}: {} at once", data.len());
                        came += data.len();
                    }
                    Some(Err(error)) => break error,
                    other => panic!("{coding:?}: {other:?}"),
                }
            };
            assert_eq!(error.kind, Kind::DecodedTooLarge);
            assert!((9_000_000..=10_000_000).contains(&came), "{coding:?}: {came}");
        }
    });
}

#[test]
fn gzip_may_have_members_and_deflate_no_frame() {
    let press = press();
    run(async {
        let (one, _) = read(encoded(&press, Coding::Gzip, 5, Body::full("one "))).await;
        let (two, _) = read(encoded(&press, Coding::Gzip, 5, Body::full("two"))).await;
        for rest in [&b""[..], b"\0\0\0\0", b"\x1f", b"garbage"] {
            let both = [&one, &two, rest].concat();
            for part in [1, 7, both.len()] {
                let parts = both.chunks(part).map(|part| Some(part.to_vec()));
                let (plain, end) = read(decoded(&press, Coding::Gzip, pieces(parts))).await;
                assert_eq!((&plain[..], end.is_ok()), (&b"one two"[..], true), "{rest:?} by {part}");
            }
        }
        let mut raw = Vec::new();
        flate2::read::DeflateEncoder::new(&b"no frame"[..], flate2::Compression::new(5)).read_to_end(&mut raw).unwrap();
        for part in [1, raw.len()] {
            let parts = raw.chunks(part).map(|part| Some(part.to_vec()));
            let (plain, end) = read(decoded(&press, Coding::Deflate, pieces(parts))).await;
            assert_eq!((&plain[..], end.is_ok()), (&b"no frame"[..], true), "by {part}");
        }
    });
}

/// RFC 9659: content that needs more to look back on is refused.
#[test]
fn a_window_that_is_too_large_is_refused() {
    // The magic number, no single segment, a window of 16 MiB, then a block.
    let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 14 << 3][..], &[0x01, 0x00, 0x00]].concat();
    run(async { assert!(read(decoded(&press(), Coding::Zstd, Body::full(frame))).await.1.is_err()) });
    let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3][..], &[0x01, 0x00, 0x00]].concat();
    run(async { assert!(read(decoded(&press(), Coding::Zstd, Body::full(frame))).await.1.is_ok()) });
}

#[test]
fn without_memory_a_body_stays_as_it_is() {
    let press = press();
    let memory = Encoder::memory(Coding::Zstd, 3);
    let limits = Limits { compression_memory: 2 * memory, ..Limits::default() };
    let body = || pieces([Some(text(5000))]);
    let one = press.encoded(&limits, (Coding::Zstd, 3), false, body()).unwrap();
    let mut two = press.encoded(&limits, (Coding::Zstd, 3), false, body()).unwrap();
    let Err(plain) = press.encoded(&limits, (Coding::Zstd, 3), false, body()) else { panic!("no bound") };
    run(async {
        assert_eq!(read(plain).await.0, text(5000));
        // Once all is made, what waits for its client takes none.
        while !two.is_end() {
            two.frame().await;
        }
        assert!(press.encoded(&limits, (Coding::Zstd, 3), false, body()).is_ok());
    });
    drop(one);
    assert!(press.decoded(&limits, Coding::Gzip, body()).is_some());
    assert!(press.decoded(&limits, Coding::Brotli, body()).is_none());
}

/// The bound of a worker's memory is a sum of these.
#[test]
fn zstd_takes_no_more_than_it_is_reckoned_with() {
    for level in 1..=12u8 {
        for length in [None, Some(50_000), Some(100_000_000)] {
            let mut context = zstd_safe::CCtx::create();
            super::codec::prepare(&mut context, level, length);
            let (input, mut output) = (text(600_000), vec![0; 700_000]);
            let mut from =
                zstd_safe::InBuffer::around(&input[..length.map_or(600_000, |length| length.min(600_000) as usize)]);
            let mut to = zstd_safe::OutBuffer::around(&mut output[..]);
            let more = zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_continue;
            context.compress_stream2(&mut to, &mut from, more).unwrap();
            let taken = context.sizeof() as u64;
            let reckoned = Encoder::memory(Coding::Zstd, level);
            assert!(taken <= reckoned, "{level} {length:?}: {taken} of {reckoned}");
        }
    }
}
