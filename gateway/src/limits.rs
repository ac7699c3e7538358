//! Every bound of the gateway: its name, its unit, its default, what it bounds.
//!
//! The one table below makes the struct, the configuration keys of `[limits]`, and the table in the documentation
//! (a test holds that one against this). What is bounded elsewhere is bounded by a pool's or a route's own keys.

use std::time::Duration;

use smallvec::SmallVec;

/// A bound as text: name, default, meaning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// The key in `[limits]`.
    pub name: &'static str,
    /// The default as one would write it in the configuration.
    pub default: &'static str,
    /// What is bounded and what happens beyond it.
    pub meaning: &'static str,
}

/// How a bound is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    /// A whole number.
    Count(u64),
    /// Bytes, written `"64KiB"`.
    Size(u64),
    /// A time, written `"250ms"`.
    Time(Duration),
}

macro_rules! limits {
    (@type count) => { u32 };
    (@type size) => { u64 };
    (@type time) => { Duration };
    (@value count $n:literal $t:literal) => { $n };
    (@value size $n:literal $t:literal) => { $n };
    (@value time $n:literal $t:literal) => { Duration::from_millis($n) };
    (@set count $slot:expr, $value:expr) => {
        match $value { Value::Count(n) => u32::try_from(n).map(|n| $slot = n).map_err(|_| "a number below 4294967296"), _ => Err("a whole number") }
    };
    (@set size $slot:expr, $value:expr) => {
        match $value { Value::Size(n) | Value::Count(n) => { $slot = n; Ok(()) } _ => Err("a size such as \"64KiB\"") }
    };
    (@set time $slot:expr, $value:expr) => {
        match $value { Value::Time(t) => { $slot = t; Ok(()) } _ => Err("a time such as \"250ms\"") }
    };
    ($($name:ident: $kind:ident = $number:literal, $text:literal, $meaning:literal;)*) => {
        /// Every bound, with its value.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct Limits {
            $(#[doc = $meaning] pub $name: limits!(@type $kind),)*
        }

        impl Default for Limits {
            fn default() -> Limits {
                Limits { $($name: limits!(@value $kind $number $text),)* }
            }
        }

        /// The table of bounds, in order.
        pub const TABLE: &[Row] = &[$(Row { name: stringify!($name), default: $text, meaning: $meaning },)*];

        /// What kind of value each bound takes, in the order of [`TABLE`].
        pub const KINDS: &[Unit] = &[$(limits!(@unit $kind),)*];

        impl Limits {
            /// Sets a bound by its name. `Err(None)`: there is none of this name; `Err(Some(what))`: it takes `what`.
            pub fn set(&mut self, name: &str, value: Value) -> Result<(), Option<&'static str>> {
                match name {
                    $(stringify!($name) => limits!(@set $kind self.$name, value).map_err(Some),)*
                    _ => Err(None),
                }
            }
        }
    };
    (@unit count) => { Unit::Count };
    (@unit size) => { Unit::Size };
    (@unit time) => { Unit::Time };
}

/// Bounds that were met, by name, where they cannot be counted at once.
#[derive(Default, Debug)]
pub struct Hits(SmallVec<[(&'static str, u64); 1]>);

impl Hits {
    /// One more.
    pub fn add(&mut self, name: &'static str) {
        match self.0.iter_mut().find(|(other, _)| *other == name) {
            Some((_, count)) => *count += 1,
            None => self.0.push((name, 1)),
        }
    }

    /// The names, and how often each bound was met.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().copied()
    }
}

/// What kind of value a bound takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// A whole number.
    Count,
    /// Bytes.
    Size,
    /// A time.
    Time,
}

limits! {
    connections: count = 100000, "100000", "Client connections in all, or fewer where the system allows too few open files; beyond it new ones are closed at once.";
    connections_per_address: count = 4096, "4096", "Client connections from one address (IPv6: one /64); beyond it new ones are closed at once.";
    tls_handshake_time: time = 10000, "\"10s\"", "From accept to the end of the TLS handshake, with the PROXY header before it.";
    header_time: time = 15000, "\"15s\"", "From the first byte of a request head to its last; 408 beyond it.";
    header_size: size = 65536, "\"64KiB\"", "Start line and fields of one head, in either direction; 431 beyond it (502 from an upstream).";
    header_fields: count = 128, "128", "Fields of one head or trailer section; 431 beyond it (502 from an upstream).";
    uri_size: size = 16384, "\"16KiB\"", "The request target; 414 beyond it.";
    body_size: size = 1073741824, "\"1GiB\"", "A request body; 413 beyond it. A route may set its own.";
    body_idle_time: time = 60000, "\"60s\"", "Without any progress of a body, in either direction; the exchange ends beyond it.";
    half_close_time: time = 5000, "\"5s\"", "Without progress of a response to a client that has shut down its sending side; it is taken to be gone beyond it.";
    body_min_rate: size = 240, "\"240B\"", "Bytes a second of a request body while its client is waited for, over a patience of `body_idle_time`; 408 beyond it. 0: any pace. A route may set its own.";
    discard_size: size = 262144, "\"256KiB\"", "Of a request body that nobody wants, read so that the client gets to read the answer and the connection can be kept.";
    chunk_header_size: size = 256, "\"256B\"", "A chunk-size line with its extensions; 400 beyond it.";
    idle_time: time = 75000, "\"75s\"", "A client connection without a request; it is closed beyond it.";
    keepalive_requests: count = 100000, "100000", "Requests on one client connection; it is closed politely after them.";
    tunnel_idle_time: time = 3600000, "\"1h\"", "A WebSocket or other upgraded connection without a byte in either direction.";
    http2_streams: count = 128, "128", "Requests at the same time on one HTTP/2 connection; further ones are refused.";
    http2_resets_per_second: count = 200, "200", "Streams that a client opens and resets in a second (rapid reset); the connection ends beyond it.";
    http2_header_list_size: size = 65536, "\"64KiB\"", "The decoded head of one HTTP/2 request, 32 bytes added for each field; 431 beyond it.";
    http2_continuation_frames: count = 8, "8", "CONTINUATION frames of one head; the connection ends beyond it.";
    http2_control_frames_per_second: count = 1000, "1000", "SETTINGS, PING, PRIORITY, WINDOW_UPDATE on idle streams and other frames that carry nothing, in a second; the connection ends beyond it. Upstreams may send ten times as many, and what runs is finished.";
    http2_empty_frames_per_second: count = 200, "200", "Empty DATA, HEADERS or CONTINUATION frames in a second; the connection ends beyond it. Upstreams may send ten times as many, and what runs is finished.";
    http2_small_frames_per_second: count = 20000, "20000", "DATA frames with fewer than 16 bytes from a client, the last of a body aside, in a second; the connection ends beyond it.";
    http2_stream_window: size = 262144, "\"256KiB\"", "What a peer may send on one HTTP/2 stream before it is read.";
    http2_connection_window: size = 1048576, "\"1MiB\"", "What a client may send on one HTTP/2 connection before it is read. What an upstream sends is bounded by `http2_stream_window` for each request alone, so that slow clients do not hold up others.";
    http2_header_table_size: size = 4096, "\"4KiB\"", "The HPACK table of each direction of a connection.";
    http2_send_buffer_size: size = 65536, "\"64KiB\"", "What waits to be written on one HTTP/2 connection before streams are held back.";
    upstream_idle_time: time = 60000, "\"60s\"", "An upstream connection that waits for a request; it is closed beyond it.";
    upstream_idle_connections: count = 256, "256", "Waiting connections to one endpoint, by worker; more are closed.";
    access_log_queue_size: size = 8388608, "\"8MiB\"", "Access-log lines that wait to be written; beyond it new ones are dropped and counted.";
    file_cache_size: size = 67108864, "\"64MiB\"", "Static files that each worker keeps in memory; the least used go beyond it.";
    file_cache_time: time = 200, "\"200ms\"", "How long a static file in memory is served before the disk is asked whether it changed.";
    compression_memory: size = 134217728, "\"128MiB\"", "What compressing and decompressing takes, by worker; beyond it responses are sent as they are, and one that its client cannot take is answered with 503.";
    decoded_size: size = 1073741824, "\"1GiB\"", "A response that is decompressed for its client; it breaks off beyond it.";
    cache_size: size = 268435456, "\"256MiB\"", "Responses that all workers keep together in memory, their heads and what holds them counted; the least used go beyond it. A quarter of it may be bodies that are still coming.";
    cache_disk_index_size: size = 268435456, "\"256MiB\"", "Memory to know what lies in the folder of the cache, some 400 bytes for each response; the least used go from the disk beyond it.";
    cache_disk_queue_size: size = 33554432, "\"32MiB\"", "Responses that wait to be written to the folder of the cache; what comes beyond it is not written, and counted.";
    cache_disk_reads: count = 64, "64", "Responses that are read from the folder of the cache at the same time; beyond it the pool is asked.";
    health_checks: count = 256, "256", "Checks of endpoints' health at the same time, in all pools; others wait for their turn.";
    health_body_size: size = 65536, "\"64KiB\"", "Of the body of an answer to a health check, read to look for the text that it is to have.";
    plugin_download_time: time = 60000, "\"60s\"", "For fetching one plugin from elsewhere, redirects and tokens included; the configuration that wants it does not come into force beyond it.";
    discovered_endpoints: count = 20000, "20000", "Endpoints of one pool that a file or registry may name; a list with more is not believed.";
    discovery_time: time = 5000, "\"5s\"", "For the first answer of files and registries with endpoints, at the start and at a reload; beyond it the gateway goes on without.";
    plugin_compile_time: time = 60000, "\"60s\"", "For compiling one module; the push or configuration that wants it does not come into force beyond it, and a gateway does not start with it.";
    drain_time: time = 30000, "\"30s\"", "From the call to stop until what still runs is cut.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bound_can_be_set_by_its_name() {
        for (row, unit) in TABLE.iter().zip(KINDS) {
            let value = match unit {
                Unit::Count => Value::Count(7),
                Unit::Size => Value::Size(7),
                Unit::Time => Value::Time(Duration::from_millis(7)),
            };
            let mut limits = Limits::default();
            assert_eq!(limits.set(row.name, value), Ok(()), "{}", row.name);
            assert_ne!(limits, Limits::default(), "{}", row.name);
        }
        assert_eq!(Limits::default().set("no_such", Value::Count(1)), Err(None));
        assert!(matches!(Limits::default().set("header_time", Value::Count(1)), Err(Some(_))));
    }
}
