//! Every metric: its name, its type, its labels, its meaning. The one table behind the output and the documentation.

/// What the values of a metric are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    /// It only grows.
    Counter,
    /// It rises and falls.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Family {
    /// As Prometheus knows it.
    pub name: &'static str,
    /// What its values are.
    pub kind: Type,
    /// The names of its labels, separated by commas.
    pub labels: &'static str,
    /// What it counts.
    pub help: &'static str,
}

impl Type {
    /// As the output spells it.
    pub fn text(self) -> &'static str {
        match self {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        }
    }
}

macro_rules! families {
    ($($constant:ident = $kind:ident $name:literal ($labels:literal) $help:literal;)*) => {
        $(pub(super) const $constant: Family =
            Family { name: $name, kind: Type::$kind, labels: $labels, help: $help };)*

        /// All metrics, in the order of the output.
        pub const TABLE: &[Family] = &[$($constant),*];
    };
}

families! {
    REQUESTS = Counter "gatewright_requests_total" ("route, pool, status, protocol")
        "Requests that were answered or given up, by status class (2xx; none when nobody was told) and protocol (h1, h2).";
    DURATION = Histogram "gatewright_request_duration_seconds" ("route, pool")
        "From the first byte of a request head to the last byte of its response.";
    RECEIVED = Counter "gatewright_request_bytes_total" ("route, pool")
        "Bytes of request bodies.";
    SENT = Counter "gatewright_response_bytes_total" ("route, pool")
        "Bytes of response bodies.";
    IN_FLIGHT = Gauge "gatewright_requests_in_flight" ("")
        "Requests that have begun and not ended.";
    CONNECTIONS_OPEN = Gauge "gatewright_connections_open" ("listener, tls")
        "Client connections now.";
    CONNECTIONS = Counter "gatewright_connections_total" ("listener, tls")
        "Client connections that were accepted.";
    CLOSED = Counter "gatewright_connections_closed_total" ("reason")
        "Client connections that ended, by reason.";
    HANDSHAKES = Counter "gatewright_tls_handshakes_total" ("result, error")
        "TLS handshakes with clients: full, resumed, or failed with an error.";
    TUNNELS_OPEN = Gauge "gatewright_tunnels_open" ("")
        "WebSocket and other upgraded connections now.";
    TUNNELS = Counter "gatewright_tunnels_total" ("")
        "Connections that were upgraded.";
    FILES = Counter "gatewright_files_found_total" ("knew")
        "Static files, lists and redirects, by who knew what there is: memory (the gateway's, no system call), system (without waiting), disk (the blocking pool was asked).";
    COMPRESSION = Counter "gatewright_compression_responses_total" ("encoding, action")
        "Responses that the gateway compressed, or decompressed for clients that cannot.";
    COMPRESSION_IN = Counter "gatewright_compression_bytes_in_total" ("encoding, action")
        "Bytes of their bodies before that.";
    COMPRESSION_OUT = Counter "gatewright_compression_bytes_out_total" ("encoding, action")
        "Bytes of their bodies after it.";
    COMPRESSION_TIME = Counter "gatewright_compression_seconds_total" ("encoding, action")
        "Time that workers spent on it.";
    BUSY = Gauge "gatewright_worker_busy_ratio" ("worker")
        "The share of its time that a worker works; above 0.6 it compresses less.";
    FIRST_BYTE = Histogram "gatewright_upstream_first_byte_seconds" ("pool")
        "From the request sent to the first byte of the upstream's response.";
    UPSTREAM_OPEN = Gauge "gatewright_upstream_connections_open" ("pool")
        "Upstream connections now, idle ones included.";
    UPSTREAM_CONNECTIONS = Counter "gatewright_upstream_connections_total" ("pool, event")
        "Upstream connections: opened, reused for a further request, failed to open, closed.";
    UPSTREAM_ERRORS = Counter "gatewright_upstream_errors_total" ("pool, error")
        "Attempts that failed at an upstream, by kind.";
    RETRIES = Counter "gatewright_upstream_retries_total" ("pool")
        "Requests that were sent to an upstream once more.";
    RETRIES_REFUSED = Counter "gatewright_upstream_retries_refused_total" ("pool")
        "Requests that were not sent once more, or to a second endpoint, since the retry budget was spent.";
    FULL = Counter "gatewright_upstream_full_total" ("pool, limit")
        "Requests that found no room at an endpoint (max_requests) or in the pool (max_pool_requests), and waited.";
    REFUSED = Counter "gatewright_upstream_refused_total" ("pool, limit")
        "Those of them that were not let wait, or waited in vain.";
    SHED = Counter "gatewright_upstream_shed_total" ("pool, reason")
        "Requests that were refused by the limit that the pool has found (adaptive): it is reached (queue), nothing is answered any more (silence), or a probe took too long (probe).";
    ENDPOINTS = Gauge "gatewright_endpoints" ("pool, state")
        "Endpoints of each pool, each in one state: healthy; healthy and warming or overloaded, which get less; spare, which are healthy and not in the subset; draining; ejected; unhealthy.";
    POOL_REPORTING = Gauge "gatewright_pool_load_reporting" ("pool")
        "Endpoints of a pool whose last report of their load still counts.";
    POOL_REPORTS = Counter "gatewright_pool_load_reports_total" ("pool, result")
        "Reports of load by endpoints: taken, unreadable, or failed when one was asked in vain.";
    POOL_LIMIT = Gauge "gatewright_pool_concurrency_limit" ("pool")
        "Requests that a pool may have at its endpoints at the same time, where it finds that out by itself (adaptive).";
    POOL_CONCURRENCY = Gauge "gatewright_pool_concurrency" ("pool")
        "Those that wait there for the first byte of their answer now.";
    POOL_DISTRUSTED = Gauge "gatewright_pool_distrusted" ("pool")
        "Whether so few endpoints of a pool are well that this is not believed and all get requests (1).";
    POOL_DISTRUSTS = Counter "gatewright_pool_distrusts_total" ("pool")
        "How often that began.";
    POOL_SHARE = Gauge "gatewright_pool_priority_share" ("pool, priority")
        "The share of requests that is for each priority of a pool, where it has several.";
    POOL_ZONE = Gauge "gatewright_pool_zone_share" ("pool, zone")
        "The share of requests that is for each zone of a pool, where the gateway's own is preferred.";
    HEDGES = Counter "gatewright_upstream_hedges_total" ("pool, event")
        "Requests that a second endpoint got beside the first: sent to it, won by it; or refused, since there were too many.";
    MIRRORED = Counter "gatewright_mirrored_requests_total" ("pool, result")
        "Copies of requests for a pool (mirror), by what became of them: answered, failed; not made since there were too many (full); given up since the pool was slower (slow) or the request itself broke off (broken).";
    ENDPOINT_UP = Gauge "gatewright_endpoint_up" ("pool, endpoint")
        "Whether an endpoint is healthy and not ejected (1) or not (0); for pools with at most 100 endpoints.";
    CHECKS = Counter "gatewright_health_checks_total" ("pool, result")
        "Checks of endpoints: ok, what was wrong (connect, tls, timeout, status, body, broken), or not-made.";
    EJECTIONS = Counter "gatewright_ejections_total" ("pool, cause")
        "Endpoints that were left out for a while, by cause (failures, connects, success, latency).";
    CACHE = Counter "gatewright_cache_requests_total" ("status")
        "Requests on routes with a cache: hit, or why they went on, in the words of Cache-Status.";
    CACHE_ENTRIES = Gauge "gatewright_cache_entries" ("")
        "What the cache holds in memory: responses, parts of some, and notes of what could not be kept.";
    CACHE_BYTES = Gauge "gatewright_cache_bytes" ("")
        "Memory that it takes, of limits.cache_size.";
    CACHE_COMING = Gauge "gatewright_cache_coming_bytes" ("")
        "Bytes of bodies that come just now and may be kept, beside it.";
    CACHE_DISK = Gauge "gatewright_cache_disk_info" ("stage")
        "How far the folder of the cache is in use: waiting (for it), scanning (what lies there), serving or ended; always 1.";
    CACHE_DISK_ENTRIES = Gauge "gatewright_cache_disk_entries" ("")
        "Responses that lie on disk.";
    CACHE_DISK_BYTES = Gauge "gatewright_cache_disk_bytes" ("")
        "Bytes of the disk that they take.";
    CACHE_DISK_INDEX = Gauge "gatewright_cache_disk_index_bytes" ("")
        "Memory that is taken to know what lies there.";
    CACHE_DISK_WAITING = Gauge "gatewright_cache_disk_waiting_bytes" ("")
        "Bytes of responses that wait to be written.";
    CACHE_DISK_EVENTS = Counter "gatewright_cache_disk_events_total" ("event")
        "What happened to responses on disk: written, freshened, read, evicted, removed, dropped (before they were written), too-large, busy (not read, as too many were), gone, damaged, read-failed, write-failed.";
    LIMITS = Counter "gatewright_limits_hit_total" ("limit")
        "How often each bound was met.";
    FOUND = Gauge "gatewright_discovery_endpoints" ("pool, source")
        "Endpoints that were found for a pool, besides those of the configuration.";
    SEARCH_CONNECTED = Gauge "gatewright_discovery_connected" ("pool, source")
        "Whether the file or registry with a pool's endpoints can be read (1); if not (0), the last ones stay.";
    SEARCH_UPDATES = Counter "gatewright_discovery_updates_total" ("pool, source")
        "How often other endpoints were found for a pool.";
    SEARCH_FAILURES = Counter "gatewright_discovery_failures_total" ("pool, source")
        "How often a file or registry could not be read, or something in it.";
    PLUGIN_INFO = Gauge "gatewright_plugin_info" ("plugin, version")
        "The version of each plugin that is in force; always 1.";
    PLUGIN_TRIAL = Gauge "gatewright_plugin_trial" ("plugin, version, stage")
        "The version of each plugin that is on trial, and how; always 1.";
    PLUGIN_SWAPS = Counter "gatewright_plugin_swaps_total" ("plugin, result")
        "Attempts to bring another version of a plugin into force, by how they ended.";
    PLUGIN_FAULTS = Counter "gatewright_plugin_faults_total" ("plugin, fault")
        "Calls of plugins that failed, by fault.";
    PLUGIN_LINES = Counter "gatewright_plugin_log_lines_dropped_total" ("plugin")
        "Log lines of plugins that were too many.";
    PLUGIN_SERIES = Counter "gatewright_plugin_series_refused_total" ("plugin")
        "How often plugins wanted more series of metrics than they may have.";
    RELOADS = Counter "gatewright_reloads_total" ("result")
        "Configuration reloads: ok or failed.";
    RELOAD_OK = Gauge "gatewright_config_last_reload_successful" ("")
        "Whether the last reload took effect (1) or the configuration before it stayed (0).";
    RELOAD_TIME = Gauge "gatewright_config_last_success_timestamp_seconds" ("")
        "When the configuration in use was loaded.";
    CONFIG = Gauge "gatewright_config_info" ("hash")
        "The configuration in use; always 1.";
    LOG_DROPPED = Counter "gatewright_access_log_dropped_lines_total" ("")
        "Access-log lines that could not be written.";
    WORKERS = Gauge "gatewright_workers" ("")
        "Worker threads.";
    MEMORY = Gauge "gatewright_process_resident_memory_bytes" ("")
        "Memory of the process.";
    STARTED = Gauge "gatewright_process_start_time_seconds" ("")
        "When the gateway started.";
    BUILD = Gauge "gatewright_build_info" ("version")
        "The version of the gateway; always 1.";
}
