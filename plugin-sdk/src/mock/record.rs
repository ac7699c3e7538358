//! What a plugin was asked in its tests and what it said, written down for `gatewright plugin test`, which asks the module
//! the same in the gateway's own host and compares.
//!
//! When [`FOLDER`] is set in the environment, every [`Mock`](super::Mock) writes a file there: a [`Begin`], then a [`Step`] for
//! each call, each a line of JSON. Decisions and changes are written as the words that people read when they differ.
//! Bound: 64 MiB by one process; then a file [`CUT`] is made, and nothing more is written.

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use gatewright_abi::{Column, Element, cache, edit, hash64, side};
use serde::{Deserialize, Serialize};

pub use super::head::Parts;
use crate::decide::{Redirect, Route, Verdict};
use crate::pick::Pick;

/// The variable of the environment that names the folder for records.
pub const FOLDER: &str = "GATEWRIGHT_RECORD";
/// Which form of records this is.
pub const FORM: u32 = 2;
/// What plugins are told is secret.
pub const SECRET: [u8; 32] = *b"nothing that is told is a secret";
/// The name of a file in the folder that tells that there was more to record.
pub const CUT: &str = "cut";
/// How much one process writes.
const MOST: u64 = 64 << 20;

/// The first line: what the instance was made of.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Begin {
    /// [`FORM`].
    pub form: u32,
    /// The test that asked, as it is called in the output of `cargo test`.
    pub test: String,
    /// The types of the plugin, by kind; empty for a kind that it is not.
    pub types: [String; 3],
    /// Bits of [`gatewright_abi::kind`].
    pub kinds: u32,
    /// JSON.
    pub config: String,
    /// What a balancer picks from.
    pub endpoints: Vec<Facts>,
    /// Time and chance.
    pub around: Around,
    /// [`CONFIGURED`], or why not.
    pub told: String,
}

/// An endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// Where it is.
    pub address: String,
    /// Where it stands.
    pub zone: String,
    /// What else is said of it.
    pub metadata: Vec<(String, String)>,
    /// What tells it from the others.
    pub id: u64,
    /// Its share.
    pub weight: u32,
    /// 0 comes first.
    pub priority: u32,
    /// Its live values by the number of their column, as words; 0 in the others.
    pub words: [u32; Column::ALL.len()],
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} id={} weight={} priority={}", self.address, self.id, self.weight, self.priority)?;
        if !self.zone.is_empty() {
            write!(f, " zone={}", self.zone)?;
        }
        for (name, value) in &self.metadata {
            write!(f, " {name}={value:?}")?;
        }
        let live = Column::ALL.iter().zip(self.words).filter(|(column, word)| column.is_live() && *word != 0);
        live.into_iter().try_for_each(|(column, word)| match column.element() {
            Element::F32 => write!(f, " {}={}", column.name(), f32::from_bits(word)),
            _ => write!(f, " {}={word}", column.name()),
        })
    }
}

/// What a plugin learns from the host that is no part of the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Around {
    /// Of `clock`.
    pub micros: u64,
    /// Of `unix_time`.
    pub unix_ms: u64,
    /// Of `random`.
    pub random: u64,
}

/// A line for each call.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// What the plugin was asked.
    pub call: Call,
    /// Time and chance.
    pub around: Around,
    /// What it decided, then what it wants changed, in words.
    pub told: Vec<String>,
}

/// A call, and what it was about.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Call {
    Pick { request: Parts, attempt: u32, endpoints: Vec<Facts> },
    Outcome { endpoint: u32, status: u16, attempt: u32, latency_us: u64, bytes: u64 },
    ChangeEndpoints { endpoints: Vec<Facts> },
    Route { request: Parts },
    OnRequest { request: Parts },
    OnResponse { request: Parts, response: Box<Parts> },
    OnFetch { request: Parts, response: Box<Parts> },
    Tick,
    Snapshot,
    Restore { state: Text },
}

/// Bytes as text: each as the character of its number, so that what is ASCII can be read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Text(pub Vec<u8>);

impl Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.iter().map(|byte| char::from(*byte)).collect::<String>())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes: Result<Vec<u8>, _> = text.chars().map(|c| u8::try_from(u32::from(c))).collect();
        bytes.map(Text).map_err(serde::de::Error::custom)
    }
}

/// Said of a plugin that took its configuration.
pub const CONFIGURED: &str = "configured";
/// Said of a call that panicked. Nothing is asked after it.
pub const PANIC: &str = "panic";
/// Said of a call that decides nothing.
pub const DONE: &str = "done";

/// A pick in words.
pub fn pick(pick: &Pick) -> String {
    match pick {
        Pick::Endpoint(index) => format!("endpoint {index}"),
        Pick::Fallback => "the fallback".to_owned(),
        Pick::Refuse(status) => refusal(*status),
        Pick::List(list) => format!("endpoints {:?} in this order", list.iter().collect::<Vec<_>>()),
        Pick::Hedge { first, second, after } => hedge(*first as usize, *second as usize, after.as_micros_u32().into()),
    }
}

/// A hedge in words.
pub fn hedge(first: usize, second: usize, micros: u128) -> String {
    format!("endpoint {first}, after {micros} µs also {second}")
}

/// A refusal in words.
pub fn refusal(status: u16) -> String {
    format!("refused with {status}")
}

/// A router's decision in words.
pub fn route(route: &Route) -> String {
    match route {
        Route::CarryOn => "carry on".to_owned(),
        Route::Named(name) => format!("route {name}"),
        Route::Pool(name) => format!("pool {name}"),
        Route::Redirect(Redirect { status, location }) => redirect(*status, location.as_bytes()),
        Route::Answer(it) => {
            answer(it.status(), it.fields().map(|(name, value)| (name.as_bytes(), value)), it.body_bytes())
        }
        Route::Refuse(status) => refusal(*status),
    }
}

/// A filter's decision in words.
pub fn verdict(verdict: &Verdict) -> String {
    match verdict.clone() {
        Verdict::CarryOn => route(&Route::CarryOn),
        Verdict::Refuse(status) => route(&Route::Refuse(status)),
        Verdict::Redirect(redirect) => route(&Route::Redirect(redirect)),
        Verdict::Answer(answer) => route(&Route::Answer(answer)),
    }
}

/// A redirect in words.
pub fn redirect(status: u16, location: &[u8]) -> String {
    format!("redirected with {status} to {}", location.escape_ascii())
}

/// An answer in words.
pub fn answer<'a>(status: u16, fields: impl Iterator<Item = (&'a [u8], &'a [u8])>, body: &[u8]) -> String {
    let fields: String =
        fields.map(|(name, value)| format!("{}: {}; ", name.escape_ascii(), value.escape_ascii())).collect();
    format!("answered with {status}; {fields}{:?}", body.escape_ascii().to_string())
}

/// An edit of a field in words.
pub fn field(how: u32, of: u32, name: &[u8], value: &[u8]) -> String {
    let of = if of == side::RESPONSE { "response" } else { "request" };
    let name = name.escape_ascii();
    match how {
        edit::REMOVE => format!("{of}: remove {name}"),
        edit::ADD => format!("{of}: add {name}: {}", value.escape_ascii()),
        _ => format!("{of}: set {name}: {}", value.escape_ascii()),
    }
}

/// Another path in words.
pub fn path(path: &[u8]) -> String {
    format!("path {}", path.escape_ascii())
}

/// Another status in words.
pub fn status(status: u16) -> String {
    format!("status {status}")
}

/// A tag in words.
pub fn tag(name: &[u8], value: &[u8]) -> String {
    format!("tag {}: {}", name.escape_ascii(), value.escape_ascii())
}

/// Something for the cache in words.
pub fn cache(what: u32, text: &[u8], seconds: u64) -> String {
    match what {
        cache::KEY => format!("cache: key {}", text.escape_ascii()),
        cache::BYPASS => "cache: bypass".to_owned(),
        cache::TTL => format!("cache: fresh for {seconds} s"),
        cache::NO_STORE => "cache: not stored".to_owned(),
        _ => format!("cache: tag {}", text.escape_ascii()),
    }
}

/// When the next tick is due, in words. It crosses the boundary in milliseconds.
pub fn tick(next: Option<std::time::Duration>) -> String {
    next.map_or("never again".to_owned(), |next| format!("again in {} ms", next.as_millis().max(1)))
}

/// State in words; what is long by its hash.
pub fn state(state: Option<&[u8]>) -> String {
    match state {
        None => "no state".to_owned(),
        Some(state) if state.len() <= 256 => format!("state {:?}", state.escape_ascii().to_string()),
        Some(state) => format!("state of {} bytes with the hash {:016x}", state.len(), hash64(state, 0)),
    }
}

/// Whether state was taken over, in words.
pub fn restored(taken: bool) -> String {
    if taken { "taken over" } else { "begins afresh" }.to_owned()
}

/// The file of one mock gateway.
#[derive(Debug)]
pub(super) struct Record(BufWriter<File>);

impl Record {
    /// Begins one, if records are wanted.
    pub(super) fn begin() -> Option<Record> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let folder = std::env::var_os(FOLDER)?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let file = Path::new(&folder).join(format!("{}-{number:06}.jsonl", std::process::id()));
        match File::create_new(&file) {
            Ok(file) => Some(Record(BufWriter::new(file))),
            Err(error) => {
                eprintln!("this test is not recorded: {}: {error}", file.display());
                None
            }
        }
    }

    /// Writes a line. Whether there is room for more.
    pub(super) fn write(&mut self, line: &impl Serialize) -> bool {
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        let Ok(mut text) = serde_json::to_vec(line) else { return false };
        text.push(b'\n');
        let size = text.len() as u64;
        if WRITTEN.fetch_add(size, Ordering::Relaxed) + size <= MOST {
            return self.0.write_all(&text).is_ok();
        }
        if let Some(folder) = std::env::var_os(FOLDER) {
            // It may be there already.
            let _ = File::create(Path::new(&folder).join(CUT));
        }
        false
    }
}

/// The test that runs on this thread.
pub(super) fn test() -> String {
    std::thread::current().name().unwrap_or("a thread without a name").to_owned()
}
