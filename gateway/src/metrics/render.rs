//! The counts as Prometheus text (exposition format 0.0.4).
//!
//! Each family stands with its HELP and TYPE whether or not anything was counted. Names from the configuration are
//! escaped, so they cannot add lines or labels.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::cells::{BUCKETS, Distribution};
use super::families::{self as family, Family};
use super::{
    CacheRow, EndpointsRow, ListenerCells, Metrics, PluginRow, PoolCells, PoolRow, RouteCells, SearchRow, Shard, lock,
};

/// The content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const PROTOCOLS: [&str; 2] = ["h1", "h2"];
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Label names and values, in order.
type Labels<'a> = &'a [(&'a str, &'a str)];

/// Labels, connections opened, connections closed.
type ListenerRow<'a> = ([(&'a str, &'a str); 2], u64, u64);
/// One number of a pool's cells.
type Count = fn(&PoolCells) -> u64;

pub(super) struct Text {
    pub(super) out: String,
}

impl Metrics {
    /// All counts as text. Reads files of the system: not for a worker's thread.
    pub fn render(
        &self,
        plugins: &[PluginRow],
        endpoints: &[EndpointsRow],
        pools: &[PoolRow],
        searches: &[SearchRow],
        cache: &CacheRow,
    ) -> String {
        let mut text = Text { out: String::with_capacity(16 * 1024) };
        self.routes(&mut text);
        self.clients(&mut text);
        self.upstreams(&mut text);
        self.recoding(&mut text);
        self.endpoints(&mut text, endpoints);
        super::pools::render(&mut text, pools);
        text.family(&family::CACHE);
        for (status, count) in self.words(|shard| shard.cache.iter()) {
            text.line(family::CACHE.name, &[("status", status)], count);
        }
        super::disk::render(&mut text, cache);
        text.family(&family::LIMITS);
        for (name, count) in self.words(|shard| shard.limits.iter()) {
            text.line(family::LIMITS.name, &[("limit", name)], count);
        }
        super::searches::render(&mut text, searches);
        super::plugins::render(&mut text, plugins);
        self.process(&mut text);
        text.out
    }

    fn routes(&self, text: &mut Text) {
        let names = lock(&self.routes);
        let rows: Vec<(&str, &str, Vec<&RouteCells>)> = names
            .keys
            .iter()
            .zip(0u32..)
            .map(|((route, pool), number)| (&**route, &**pool, self.cells(|shard| shard.routes.existing(number))))
            .filter(|(_, _, cells)| cells.iter().any(|cell| cell.used()))
            .collect();
        text.family(&family::REQUESTS);
        for (route, pool, cells) in &rows {
            for (p, protocol) in PROTOCOLS.iter().enumerate() {
                for (c, class) in CLASSES.iter().enumerate() {
                    let count: u64 = cells.iter().map(|cell| cell.requests[p][c].value()).sum();
                    if count > 0 {
                        let labels = [("route", *route), ("pool", pool), ("status", class), ("protocol", protocol)];
                        text.line(family::REQUESTS.name, &labels, count);
                    }
                }
            }
        }
        text.family(&family::DURATION);
        for (route, pool, cells) in &rows {
            let mut total = Distribution::default();
            cells.iter().for_each(|cell| cell.duration.add_to(&mut total));
            text.histogram(family::DURATION.name, &[("route", route), ("pool", pool)], &total);
        }
        text.family(&family::RECEIVED);
        for (route, pool, cells) in &rows {
            let bytes = cells.iter().map(|cell| cell.bytes_in.value()).sum();
            text.line(family::RECEIVED.name, &[("route", route), ("pool", pool)], bytes);
        }
        text.family(&family::SENT);
        for (route, pool, cells) in &rows {
            let bytes = cells.iter().map(|cell| cell.bytes_out.value()).sum();
            text.line(family::SENT.name, &[("route", route), ("pool", pool)], bytes);
        }
        text.family(&family::IN_FLIGHT);
        text.line(family::IN_FLIGHT.name, &[], self.requests_in_flight());
    }

    fn clients(&self, text: &mut Text) {
        let names = lock(&self.listeners);
        let rows: Vec<ListenerRow<'_>> = names
            .keys
            .iter()
            .zip(0u32..)
            .map(|((address, tls), number)| {
                let cells: Vec<&ListenerCells> = self.cells(|shard| shard.listeners.existing(number));
                let opened = cells.iter().map(|cell| cell.opened.value()).sum();
                let closed = cells.iter().map(|cell| cell.closed.value()).sum();
                ([("listener", &**address), ("tls", if *tls { "true" } else { "false" })], opened, closed)
            })
            // A listener is worth a zero; the place for those beyond the bound is not.
            .enumerate()
            .filter(|(number, (_, opened, _))| *number > 0 || *opened > 0)
            .map(|(_, row)| row)
            .collect();
        text.family(&family::CONNECTIONS_OPEN);
        for (labels, opened, closed) in &rows {
            text.line(family::CONNECTIONS_OPEN.name, labels, opened.saturating_sub(*closed));
        }
        text.family(&family::CONNECTIONS);
        for (labels, opened, _) in &rows {
            text.line(family::CONNECTIONS.name, labels, *opened);
        }
        text.family(&family::CLOSED);
        for (reason, count) in self.words(|shard| shard.closed.iter()) {
            text.line(family::CLOSED.name, &[("reason", reason)], count);
        }
        text.family(&family::HANDSHAKES);
        let full = self.sum(|shard| shard.handshakes_full.value());
        text.line(family::HANDSHAKES.name, &[("result", "full"), ("error", "")], full);
        let resumed = self.sum(|shard| shard.handshakes_resumed.value());
        text.line(family::HANDSHAKES.name, &[("result", "resumed"), ("error", "")], resumed);
        for (error, count) in self.words(|shard| shard.handshakes_failed.iter()) {
            text.line(family::HANDSHAKES.name, &[("result", "failed"), ("error", error)], count);
        }
        let opened = self.sum(|shard| shard.tunnels_opened.value());
        let closed = self.sum(|shard| shard.tunnels_closed.value());
        text.single(&family::TUNNELS_OPEN, opened.saturating_sub(closed));
        text.single(&family::TUNNELS, opened);
        text.family(&family::FILES);
        for (knew, count) in self.words(|shard| shard.files.iter()) {
            text.line(family::FILES.name, &[("knew", knew)], count);
        }
    }

    fn upstreams(&self, text: &mut Text) {
        let names = lock(&self.pools);
        let rows: Vec<(&str, Vec<&PoolCells>)> = names
            .keys
            .iter()
            .zip(0u32..)
            .map(|(name, number)| (&**name, self.cells(|shard| shard.pools.existing(number))))
            .filter(|(_, cells)| cells.iter().any(|cell| cell.used()))
            .collect();
        text.family(&family::FIRST_BYTE);
        for (pool, cells) in &rows {
            let mut total = Distribution::default();
            cells.iter().for_each(|cell| cell.first_byte.add_to(&mut total));
            text.histogram(family::FIRST_BYTE.name, &[("pool", pool)], &total);
        }
        let sum = |cells: &[&PoolCells], count: Count| cells.iter().map(|cell| count(cell)).sum::<u64>();
        text.family(&family::UPSTREAM_OPEN);
        for (pool, cells) in &rows {
            let open = sum(cells, |cell| cell.opened.value()).saturating_sub(sum(cells, |cell| cell.closed.value()));
            text.line(family::UPSTREAM_OPEN.name, &[("pool", pool)], open);
        }
        text.family(&family::UPSTREAM_CONNECTIONS);
        let events: [(&str, Count); 4] = [
            ("opened", |cell| cell.opened.value()),
            ("reused", |cell| cell.reused.value()),
            ("failed", |cell| cell.failed.value()),
            ("closed", |cell| cell.closed.value()),
        ];
        for (pool, cells) in &rows {
            for (event, count) in events {
                text.line(family::UPSTREAM_CONNECTIONS.name, &[("pool", pool), ("event", event)], sum(cells, count));
            }
        }
        text.family(&family::UPSTREAM_ERRORS);
        for (pool, cells) in &rows {
            for (error, count) in merge(cells.iter().map(|cell| cell.errors.iter())) {
                text.line(family::UPSTREAM_ERRORS.name, &[("pool", pool), ("error", error)], count);
            }
        }
        text.family(&family::RETRIES);
        for (pool, cells) in &rows {
            text.line(family::RETRIES.name, &[("pool", pool)], sum(cells, |cell| cell.retries.value()));
        }
        text.family(&family::RETRIES_REFUSED);
        for (pool, cells) in &rows {
            text.line(family::RETRIES_REFUSED.name, &[("pool", pool)], sum(cells, |cell| cell.retries_refused.value()));
        }
        text.family(&family::FULL);
        for (pool, cells) in &rows {
            for (limit, count) in merge(cells.iter().map(|cell| cell.full.iter())) {
                text.line(family::FULL.name, &[("pool", pool), ("limit", limit)], count);
            }
        }
        text.family(&family::REFUSED);
        for (pool, cells) in &rows {
            for (limit, count) in merge(cells.iter().map(|cell| cell.refused.iter())) {
                text.line(family::REFUSED.name, &[("pool", pool), ("limit", limit)], count);
            }
        }
        text.family(&family::SHED);
        for (pool, cells) in &rows {
            for (reason, count) in merge(cells.iter().map(|cell| cell.shed.iter())) {
                text.line(family::SHED.name, &[("pool", pool), ("reason", reason)], count);
            }
        }
        text.family(&family::HEDGES);
        for (pool, cells) in &rows {
            for (event, count) in merge(cells.iter().map(|cell| cell.hedges.iter())) {
                text.line(family::HEDGES.name, &[("pool", pool), ("event", event)], count);
            }
        }
        text.family(&family::MIRRORED);
        for (pool, cells) in &rows {
            for (result, count) in merge(cells.iter().map(|cell| cell.mirrored.iter())) {
                text.line(family::MIRRORED.name, &[("pool", pool), ("result", result)], count);
            }
        }
    }

    fn process(&self, text: &mut Text) {
        text.family(&family::RELOADS);
        text.line(family::RELOADS.name, &[("result", "ok")], self.reloads_ok.value());
        text.line(family::RELOADS.name, &[("result", "failed")], self.reloads_failed.value());
        let config = lock(&self.config);
        text.single(&family::RELOAD_OK, u64::from(!config.last_failed));
        text.family(&family::RELOAD_TIME);
        text.family(&family::CONFIG);
        if let Some(loaded) = config.loaded {
            text.line(family::CONFIG.name, &[("hash", &config.hash)], 1);
            text.seconds(family::RELOAD_TIME.name, loaded);
        }
        text.single(&family::LOG_DROPPED, self.dropped_log_lines());
        text.single(&family::WORKERS, self.shards.len() as u64);
        text.family(&family::MEMORY);
        if let Some(bytes) = resident_memory() {
            text.line(family::MEMORY.name, &[], bytes);
        }
        text.family(&family::STARTED);
        text.seconds(family::STARTED.name, self.started);
        text.family(&family::BUILD);
        text.line(family::BUILD.name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    }

    fn cells<'m, T>(&'m self, find: impl Fn(&'m Shard) -> Option<&'m T>) -> Vec<&'m T> {
        self.shards.iter().filter_map(|shard| find(shard)).collect()
    }

    fn words<'m, I>(&'m self, words: impl Fn(&'m Shard) -> I) -> BTreeMap<&'static str, u64>
    where
        I: Iterator<Item = (&'static str, u64)>,
    {
        merge(self.shards.iter().map(|shard| words(shard)))
    }
}

impl RouteCells {
    fn used(&self) -> bool {
        self.requests.iter().flatten().any(|count| count.value() > 0)
    }
}

impl PoolCells {
    fn used(&self) -> bool {
        [&self.opened, &self.reused, &self.failed].iter().any(|count| count.value() > 0)
            || self.errors.iter().next().is_some()
            || self.mirrored.iter().next().is_some()
    }
}

impl Text {
    pub(super) fn family(&mut self, family: &Family) {
        let _ = writeln!(self.out, "# HELP {} {}", family.name, family.help);
        let _ = writeln!(self.out, "# TYPE {} {}", family.name, family.kind.text());
    }

    fn single(&mut self, family: &Family, value: u64) {
        self.family(family);
        self.line(family.name, &[], value);
    }

    /// A value with a fraction, perhaps of a bucket.
    pub(super) fn number(&mut self, name: &str, labels: Labels<'_>, bound: Option<&str>, value: f64) {
        self.out.push_str(name);
        self.labels(labels, bound);
        let _ = writeln!(self.out, " {value}");
    }

    pub(super) fn line(&mut self, name: &str, labels: Labels<'_>, value: u64) {
        self.out.push_str(name);
        self.labels(labels, None);
        let _ = writeln!(self.out, " {value}");
    }

    fn seconds(&mut self, name: &str, time: SystemTime) {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let _ = writeln!(self.out, "{name} {}.{:03}", since.as_secs(), since.subsec_millis());
    }

    fn histogram(&mut self, name: &str, labels: Labels<'_>, total: &Distribution) {
        let mut count = 0;
        let bounds = BUCKETS.iter().map(|(_, bound)| *bound).chain(["+Inf"]);
        for (bound, here) in bounds.zip(total.buckets.iter().chain([&total.beyond])) {
            count += here;
            let _ = write!(self.out, "{name}_bucket");
            self.labels(labels, Some(bound));
            let _ = writeln!(self.out, " {count}");
        }
        let _ = write!(self.out, "{name}_sum");
        self.labels(labels, None);
        let _ = writeln!(self.out, " {}.{:09}", total.sum_ns / 1_000_000_000, total.sum_ns % 1_000_000_000);
        let _ = write!(self.out, "{name}_count");
        self.labels(labels, None);
        let _ = writeln!(self.out, " {count}");
    }

    fn labels(&mut self, labels: Labels<'_>, bound: Option<&str>) {
        let all = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        let mut separator = '{';
        for (name, value) in all {
            self.out.push(separator);
            separator = ',';
            let _ = write!(self.out, "{name}=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        if separator == ',' {
            self.out.push('}');
        }
    }
}

fn merge<I>(parts: impl Iterator<Item = I>) -> BTreeMap<&'static str, u64>
where
    I: Iterator<Item = (&'static str, u64)>,
{
    let mut all = BTreeMap::new();
    for (word, count) in parts.flatten() {
        *all.entry(word).or_default() += count;
    }
    all
}

/// What Linux says of us; other systems have no such file.
fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::super::*;
    use crate::http::{StatusCode, Version};

    fn finished(route: RouteId) -> Finished {
        let duration = Duration::from_millis(3);
        Finished { route, status: Some(StatusCode::OK), version: Version::Http2, duration, bytes_in: 5, bytes_out: 7 }
    }

    #[test]
    fn workers_are_added_together() {
        let metrics = Metrics::new(2);
        let route = metrics.register_route("shop", Some("api"));
        for index in 0..2 {
            let worker = metrics.worker(index).unwrap();
            worker.request_begun();
            worker.request_finished(&finished(route));
        }
        let text = metrics.render(&[], &[], &[], &[], &CacheRow::default());
        let labels = "route=\"shop\",pool=\"api\"";
        assert!(text.contains(&format!("gatewright_requests_total{{{labels},status=\"2xx\",protocol=\"h2\"}} 2\n")));
        assert!(text.contains(&format!("gatewright_request_duration_seconds_bucket{{{labels},le=\"0.0025\"}} 0\n")));
        assert!(text.contains(&format!("gatewright_request_duration_seconds_bucket{{{labels},le=\"0.005\"}} 2\n")));
        assert!(text.contains(&format!("gatewright_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 2\n")));
        assert!(text.contains(&format!("gatewright_request_duration_seconds_sum{{{labels}}} 0.006000000\n")));
        assert!(text.contains(&format!("gatewright_response_bytes_total{{{labels}}} 14\n")));
        assert!(text.contains("gatewright_requests_in_flight 0\n"));
    }

    #[test]
    fn the_same_name_keeps_its_counts_and_too_many_share_one() {
        let metrics = Metrics::new(1);
        let first = metrics.register_route("a", None);
        assert_eq!(metrics.register_route("a", None), first);
        assert_ne!(metrics.register_route("a", Some("p")), first);
        for n in 0..NAMES {
            metrics.register_route(&format!("r{n}"), None);
        }
        assert_eq!(metrics.register_route("one more", None), RouteId::default());
        assert_eq!(metrics.register_route("a", None), first);
        let worker = metrics.worker(0).unwrap();
        worker.request_finished(&finished(RouteId::default()));
        assert!(
            metrics
                .render(&[], &[], &[], &[], &CacheRow::default())
                .contains("gatewright_requests_total{route=\"other\",pool=\"\",status=\"2xx\"")
        );
    }

    #[test]
    fn only_one_hand_counts_for_a_worker() {
        let metrics = Metrics::new(1);
        let worker = metrics.worker(0).unwrap();
        assert!(metrics.worker(0).is_none());
        drop(worker);
        assert!(metrics.worker(0).is_some());
        assert!(metrics.worker(1).is_none());
    }

    #[test]
    fn names_from_outside_cannot_add_lines() {
        let metrics = Metrics::new(1);
        let route = metrics.register_route("a\"} 1\nb\\", None);
        metrics.worker(0).unwrap().request_finished(&finished(route));
        assert!(
            metrics
                .render(&[], &[], &[], &[], &CacheRow::default())
                .contains("{route=\"a\\\"} 1\\nb\\\\\",pool=\"\",status")
        );
    }

    #[test]
    fn the_text_holds_each_family_of_the_table_once_and_nothing_else() {
        let metrics = Metrics::new(1);
        let pool = metrics.register_pool("p");
        let listener = metrics.register_listener("127.0.0.1:80", true);
        metrics.reload_succeeded("abc", SystemTime::now());
        metrics.reload_failed();
        let worker = metrics.worker(0).unwrap();
        worker.request_begun();
        worker.request_finished(&finished(RouteId::UNMATCHED));
        worker.connection_opened(listener);
        worker.connection_closed(listener, Ending::Client);
        worker.handshake(Handshake::Failed("bad"));
        worker.upstream_connection(pool, Connection::Opened);
        worker.upstream_error(pool, "connect-failed");
        worker.limit_hit("connections");
        let text = metrics.render(&[], &[], &[], &[], &CacheRow::default());
        let helps: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
        assert_eq!(helps.len(), TABLE.len());
        for family in TABLE {
            assert!(helps.contains(&family.name), "{}", family.name);
            assert!(family.name.starts_with("gatewright_"));
            assert_eq!(family.kind == Type::Counter, family.name.ends_with("_total"), "{}", family.name);
        }
        let mut series = HashSet::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(series.insert(name), "{name} twice");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let plain = name.split('{').next().unwrap();
            let family = TABLE.iter().find(|family| {
                let suffixes: &[&str] =
                    if family.kind == Type::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
                plain.strip_prefix(family.name).is_some_and(|rest| suffixes.contains(&rest))
            });
            let family = family.unwrap_or_else(|| panic!("{plain} is not in the table"));
            let labels = name.split_once('{').map_or("", |(_, labels)| labels.trim_end_matches('}'));
            for label in labels.split("\",").filter(|label| !label.is_empty()) {
                let label = label.split('=').next().unwrap();
                assert!(label == "le" || family.labels.split(", ").any(|l| l == label), "{name}");
            }
        }
    }
}
