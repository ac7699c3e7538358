//! Bodies that are on their way while something happens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::sync::mpsc;

use super::{Sides, over_everything, over_http2};
use crate::harness::{Body, collect, empty, full, stream, with_trailers, within};

over_everything! {
    events_arrive_one_by_one
    an_upload_arrives_piece_by_piece
    many_requests_at_once_keep_apart
    a_slow_reader_holds_back_the_origin
    a_slow_origin_holds_back_the_client
    an_answer_comes_before_the_upload_is_over
    a_response_cut_short_is_never_complete
    a_response_shorter_than_its_length_is_never_complete
    a_request_cut_short_is_never_complete
}

over_http2! {
    a_grpc_call_is_answered
    a_grpc_error_without_a_message_arrives
    grpc_messages_stream_both_ways
}

/// An answer that gives this body to the first request.
fn once(body: Body) -> impl Fn(Request<Incoming>) -> std::future::Ready<Response<Body>> + Clone + Send {
    let body = Arc::new(Mutex::new(Some(body)));
    move |_| {
        let body = body.lock().unwrap().take().expect("one request");
        std::future::ready(Response::new(body))
    }
}

/// The next piece of a body, as text.
async fn piece(body: &mut Incoming) -> String {
    let frame = within("a piece of the body", body.frame()).await.expect("more").expect("no error");
    String::from_utf8(frame.into_data().expect("data").to_vec()).expect("text")
}

/// Nothing more comes; an empty frame may say so.
async fn ends(body: &mut Incoming) {
    while let Some(frame) = within("the end", body.frame()).await {
        assert_eq!(frame.expect("no error").into_data().expect("no trailers"), "");
    }
}

async fn events_arrive_one_by_one(sides: Sides) {
    let (feed, body) = stream();
    let mut client = sides.start(once(body)).await;
    let request = client.request("GET", "/").body(empty()).expect("a request");
    let mut response = client.send(request).await.expect("a head before the first event");
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        feed.data(event).await;
        assert_eq!(piece(response.body_mut()).await, event);
    }
    drop(feed);
    ends(response.body_mut()).await;
}

async fn an_upload_arrives_piece_by_piece(sides: Sides) {
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let answer = move |mut request: Request<Incoming>| {
        let arrived = arrived.clone();
        async move {
            while let Some(Ok(frame)) = request.body_mut().frame().await {
                arrived.send(frame.into_data().expect("data")).expect("a test");
            }
            Response::new(full("thanks"))
        }
    };
    let mut client = sides.start(answer).await;
    let (feed, body) = stream();
    let request = client.request("POST", "/").body(body).expect("a request");
    let sending = tokio::spawn(async move { client.exchange(request).await });
    for piece in ["one", "two", "three"] {
        feed.data(piece).await;
        assert_eq!(within("a piece", arrivals.recv()).await.as_deref(), Some(piece.as_bytes()));
    }
    drop(feed);
    let reply = within("the answer", sending).await.expect("no panic").expect("a response");
    assert_eq!(reply.text(), "thanks");
}

async fn many_requests_at_once_keep_apart(sides: Sides) {
    let answer = |request: Request<Incoming>| async {
        let (feed, body) = stream();
        tokio::spawn(async move {
            let mut asked = request.into_body();
            while let Some(Ok(frame)) = asked.frame().await {
                feed.data(frame.into_data().expect("data")).await;
            }
        });
        Response::new(body)
    };
    let client = sides.start(answer).await;
    let mut asking = Vec::new();
    for number in 0..20u8 {
        let mut client =
            if sides.client.is_h2() { client.another() } else { client.gateway.client(sides.client).await };
        asking.push(tokio::spawn(async move {
            let body = vec![number; 50_000 + usize::from(number)];
            let reply = client.call("POST", "/", full(body.clone())).await;
            assert!(reply.body == body, "{} other bytes came back", reply.body.len());
        }));
    }
    for one in asking {
        within("an echo", one).await.expect("the bytes that were sent");
    }
}

/// How much is sent where somebody does not read.
const MUCH: u64 = 48 << 20;
/// How much of it may be on the way: the system's socket buffers, which are large on a loopback, and the gateway's.
const ON_THE_WAY: u64 = 32 << 20;

/// Sends as much as somebody takes; counts what was taken.
fn flood() -> (Arc<AtomicU64>, Body) {
    let (feed, body) = stream();
    let taken = Arc::new(AtomicU64::new(0));
    let counter = taken.clone();
    tokio::spawn(async move {
        let block = Bytes::from(vec![b'x'; 64 << 10]);
        while counter.load(Ordering::Relaxed) < MUCH && feed.data(block.clone()).await {
            counter.fetch_add(block.len() as u64, Ordering::Relaxed);
        }
    });
    (taken, body)
}

/// Waits until no more is taken. Were this too early, the assertion after it would only be weaker.
async fn stalled(taken: &AtomicU64) -> u64 {
    let waiting = async {
        loop {
            let before = taken.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(100)).await;
            if before > 0 && before == taken.load(Ordering::Relaxed) {
                return before;
            }
        }
    };
    within("the sender to be held back", waiting).await
}

async fn a_slow_reader_holds_back_the_origin(sides: Sides) {
    let (taken, body) = flood();
    let mut client = sides.start(once(body)).await;
    let request = client.request("GET", "/").body(empty()).expect("a request");
    let response = client.send(request).await.expect("a response");
    let held = stalled(&taken).await;
    assert!(held < ON_THE_WAY, "{held} bytes were taken from the origin");
    let reply = collect(response).await.expect("the rest");
    assert_eq!(reply.body.len() as u64, MUCH);
}

async fn a_slow_origin_holds_back_the_client(sides: Sides) {
    let (read, reading) = tokio::sync::watch::channel(false);
    let answer = move |request: Request<Incoming>| {
        let mut reading = reading.clone();
        async move {
            reading.wait_for(|read| *read).await.expect("a test");
            let reply = collect(Response::new(request.into_body())).await.expect("a whole request");
            Response::new(full(reply.body.len().to_string()))
        }
    };
    let mut client = sides.start(answer).await;
    let (taken, body) = flood();
    let request = client.request("POST", "/").body(body).expect("a request");
    let sending = tokio::spawn(async move { client.exchange(request).await });
    let held = stalled(&taken).await;
    assert!(held < ON_THE_WAY, "{held} bytes were taken from the client");
    read.send(true).expect("an origin");
    let reply = within("the answer", sending).await.expect("no panic").expect("a response");
    assert_eq!(reply.text(), MUCH.to_string());
}

async fn an_answer_comes_before_the_upload_is_over(sides: Sides) {
    let answer = |_| async { Response::builder().status(403).body(full("no")).expect("a response") };
    let mut client = sides.start(answer).await;
    let (feed, body) = stream();
    let request = client.request("POST", "/").body(body).expect("a request");
    feed.data("a beginning").await;
    let reply = client.exchange(request).await.expect("a response");
    assert_eq!((reply.status.as_u16(), reply.text()), (403, "no"));
    drop(feed);
}

async fn a_response_cut_short_is_never_complete(sides: Sides) {
    let (feed, body) = stream();
    let mut client = sides.start(once(body)).await;
    let request = client.request("GET", "/").body(empty()).expect("a request");
    let mut response = client.send(request).await.expect("a head");
    feed.data("part").await;
    assert_eq!(piece(response.body_mut()).await, "part");
    feed.cut().await;
    let end = collect(response).await;
    assert!(end.is_err(), "a broken response looked whole: {end:?}");
}

async fn a_response_shorter_than_its_length_is_never_complete(sides: Sides) {
    let (feed, body) = stream();
    let body = Arc::new(Mutex::new(Some(body)));
    let answer = move |_| {
        let body = body.lock().unwrap().take().expect("one request");
        let response = Response::builder().header("content-length", "100").body(body).expect("a response");
        std::future::ready(response)
    };
    let mut client = sides.start(answer).await;
    let request = client.request("GET", "/").body(empty()).expect("a request");
    let mut response = client.send(request).await.expect("a head");
    feed.data("part").await;
    assert_eq!(piece(response.body_mut()).await, "part");
    feed.cut().await;
    let end = collect(response).await;
    assert!(end.is_err(), "a broken response looked whole: {end:?}");
}

async fn a_request_cut_short_is_never_complete(sides: Sides) {
    let (ended, mut ends) = mpsc::unbounded_channel();
    let answer = move |request: Request<Incoming>| {
        let ended = ended.clone();
        async move {
            let is_whole = request.into_body().collect().await.is_ok();
            ended.send(is_whole).expect("a test");
            Response::new(empty())
        }
    };
    let mut client = sides.start(answer).await;
    let (feed, body) = stream();
    let request = client.request("POST", "/").body(body).expect("a request");
    let sending = tokio::spawn(async move { client.exchange(request).await });
    feed.data("part").await;
    feed.cut().await;
    let outcome = within("an end", sending).await.expect("no panic");
    assert!(!outcome.is_ok_and(|reply| reply.status.is_success()), "a broken request was answered");
    // The gateway may have seen the end before it sent anything on.
    if let Ok(Some(is_whole)) = tokio::time::timeout(Duration::from_millis(50), ends.recv()).await {
        assert!(!is_whole, "a broken request looked whole");
    }
}

/// A message of gRPC: not compressed, its length, its bytes.
fn message(text: &str) -> Bytes {
    let mut bytes = vec![0];
    bytes.extend((text.len() as u32).to_be_bytes());
    bytes.extend(text.as_bytes());
    bytes.into()
}

fn grpc(client: &crate::harness::Client, body: Body) -> Request<Body> {
    let request = client.request("POST", "/test.Service/Call").header("content-type", "application/grpc");
    request.header("te", "trailers").body(body).expect("a request")
}

async fn a_grpc_call_is_answered(sides: Sides) {
    let answer = |request: Request<Incoming>| async {
        assert_eq!(request.headers()["te"], "trailers");
        let body = request.into_body().collect().await.expect("a whole request").to_bytes();
        assert_eq!(body, message("question"));
        let body = with_trailers(message("answer"), &[("grpc-status", "0"), ("grpc-message", "fine")]);
        Response::builder().header("content-type", "application/grpc").body(body).expect("a response")
    };
    let mut client = sides.start(answer).await;
    let request = grpc(&client, full(message("question")));
    let reply = client.exchange(request).await.expect("a response");
    assert_eq!(reply.header("content-type"), Some("application/grpc"));
    assert_eq!(reply.body, message("answer"));
    assert_eq!((reply.trailer("grpc-status"), reply.trailer("grpc-message")), (Some("0"), Some("fine")));
}

async fn a_grpc_error_without_a_message_arrives(sides: Sides) {
    let answer = |_| async { Response::builder().header("grpc-status", "5").body(empty()).expect("a response") };
    let mut client = sides.start(answer).await;
    let request = grpc(&client, full(message("question")));
    let reply = client.exchange(request).await.expect("a response");
    assert_eq!((reply.status.as_u16(), reply.header("grpc-status")), (200, Some("5")));
}

async fn grpc_messages_stream_both_ways(sides: Sides) {
    let answer = |request: Request<Incoming>| async {
        let mut asked = request.into_body();
        let (feed, body) = stream();
        tokio::spawn(async move {
            while let Some(Ok(frame)) = asked.frame().await {
                feed.data(frame.into_data().expect("data")).await;
            }
        });
        Response::new(body)
    };
    let mut client = sides.start(answer).await;
    let (feed, body) = stream();
    let request = grpc(&client, body);
    let mut response = client.send(request).await.expect("a head before the first message");
    for text in ["one", "two", "three"] {
        feed.data(message(text)).await;
        assert_eq!(piece(response.body_mut()).await.as_bytes(), message(text));
    }
    drop(feed);
    ends(response.body_mut()).await;
}
