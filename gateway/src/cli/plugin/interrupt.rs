//! Ctrl-C while a command waits for a gateway: the command ends, the gateway does not, and what goes on is said.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Failure, complain};

/// What a shell takes for the end by SIGINT.
const INTERRUPTED: i32 = 130;

/// What is said when it comes.
pub(super) struct Interrupt(Arc<Mutex<String>>);

impl Interrupt {
    /// From now on it says this, and ends the process.
    pub(super) fn says(text: String) -> Result<Interrupt, Failure> {
        let said = Arc::new(Mutex::new(text));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut signal = {
            let _within = runtime.enter();
            signal(SignalKind::interrupt())?
        };
        let text = said.clone();
        let wait = move || {
            if runtime.block_on(signal.recv()).is_some() {
                if io::stdout().is_terminal() {
                    // Below the line that changes.
                    let _ = writeln!(io::stdout());
                }
                complain(text.lock().unwrap_or_else(PoisonError::into_inner));
                std::process::exit(INTERRUPTED);
            }
        };
        std::thread::Builder::new().name("interrupt".into()).spawn(wait)?;
        Ok(Interrupt(said))
    }

    /// Now it says that.
    pub(super) fn now_says(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}
