//! Questions in JSON to a server, and answers that may go on for as long as the connection does.
//!
//! In: a server, a path, JSON. Out: the answer, whole or line by line. Over the gateway's own HTTP/1.1, one connection for each
//! question. Limits: [`ANSWER`] for the time, [`SIZE`] for an answer or a line of it.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::dial::dial;
use crate::config::model::RegistryServer;
use crate::http::h1::client::{Connection, Event, Park};
use crate::http::{Body, Fields, Frame, Method, RequestHead, Scheme, Stream, Version, name};
use crate::limits::Limits;
use crate::tls::UpstreamTls;

/// Until an answer begins, or one that is short is there.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// The largest answer, and the largest line of one.
const SIZE: usize = 64 << 20;

/// What is asked, and of whom.
pub(super) struct Question<'a> {
    pub(super) server: &'a RegistryServer,
    pub(super) tls: Option<&'a UpstreamTls>,
    pub(super) path: &'a str,
    pub(super) fields: &'a [(&'a str, &'a str)],
    pub(super) body: &'a serde_json::Value,
}

/// An answer that has begun.
pub(super) struct Answer {
    pub(super) status: u16,
    body: Body,
    /// Of the line that has begun.
    line: Vec<u8>,
    /// How much of that is known to hold no end.
    searched: usize,
}

/// Connections are not kept.
struct Nowhere;

impl Park for Nowhere {
    fn park(&self, _: Box<Connection>) {}
}

/// Asks.
pub(super) async fn ask(question: &Question<'_>) -> Result<Answer, String> {
    let server = &question.server.address;
    let stream = dial(question.server, question.tls).await.map_err(|why| format!("{server}: {why}"))?;
    let asking = tokio::time::timeout(ANSWER, send(question, stream)).await;
    asking.unwrap_or_else(|_| Err("no answer in time".to_owned())).map_err(|why| format!("{server}: {why}"))
}

async fn send(question: &Question<'_>, stream: Stream) -> Result<Answer, String> {
    let head = head(question).ok_or("it cannot be asked for")?;
    let connection = Box::new(Connection::new(stream));
    let body = question.body.to_string();
    let limit = body.len() as u64;
    let mut exchange = connection.send(&head, Body::full(body), limit, Arc::new(Limits::default()));
    let parsed = loop {
        match poll_fn(|cx| exchange.poll_event(cx)).await.map_err(|error| error.to_string())? {
            Event::Interim(_) => {}
            Event::Response(parsed) => break parsed,
        }
    };
    let body = exchange.into_body(parsed.framing, false, Rc::new(Nowhere));
    Ok(Answer { status: parsed.head.status.as_u16(), body, line: Vec::new(), searched: 0 })
}

/// `None`: something of it cannot stand in a request.
fn head(question: &Question<'_>) -> Option<RequestHead> {
    let mut fields = Fields::new();
    fields.append(name::CONTENT_TYPE, b"application/json").ok()?;
    for (name, value) in question.fields {
        fields.append(*name, value.as_bytes()).ok()?;
    }
    Some(RequestHead {
        method: Method::POST,
        version: Version::Http11,
        scheme: if question.server.tls { Scheme::Https } else { Scheme::Http },
        authority: question.server.address.clone(),
        target: question.path.to_owned(),
        upgrade: None,
        fields,
    })
}

impl Answer {
    /// All of it.
    pub(super) async fn whole(mut self) -> Result<Vec<u8>, String> {
        let mut all = Vec::new();
        while let Some(frame) = self.body.frame().await {
            let Frame::Data(data) = frame.map_err(|error| error.to_string())? else { continue };
            if all.len() + data.len() > SIZE {
                return Err(too_long());
            }
            all.extend_from_slice(&data);
        }
        Ok(all)
    }

    /// The next line; `None` at the end.
    pub(super) async fn line(&mut self) -> Result<Option<Vec<u8>>, String> {
        loop {
            let new = self.line.get(self.searched..).unwrap_or_default();
            if let Some(end) = memchr::memchr(b'\n', new) {
                let rest = self.line.split_off(self.searched + end + 1);
                self.searched = 0;
                return Ok(Some(std::mem::replace(&mut self.line, rest)));
            }
            self.searched = self.line.len();
            match self.body.frame().await {
                Some(Ok(Frame::Data(data))) if self.line.len() + data.len() > SIZE => return Err(too_long()),
                Some(Ok(Frame::Data(data))) => self.line.extend_from_slice(&data),
                Some(Ok(Frame::Trailers(_))) => {}
                Some(Err(error)) => return Err(error.to_string()),
                None => return Ok(None),
            }
        }
    }
}

fn too_long() -> String {
    format!("it answers with more than {} MiB", SIZE >> 20)
}
