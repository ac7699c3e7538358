//! Any frames at all, straight into a core: it must not fail hard, and what it keeps must be what it can account for.

use std::time::Instant;

use proptest::prelude::*;

use super::raw::block;
use crate::http::h2::core::Arrived;
use crate::http::h2::core::{Core, Phase};
use crate::http::h2::frame::FrameHeader;
use crate::http::h2::hpack::Encoder;
use crate::http::h2::settings::Role;
use crate::http::head::Scheme;
use crate::limits::Limits;

/// Something like a frame: kinds and ids that mean something are likely.
fn frames() -> impl Strategy<Value = Vec<(u8, u8, u32, Vec<u8>)>> {
    let request = block(&[(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")]);
    let response = block(&[(":status", "200"), ("content-length", "5")]);
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        Just(request),
        Just(response),
        (0u32..70_000).prop_map(|n| n.to_be_bytes().to_vec()),
        Just(vec![0; 16_384]),
    ];
    let flags = prop_oneof![Just(0u8), Just(1), Just(4), Just(5), any::<u8>()];
    prop::collection::vec((0u8..11, flags, 0u32..12, payload), 1..60)
}

fn play(role: Role, frames: Vec<(u8, u8, u32, Vec<u8>)>) {
    let limits = Limits { http2_streams: 4, ..Limits::default() };
    let mut core = Core::new(role, Scheme::Http, &limits, Instant::now());
    core.greeted = true;
    if role == Role::Client {
        for id in [1, 3, 5] {
            core.next_id = id + 2;
            let stream = crate::http::h2::stream::Stream::new(id, 65_535, 65_535);
            let key = core.insert(stream);
            core.send_head(key, false, true, |_: &mut Encoder, _| {});
        }
    }
    for (kind, flags, stream, payload) in frames {
        let header = FrameHeader { length: payload.len(), kind, flags, stream };
        if let Err(fault) = core.check(header).and_then(|()| core.receive(header, &payload, None)) {
            core.fault(fault);
        }
        if let Some((Arrived { key: Some(key), .. }, body)) = core.take_incoming() {
            core.send_head(key, false, false, |_, _| {});
            core.send_data(key, vec![b'x'; 30_000].into(), body);
        }
        core.pump();
        assert!(core.open.len() <= 4);
        assert!(core.open.iter().all(|&(id, key)| core.streams.get(key).is_some_and(|stream| stream.id == id)));
        assert!(core.open.is_sorted_by_key(|&(id, _)| id));
        if core.phase >= Phase::Closing {
            assert!(core.open.is_empty());
            break;
        }
    }
}

proptest! {
    #[test]
    fn no_frames_make_a_server_fail_hard(frames in frames()) {
        play(Role::Server, frames);
    }

    #[test]
    fn no_frames_make_a_client_fail_hard(frames in frames()) {
        play(Role::Client, frames);
    }
}
