"""What very many endpoints cost that come and go: the same load before ten that stay and before a crowd, by each balancer in turns.

All endpoints are one origin, at as many addresses of this machine. Its members stand in a file that is written anew once a second, each time with others in the
place of some. Requests come at random moments and do not wait for answers, so that a worker that stalls is seen in the waiting times.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from . import install
from .children import Child, run_pinned
from .contestants import Gatewright, Site
from .machine import free_ports, memory, usage
from .measure import Bench
from .plugged import guest, plugin

TIMEOUT_MS, WARM = 10_000, 3


@dataclass
class Crowd:
    """So many members, of which so many are others each second."""

    name: str
    members: int
    changed: int

    def write(self, file: Path, first: int, port: int) -> None:
        """The members from this one on, all at once."""
        numbers = range(first, first + self.members)
        made = file.with_suffix(".new")
        made.write_text(json.dumps([f"127.{1 + n // 62500}.{n // 250 % 250}.{n % 250 + 1}:{port}" for n in numbers]))
        made.rename(file)


class Changing(threading.Thread):
    """Writes others once a second, until it is told to end."""

    def __init__(self, crowd: Crowd, file: Path, port: int) -> None:
        super().__init__(daemon=True)
        self.crowd, self.file, self.port, self.over = crowd, file, port, threading.Event()

    def run(self) -> None:
        first = 0
        while self.crowd.changed and not self.over.wait(1):
            first = (first + self.crowd.changed) % 40_000
            self.crowd.write(self.file, first, self.port)


class Before(Gatewright):
    """Gatewright before a crowd, with this balancer: one that is linked in, or `NAME.wasm`."""

    def __init__(self, binary: str, folder: Path, balance: str, crowd: Crowd, port: int) -> None:
        super().__init__(binary, folder / f"{balance}-{crowd.members}")
        self.name, self.balance, self.crowd, self.port = f"crowd-{balance}", balance, crowd, port

    @property
    def members(self) -> Path:
        return self.folder / "members.json"

    def write(self, site: Site) -> list[str]:
        command = super().write(site)
        self.crowd.write(self.members, 0, self.port)
        file, name = self.folder / "gateway.toml", self.balance.removesuffix(".wasm")
        text = file.read_text().replace(f'endpoints = ["127.0.0.1:{site.origin_port}"]',
                                        f'discover = {{ file = "members.json" }}\nbalance = "{name}"')
        module = plugin(name, guest(f"gatewright-plugin-{name}")) if name != self.balance else ""
        file.write_text(text + module)
        return command


@dataclass
class Result:
    """What came of it, round by round."""

    balance: str
    crowd: Crowd
    answers: list[dict[str, int]] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    mib: list[float] = field(default_factory=list)

    def middle(self, what: str) -> float:
        return median(answer[what] for answer in self.answers)

    def failed(self) -> int:
        wrong = ("client_errors", "server_errors", "odd", "broken", "refused", "timed_out")
        return sum(answer[what] for answer in self.answers for what in wrong)


def measure(bench: Bench, binary: str, balances: list[str], crowds: list[Crowd], rate: int, rounds: int,
            seconds: float) -> list[Result]:
    """Each balancer before each crowd, in turns."""
    results = [Result(balance, crowd) for balance in balances for crowd in crowds]
    cores, folder = bench.plan.cores, bench.plan.folder
    arrivals = install.build_c("arrivals", "-lm")
    [port] = free_ports(1)
    with Child("crowd-origin", [install.build_c("origin"), str(port), "everywhere"], {cores.origin}, folder) as behind:
        behind.wait_for_port(port)
        for number in range(rounds):
            install.say(f"crowd: round {number + 1} of {rounds}")
            for result in results:
                proxy = Before(binary, folder / "crowd", result.balance, result.crowd, port)
                with proxy.start(bench.site, cores.proxy) as child:
                    changing = Changing(result.crowd, proxy.members, port)
                    changing.start()
                    before, began = usage(child.pid, cores.proxy), time.monotonic()
                    output = run_pinned([arrivals, str(proxy.http), str(rate), f"{seconds}", str(WARM), str(TIMEOUT_MS),
                                         str(number + 1)], cores.load, seconds + WARM + TIMEOUT_MS / 1000)
                    used, took = usage(child.pid, cores.proxy) - before, time.monotonic() - began
                    changing.over.set()
                    changing.join()
                    result.mib.append(memory(child.pid).rss / 2**20)
                result.answers.append(json.loads(output))
                result.cpu_us.append(used.cpu_ns / 1000 / (rate * min(took, seconds + WARM)))
    return results
