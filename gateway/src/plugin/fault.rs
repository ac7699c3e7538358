//! What plugins do wrong: at work, where each fault has a word and an effect, and at load, where each error says what to change.

use std::fmt;
use std::time::Duration;

/// A plugin failed in a call. The instance is discarded; the request goes on by the fallback of its pool or route.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// It trapped: a panic, a division by zero, an access outside its memory.
    Trap,
    /// It called itself too deeply.
    Stack,
    /// It did not decide in time.
    Deadline,
    /// It wanted more memory than it may have.
    Memory,
    /// It handed over an address that is not in its memory.
    Pointer,
    /// It answered with what is no decision, or none for this call.
    Output(&'static str),
    /// It picked an endpoint that is not there.
    Index,
    /// It named a route or pool that is not there.
    Name,
    /// It is at work already, for another request of this worker.
    Busy,
    /// Its instance was discarded and the next one is not there yet.
    Absent,
}

impl Fault {
    /// All words, for the documentation.
    pub const LABELS: &[&str] =
        &["trap", "stack", "deadline", "memory", "pointer", "output", "index", "name", "busy", "absent"];

    /// The word for it in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Fault::Trap => "trap",
            Fault::Stack => "stack",
            Fault::Deadline => "deadline",
            Fault::Memory => "memory",
            Fault::Pointer => "pointer",
            Fault::Output(_) => "output",
            Fault::Index => "index",
            Fault::Name => "name",
            Fault::Busy => "busy",
            Fault::Absent => "absent",
        }
    }

    /// Whether the instance may be called again. After the others nobody knows what state it is in.
    pub const fn leaves_instance_usable(self) -> bool {
        matches!(self, Fault::Index | Fault::Name | Fault::Busy | Fault::Absent)
    }

    /// Whether it speaks against the version, and not only against the moment.
    pub const fn counts_against_version(self) -> bool {
        !matches!(self, Fault::Busy | Fault::Absent)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Output(what) => write!(f, "output: {what}"),
            other => f.write_str(other.label()),
        }
    }
}

impl std::error::Error for Fault {}

/// Why a module cannot be used. The text is for its author.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// More bytes than a module may have.
    #[error("the module has {size} bytes; at most {most} are taken")]
    TooLarge {
        /// How large it is.
        size: u64,
        /// How large it may be.
        most: u64,
    },
    /// Not WebAssembly, or damaged, or with features that are not taken.
    #[error("not a valid WebAssembly module: {0}")]
    Invalid(String),
    /// It takes too long to compile.
    #[error("it was not compiled within {0:?}")]
    Late(Duration),
    /// The thread that compiled it is gone.
    #[error("compiling it was cut short")]
    Cut,
    /// Written for a component model that is not taken here.
    #[error("this is a WebAssembly component; a plugin is a core module (build for wasm32-unknown-unknown)")]
    Component,
    /// Imports, exports and bounds that do not fit, all at once.
    #[error("{}", .0.join("; "))]
    Mismatch(Vec<String>),
    /// It failed while it started or was configured.
    #[error("{stage}: {}", explain(*.fault))]
    Fault {
        /// What it was doing.
        stage: &'static str,
        /// What went wrong.
        fault: Fault,
    },
    /// It does not want this configuration.
    #[error("config: {0}")]
    Config(String),
    /// The engine does not work on this machine.
    #[error("the WebAssembly engine cannot start: {0}")]
    Engine(String),
}

impl LoadError {
    /// Which key of its plugin it is about, and what is wrong there.
    pub fn of_key(&self) -> (&'static str, String) {
        match self {
            LoadError::Config(text) => ("config", text.clone()),
            other => ("source", other.to_string()),
        }
    }
}

/// A fault in words that tell its author where to look.
fn explain(fault: Fault) -> String {
    match fault {
        Fault::Trap => "it trapped (a panic, most likely; its message is in the log)".to_owned(),
        Fault::Stack => "it called itself too deeply".to_owned(),
        Fault::Deadline => "it did not end in time".to_owned(),
        Fault::Memory => "it wanted more memory than memory_size allows".to_owned(),
        Fault::Pointer => "it handed over an address that is not in its memory".to_owned(),
        Fault::Output(what) => format!("it answered with {what}"),
        other => other.to_string(),
    }
}
