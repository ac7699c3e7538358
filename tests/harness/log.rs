//! What the gateway says of itself. The log is that of the process, so a test looks for lines that can only be its own.

use std::io;
use std::sync::{Mutex, Once};

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

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
    static BEGIN: Once = Once::new();
    BEGIN.call_once(|| {
        let level = tracing_subscriber::filter::LevelFilter::WARN;
        tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(|| Sink).init();
    });
}

/// The warnings so far that hold all of these texts.
pub(crate) fn lines(texts: &[&str]) -> Vec<String> {
    let log = String::from_utf8_lossy(&LOG.lock().expect("no panic")).into_owned();
    log.lines().filter(|line| texts.iter().all(|text| line.contains(text))).map(str::to_owned).collect()
}

/// Waits for a warning that holds all of these texts.
pub(crate) async fn says(texts: &[&str]) -> String {
    super::eventually(&format!("a warning with {texts:?}"), async || !lines(texts).is_empty()).await;
    lines(texts).remove(0)
}
