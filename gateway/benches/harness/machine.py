"""The machine: cores, free ports, certificates, and what processes cost (from /proc)."""

from __future__ import annotations

import os
import random
import resource
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class Trouble(Exception):
    """Something that ends the run, told in one sentence."""


@dataclass(frozen=True)
class Cores:
    """Which core does what. The proxy has one of its own, whatever happens."""

    proxy: int
    load: int
    origin: int

    @staticmethod
    def choose(proxy: int | None, load: int | None, origin: int | None) -> Cores:
        allowed = sorted(os.sched_getaffinity(0))
        for given in (proxy, load, origin):
            if given is not None and given not in allowed:
                raise Trouble(f"core {given} is not ours; there are {allowed}")
        if len(allowed) < 2:
            raise Trouble("the proxy and its load need a core each; there is only one")
        # From the last one down: the first cores take most of the interrupts.
        free = [core for core in reversed(allowed) if core not in (proxy, load, origin)]
        proxy = free.pop(0) if proxy is None else proxy
        load = (free.pop(0) if free else next(c for c in allowed if c != proxy)) if load is None else load
        origin = (free.pop(0) if free else load) if origin is None else origin
        if proxy in (load, origin):
            raise Trouble("the proxy must have a core of its own")
        return Cores(proxy, load, origin)

    def text(self) -> str:
        load = f"load and origin on core {self.load}" if self.load == self.origin else (
            f"load on core {self.load}, origin on core {self.origin}")
        return f"proxy on core {self.proxy}, {load}"


def free_ports(count: int) -> list[int]:
    """Ports below those that the kernel gives to clients, so that no connection of the load takes one meanwhile."""
    ports: list[int] = []
    for port in random.sample(range(10_000, 32_000), 2_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise Trouble("no free ports between 10000 and 32000")


def raise_file_limit() -> int:
    """As many open files as we may have; children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def make_certificate(folder: Path, name: str = "site") -> tuple[Path, Path, Path]:
    """A self-signed ECDSA P-256 certificate for localhost: certificate, key, and both in one file (for HAProxy)."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key, both = (folder / f"{name}.{end}" for end in ("pem", "key", "both.pem"))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "365",
               "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
               "-keyout", str(key), "-out", str(certificate)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Trouble(f"openssl made no certificate: {done.stderr.strip()}")
    both.write_text(certificate.read_text() + key.read_text())
    return certificate, key, both


# Processes


def read_stat(pid: int | str) -> list[str]:
    """/proc/PID/stat from the state on: [0] is the state, [1] the parent, [11] user ticks, [12] system ticks."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def family(pid: int) -> list[int]:
    """A process and all that descend from it (nginx has its worker there)."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parents[int(entry)] = int(read_stat(entry)[1])
            except (OSError, IndexError):
                continue  # ended meanwhile
    found = [pid]
    for member in found:
        found += [child for child, parent in parents.items() if parent == member]
    return found


@dataclass
class Usage:
    """What a family of processes has used so far."""

    cpu_ns: int = 0       # scheduler time of all threads
    user_ns: int = 0      # the same in ticks, split
    system_ns: int = 0
    switches: int = 0     # how often its threads went to sleep or were pushed aside
    core_busy_ns: int = 0  # everything on the proxy's core, whoever ran there

    def __sub__(self, before: Usage) -> Usage:
        return Usage(*(getattr(self, f) - getattr(before, f) for f in self.__dataclass_fields__))


def usage(pid: int, core: int) -> Usage:
    """Reads it now. Threads that have ended are not counted; no contestant ends threads while it works."""
    total = Usage(core_busy_ns=core_busy_ns(core))
    for member in family(pid):
        for task in Path(f"/proc/{member}/task").iterdir():
            try:
                stat = read_stat(f"{member}/task/{task.name}")
                user, system = int(stat[11]) * TICK_NS, int(stat[12]) * TICK_NS
                total.user_ns += user
                total.system_ns += system
                total.cpu_ns += scheduler_ns(task) or user + system
                total.switches += sum(int(line.split()[1]) for line in (task / "status").read_text().splitlines()
                                      if "ctxt_switches" in line)
            except OSError:
                continue  # ended meanwhile
    return total


def scheduler_ns(task: Path) -> int:
    """Time on a core in nanoseconds; 0 where the kernel does not say."""
    try:
        return int((task / "schedstat").read_text().split()[0])
    except (OSError, IndexError, ValueError):
        return 0


def core_busy_ns(core: int) -> int:
    """Everything but idle and waiting for a disk, in ticks."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _idle, _iowait, irq, softirq, *_ = (int(n) for n in line.split()[1:])
            return (user + nice + system + irq + softirq) * TICK_NS
    return 0


@dataclass
class Memory:
    """Of a family, in bytes. RSS counts what processes share once for each; PSS divides it among them."""

    rss: int = 0
    pss: int = 0


def memory(pid: int) -> Memory:
    """Reads it now."""
    total = Memory()
    for member in family(pid):
        try:
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # ended meanwhile
        for line in lines:
            name, _, rest = line.partition(":")
            if name == "Rss":
                total.rss += int(rest.split()[0]) * 1024
            elif name == "Pss":
                total.pss += int(rest.split()[0]) * 1024
    return total


def describe() -> dict[str, str]:
    """For the head of a report."""
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown processor")
    return {"processor": model, "cores": str(os.cpu_count()), "kernel": os.uname().release,
            "load": " ".join(Path("/proc/loadavg").read_text().split()[:3])}
