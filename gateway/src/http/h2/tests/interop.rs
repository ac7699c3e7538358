//! Against an independent implementation, and our two ends against each other.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{get, pair, run, serve, served};
use crate::error::{Kind, Retry};
use crate::http::body::{Body, Frame};
use crate::http::fields::name;
use crate::http::h2::client::{self, Handle};
use crate::http::h2::server::Connection;
use crate::http::h2::{Code, Event, Tunnel};
use crate::http::head::{RequestHead, ResponseHead, Scheme, StatusCode};
use crate::http::{Fields, Method, Stream};
use crate::limits::Limits;

const SIZES: [usize; 5] = [0, 1, 4096, 100_000, 5_000_000];

pub(super) fn pattern(size: usize) -> Bytes {
    (0..size).map(|at| (at * 7 + at / 256) as u8).collect()
}

/// Our client, connected to whatever takes the other end.
async fn connect(server: impl AsyncFnOnce(tokio::net::TcpStream)) -> Handle {
    let (ours, theirs) = pair().await;
    server(theirs).await;
    let (handle, driver) = client::start(Stream::cleartext(ours), BytesMut::new(), &Limits::default());
    tokio::task::spawn_local(driver);
    handle
}

async fn ours() -> Handle {
    connect(async |tcp| {
        let connection = Connection::new(Stream::cleartext(tcp), BytesMut::new(), Scheme::Http, &Limits::default());
        tokio::task::spawn_local(serve(connection));
    })
    .await
}

async fn collect(mut body: Body) -> (Vec<u8>, Option<Fields>) {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame.unwrap() {
            Frame::Data(bytes) => all.extend_from_slice(&bytes),
            Frame::Trailers(trailers) => return (all, Some(*trailers)),
        }
    }
    (all, None)
}

async fn response(reply: &mut crate::http::h2::Reply) -> (ResponseHead, Body) {
    loop {
        if let Event::Response(head, body) = reply.event().await.unwrap() {
            return (head, body);
        }
    }
}

/// Sends `bytes` to `/echo` and takes them back, with trailers.
pub(super) async fn echo(handle: &Handle, bytes: Bytes) {
    let head = RequestHead { method: Method::POST, ..get("/echo") };
    handle.ready().await.unwrap();
    let mut stream = handle.send(&head, false).unwrap();
    let sender = async {
        for chunk in bytes.chunks(50_000) {
            stream.body.ready().await.unwrap();
            stream.body.send_data(Bytes::copy_from_slice(chunk), false);
        }
        let mut trailers = Fields::new();
        trailers.append("x-trailer", b"yes").unwrap();
        stream.body.send_trailers(&trailers);
        stream.body.flushed().await.unwrap();
    };
    let receiver = async {
        let (head, body) = response(&mut stream.reply).await;
        assert_eq!(head.status, 200);
        collect(body).await
    };
    let ((), (all, trailers)) = tokio::join!(sender, receiver);
    assert!(all == bytes, "{} of {} bytes", all.len(), bytes.len());
    assert_eq!(trailers.unwrap().text("x-trailer"), Some("yes"));
}

#[test]
fn our_ends_exchange_bodies_of_all_sizes() {
    run(async {
        let handle = ours().await;
        for size in SIZES {
            echo(&handle, pattern(size)).await;
            let mut stream = handle.send(&get(&format!("/size/{size}")), true).unwrap();
            let (head, body) = response(&mut stream.reply).await;
            assert_eq!(head.fields.text(name::CONTENT_LENGTH), Some(size.to_string().as_str()));
            assert_eq!(body.length(), Some(size as u64));
            assert_eq!(collect(body).await.0.len(), size);
        }
        assert_eq!(handle.open_streams(), 0);
    });
}

#[test]
fn many_streams_run_at_the_same_time() {
    run(async {
        let handle = ours().await;
        let tasks: Vec<_> = (0..500)
            .map(|number| {
                let handle = handle.clone();
                tokio::task::spawn_local(async move { echo(&handle, pattern(number * 300)).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn interim_responses_come_first() {
    run(async {
        let handle = ours().await;
        let mut stream = handle.send(&get("/early"), true).unwrap();
        assert!(matches!(stream.reply.event().await, Ok(Event::Informational(head)) if head.status == 103));
        assert!(matches!(stream.reply.event().await, Ok(Event::Response(head, Body::Empty)) if head.status == 200));
    });
}

#[test]
fn a_response_that_is_cut_short_is_an_error() {
    run(async {
        let handle = ours().await;
        let mut stream = handle.send(&get("/cut"), true).unwrap();
        let error = match stream.reply.event().await {
            Ok(Event::Response(_, mut body)) => loop {
                match body.frame().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break error,
                    None => panic!("looks complete"),
                }
            },
            other => other.map(|_| ()).unwrap_err(),
        };
        assert_eq!(error.kind, Kind::Reset(2));
    });
}

#[test]
fn a_request_that_is_given_up_is_reset() {
    run(async {
        let handle = ours().await;
        let stream = handle.send(&get("/hold"), true).unwrap();
        drop(stream);
        assert_eq!(handle.open_streams(), 0);
        // The server's handler ends as well, so that all streams are free again.
        echo(&handle, pattern(10)).await;
    });
}

#[test]
fn a_server_that_leaves_says_what_may_be_sent_again() {
    run(async {
        let handle = ours().await;
        let mut held = handle.send(&get("/echo-later"), false).unwrap();
        let mut last = handle.send(&get("/shutdown"), true).unwrap();
        response(&mut last.reply).await;
        let refused = async {
            while handle.is_usable() {
                tokio::task::yield_now().await;
            }
            handle.send(&get("/"), true).map(|_| ()).unwrap_err()
        };
        assert_eq!(refused.await.retry, Retry::Safe);
        held.body.send_data(Bytes::from_static(b"end"), true);
        assert_eq!(collect(response(&mut held.reply).await.1).await.0, b"hello");
    });
}

#[test]
fn a_connection_that_breaks_fails_what_runs() {
    run(async {
        let (ours, theirs) = pair().await;
        let (handle, driver) = client::start(Stream::cleartext(ours), BytesMut::new(), &Limits::default());
        tokio::task::spawn_local(driver);
        let mut stream = handle.send(&get("/"), true).unwrap();
        drop(theirs);
        let error = stream.reply.event().await.unwrap_err();
        assert_eq!((error.side, error.retry), (crate::error::Side::Upstream, Retry::Idempotent));
        assert!(!handle.is_usable());
    });
}

#[test]
fn a_tunnel_carries_bytes_both_ways_and_ends_by_halves() {
    run(async {
        let (near, far) = pair().await;
        tokio::task::spawn_local(async move {
            let mut connection =
                Connection::new(Stream::cleartext(far), BytesMut::new(), Scheme::Http, &Limits::default());
            while let Some(incoming) = connection.accept().await {
                assert_eq!(incoming.head.upgrade.as_deref(), Some("websocket"));
                tokio::task::spawn_local(async move {
                    let send = incoming.responder.send_head(&ResponseHead::new(StatusCode::OK), false);
                    let mut tunnel = Tunnel::new(incoming.body, send);
                    let mut all = Vec::new();
                    tunnel.read_to_end(&mut all).await.unwrap();
                    tunnel.write_all(&all).await.unwrap();
                    tunnel.shutdown().await.unwrap();
                });
            }
        });
        let (handle, driver) = client::start(Stream::cleartext(near), BytesMut::new(), &Limits::default());
        tokio::task::spawn_local(driver);
        handle.settled().await.unwrap();
        assert!(handle.extended_connect());
        let upgrade = Some("websocket".to_owned());
        let head = RequestHead { method: Method::CONNECT, upgrade, ..get("/chat") };
        let client::ClientStream { body, mut reply } = handle.send(&head, false).unwrap();
        let (head, incoming) = response(&mut reply).await;
        assert_eq!(head.status, 200);
        let mut tunnel = Tunnel::new(incoming, body);
        let bytes = pattern(200_000);
        tunnel.write_all(&bytes).await.unwrap();
        tunnel.shutdown().await.unwrap();
        let mut all = Vec::new();
        tunnel.read_to_end(&mut all).await.unwrap();
        assert!(all == bytes);
    });
}

#[test]
fn the_connection_closes_with_its_last_handle() {
    run(async {
        let (ours, theirs) = pair().await;
        let (handle, driver) = client::start(Stream::cleartext(ours), BytesMut::new(), &Limits::default());
        let connection = Connection::new(Stream::cleartext(theirs), BytesMut::new(), Scheme::Http, &Limits::default());
        tokio::task::spawn_local(serve(connection));
        let driver = tokio::task::spawn_local(driver);
        echo(&handle, pattern(3)).await;
        drop(handle);
        driver.await.unwrap();
    });
}

async fn their_client(tcp: tokio::net::TcpStream) -> h2::client::SendRequest<Bytes> {
    let (send, connection) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 20)
        .handshake::<_, Bytes>(tcp)
        .await
        .unwrap();
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    send
}

async fn their_echo(send: h2::client::SendRequest<Bytes>, bytes: Bytes) {
    let mut send = send.ready().await.unwrap();
    let request = http::Request::post("http://localhost/echo").body(()).unwrap();
    let (response, mut body) = send.send_request(request, false).unwrap();
    let sender = async {
        let mut left = bytes.clone();
        while !left.is_empty() {
            body.reserve_capacity(left.len().min(60_000));
            let room = std::future::poll_fn(|cx| body.poll_capacity(cx)).await.unwrap().unwrap();
            body.send_data(left.split_to(room.min(left.len())), false).unwrap();
        }
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-trailer", "yes".parse().unwrap());
        body.send_trailers(trailers).unwrap();
    };
    let receiver = async {
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        let mut all = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.unwrap();
            body.flow_control().release_capacity(chunk.len()).unwrap();
            all.extend_from_slice(&chunk);
        }
        (all, body.trailers().await.unwrap())
    };
    let ((), (all, trailers)) = tokio::join!(sender, receiver);
    assert!(all == bytes, "{} of {} bytes", all.len(), bytes.len());
    assert_eq!(trailers.unwrap()["x-trailer"], "yes");
}

#[test]
fn their_client_and_our_server_exchange_bodies_of_all_sizes() {
    run(async {
        let send = their_client(served(&Limits::default()).await).await;
        for size in SIZES {
            their_echo(send.clone(), pattern(size)).await;
        }
        let tasks: Vec<_> =
            (0..300).map(|n| tokio::task::spawn_local(their_echo(send.clone(), pattern(n * 100)))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// An echo server of the other implementation.
async fn theirs(tcp: tokio::net::TcpStream) {
    tokio::task::spawn_local(async move {
        let mut connection =
            h2::server::Builder::new().max_concurrent_streams(50).handshake::<_, Bytes>(tcp).await.unwrap();
        while let Some(request) = connection.accept().await {
            let Ok((request, mut respond)) = request else { break };
            tokio::task::spawn_local(async move {
                let mut body = request.into_body();
                let mut send = respond.send_response(http::Response::new(()), false).unwrap();
                while let Some(chunk) = body.data().await {
                    let mut chunk = chunk.unwrap();
                    body.flow_control().release_capacity(chunk.len()).unwrap();
                    while !chunk.is_empty() {
                        send.reserve_capacity(chunk.len());
                        let room = std::future::poll_fn(|cx| send.poll_capacity(cx)).await.unwrap().unwrap();
                        send.send_data(chunk.split_to(room.min(chunk.len())), false).unwrap();
                    }
                }
                match body.trailers().await.unwrap() {
                    Some(trailers) => send.send_trailers(trailers).unwrap(),
                    None => send.send_data(Bytes::new(), true).unwrap(),
                }
            });
        }
    });
}

#[test]
fn our_client_and_their_server_exchange_bodies_of_all_sizes() {
    run(async {
        let handle = connect(theirs).await;
        for size in SIZES {
            echo(&handle, pattern(size)).await;
        }
        let tasks: Vec<_> = (0..300)
            .map(|n| {
                let handle = handle.clone();
                tokio::task::spawn_local(async move { echo(&handle, pattern(n * 100)).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(handle.max_streams(), 50);
    });
}

#[test]
fn a_reader_that_stops_holds_the_sender_back() {
    run(async {
        let handle = ours().await;
        let mut stream = handle.send(&get("/size/5000000"), true).unwrap();
        let (_, mut body) = response(&mut stream.reply).await;
        // As much as the windows allow arrives, and no more; other streams go on meanwhile.
        for _ in 0..20 {
            echo(&handle, pattern(10_000)).await;
        }
        let here = match &body {
            Body::Source(_) => body.frame().await.unwrap().unwrap(),
            other => panic!("{other:?}"),
        };
        assert!(matches!(here, Frame::Data(_)));
        let (rest, _) = collect(body).await;
        assert!(rest.len() > 4_000_000);
    });
}

#[test]
fn a_reset_by_the_client_reaches_the_handler() {
    run(async {
        let (near, far) = pair().await;
        let seen = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&seen);
        let server = tokio::task::spawn_local(async move {
            let mut connection =
                Connection::new(Stream::cleartext(far), BytesMut::new(), Scheme::Http, &Limits::default());
            let mut incoming = connection.accept().await.unwrap();
            tokio::select! {
                error = incoming.responder.gone() => *slot.borrow_mut() = Some(error),
                _ = connection.accept() => panic!("the connection ended"),
            }
        });
        let (handle, driver) = client::start(Stream::cleartext(near), BytesMut::new(), &Limits::default());
        tokio::task::spawn_local(driver);
        let stream = handle.send(&get("/"), true).unwrap();
        stream.body.reset(Code::CANCEL);
        server.await.unwrap();
        assert_eq!(seen.borrow().unwrap().kind, Kind::Reset(8));
    });
}
