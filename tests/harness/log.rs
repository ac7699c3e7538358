//! What the gateway says of itself. The log is that of the process, so a test looks for lines that can only be its own: with its
//! own addresses in them, and from its begin on, since others may have had these addresses before.

use std::cell::Cell;
use std::io;
use std::sync::{Mutex, Once};

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

thread_local! {
    /// Where the log was when the test on this thread began to listen.
    static BEGIN: Cell<usize> = const { Cell::new(0) };
}

struct Sink;

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to listen; to be called before what is to be heard.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let level = tracing_subscriber::filter::LevelFilter::WARN;
        tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(|| Sink).init();
    });
    BEGIN.set(LOG.lock().expect("no panic").len());
}

/// The warnings so far that hold all of these texts.
pub(crate) fn lines(texts: &[&str]) -> Vec<String> {
    let log = LOG.lock().expect("no panic").get(BEGIN.get()..).map(<[u8]>::to_vec).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    log.lines().filter(|line| texts.iter().all(|text| line.contains(text))).map(str::to_owned).collect()
}

/// Waits for a warning that holds all of these texts.
pub(crate) async fn says(texts: &[&str]) -> String {
    super::eventually(&format!("a warning with {texts:?}"), async || !lines(texts).is_empty()).await;
    lines(texts).remove(0)
}
