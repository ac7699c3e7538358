"""The rounds: all contestants run at the same time, and take turns at being loaded.

A figure of one contestant is set against that of another from the same round, seconds apart, and the median over the
rounds is what counts: what else happens on the machine hits neighbours alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from . import install
from .children import Child
from .contestants import Contestant, Site
from .idle import IdleClients
from .load import Answered, check, origin_counts
from .machine import Cores, Memory, Usage, free_ports, make_certificate, memory, usage
from .workloads import Generators, Idle, Load

PEERS = ("nginx", "haproxy", "varnish", "caddy")  # the best of those in a run is the measure


@dataclass
class Sample:
    """One contestant in one round."""

    answered: Answered
    used: Usage
    upstream_connections: int

    @property
    def cpu_us(self) -> float:
        return self.used.cpu_ns / 1000 / max(1, self.answered.requests)

    @property
    def core_us(self) -> float:
        return self.used.core_busy_ns / 1000 / max(1, self.answered.requests)

    @property
    def rate(self) -> float:
        return self.answered.requests / self.answered.seconds

    @property
    def busy(self) -> float:
        return self.used.cpu_ns / 1e9 / self.answered.seconds

    @property
    def others(self) -> float:
        """Share of the proxy's core that was not the proxy's."""
        return (self.used.core_busy_ns - self.used.cpu_ns) / 1e9 / self.answered.seconds

    @property
    def user_share(self) -> float:
        return self.used.user_ns / max(1, self.used.user_ns + self.used.system_ns)


@dataclass
class LoadResult:
    """A workload, all rounds."""

    workload: Load
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    memory: dict[str, Memory] = field(default_factory=dict)  # after the last round

    def middle(self, name: str, what: str) -> float:
        return median(getattr(sample, what) for sample in self.samples[name])

    def latency(self, name: str, what: str) -> float:
        return median(getattr(sample.answered, what) for sample in self.samples[name])

    def best_peer(self) -> str | None:
        peers = [name for name in PEERS if name in self.samples]
        return min(peers, key=lambda name: self.middle(name, "cpu_us"), default=None)

    def ratios(self, name: str, to: str | None) -> list[float]:
        """CPU per request, round by round."""
        if to not in self.samples:
            return []
        return [one.cpu_us / other.cpu_us for one, other in zip(self.samples[name], self.samples[to]) if other.cpu_us]

    def flags(self, name: str) -> list[str]:
        """What makes a figure doubtful."""
        samples, found = self.samples[name], []
        errors: dict[str, int] = {}
        for sample in samples:
            for kind, count in sample.answered.errors.items():
                errors[kind] = errors.get(kind, 0) + count
        if errors:
            found.append("ERRORS: " + ", ".join(f"{count} {kind}" for kind, count in errors.items()))
        requests = sum(sample.answered.requests for sample in samples)
        opened = sum(sample.upstream_connections for sample in samples)
        if opened > requests / 100 + 64 * len(samples):
            found.append(f"opened {opened} upstream connections for {requests} requests")
        if self.middle(name, "busy") < 0.6:
            found.append("mostly waiting: the load was the bottleneck, or something else ran on its core")
        if (taken := self.middle(name, "others")) > 0.05:
            found.append(f"others took {taken * 100:.0f}% of the proxy's core")
        return found


@dataclass
class IdleMemory:
    """One contestant with and without idle connections."""

    rest: Memory
    full: Memory
    after: Memory           # a second after they were closed
    rest_cpu: float         # share of a core while nothing happens
    full_cpu: float
    closed: int             # connections that the proxy has closed meanwhile

    def per_connection(self, connections: int, what: str) -> float:
        return (getattr(self.full, what) - getattr(self.rest, what)) / connections


@dataclass
class IdleResult:
    workload: Idle
    connections: int
    found: dict[str, IdleMemory] = field(default_factory=dict)


@dataclass
class Plan:
    """How a run goes."""

    cores: Cores
    rounds: int
    seconds: int
    idle_connections: int
    folder: Path


class Bench:
    """The origin and the certificate that all contestants share. A context manager."""

    def __init__(self, plan: Plan, contestants: list[Contestant], generators: Generators) -> None:
        self.plan, self.contestants, self.generators = plan, contestants, generators
        self.stack = ExitStack()

    def __enter__(self) -> Bench:
        [port] = free_ports(1)
        self.site = Site(port, *make_certificate(self.plan.folder / "tls"))
        command = [install.build_c("origin"), str(port)]
        origin = self.stack.enter_context(Child("origin", command, {self.plan.cores.origin}, self.plan.folder))
        try:
            origin.wait_for_port(port)
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def start(self, contestant: Contestant, size: int) -> Child:
        """Started and seen to answer rightly."""
        child = contestant.start(self.site, self.plan.cores.proxy)
        try:
            check(contestant, size, self.plan.cores.load, self.generators.h2load)
        except BaseException:
            child.end()
            raise
        return child

    def load(self, workload: Load) -> LoadResult:
        result = LoadResult(workload)
        with ExitStack() as running:
            for contestant in self.contestants:
                running.enter_context(self.start(contestant, workload.size))
            for contestant in self.contestants:
                self.sample(workload, contestant, 1)  # warm: pools filled, buffers grown
            for number in range(self.plan.rounds):
                install.say(f"{workload.name}: round {number + 1} of {self.plan.rounds}")
                for contestant in self.contestants:
                    sample = self.sample(workload, contestant, self.plan.seconds)
                    result.samples.setdefault(contestant.name, []).append(sample)
            for contestant in self.contestants:
                result.memory[contestant.name] = memory(contestant.pid)
        return result

    def sample(self, workload: Load, contestant: Contestant, seconds: int) -> Sample:
        core = self.plan.cores.proxy
        opened, _ = origin_counts(self.site.origin_port)
        before = usage(contestant.pid, core)
        answered = self.generators.run(workload, contestant, seconds, self.plan.cores.load)
        time.sleep(0.05)  # what it does about the closed connections belongs to it
        used = usage(contestant.pid, core) - before
        if contestant.child:
            contestant.child.check_alive()
        return Sample(answered, used, origin_counts(self.site.origin_port)[0] - opened - 1)

    def turns(self, workload: Load, contestants: list[Contestant], check: Callable[[Contestant], None]) -> LoadResult:
        """Of contestants that run already. `check`: whether one answers rightly."""
        result = LoadResult(workload)
        for contestant in contestants:
            check(contestant)
            self.sample(workload, contestant, 1)
        for number in range(self.plan.rounds):
            install.say(f"{workload.name}: round {number + 1} of {self.plan.rounds}")
            for contestant in contestants:
                sample = self.sample(workload, contestant, self.plan.seconds)
                result.samples.setdefault(contestant.name, []).append(sample)
        for contestant in contestants:
            result.memory[contestant.name] = memory(contestant.pid)
        return result

    def idle(self, workload: Idle) -> IdleResult:
        count = self.plan.idle_connections
        result = IdleResult(workload, count)
        for contestant in self.contestants:
            install.say(f"{workload.name}: {count} connections to {contestant.name}")
            with self.start(contestant, workload.size):
                rest_cpu = self.cpu_while_idle(contestant)
                rest = memory(contestant.pid)
                port = contestant.http if workload.kind == "h1" else contestant.https
                with IdleClients(workload.kind, port, count, workload.size) as clients:
                    full_cpu = self.cpu_while_idle(contestant)
                    full, closed = memory(contestant.pid), clients.closed()
                time.sleep(1)
                found = IdleMemory(rest, full, memory(contestant.pid), rest_cpu, full_cpu, closed)
            result.found[contestant.name] = found
        return result

    def cpu_while_idle(self, contestant: Contestant) -> float:
        """Share of a core, after half a second of rest."""
        time.sleep(0.5)
        begun, before = time.monotonic(), usage(contestant.pid, self.plan.cores.proxy)
        time.sleep(self.plan.seconds)
        used = usage(contestant.pid, self.plan.cores.proxy) - before
        return used.cpu_ns / 1e9 / (time.monotonic() - begun)
