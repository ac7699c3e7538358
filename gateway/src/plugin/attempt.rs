//! The name of an attempt to bring another version into force, by which whoever made it finds out how it ended.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

/// Names one attempt: one push, one change of the source, one way back; with all stages of its trial.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt(Arc<str>);

impl Attempt {
    /// One that begins. No other bears its name, and hardly one of another run: somebody may still ask for one of that.
    pub fn begin() -> Attempt {
        static RUN: LazyLock<u16> = LazyLock::new(|| fastrand::u16(..));
        static BEGUN: AtomicU64 = AtomicU64::new(0);
        let number = BEGUN.fetch_add(1, Ordering::Relaxed) + 1;
        Attempt(format!("{:04x}-{number}", *RUN).into())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
