//! Where lines go: one thread, one file or standard output, one write for each batch.
//!
//! The thread ends when the last [`Sink`] of it is dropped, after it has written what was handed over. A file that was
//! moved away or deleted is noticed within a second of traffic and opened anew; [`Sink::reopen`] does so at once. While that
//! fails, lines go on into the file that is open.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::config::model::{AccessLog, AccessLogFormat};
use crate::limits::Limits;
use crate::metrics::Metrics;

/// How often the file's name is looked at, and how often a failure is reported.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// A handle of the log thread; clones lead to the same one.
#[derive(Clone)]
pub struct Sink {
    shared: Arc<Shared>,
}

struct Shared {
    // Unbounded in itself; `waiting` is what bounds it, in bytes.
    sender: Sender<Message>,
    waiting: Arc<AtomicUsize>,
    reopen: Arc<AtomicBool>,
    queue_size: usize,
    config: AccessLog,
}

enum Message {
    Batch {
        text: Vec<u8>,
        lines: u32,
    },
    /// Says back when all before it is written.
    Flush(mpsc::SyncSender<()>),
    /// Look at the `reopen` flag.
    Wake,
}

/// What the thread owns.
struct Thread {
    target: Target,
    waiting: Arc<AtomicUsize>,
    reopen: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    looked: Instant,
    reopening: Trouble,
    writing: Trouble,
    /// The last write ended within a line.
    torn: bool,
}

/// Something that may go wrong again and again.
#[derive(Default)]
struct Trouble {
    told: Option<Instant>,
    /// It was told, and lasts.
    lasts: bool,
}

enum Target {
    Stdout,
    File { path: PathBuf, file: File },
}

impl Sink {
    /// Opens the file and starts the thread. Not for a worker's thread.
    pub fn open(config: &AccessLog, limits: &Limits, metrics: Arc<Metrics>) -> io::Result<Sink> {
        let target = match &config.file {
            Some(path) => Target::File { path: path.clone(), file: append_to(path)? },
            None => Target::Stdout,
        };
        let (sender, receiver) = channel();
        let (waiting, reopen) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let thread = Thread {
            target,
            waiting: waiting.clone(),
            reopen: reopen.clone(),
            metrics,
            looked: Instant::now(),
            reopening: Trouble::default(),
            writing: Trouble::default(),
            torn: false,
        };
        std::thread::Builder::new().name("access-log".into()).spawn(move || thread.run(&receiver))?;
        let queue_size = usize::try_from(limits.access_log_queue_size).unwrap_or(usize::MAX);
        Ok(Sink { shared: Arc::new(Shared { sender, waiting, reopen, queue_size, config: config.clone() }) })
    }

    /// What it was opened with; a reload that changes nothing of it keeps the sink.
    pub fn config(&self) -> &AccessLog {
        &self.shared.config
    }

    /// Opens the file anew, as after a rotation. Does not wait.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        let _ = self.shared.sender.send(Message::Wake);
    }

    /// Waits until all that was handed over is written; whether it was within that time. Not for a worker's thread.
    pub fn flush(&self, time: Duration) -> bool {
        let (done, written) = mpsc::sync_channel(1);
        self.shared.sender.send(Message::Flush(done)).is_ok() && written.recv_timeout(time).is_ok()
    }

    pub(super) fn format(&self) -> AccessLogFormat {
        self.shared.config.format
    }

    /// Never waits; false when there is no room.
    pub(super) fn hand_over(&self, text: Vec<u8>, lines: u32) -> bool {
        let size = text.len();
        if self.shared.waiting.fetch_add(size, Ordering::Relaxed) + size > self.shared.queue_size {
            self.shared.waiting.fetch_sub(size, Ordering::Relaxed);
            return false;
        }
        self.shared.sender.send(Message::Batch { text, lines }).is_ok()
    }
}

impl PartialEq for Sink {
    fn eq(&self, other: &Sink) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Thread {
    fn run(mut self, messages: &Receiver<Message>) {
        while let Ok(message) = messages.recv() {
            match message {
                Message::Batch { text, lines } => {
                    self.look();
                    self.write(&text, lines);
                    self.waiting.fetch_sub(text.len(), Ordering::Relaxed);
                }
                Message::Flush(done) => {
                    let _ = done.send(());
                }
                Message::Wake => self.look(),
            }
        }
    }

    /// Opens the file anew when that was asked for, or when its name now leads elsewhere.
    fn look(&mut self) {
        let asked = self.reopen.swap(false, Ordering::AcqRel);
        if !asked && self.looked.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked = Instant::now();
        let Target::File { path, file } = &mut self.target else { return };
        if asked || !is_same(path, file) {
            match append_to(path) {
                Ok(new) => {
                    *file = new;
                    self.torn = false;
                }
                Err(error) => {
                    if self.reopening.is_due() {
                        let path = path.display();
                        tracing::error!(%path, %error, "the access log cannot be opened anew; lines go on into the file that was open before");
                    }
                    return;
                }
            }
        }
        if self.reopening.is_over() {
            tracing::warn!(path = %path.display(), "lines go into the access log of this name again");
        }
    }

    fn write(&mut self, text: &[u8], lines: u32) {
        let torn = std::mem::take(&mut self.torn);
        let result = match &mut self.target {
            Target::Stdout => write_all(&mut io::stdout().lock(), torn, text),
            Target::File { file, .. } => write_all(file, torn, text),
        };
        let Err((written, error)) = result else {
            if self.writing.is_over() {
                tracing::warn!("the access log can be written again");
            }
            return;
        };
        let (done, _) = text.split_at_checked(written).unwrap_or((text, &[]));
        self.torn = done.last().map_or(torn, |&last| last != b'\n');
        let whole = memchr::memchr_iter(b'\n', done).count() as u64;
        self.metrics.log_lines_dropped(u64::from(lines).saturating_sub(whole));
        if self.writing.is_due() {
            tracing::error!(%error, "the access log cannot be written; lines are being dropped");
        }
    }
}

impl Trouble {
    /// Whether to tell of it now, as it has happened once more.
    fn is_due(&mut self) -> bool {
        let due = self.told.is_none_or(|at| at.elapsed() >= REPORT_EVERY);
        if due {
            *self = Trouble { told: Some(Instant::now()), lasts: true };
        }
        due
    }

    /// Whether to tell that it is over: when it was told before.
    fn is_over(&mut self) -> bool {
        std::mem::take(&mut self.lasts)
    }
}

/// How much of the text was written before the error. `io::Write::write_all` does not say.
fn write_all(out: &mut impl Write, torn: bool, text: &[u8]) -> Result<(), (usize, io::Error)> {
    if torn {
        out.write_all(b"\n").map_err(|error| (0, error))?;
    }
    let mut rest = text;
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return Err((text.len() - rest.len(), io::ErrorKind::WriteZero.into())),
            Ok(n) => rest = rest.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((text.len() - rest.len(), error)),
        }
    }
    // Standard output may keep the last line to itself.
    out.flush().map_err(|error| (text.len(), error))
}

/// Never waits: a pipe that nobody reads is an error.
fn append_to(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let opened = OpenOptions::new().create(true).append(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(code) if code == Errno::NXIO.raw_os_error() => io::Error::other("it is a pipe that nobody reads"),
        _ => error,
    })?;
    // Writing has a thread of its own, which may wait for a slow reader.
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

fn is_same(path: &Path, file: &File) -> bool {
    match (std::fs::metadata(path), file.metadata()) {
        (Ok(there), Ok(here)) => (there.dev(), there.ino()) == (here.dev(), here.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::{Writer, format::tests::record};
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn sink(path: Option<PathBuf>, queue: u64, metrics: &Arc<Metrics>) -> Sink {
        let limits = Limits { access_log_queue_size: queue, ..Limits::default() };
        let config = AccessLog { file: path, format: AccessLogFormat::Combined };
        Sink::open(&config, &limits, metrics.clone()).unwrap()
    }

    fn lines(path: &Path) -> usize {
        std::fs::read_to_string(path).unwrap().lines().count()
    }

    #[test]
    fn each_record_becomes_a_line_and_a_moved_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let metrics = Metrics::new(1);
        let sink = sink(Some(path.clone()), 1 << 20, &metrics);
        let mut writer = Writer::new(Some(sink.clone()), Rc::new(metrics.worker(0).unwrap()));
        for _ in 0..1000 {
            writer.write(&record());
        }
        writer.flush();
        assert!(sink.flush(LONG));
        assert_eq!(lines(&path), 1000);

        let moved = folder.path().join("access.log.1");
        std::fs::rename(&path, &moved).unwrap();
        sink.reopen();
        writer.write(&record());
        writer.flush();
        assert!(sink.flush(LONG));
        assert_eq!((lines(&moved), lines(&path)), (1000, 1));
        assert_eq!(metrics.dropped_log_lines(), 0);
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics::new(1);
        let sink = sink(Some(folder.path().join("log")), 10, &metrics);
        let mut writer = Writer::new(Some(sink), Rc::new(metrics.worker(0).unwrap()));
        writer.write(&record());
        writer.write(&record());
        writer.flush();
        assert_eq!(metrics.dropped_log_lines(), 2);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_costs_lines_and_nothing_else() {
        let metrics = Metrics::new(1);
        let sink = sink(Some("/dev/full".into()), 1 << 20, &metrics);
        let mut writer = Writer::new(Some(sink.clone()), Rc::new(metrics.worker(0).unwrap()));
        for _ in 0..3 {
            writer.write(&record());
            writer.flush();
        }
        assert!(sink.flush(LONG));
        assert_eq!(metrics.dropped_log_lines(), 3);
    }

    #[test]
    fn another_sink_gets_what_comes_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics::new(1);
        let (one, two) = (folder.path().join("1"), folder.path().join("2"));
        let first = sink(Some(one.clone()), 1 << 20, &metrics);
        let second = sink(Some(two.clone()), 1 << 20, &metrics);
        let mut writer = Writer::new(Some(first.clone()), Rc::new(metrics.worker(0).unwrap()));
        writer.write(&record());
        writer.use_sink(Some(&second));
        writer.write(&record());
        drop(writer);
        assert!(first.flush(LONG) && second.flush(LONG));
        assert_eq!((lines(&one), lines(&two)), (1, 1));
    }

    #[test]
    fn a_torn_line_is_ended_before_the_next() {
        struct Short(Vec<u8>, usize);
        impl Write for Short {
            fn write(&mut self, text: &[u8]) -> io::Result<usize> {
                let n = text.len().min(self.1 - self.0.len());
                if n == 0 {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                self.0.extend_from_slice(&text[..n]);
                Ok(n)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut out = Short(Vec::new(), 6);
        let (written, _) = write_all(&mut out, false, b"abc\ndef\n").unwrap_err();
        assert_eq!(written, 6);
        out.1 = 100;
        write_all(&mut out, true, b"ghi\n").unwrap();
        assert_eq!(out.0, b"abc\nde\nghi\n");
    }
}
