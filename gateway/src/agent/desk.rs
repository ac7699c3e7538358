//! Answers `GET /health` and `GET /load`.
//!
//! In: what is measured, and how it goes. Out: 200 or 503 with a word; load in JSON, or as text for those who prefer that. One
//! request for each connection. Limits: [`PLACES`] connections, [`HEAD`] bytes, [`TIME`].

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::load::Load;

/// Connections at a time.
const PLACES: usize = 64;
/// Of a request, whose body nobody reads.
const HEAD: usize = 8192;
/// For one request and its answer.
const TIME: Duration = Duration::from_secs(5);

/// What is known, for those who ask.
#[derive(Default)]
pub(super) struct Desk {
    state: RefCell<&'static str>,
    load: Cell<Load>,
    used: Cell<Option<f64>>,
}

impl Desk {
    /// How it goes: "ok", or why not.
    pub(super) fn state(&self, state: &'static str) {
        let before = self.state.replace(state);
        if before != state && !before.is_empty() {
            tracing::info!(state, before, "the backend's state has changed");
        }
    }

    /// What was measured last, and the share that it is of what is too much.
    pub(super) fn load(&self, load: Load, used: Option<f64>) {
        self.load.set(load);
        self.used.set(used);
    }

    /// Answers for ever.
    pub(super) async fn serve(self: Rc<Desk>, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(PLACES));
        loop {
            let place = places.clone().acquire_owned().await;
            let Ok((tcp, _)) = listener.accept().await else {
                // Out of descriptors: others have to end first.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let desk = self.clone();
            tokio::task::spawn_local(async move {
                let _place = place;
                // That whoever asked has gone is no matter.
                let _ = tokio::time::timeout(TIME, desk.answer(tcp)).await;
            });
        }
    }

    async fn answer(&self, mut tcp: TcpStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        while memchr::memmem::find(&head, b"\r\n\r\n").is_none() && head.len() < HEAD {
            if tcp.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let answer = self.say(&head);
        tcp.write_all(answer.as_bytes()).await?;
        tcp.shutdown().await
    }

    fn say(&self, head: &[u8]) -> String {
        let head = String::from_utf8_lossy(head);
        let mut words = head.split_ascii_whitespace();
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (load, used) = (self.load.get(), self.used.get());
        let state = *self.state.borrow();
        let as_text = head.lines().skip(1).any(|line| {
            let field = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("accept"));
            field.is_some_and(|(_, value)| value.trim_start().to_ascii_lowercase().starts_with("text/plain"))
        });
        let (status, kind, body) = match (method, target.split('?').next().unwrap_or_default()) {
            ("GET" | "HEAD", "/health") if state == "ok" => ("200 OK", "text/plain", "ok\n".to_owned()),
            ("GET" | "HEAD", "/health") => ("503 Service Unavailable", "text/plain", format!("{state}\n")),
            ("GET" | "HEAD", "/load") if as_text => ("200 OK", "text/plain", load.text(used)),
            ("GET" | "HEAD", "/load") => ("200 OK", "application/json", load.json(used)),
            ("GET" | "HEAD", _) => ("404 Not Found", "text/plain", "there are /health and /load\n".to_owned()),
            _ => ("405 Method Not Allowed", "text/plain", "there is GET\n".to_owned()),
        };
        let (length, metrics) = (body.len(), load.text(used));
        let body = if method == "HEAD" { "" } else { &body };
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nendpoint-load-metrics: {metrics}\r\n\
             connection: close\r\n\r\n{body}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_and_load_are_answered() {
        let desk = Desk::default();
        desk.state("starting");
        desk.load(Load { cpu: 0.5, ..Load::default() }, None);
        let says = |head: &str| desk.say(head.as_bytes());
        assert!(
            says("GET /health HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 503 ")
                && says("GET /health HTTP/1.1\r\n\r\n").ends_with("starting\n")
        );
        desk.state("ok");
        assert!(says("GET /health?x HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200 "));
        assert!(says("GET /load HTTP/1.1\r\n\r\n").contains("\r\n\r\n{\"cpu_utilization\":0.5"));
        assert!(says("GET /load HTTP/1.1\r\nAccept: text/plain\r\n\r\n").contains("\r\n\r\nTEXT cpu_utilization=0.5,"));
        assert!(says("HEAD /load HTTP/1.1\r\n\r\n").ends_with("\r\n\r\n"));
        assert!(says("POST /load HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
        assert!(says("GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(says("\u{0}").starts_with("HTTP/1.1 405 "));
    }
}
