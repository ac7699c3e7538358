//! The requests of one connection, one after the other or side by side.

use std::rc::Rc;

use super::exchange::{Client, Exchange, Facts};
use super::exchange;
use crate::clock::Watchdog;
use crate::error::Error;
use crate::http::h1::io::Io;
use crate::http::{Body, Control, Fields, Method, RequestHead, Responder, Version, h1};
use crate::worker::Worker;

/// Serves HTTP/1 until the connection ends; says why it did.
pub async fn serve_h1(worker: &Rc<Worker>, io: Io, client: Rc<Client>, control: &Rc<Control>) -> &'static str {
    let limits = worker.view().snapshot.limits.clone();
    let mut connection = h1::server::Connection::new(io, client.scheme, limits);
    let mut watchdog = Watchdog::default();
    loop {
        let (request, body, responder, refused) = match connection.next(control, &mut watchdog).await {
            None => return "idle",
            Some(Ok(received)) => (received.head, received.body, Responder::H1(received.responder), None),
            Some(Err((error, responder))) => {
                (unknown_request(&client), Body::Empty, Responder::H1(responder), Some(error))
            }
        };
        let x = Exchange {
            worker,
            view: worker.view(),
            client: &client,
            control,
            request,
            body,
            refused,
            responder,
            watchdog: &mut watchdog,
            deadline: None,
            facts: Facts::new(client.source.ip()),
        };
        // Boxed, so that a connection between requests does not keep the room of one.
        Box::pin(exchange(x)).await;
        if !connection.finish(&mut watchdog).await {
            return if refused.is_some() { "refused" } else { "closed" };
        }
    }
}

/// What a request is called whose head could not be read.
pub(super) fn unknown_request(client: &Client) -> RequestHead {
    RequestHead {
        method: Method::GET,
        version: Version::Http11,
        scheme: client.scheme,
        authority: String::new(),
        target: String::new(),
        upgrade: None,
        fields: Fields::new(),
    }
}

/// Whether nothing is known of the request but that it was refused.
pub fn is_unknown(request: &RequestHead, refused: Option<&Error>) -> bool {
    refused.is_some() && request.target.is_empty()
}
