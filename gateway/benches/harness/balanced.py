"""What balancing is worth when backends are unequal: the same arrivals before the same backends, by each proxy in turns.

Ten backends, each with a few servers and a queue; requests come at random moments, a share of what all can do together.
Nobody's load waits for anybody's answer, and what is late counts from when it was due.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from . import install
from .children import Child, run_pinned
from .contestants import Contestant, Envoy, Gatewright, Haproxy, Nginx, Site
from .machine import Trouble, free_ports
from .measure import Bench

BACKENDS, SERVERS, QUEUE, MEAN_US = 10, 8, 64, 10_000
LOAD, TIMEOUT_MS = 0.7, 10_000


@dataclass
class Scene:
    """Nine backends that are alike, and one that is not."""

    name: str
    about: str
    slow: float = 1
    errors: int = 0  # in a thousand
    times: str = "exponential"

    def rate(self) -> float:
        """Requests a second: the share that is asked of what all backends can do."""
        return LOAD * SERVERS * 1e6 / MEAN_US * (BACKENDS - 1 + 1 / self.slow)

    def arguments(self, ports: list[int]) -> list[str]:
        return [*(str(port) for port in ports[:-1]), f"{ports[-1]}:{self.slow:g}:{self.errors}"]

    def scenario(self) -> str:
        """The same for the simulator."""
        errors = f"errors = [{{ rate = {self.errors / 1000} }}]\n" if self.errors else ""
        return (f'name = "{self.name}"\nload = {LOAD}\nclient_timeout = "{TIMEOUT_MS}ms"\n'
                f'service = {{ mean = "{MEAN_US // 1000}ms", distribution = "{self.times}" }}\n'
                f'[[backend]]\ncount = {BACKENDS - 1}\nservers = {SERVERS}\nqueue = {QUEUE}\n'
                f'[[backend]]\nname = "other"\nslow = {self.slow:g}\nservers = {SERVERS}\nqueue = {QUEUE}\n{errors}')


SCENES = {scene.name: scene for scene in (
    Scene("slow", "one of ten backends is ten times slower; requests differ (exponential)", slow=10),
    Scene("slow-steady", "one of ten backends is ten times slower; requests are alike", slow=10, times="constant"),
    Scene("failing", "one of ten backends answers half of its requests with 500", errors=500))}


@dataclass
class Result:
    """What came of it, round by round."""

    name: str
    answers: list[dict[str, int]] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)

    def middle(self, what: str) -> float:
        return median(answer[what] for answer in self.answers)

    def errors(self) -> float:
        wrong = ("client_errors", "server_errors", "odd", "broken", "refused", "timed_out")
        failed = sum(answer[what] for answer in self.answers for what in wrong)
        return failed / (failed + sum(answer["ok"] for answer in self.answers))


class Before:
    """Mixed into a contestant: all backends behind it. `careful`: with what it has against backends that fail."""

    ports: list[int] = []
    careful = False


class LeastConn(Before, Nginx):
    name = "nginx least_conn"

    def write(self, site: Site) -> list[str]:
        command = super().write(site)
        # Without being told, it takes a 500 for an answer.
        fails = " max_fails=5 fail_timeout=10s" if self.careful else ""
        servers = "\n        ".join(["least_conn;", *(f"server 127.0.0.1:{port}{fails};" for port in self.ports)])
        more = "proxy_next_upstream error timeout http_500;\n            proxy_pass" if self.careful else "proxy_pass"
        edit(self.folder / "nginx.conf", (r"server 127\.0\.0\.1:\d+;", servers), (r"proxy_pass", more))
        return command


class Leastconn(Before, Haproxy):
    name = "haproxy leastconn"

    def write(self, site: Site) -> list[str]:
        command = super().write(site)
        watch = " check inter 1s observe layer7 error-limit 5 on-error mark-down" if self.careful else ""
        servers = "\n".join(f"    server s{port} 127.0.0.1:{port}{watch}" for port in self.ports)
        more = "    balance leastconn\n" + ("    retry-on conn-failure 500\n    retries 3\n" if self.careful else "")
        edit(self.folder / "haproxy.cfg", (r"    server one .*", more + servers))
        return command


class LeastRequest(Before, Envoy):
    name = "envoy least request"

    def write(self, site: Site) -> list[str]:
        command = super().write(site)
        file = self.folder / "envoy.json"
        config = json.loads(file.read_text())
        [cluster] = config["static_resources"]["clusters"]
        cluster["lb_policy"] = "LEAST_REQUEST"
        cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": [
            {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
            for port in self.ports]}]
        if self.careful:
            cluster["outlier_detection"] = {"consecutive_5xx": 5, "interval": "1s", "base_ejection_time": "10s"}
            for listener in config["static_resources"]["listeners"]:
                for chain in listener["filter_chains"]:
                    for host in chain["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]:
                        host["routes"][0]["route"]["retry_policy"] = {"retry_on": "5xx", "num_retries": 2}
        file.write_text(json.dumps(config, indent=2))
        return command


class Balanced(Before, Gatewright):
    balance = "p2c"

    def __init__(self, binary: str, folder: Path, balance: str) -> None:
        super().__init__(binary, folder / balance)
        self.name, self.balance = f"gatewright {balance}", balance

    def write(self, site: Site) -> list[str]:
        command = super().write(site)
        addresses = ", ".join(f'"127.0.0.1:{port}"' for port in self.ports)
        lines = [f"endpoints = [{addresses}]", f'balance = "{self.balance}"', *(CAREFUL if self.careful else [])]
        edit(self.folder / "gateway.toml", (r"endpoints = .*", "\n".join(lines)))
        return command


# What a pool says against backends that fail.
CAREFUL = ['eject = true', 'retry = { status = [500] }']


def edit(file: Path, *changes: tuple[str, str]) -> None:
    text = file.read_text()
    for pattern, into in changes:
        text, count = re.subn(pattern, lambda _, into=into: into, text, count=1)
        if not count:
            raise Trouble(f"{file} has nothing like {pattern}")
    file.write_text(text)


def measure(bench: Bench, scene: Scene, proxies: list[Contestant], rounds: int, seconds: float, careful: bool) -> list[Result]:
    """Each in turn, round by round, before backends that are new each time."""
    results = [Result(proxy.name) for proxy in proxies]
    cores, folder = bench.plan.cores, bench.plan.folder
    arrivals, backends = install.build_c("arrivals", "-lm"), install.build_c("backends", "-lm")
    for number in range(rounds):
        install.say(f"balance, {scene.name}: round {number + 1} of {rounds}")
        for proxy, result in zip(proxies, results):
            ports = free_ports(BACKENDS)
            Before.ports, Before.careful = ports, careful
            command = [backends, str(SERVERS), str(QUEUE), str(MEAN_US), scene.times, str(number + 1),
                       *scene.arguments(ports)]
            with Child("backends", command, {cores.origin}, folder) as behind:
                behind.wait_for_port(ports[-1])
                with proxy.start(bench.site, cores.proxy):
                    before = [count(port) for port in ports]
                    output = run_pinned([arrivals, str(proxy.http), f"{scene.rate():.0f}", f"{seconds}", "2", str(TIMEOUT_MS),
                                         str(number + 1)], cores.load, seconds + 2 + TIMEOUT_MS / 1000)
                    served = [count(port) - old for port, old in zip(ports, before)]
            result.answers.append(json.loads(output))
            result.shares.append(served[-1] / max(1, sum(served)))
    return results


def count(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/count")
    return int(connection.getresponse().read())


def simulated(binary: str, scene: Scene, balances: list[str], folder: Path, requests: int) -> dict[str, tuple[float, float]]:
    """What `gatewright sim` says of the same: the p99 in microseconds and the share of errors, by balancer."""
    file = folder / f"{scene.name}.toml"
    file.write_text(scene.scenario())
    command = [binary, "sim", *(f"builtin:{name}" for name in balances), "--scenario", str(file), "--requests", str(requests),
               "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Trouble(f"{' '.join(command)} ended with {done.returncode}:\n    {done.stderr.strip()[-600:]}")
    made = json.loads(done.stdout)
    [scenario] = made["scenarios"]
    return {one["plugin"]: (one["p99"] / 1000, one["error_rate"]) for one in scenario["results"]}
