//! The boundary between the gateway and its plugins, as numbers: names of imports and exports, the columns of the endpoint table,
//! the codes of decisions. The SDK and the gateway both read them here, so they cannot disagree.
//!
//! `ABI.md` beside the SDK says what they mean; a test holds that text against this.

#![no_std]

/// The version of the boundary. It stands in the name of an export, so that nothing has to run to learn it.
pub const VERSION: u32 = 1;

/// The module that all imports come from.
pub const IMPORT_MODULE: &str = "gatewright";

/// What a plugin offers, as bits.
pub mod kind {
    /// Picks endpoints.
    pub const BALANCER: u32 = 1;
    /// Picks routes and pools.
    pub const ROUTER: u32 = 2;
    /// Sees request and response heads.
    pub const FILTER: u32 = 4;
}

/// Names of exports.
pub mod export {
    /// The memory.
    pub const MEMORY: &str = "memory";
    /// Begins the name of the function that tells the version.
    pub const VERSION_PREFIX: &str = "gw_abi_";
    /// `() -> ()`: its name tells the version; never called.
    pub const VERSION: &str = "gw_abi_1";
    /// `(size) -> address`.
    pub const ALLOC: &str = "gw_alloc";
    /// `(address, size)`.
    pub const FREE: &str = "gw_free";
    /// `(kinds, address, size) -> text`.
    pub const CONFIGURE: &str = "gw_configure";
    /// `() -> address`.
    pub const TABLE: &str = "gw_table";
    /// `()`.
    pub const ENDPOINTS_CHANGED: &str = "gw_endpoints_changed";
    /// `(attempt) -> decision`.
    pub const PICK: &str = "gw_pick";
    /// `(endpoint, status, attempt, latency_us, bytes)`.
    pub const OUTCOME: &str = "gw_outcome";
    /// `() -> decision`.
    pub const ROUTE: &str = "gw_route";
    /// `() -> decision`.
    pub const ON_REQUEST: &str = "gw_on_request";
    /// `() -> decision`.
    pub const ON_RESPONSE: &str = "gw_on_response";
    /// `() -> decision`.
    pub const ON_FETCH: &str = "gw_on_fetch";
    /// `() -> ms`.
    pub const TICK: &str = "gw_tick";
    /// `() -> text`.
    pub const SNAPSHOT: &str = "gw_snapshot";
    /// `(address, size) -> i32`.
    pub const RESTORE: &str = "gw_restore";
}

/// Stands for the status in an outcome when the attempt was given up, since another endpoint had answered.
pub const CANCELLED: u16 = 1;

/// Filter, the lower half of [`decision::TAKE`]: this instance need not be asked about heads of that side any more.
pub const INDIFFERENT: u32 = 1;

/// A type of a column's elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Element {
    /// 32 bits, without sign.
    U32,
    /// 64 bits, without sign.
    U64,
    /// A number with a fraction.
    F32,
    /// An address and a size of 32 bits each.
    Text,
}

impl Element {
    /// Its size in bytes.
    pub const fn size(self) -> u32 {
        match self {
            Element::U32 | Element::F32 => 4,
            Element::U64 | Element::Text => 8,
        }
    }
}

macro_rules! columns {
    ($($name:ident = $number:literal, $import:literal, $element:ident, $when:ident;)*) => {
        /// A column of the endpoint table.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Column {
            $(#[doc = concat!("`", stringify!($import), "`.")] $name = $number,)*
        }

        impl Column {
            /// All, by number.
            pub const ALL: &[Column] = &[$(Column::$name,)*];

            /// Its number, which is its place in the header.
            pub const fn number(self) -> usize {
                self as usize
            }

            /// The import that declares that a plugin reads it.
            pub const fn import(self) -> &'static str {
                match self { $(Column::$name => concat!("column_", $import),)* }
            }

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Column::$name => $import,)* }
            }

            /// What its elements are.
            pub const fn element(self) -> Element {
                match self { $(Column::$name => Element::$element,)* }
            }

            /// Whether it is written before each pick; otherwise only when endpoints change.
            pub const fn is_live(self) -> bool {
                match self { $(Column::$name => columns!(@live $when),)* }
            }
        }
    };
    (@live live) => { true };
    (@live fixed) => { false };
}

columns! {
    Flags = 0, "flags", U32, live;
    Active = 1, "active", U32, live;
    Latency = 2, "latency", U32, live;
    PeakLatency = 3, "peak_latency", U32, live;
    Errors = 4, "errors", F32, live;
    Rate = 5, "rate", F32, live;
    Load = 6, "load", F32, live;
    Warmth = 7, "warmth", F32, live;
    Weight = 8, "weight", U32, fixed;
    Priority = 9, "priority", U32, fixed;
    Id = 10, "id", U64, fixed;
    Address = 11, "address", Text, fixed;
    Zone = 12, "zone", Text, fixed;
    Metadata = 13, "metadata", Text, fixed;
}

/// Bits of [`Column::Flags`].
pub mod flag {
    /// Its checks pass, or it has none; and the request is not for others, see [`STANDBY`].
    pub const HEALTHY: u32 = 1;
    /// It says itself that it does less well.
    pub const DEGRADED: u32 = 2;
    /// Taken out for a while because of what it answered.
    pub const EJECTED: u32 = 4;
    /// It is being taken out for good.
    pub const DRAINING: u32 = 8;
    /// It has just come and gets less.
    pub const WARMING: u32 = 16;
    /// This request was sent to it before.
    pub const TRIED: u32 = 32;
    /// In place of [`HEALTHY`]: it is well, but the request is for others, such as those of another priority.
    pub const STANDBY: u32 = 64;
}

/// The head of the endpoint table in the plugin's memory: so many endpoints, a number that changes with them, and the address
/// of each column, 0 when it is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Header {
    /// How many endpoints.
    pub count: u32,
    /// Another one when endpoints come or go.
    pub generation: u32,
    /// By [`Column::number`].
    pub columns: [u32; COLUMNS],
}

/// Places for columns in the [`Header`]; more than there are, so that others can come.
pub const COLUMNS: usize = 32;

/// Decisions: the upper half of what a call returns.
pub mod decision {
    /// Router and filter: go on. Balancer: the endpoint with the index in the lower half.
    pub const TAKE: u32 = 0;
    /// Balancer: the pool's fallback decides.
    pub const FALLBACK: u32 = 1;
    /// Refuse with the status in the lower half.
    pub const REFUSE: u32 = 2;
    /// Balancer: endpoints in this order; the lower half is the address of a count and as many indices.
    pub const LIST: u32 = 3;
    /// Balancer: a second endpoint when the first has not answered in time; the lower half is the address of both and the µs.
    pub const HEDGE: u32 = 4;
    /// Router: the route of this name; the lower half is the address of an address and a size.
    pub const ROUTE: u32 = 5;
    /// Router: the pool of this name, likewise.
    pub const POOL: u32 = 6;
    /// Router and filter: the lower half is the address of a status, an address and a size.
    pub const REDIRECT: u32 = 7;
    /// Router and filter: the lower half is the address of a status, address and size of fields, address and size of a body.
    pub const ANSWER: u32 = 8;

    /// The decision as a call returns it.
    pub const fn pack(decision: u32, value: u32) -> i64 {
        (((decision as u64) << 32) | value as u64) as i64
    }

    /// Decision and value.
    pub const fn unpack(packed: i64) -> (u32, u32) {
        ((packed as u64 >> 32) as u32, packed as u64 as u32)
    }
}

/// What [`REQUEST_TEXT`](import::REQUEST_TEXT) reads.
pub mod text {
    /// The method.
    pub const METHOD: u32 = 0;
    /// `http` or `https`, as the client sees it.
    pub const SCHEME: u32 = 1;
    /// Host and port that were asked for.
    pub const AUTHORITY: u32 = 2;
    /// The path.
    pub const PATH: u32 = 3;
    /// The query without its question mark; absent when there is none.
    pub const QUERY: u32 = 4;
    /// The client's address.
    pub const CLIENT: u32 = 5;
    /// The request's id.
    pub const REQUEST_ID: u32 = 6;
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    pub const PROTOCOL: u32 = 7;
    /// The version of TLS; absent without.
    pub const TLS_VERSION: u32 = 8;
    /// The name that the client asked for in TLS.
    pub const TLS_NAME: u32 = 9;
    /// The subject of the client's certificate.
    pub const TLS_SUBJECT: u32 = 10;
    /// The name of the route.
    pub const ROUTE: u32 = 11;
    /// The name of the pool; absent when there is none yet.
    pub const POOL: u32 = 12;
    /// How many there are.
    pub const COUNT: u32 = 13;
}

/// What [`HASH`](import::HASH) hashes.
pub mod hash {
    /// The client's address.
    pub const CLIENT: u32 = 0;
    /// The path.
    pub const PATH: u32 = 1;
    /// The host.
    pub const AUTHORITY: u32 = 2;
    /// A field of the request, by name.
    pub const HEADER: u32 = 3;
    /// A cookie, by name.
    pub const COOKIE: u32 = 4;
    /// A parameter of the query, by name.
    pub const QUERY: u32 = 5;
    /// A tag, by name.
    pub const TAG: u32 = 6;
}

/// Whose fields are meant.
pub mod side {
    /// The request's.
    pub const REQUEST: u32 = 0;
    /// The response's.
    pub const RESPONSE: u32 = 1;
}

/// What is done to a field.
pub mod edit {
    /// The only one of its name from now on.
    pub const SET: u32 = 0;
    /// One more.
    pub const ADD: u32 = 1;
    /// None of that name.
    pub const REMOVE: u32 = 2;
}

/// What [`CACHE`](import::CACHE) says to the cache.
pub mod cache {
    /// The text is one more part of the key.
    pub const KEY: u32 = 0;
    /// The request goes past the cache.
    pub const BYPASS: u32 = 1;
    /// The answer is fresh for so many seconds, whatever it says.
    pub const TTL: u32 = 2;
    /// The answer is not kept.
    pub const NO_STORE: u32 = 3;
    /// The text is one more tag that the answer can be purged by.
    pub const TAG: u32 = 4;
}

/// Levels of a log line.
pub mod level {
    /// Something failed.
    pub const ERROR: u32 = 0;
    /// Something looks wrong.
    pub const WARN: u32 = 1;
    /// Worth knowing.
    pub const INFO: u32 = 2;
    /// For those who look closely.
    pub const DEBUG: u32 = 3;
}

/// Kinds of metrics.
pub mod metric {
    /// Only grows.
    pub const COUNTER: u32 = 0;
    /// Goes up and down.
    pub const GAUGE: u32 = 1;
    /// A distribution.
    pub const HISTOGRAM: u32 = 2;
}

/// What an import answers instead of a size or number.
pub mod answer {
    /// It was done.
    pub const DONE: i32 = 0;
    /// There is none.
    pub const ABSENT: i32 = -1;
    /// The name or value is not allowed there.
    pub const INVALID: i32 = -2;
    /// A bound was met.
    pub const FULL: i32 = -3;
    /// Not in this call: there is no request, or no response.
    pub const NOT_NOW: i32 = -4;
}

/// A type of a value that crosses the boundary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wasm {
    /// `i32`.
    I32,
    /// `i64`.
    I64,
    /// `f64`.
    F64,
}

/// A function that the gateway offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Import {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub takes: &'static [Wasm],
    /// What it gives.
    pub gives: Option<Wasm>,
}

macro_rules! imports {
    ($($(#[doc = $doc:literal])* $constant:ident = $name:literal ($($takes:ident),*) $(-> $gives:ident)?;)*) => {
        /// Names of imports.
        pub mod import {
            $($(#[doc = $doc])* pub const $constant: &str = $name;)*
        }

        /// All imports but those of columns, which take nothing and give an `i32`.
        pub const IMPORTS: &[Import] = &[$(
            Import { name: $name, takes: &[$(Wasm::$takes),*], gives: imports!(@gives $($gives)?) },
        )*];
    };
    (@gives) => { None };
    (@gives $gives:ident) => { Some(Wasm::$gives) };
}

imports! {
    /// What, buffer, room.
    REQUEST_TEXT = "request_text" (I32, I32, I32) -> I32;
    /// Name and size, buffer, room.
    COOKIE = "cookie" (I32, I32, I32, I32) -> I32;
    /// Name and size, buffer, room.
    QUERY_VALUE = "query_value" (I32, I32, I32, I32) -> I32;
    /// Side, name and size, buffer, room.
    HEADER = "header" (I32, I32, I32, I32, I32) -> I32;
    /// Side, buffer, room.
    HEADERS = "headers" (I32, I32, I32) -> I32;
    /// What, name and size, seed.
    HASH = "hash" (I32, I32, I32, I64) -> I64;
    /// How, side, name and size, value and size.
    EDIT_HEADER = "edit_header" (I32, I32, I32, I32, I32, I32) -> I32;
    /// Path and size.
    SET_PATH = "set_path" (I32, I32) -> I32;
    /// The response's status.
    STATUS = "status" () -> I32;
    /// A status.
    SET_STATUS = "set_status" (I32) -> I32;
    /// Name and size, buffer, room.
    TAG = "tag" (I32, I32, I32, I32) -> I32;
    /// Name and size, value and size.
    SET_TAG = "set_tag" (I32, I32, I32, I32) -> I32;
    /// What, text and size, seconds.
    CACHE = "cache" (I32, I32, I32, I64) -> I32;
    /// Level, text and size.
    LOG = "log" (I32, I32, I32);
    /// Microseconds that only go forward.
    CLOCK = "clock" () -> I64;
    /// Milliseconds since 1970.
    UNIX_TIME = "unix_time" () -> I64;
    /// 64 random bits.
    RANDOM = "random" () -> I64;
    /// Kind, name and size, label and size, label value and size.
    METRIC = "metric" (I32, I32, I32, I32, I32, I32, I32) -> I32;
    /// Metric, by how much.
    METRIC_ADD = "metric_add" (I32, F64);
    /// Metric, value.
    METRIC_SET = "metric_set" (I32, F64);
    /// Metric, value.
    METRIC_RECORD = "metric_record" (I32, F64);
    /// Slot.
    SLOT_LOAD = "slot_load" (I32) -> I64;
    /// Slot, value.
    SLOT_STORE = "slot_store" (I32, I64);
    /// Slot, by how much; the value before.
    SLOT_ADD = "slot_add" (I32, I64) -> I64;
    /// Slot, the value it must have, the value it gets; the value before.
    SLOT_SWAP = "slot_swap" (I32, I64, I64) -> I64;
    /// Key and size, buffer, room.
    SHARED_GET = "shared_get" (I32, I32, I32, I32) -> I32;
    /// Key and size, value and size, milliseconds that it lives, 0 for ever.
    SHARED_SET = "shared_set" (I32, I32, I32, I32, I64) -> I32;
    /// Key and size.
    SHARED_REMOVE = "shared_remove" (I32, I32) -> I32;
    /// Buffer, room.
    SECRET = "secret" (I32, I32) -> I32;
}

/// Bounds of what one plugin may hold or hand over. A test holds the documentation against them.
pub mod bound {
    /// Endpoints in a list.
    pub const LIST: u32 = 16;
    /// Edits of fields in one call.
    pub const EDITS: usize = 64;
    /// Bytes of all edits and tags of one call.
    pub const EDIT_BYTES: usize = 64 * 1024;
    /// Tags of one request.
    pub const TAGS: usize = 16;
    /// Bytes of a tag's name, and of its value.
    pub const TAG_BYTES: usize = 256;
    /// Parts that plugins add to the key of one request.
    pub const CACHE_KEYS: usize = 8;
    /// Bytes of one such part, and of a tag of the cache.
    pub const CACHE_BYTES: usize = 256;
    /// Bytes of the body of an answer.
    pub const BODY_BYTES: usize = 64 * 1024;
    /// Bytes of a log line.
    pub const LOG_BYTES: usize = 1024;
    /// Log lines in a second, by plugin.
    pub const LOG_LINES: u32 = 20;
    /// Series of metrics, by plugin.
    pub const METRICS: usize = 128;
    /// Bytes of a metric's name, a label and a label's value.
    pub const METRIC_BYTES: usize = 64;
    /// Slots, by plugin.
    pub const SLOTS: u32 = 64;
    /// Entries of shared state, by plugin.
    pub const SHARED_ENTRIES: usize = 4096;
    /// Bytes of a key of shared state.
    pub const SHARED_KEY_BYTES: usize = 256;
    /// Bytes of all shared state, keys and values, by plugin.
    pub const SHARED_BYTES: usize = 1024 * 1024;
    /// Bytes of state that a version hands to the next.
    pub const SNAPSHOT_BYTES: usize = 1024 * 1024;
    /// Bytes of an error text.
    pub const TEXT_BYTES: usize = 4096;
}

/// The hash that gateway and plugins share: MurmurHash2 with 64 bits (64A). It never changes within a version of the boundary,
/// so that rings made of it stay where they are.
pub fn hash64(bytes: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let mix = |k: u64| {
        let k = k.wrapping_mul(M);
        (k ^ (k >> 47)).wrapping_mul(M)
    };
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(M);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = (hash ^ mix(u64::from_le_bytes(*word))).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let last = rest.iter().rev().fold(0u64, |last, byte| (last << 8) | u64::from(*byte));
        hash = (hash ^ last).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 47)).wrapping_mul(M);
    hash ^ (hash >> 47)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_the_numbers_of_their_places() {
        for (number, column) in Column::ALL.iter().enumerate() {
            assert_eq!(column.number(), number);
        }
        assert!(Column::ALL.len() <= COLUMNS);
        assert_eq!(size_of::<Header>(), 8 + 4 * COLUMNS);
    }

    #[test]
    fn decisions_come_back_as_they_went() {
        for (kind, value) in [(0, 0), (2, 503), (u32::MAX, u32::MAX), (1, 1 << 31)] {
            assert_eq!(decision::unpack(decision::pack(kind, value)), (kind, value));
        }
    }
}
