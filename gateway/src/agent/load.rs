//! What the backend takes of this machine, from `/proc`.
//!
//! In: its process group and its port. Out: shares of processors and memory, connections, requests. What cannot be read counts as
//! nothing; where the kernel does not tell which connections are at work, all of them are.

use std::fs;
use std::path::Path;
use std::time::Instant;

use super::sockets::{self, Sockets};

/// One measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Load {
    /// Share of all processors since the measurement before.
    pub(super) cpu: f64,
    /// Share of the memory that it may have.
    pub(super) memory: f64,
    /// Resident bytes.
    pub(super) resident: u64,
    /// Connections to its port that stand.
    pub(super) connections: u64,
    /// Those on which a request is under way.
    pub(super) requests: u64,
}

/// Measures.
pub(super) struct Meter {
    group: u32,
    port: u16,
    before: Option<(Instant, u64)>,
    /// Clock ticks a second, bytes of a page, bytes that it may have.
    units: (f64, u64, u64),
    processors: f64,
}

/// What `/proc/PID/stat` says of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    state: u8,
    parent: u32,
    group: u32,
    ticks: u64,
    pages: u64,
}

impl Meter {
    /// Of this process group, at this address.
    pub(super) fn new(group: u32, address: &str) -> Meter {
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0);
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let page = rustix::param::page_size() as u64;
        let processors = std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64);
        Meter { group, port, before: None, units: (ticks, page, memory()), processors }
    }

    pub(super) fn measure(&mut self) -> Load {
        let (mut ticks, mut pages) = (0, 0);
        let orphans = std::process::id() == 1;
        for (pid, stat) in processes() {
            if stat.group == self.group {
                ticks += stat.ticks;
                pages += stat.pages;
            }
            // Nobody else sees to those whose parents have gone; the command itself is waited for elsewhere.
            if orphans && stat.state == b'Z' && stat.parent == 1 && pid != self.group {
                let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
                let _ = rustix::process::waitpid(pid, rustix::process::WaitOptions::NOHANG);
            }
        }
        let now = Instant::now();
        let before = self.before.replace((now, ticks));
        let (per_second, page, memory) = self.units;
        let cpu = before.map_or(0.0, |(then, before)| {
            let passed = now.duration_since(then).as_secs_f64().max(0.001);
            ticks.saturating_sub(before) as f64 / per_second / passed / self.processors
        });
        let resident = pages * page;
        let share = if memory > 0 { resident as f64 / memory as f64 } else { 0.0 };
        let Sockets { connections, requests } = self.sockets();
        Load { cpu, memory: share, resident, connections, requests }
    }

    /// Connections to the port that stand.
    pub(super) fn connections(&self) -> u64 {
        self.sockets().connections
    }

    fn sockets(&self) -> Sockets {
        sockets::count(self.port).unwrap_or_else(|| {
            let tables = ["/proc/net/tcp", "/proc/net/tcp6"].iter().filter_map(|file| fs::read_to_string(file).ok());
            let connections = tables.map(|table| established(&table, self.port)).sum();
            Sockets { connections, requests: connections }
        })
    }
}

impl Load {
    /// As the Open Request Cost Aggregation format writes it in JSON. `used` is the load as a share of what is too much.
    pub(super) fn json(&self, used: Option<f64>) -> String {
        let Load { cpu, memory, resident, connections, requests } = self;
        let mut report = serde_json::json!({
            "cpu_utilization": round(*cpu),
            "mem_utilization": round(*memory),
            "named_metrics": { "resident_bytes": resident, "connections": connections, "requests": requests },
        });
        if let (Some(used), Some(report)) = (used, report.as_object_mut()) {
            report.insert("application_utilization".to_owned(), round(used).into());
        }
        report.to_string()
    }

    /// The same in its text form, as `endpoint-load-metrics` carries it.
    pub(super) fn text(&self, used: Option<f64>) -> String {
        let Load { cpu, memory, resident, connections, requests } = self;
        let used = used.map(|used| format!("application_utilization={}, ", round(used))).unwrap_or_default();
        let (cpu, memory) = (round(*cpu), round(*memory));
        format!(
            "TEXT {used}cpu_utilization={cpu}, mem_utilization={memory}, named_metrics.resident_bytes={resident}, \
             named_metrics.connections={connections}, named_metrics.requests={requests}"
        )
    }
}

fn round(share: f64) -> f64 {
    (share * 10_000.0).round() / 10_000.0
}

fn processes() -> impl Iterator<Item = (u32, Stat)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Some((pid, stat(&fs::read_to_string(entry.path().join("stat")).ok()?)?))
    })
}

/// The name of the program stands in parentheses and may hold anything.
fn stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    // Fields 3, 4, 5, 14 to 17 and 24 of proc(5); children that were waited for are counted with their parent.
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        parent: number(1)?.try_into().ok()?,
        group: number(2)?.try_into().ok()?,
        ticks: (11..15).map(|at| number(at).unwrap_or(0)).sum(),
        pages: number(21)?,
    })
}

/// Rows of `/proc/net/tcp` with this local port, in the state 01.
fn established(table: &str, port: u16) -> u64 {
    let port = format!(":{port:04X}");
    let rows = table.lines().skip(1).filter(|row| {
        let mut fields = row.split_ascii_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&port)) && fields.nth(1) == Some("01")
    });
    rows.count() as u64
}

/// What this machine has, or what a container may have of it.
fn memory() -> u64 {
    let whole = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
    });
    let limit = |file: &str| fs::read_to_string(Path::new(file)).ok()?.trim().parse::<u64>().ok();
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    whole.into_iter().chain(limits.into_iter().filter_map(limit)).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let text = "12 (a) S 1) R 5 7 7 0 -1 4194304 1 0 0 0 10 20 3 4 20 0 1 0 100 5000 42 18446744073709551615";
        assert_eq!(stat(text), Some(Stat { state: b'R', parent: 5, group: 7, ticks: 37, pages: 42 }));
        assert_eq!(stat("12 (a) R"), None);
        assert_eq!(stat(""), None);
    }

    #[test]
    fn connections_that_stand_at_the_port_are_counted() {
        let table = "  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A\n   1: 0100007F:1F90 0100007F:C350 01\n   \
                     2: 0100007F:C350 0100007F:1F90 01\n";
        assert_eq!((established(table, 8080), established(table, 80), established("", 1)), (1, 0, 0));
    }

    #[test]
    fn load_has_two_forms() {
        let load = Load { cpu: 0.25, memory: 0.123456, resident: 1000, connections: 3, requests: 2 };
        assert_eq!(
            load.text(Some(0.5)),
            "TEXT application_utilization=0.5, cpu_utilization=0.25, mem_utilization=0.1235, \
             named_metrics.resident_bytes=1000, named_metrics.connections=3, named_metrics.requests=2"
        );
        let json: serde_json::Value = serde_json::from_str(&load.json(None)).unwrap();
        assert_eq!((&json["cpu_utilization"], &json["named_metrics"]["connections"]), (&0.25.into(), &3.into()));
        assert!(json["application_utilization"].is_null() && load.text(None).starts_with("TEXT cpu_utilization"));
    }

    #[test]
    fn we_ourselves_can_be_measured() {
        let group = rustix::process::getpgrp().as_raw_nonzero().get().unsigned_abs();
        let load = Meter::new(group, "127.0.0.1:1").measure();
        assert!(load.resident > 1 << 20 && load.memory > 0.0, "{load:?}");
    }
}
