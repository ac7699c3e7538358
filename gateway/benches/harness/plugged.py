"""What plugins cost whole requests: the same proxy with and without them, in turns.

All variants run at the same time and are loaded for a second each, one after the other, many times. A variant is set against
its neighbour in time; the median over the rounds drops what else the machine did.
"""

from __future__ import annotations

import http.client
import json
import re
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

from . import install
from .children import Child
from .contestants import Contestant, Envoy, Gatewright, Site
from .load import Wrk
from .machine import Trouble, free_ports, usage
from .measure import Bench

HEADERS = ["-H", "x-user: user-4711", "-H", "cookie: session=0123456789abcdef; beta=no"]
MORE_ORIGINS = 3  # so that a balancer has something to balance
TARGET = "wasm32-unknown-unknown"


class LinkedIn(Gatewright):
    """The balancer that the gateway brings, linked in."""

    name = "gatewright, p2c linked in"
    balance, plugins, router, filters = "p2c", "", "", ""
    more_ports: list[int] = []

    def write(self, site: Site) -> list[str]:
        command = super().write(site)
        file = self.folder / "gateway.toml"
        text = file.read_text()
        addresses = [f'"127.0.0.1:{port}"' for port in (site.origin_port, *self.more_ports)]
        text = re.sub(r"endpoints = .*", f'endpoints = [{", ".join(addresses)}]\nbalance = "{self.balance}"', text)
        text = text.replace('match = { path = "/" }', f'match = {{ path = "/" }}{self.router}{self.filters}')
        file.write_text(text + self.plugins)
        return command


def plugin(name: str, module: Path) -> str:
    return f'\n[plugin.{name}]\nsource = "{module}"\n'


class AsWasm(LinkedIn):
    """The same balancer as WebAssembly."""

    name = "gatewright, p2c as Wasm"
    balance = "balancer"

    def write(self, site: Site) -> list[str]:
        self.plugins = plugin("balancer", guest("gatewright-plugin-p2c"))
        return super().write(site)


class AllKinds(AsWasm):
    """A router and a filter too."""

    name = "gatewright, router, balancer and filter as Wasm"
    router, filters = '\nrouter = "guest"', '\nfilters = ["guest"]'

    def write(self, site: Site) -> list[str]:
        module = guest("bench-guest")
        command = super().write(site)
        file = self.folder / "gateway.toml"
        beta = f'\n[pool.beta]\nendpoints = ["127.0.0.1:{site.origin_port}"]\n'
        file.write_text(file.read_text() + plugin("guest", module) + beta)
        return command


class PlainEnvoy(Envoy):
    """Without a filter of ours."""

    name = "envoy"


class FilteredEnvoy(Envoy):
    """With a filter that does what the gateway's does."""

    name = "envoy, filter as Wasm"

    def write(self, site: Site) -> list[str]:
        command = super().write(site)
        file = self.folder / "envoy.json"
        config = json.loads(file.read_text())
        code = {"local": {"filename": str(envoy_filter())}}
        wasm = {"name": "stamp", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {"name": "stamp", "vm_config": {"vm_id": "stamp", "runtime": "envoy.wasm.runtime.v8", "code": code}}}}
        for listener in config["static_resources"]["listeners"]:
            for chain in listener["filter_chains"]:
                chain["filters"][0]["typed_config"]["http_filters"].insert(0, wasm)
        file.write_text(json.dumps(config, indent=2))
        return command


# Each with what it is set against, and what that may be at most.
PAIRS: list[tuple[type[Contestant], type[Contestant], float | None]] = [
    (AsWasm, LinkedIn, 1.01), (AllKinds, LinkedIn, 1.04), (FilteredEnvoy, PlainEnvoy, None)]


def guest(package: str) -> Path:
    """One of our plugins as a module."""
    folder = install.ROOT / "target" / "guests"
    install.run(["cargo", "build", "--quiet", "--release", "--target", TARGET, "--target-dir", str(folder), "-p", package,
                 "--manifest-path", str(install.ROOT / "Cargo.toml")])
    return folder / TARGET / "release" / f"{package.replace('-', '_')}.wasm"


def envoy_filter() -> Path:
    folder = install.LAB / "envoy-filter"
    install.run(["cargo", "build", "--quiet", "--release", "--target", TARGET, "--target-dir", str(folder),
                 "--manifest-path", str(install.HERE.parent / "envoy-filter" / "Cargo.toml")])
    return folder / TARGET / "release" / "envoy_filter.wasm"


class LoadedWrk(Wrk):
    """With the headers that the plugins look at."""

    def command(self, url: str, connections: int, seconds: int) -> list[str]:
        *before, last = super().command(url, connections, seconds)
        return [*before, *HEADERS, last]


@dataclass
class Pair:
    """A variant beside what it is set against, round by round: microseconds of CPU for a request."""

    variant: str
    beside: str
    most: float | None
    with_it: list[float] = field(default_factory=list)
    without: list[float] = field(default_factory=list)

    def ratios(self) -> list[float]:
        return [one / other for one, other in zip(self.with_it, self.without)]

    def row(self) -> list[str]:
        ratios = self.ratios()
        low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else (ratios[0],) * 3
        more = median(one - other for one, other in zip(self.with_it, self.without))
        verdict = "" if self.most is None else "reached" if median(ratios) <= self.most else "MISSED"
        return [self.variant, f"{median(self.without):.2f} µs", f"{median(self.with_it):.2f} µs", f"{more:+.2f} µs",
                f"{median(ratios):.3f}", f"{low:.3f}-{high:.3f}",
                "" if self.most is None else f"at most {self.most:.2f}", verdict]


def more_origins(bench: Bench, running: ExitStack) -> None:
    LinkedIn.more_ports = free_ports(MORE_ORIGINS)
    for port in LinkedIn.more_ports:
        origin = Child(f"origin-{port}", [install.build_c("origin"), str(port)], {bench.plan.cores.origin}, bench.plan.folder)
        running.enter_context(origin).wait_for_port(port)


def measure(bench: Bench, wrk: Wrk, pairs: list[tuple[Contestant, Contestant, float | None]], rounds: int) -> list[Pair]:
    """Loads a pair's two in turns, and begins with the other one each time."""
    made = [Pair(variant.name, beside.name, most) for variant, beside, most in pairs]
    cores = bench.plan.cores

    def cpu(contestant: Contestant) -> float:
        before = usage(contestant.pid, cores.proxy)
        answered = wrk.run(f"http://127.0.0.1:{contestant.http}/128", 128, 64, 1, cores.load)
        time.sleep(0.02)
        used = usage(contestant.pid, cores.proxy) - before
        if answered.errors or not answered.requests:
            raise Trouble(f"{contestant.name} failed: {answered}")
        return used.cpu_ns / 1000 / answered.requests

    with ExitStack() as running:
        more_origins(bench, running)
        started: dict[int, Contestant] = {}
        for contestant in [one for variant, beside, _ in pairs for one in (variant, beside)]:
            if id(contestant) not in started:
                running.enter_context(contestant.start(bench.site, cores.proxy))
                started[id(contestant)] = contestant
                check(contestant)
                cpu(contestant)
        for number in range(rounds):
            install.say(f"plugins: round {number + 1} of {rounds}")
            for pair, (variant, beside, _) in zip(made, pairs):
                both = [(variant, pair.with_it), (beside, pair.without)]
                for contestant, samples in both if number % 2 else reversed(both):
                    samples.append(cpu(contestant))
    return made


def instructions(bench: Bench, contestant: Contestant, tool: str) -> int:
    """Those of one request outside the kernel: of two runs with different numbers of requests, the difference."""
    def run(count: int) -> int:
        bare = contestant.write

        def under_valgrind(site: Site) -> list[str]:
            return [tool, "--tool=callgrind", "--callgrind-out-file=/dev/null", *bare(site)]

        contestant.write = under_valgrind  # type: ignore[method-assign]
        try:
            child = contestant.start(bench.site, bench.plan.cores.proxy)
        finally:
            contestant.write = bare  # type: ignore[method-assign]
        with child:
            fetch(contestant.http, count)
            child.process.terminate()
            child.process.wait(60)
        found = re.search(r"Collected : (\d+)", child.log.read_text(errors="replace"))
        if not found:
            raise Trouble(f"valgrind counted nothing; see {child.log}")
        return int(found.group(1))

    few, many = 500, 4500
    run(1)  # compiles the modules, which are kept for the next start
    return round((run(many) - run(few)) / (many - few))


def check(contestant: Contestant) -> None:
    """The origin must be told what a filter says, and nothing of it without one."""
    [told] = fetch(contestant.http, 1, "/echo")
    wanted = isinstance(contestant, (AllKinds, FilteredEnvoy))
    if (b"\r\nx-user-hash: " in told.lower()) != wanted:
        raise Trouble(f"{contestant.name}: the filter {'does not work' if wanted else 'is there'}:\n{told.decode()}")


def fetch(port: int, count: int, path: str = "/128") -> list[bytes]:
    """So many requests, one after the other on one connection; the bodies."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = dict(line.split(": ", 1) for line in HEADERS[1::2])
    bodies = []
    for _ in range(count):
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        bodies.append(response.read())
        if response.status != 200:
            raise Trouble(f"a wrong answer: {response.status}")
    connection.close()
    return bodies
