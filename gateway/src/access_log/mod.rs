//! One line for each request, written off the request path.
//!
//! In: a [`Record`] of facts when a request is over. Out: lines in a file or on standard output. A worker formats into
//! a buffer of its own ([`Writer`]) and hands whole batches to the one thread behind a [`Sink`]; nothing here makes a worker
//! wait. Invariant: a record becomes exactly one line or one count of a dropped line. Limits: a line of 16 KiB (fields
//! are cut, with a mark), a batch of 16 KiB and the line that goes beyond it, `access_log_queue_size` of batches.

mod format;
mod sink;
mod stamp;

use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use crate::config::model::AccessLogFormat;
use crate::http::{Method, Scheme, StatusCode, Version};
use crate::metrics;
pub use sink::Sink;
use stamp::Stamp;

/// A batch is handed over when it is this large.
const BATCH_SIZE: usize = 16 * 1024;

/// What is known of a request when it is over.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When its head began to arrive.
    pub time: SystemTime,
    /// Who asked, behind the proxies that are trusted.
    pub client: IpAddr,
    /// The method; none when the head was too broken to tell.
    pub method: Option<&'a Method>,
    /// http or https.
    pub scheme: Scheme,
    /// The host that was asked.
    pub authority: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The client's protocol.
    pub version: Version,
    /// What the client was told; none when it left before it could be told anything.
    pub status: Option<StatusCode>,
    /// Of the request body.
    pub bytes_in: u64,
    /// Of the response body.
    pub bytes_out: u64,
    /// From the first byte of the head to the last byte of the response.
    pub duration: Duration,
    /// The endpoint that answered, or was tried last.
    pub upstream: Option<&'a str>,
    /// From the request sent to the first byte of that endpoint's response.
    pub upstream_first_byte: Option<Duration>,
    /// How often the request was sent again.
    pub retries: u32,
    /// What became of a second endpoint that had it beside the first.
    pub hedge: Option<&'a str>,
    /// The route's name.
    pub route: Option<&'a str>,
    /// The pool's name.
    pub pool: Option<&'a str>,
    /// The id that the request carries through all its stages.
    pub request_id: &'a str,
    /// What went wrong ([`crate::error::Error::label`]).
    pub error: Option<&'static str>,
    /// The TLS version, such as `1.3`.
    pub tls: Option<&'static str>,
    /// `User-Agent`
    pub user_agent: Option<&'a [u8]>,
    /// `Referer`
    pub referer: Option<&'a [u8]>,
    /// What the cache had to do with it.
    pub cache: Option<&'a str>,
    /// How the gateway coded the body: an encoding, or `identity` when it took one off.
    pub encoding: Option<&'a str>,
    /// What plugins say of it.
    pub tags: &'a [(String, String)],
}

/// A worker's end of the log.
pub struct Writer {
    sink: Option<Sink>,
    batch: Vec<u8>,
    lines: u32,
    stamp: Stamp,
    metrics: Rc<metrics::Worker>,
}

impl Writer {
    /// A writer for one worker; without a sink it writes nothing.
    pub fn new(sink: Option<Sink>, metrics: Rc<metrics::Worker>) -> Writer {
        Writer { sink, batch: Vec::new(), lines: 0, stamp: Stamp::default(), metrics }
    }

    /// Whether lines are wanted at all, so that nobody collects facts for nothing.
    pub fn is_on(&self) -> bool {
        self.sink.is_some()
    }

    /// Writes to another sink from now on; costs nothing when it is the same.
    pub fn use_sink(&mut self, sink: Option<&Sink>) {
        if self.sink.as_ref() != sink {
            self.flush();
            self.sink = sink.cloned();
        }
    }

    /// Adds a line.
    pub fn write(&mut self, record: &Record<'_>) {
        let Some(sink) = &self.sink else { return };
        match sink.format() {
            AccessLogFormat::Json => format::json(&mut self.batch, record, &mut self.stamp),
            AccessLogFormat::Combined => format::combined(&mut self.batch, record, &mut self.stamp),
        }
        self.lines += 1;
        if self.batch.len() >= BATCH_SIZE {
            self.flush();
        }
    }

    /// Hands over what has been collected. To be called every 100 ms or so, and before the worker ends.
    pub fn flush(&mut self) {
        if self.lines == 0 {
            return;
        }
        let Some(sink) = &self.sink else { return };
        // The next batch will be as large as this one, unless this one is a rare large one.
        let next = Vec::with_capacity(self.batch.len().min(BATCH_SIZE + 1024));
        let batch = std::mem::replace(&mut self.batch, next);
        let lines = std::mem::take(&mut self.lines);
        if !sink.hand_over(batch, lines) {
            self.metrics.log_lines_dropped(u64::from(lines));
            self.metrics.limit_hit("access_log_queue_size");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.flush();
    }
}
