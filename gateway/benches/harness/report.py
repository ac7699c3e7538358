"""Results as tables in the terminal, as Markdown, and as JSON."""

from __future__ import annotations

import dataclasses
import datetime
import json
from dataclasses import dataclass, field
from statistics import median

from .explain import Explained
from .measure import IdleResult, LoadResult
from .workloads import Load

MEMORY_AT_REST_MAX = 20e6
IDLE_CONNECTION_MAX = 10e3


@dataclass
class Report:
    """A whole run."""

    machine: dict[str, str]
    versions: dict[str, str]
    cores: str
    rounds: int
    seconds: int
    loads: list[LoadResult] = field(default_factory=list)
    idles: list[IdleResult] = field(default_factory=list)
    when: str = field(default_factory=lambda: datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"))

    def context(self) -> list[str]:
        m = self.machine
        return [
            f"{m['processor']}, {m['cores']} cores, Linux {m['kernel']}, load before the run {m['load']}; {self.when}",
            f"{self.cores}; {self.rounds} rounds of {self.seconds} s; medians",
            ", ".join(f"{name} {version}" for name, version in self.versions.items()),
        ]


@dataclass
class Table:
    title: str
    head: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        widths = [max(len(row[i]) for row in [self.head, *self.rows]) for i in range(len(self.head))]

        def line(row: list[str]) -> str:
            cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
            return "  " + "  ".join(cells).rstrip()

        return "\n".join([self.title, line(self.head), *map(line, self.rows), *(f"  ! {note}" for note in self.notes)])

    def markdown(self) -> str:
        rows = [self.head, ["---"] + ["---:"] * (len(self.head) - 1), *self.rows]
        lines = [f"### {self.title}", "", *("| " + " | ".join(row) + " |" for row in rows)]
        return "\n".join(lines + ([""] + [f"- **{note}**" for note in self.notes] if self.notes else []))


def tables(report: Report) -> list[Table]:
    found = [load_table(result) for result in report.loads] + [idle_table(result) for result in report.idles]
    if (rows := targets(report)):
        found.append(Table("Targets of Gatewright", ["", "measured", "target", ""], rows))
    return found


def load_table(result: LoadResult) -> Table:
    best = result.best_peer()
    rows, notes = [], []
    for name in result.samples:
        ratios, memory = result.ratios(name, best), result.memory[name]
        rows.append([
            name, f"{result.middle(name, 'cpu_us'):.1f} µs",
            f"{median(ratios):.2f}" if ratios else "-",
            f"{min(ratios):.2f}-{max(ratios):.2f}" if ratios else "-",
            f"{result.middle(name, 'user_share') * 100:.0f}%",
            f"{result.middle(name, 'busy') * 100:.0f}%",
            f"{result.middle(name, 'rate'):,.0f}",
            duration(result.latency(name, "p50_us")), duration(result.latency(name, "p99_us")),
            f"{memory.rss / 1e6:.1f}", f"{memory.pss / 1e6:.1f}",
        ])
        notes += [f"{name}: {flag}" for flag in result.flags(name)]
    against = f"ratio to {best}" if best else "ratio"
    head = ["", "CPU/request", against, "range", "user", "busy", "req/s", "p50", "p99", "RSS MB", "PSS MB"]
    return Table(f"{result.workload.name}: {result.workload.title}", head, rows, notes)


def idle_table(result: IdleResult) -> Table:
    rows, notes = [], []
    for name, found in result.found.items():
        rows.append([
            name, f"{found.rest.rss / 1e6:.1f}", f"{found.rest.pss / 1e6:.1f}", f"{found.full.rss / 1e6:.1f}",
            f"{found.full.pss / 1e6:.1f}", f"{found.per_connection(result.connections, 'rss') / 1e3:.2f} KB",
            f"{found.per_connection(result.connections, 'pss') / 1e3:.2f} KB", f"{found.after.rss / 1e6:.1f}",
            f"{found.rest_cpu * 100:.2f}%", f"{found.full_cpu * 100:.2f}%",
        ])
        if found.closed:
            notes.append(f"{name}: closed {found.closed} of {result.connections} connections meanwhile")
    head = ["", "RSS at rest", "PSS at rest", "RSS full", "PSS full", "each (RSS)", "each (PSS)", "RSS after",
            "CPU at rest", "CPU full"]
    return Table(f"{result.workload.name}: {result.workload.title}, {result.connections} of them (MB)", head, rows, notes)


def targets(report: Report) -> list[list[str]]:
    """What Gatewright must reach."""
    rows: list[list[str]] = []

    def row(what: str, value: float, most: float, text: str) -> None:
        rows.append([what, text.format(value), "at most " + text.format(most), "reached" if value <= most else "MISSED"])

    for result in report.loads:
        for other, most in ((result.best_peer(), 1.0), ("envoy", 0.5)):
            if ratios := result.ratios("gatewright", other) if "gatewright" in result.samples else []:
                row(f"{result.workload.name}, CPU/request to {other}", median(ratios), most, "{:.2f}x")
    for result in report.idles:
        if found := result.found.get("gatewright"):
            row(f"{result.workload.name}, at rest (RSS)", found.rest.rss / 1e6, MEMORY_AT_REST_MAX / 1e6, "{:.1f} MB")
            if result.workload.kind == "h1":
                each = found.per_connection(result.connections, "rss") / 1e3
                row("idle connection, cleartext (RSS)", each, IDLE_CONNECTION_MAX / 1e3, "{:.2f} KB")
    return rows


def explanation(workload: Load, explained: dict[str, Explained]) -> list[Table]:
    """Two tables: where the time goes, and the system calls of one request."""
    time_rows = []
    for name, found in explained.items():
        s = found.sample
        time_rows.append([name, f"{s.cpu_us:.1f} µs", f"{s.cpu_us * s.user_share:.1f} µs",
                          f"{s.cpu_us * (1 - s.user_share):.1f} µs", f"{s.core_us:.1f} µs", f"{s.busy * 100:.0f}%",
                          f"{s.used.switches / max(1, s.answered.requests):.3f}"])
    head = ["", "CPU/request", "user", "system", "whole core", "busy", "switches/request"]
    made = [Table(f"{workload.name}: {workload.title}: where the time goes", head, time_rows)]
    calls = sorted({call for found in explained.values() for call, count in found.calls.items() if count >= 0.005},
                   key=lambda call: -max(found.calls.get(call, 0) for found in explained.values()))
    if calls:
        def cell(found: Explained, call: str) -> str:
            count, failed = found.calls.get(call, 0), found.failed.get(call, 0)
            return "" if count < 0.005 else f"{count:.2f}" + (f" ({failed:.2f} failed)" if failed >= 0.005 else "")

        rows = [[call, *(cell(found, call) for found in explained.values())] for call in calls]
        rows.append(["all", *(f"{sum(found.calls.values()):.2f}" for found in explained.values())])
        made.append(Table("system calls for each request (under strace)", ["", *explained], rows))
    return made


def as_text(report: Report) -> str:
    return "\n".join([*report.context(), ""]) + "\n" + "\n\n".join(table.text() for table in tables(report))


def as_markdown(report: Report) -> str:
    context = "\n".join(f"- {line}" for line in report.context())
    return context + "\n\n" + "\n\n".join(table.markdown() for table in tables(report))


def as_json(report: Report) -> str:
    return json.dumps(dataclasses.asdict(report), indent=1)


def duration(us: float) -> str:
    return f"{us:.0f} µs" if us < 1000 else f"{us / 1000:.2f} ms"
