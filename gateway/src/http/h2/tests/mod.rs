//! Connections over real sockets: raw frames against the server, our client against our server, and both against an
//! independent implementation.

mod conformance;
mod interop;
mod random;
mod raw;
mod tls;

use std::future::Future;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::net::{TcpListener, TcpStream};

use super::server::{Connection, Incoming};
use crate::http::body::{Body, Frame};
use crate::http::fields::name;
use crate::http::head::{RequestHead, ResponseHead, Scheme, StatusCode};
use crate::http::{Fields, Method, Stream, Version};
use crate::limits::Limits;

/// Runs a test on one thread, and ends it when it hangs.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    let limited = async { tokio::time::timeout(Duration::from_secs(60), test).await.expect("test hangs") };
    local.block_on(&runtime, limited);
}

/// Two ends of one connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    (client, server)
}

/// A client's end of a connection that our server serves.
async fn served(limits: &Limits) -> TcpStream {
    let (client, server) = pair().await;
    let connection = Connection::new(Stream::cleartext(server), BytesMut::new(), Scheme::Http, limits);
    tokio::task::spawn_local(serve(connection));
    client
}

async fn serve(mut connection: Connection) {
    while let Some(incoming) = connection.accept().await {
        if incoming.head.path() == "/shutdown" {
            connection.graceful_shutdown();
        }
        tokio::task::spawn_local(answer(incoming));
    }
}

fn get(target: &str) -> RequestHead {
    RequestHead {
        method: Method::GET,
        version: Version::Http2,
        scheme: Scheme::Http,
        authority: "localhost".to_owned(),
        target: target.to_owned(),
        upgrade: None,
        fields: Fields::new(),
    }
}

/// What the test server does, by path.
async fn answer(incoming: Incoming) {
    let Incoming { head, mut body, mut responder, refused, known: _ } = incoming;
    if let Some(error) = refused {
        if !responder.is_over() {
            responder.send_head(&ResponseHead::new(error.outcome().status.unwrap()), true);
        }
        return;
    }
    let mut response = ResponseHead::new(StatusCode::OK);
    response.fields.append(name::SERVER, b"test").unwrap();
    if let Some(size) = head.target.strip_prefix("/size/") {
        let mut left: usize = size.parse().unwrap();
        response.fields.append(name::CONTENT_LENGTH, size.as_bytes()).unwrap();
        let mut send = responder.send_head(&response, left == 0);
        while left > 0 {
            if send.ready().await.is_err() {
                return;
            }
            let chunk = left.min(20_000);
            left -= chunk;
            send.send_data(Bytes::from(vec![b'x'; chunk]), left == 0);
        }
        let _ = send.flushed().await;
        return;
    }
    match head.target.as_str() {
        "/hold" => {
            responder.gone().await;
        }
        "/drop" => {}
        "/cut" => {
            let mut send = responder.send_head(&response, false);
            send.send_data(Bytes::from_static(b"half"), false);
        }
        "/early" => {
            response.status = StatusCode::EARLY_HINTS;
            responder.inform(&response);
            response.status = StatusCode::OK;
            responder.send_head(&response, true);
        }
        "/no-body" => {
            drop(body);
            responder.send_head(&response, true);
        }
        "/echo" => echo(&response, body, responder).await,
        _ => {
            // Answers once the whole request is here.
            while let Some(frame) = body.frame().await {
                if frame.is_err() {
                    return;
                }
            }
            responder.send_head(&response, false).send_data(Bytes::from_static(b"hello"), true);
        }
    }
}

async fn echo(response: &ResponseHead, mut body: Body, responder: super::Responder) {
    let end = body.is_end();
    let mut send = responder.send_head(response, end);
    if end {
        return;
    }
    loop {
        if send.ready().await.is_err() {
            return;
        }
        match body.frame().await {
            Some(Ok(Frame::Data(bytes))) => send.send_data(bytes, false),
            Some(Ok(Frame::Trailers(trailers))) => return send.send_trailers(&trailers),
            Some(Err(_)) => return,
            None => return send.send_data(Bytes::new(), true),
        }
    }
}
