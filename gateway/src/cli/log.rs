//! What the gateway says of itself, on standard error.
//!
//! In: lines, from any thread. Out: the same, written by a thread of their own, since whoever reads standard error may stop doing
//! so, and nobody on the path of a request may wait for that. Limits: so many lines wait; those that find no room are
//! counted, and the count is told when there is room again.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::Failure;
use crate::config::model::Log;

/// Lines that may wait.
const QUEUE: usize = 1024;
/// A longer line is cut.
const LINE: usize = 16 << 10;
/// How long the end waits for lines to be written.
const PATIENCE: Duration = Duration::from_secs(1);

static LINES: OnceLock<Lines> = OnceLock::new();

/// The way to the thread that writes.
struct Lines {
    sender: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

enum Message {
    Line(Vec<u8>),
    /// Says back when all before it is written.
    Flush(SyncSender<()>),
}

/// Where the subscriber writes.
struct Out(&'static Lines);

/// Begins to write. The level is that of the configuration at the start.
pub(super) fn start(log: &Log) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&log.level)?;
    let ansi = io::stderr().is_terminal();
    let (sender, receiver) = sync_channel(QUEUE);
    let lines = LINES.get_or_init(|| Lines { sender, dropped: Arc::default() });
    let dropped = lines.dropped.clone();
    std::thread::Builder::new().name("log".into()).spawn(move || write(&receiver, &dropped, &mut io::stderr()))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(Out(lines));
    // It would be told of on standard error, of all places, and with a panic when that is what nobody reads any more.
    let subscriber = subscriber.log_internal_errors(false);
    let started = if log.json { subscriber.json().try_init() } else { subscriber.with_target(false).try_init() };
    started.map_err(|error| Failure(format!("cannot start the log: {error}")))
}

/// Waits until what was said is written, unless nobody reads it.
pub(super) fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush(PATIENCE);
    }
}

impl Lines {
    /// Never waits.
    fn say(&self, line: &[u8]) {
        let line = line.get(..LINE).map_or_else(|| line.to_vec(), |begin| [begin, b"\n"].concat());
        if self.sender.try_send(Message::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self, patience: Duration) {
        let (done, written) = sync_channel(1);
        if self.sender.try_send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(patience);
        }
    }
}

/// What the thread does, for as long as there is somebody to say something.
fn write(messages: &Receiver<Message>, dropped: &AtomicU64, out: &mut impl Write) {
    while let Ok(message) = messages.recv() {
        match message {
            // There is no better place to say that this one is gone.
            Message::Line(line) => drop(out.write_all(&line)),
            Message::Flush(done) => drop(done.try_send(())),
        }
        let lines = dropped.swap(0, Ordering::Relaxed);
        if lines > 0 {
            tracing::warn!(lines, "lines of this log were dropped, since standard error was not read in time");
        }
    }
}

impl Write for Out {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.say(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Out {
    type Writer = Out;

    fn make_writer(&self) -> Out {
        Out(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_in_order_or_counted_and_nobody_waits() {
        let (sender, receiver) = sync_channel(3);
        let lines = Lines { sender, dropped: Arc::default() };
        let long = [b'x'; LINE + 1];
        for line in [&b"one\n"[..], &long, b"three\n", b"four\n", b"five\n"] {
            lines.say(line);
        }
        lines.flush(Duration::from_secs(60));
        let dropped = lines.dropped.clone();
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
        drop(lines);
        let mut out = Vec::new();
        write(&receiver, &dropped, &mut out);
        assert_eq!(out, [b"one\n", &long[..LINE], b"\nthree\n"].concat());
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
    }
}
