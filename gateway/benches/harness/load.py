"""Load on a proxy: what runs it, how it is read, and whether every answer was the right one."""

from __future__ import annotations

import http.client
import json
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from . import install
from .children import run_pinned
from .contestants import CIPHER, Contestant
from .machine import Trouble

GROUP = "X25519"


@dataclass
class Answered:
    """What the client of one run saw."""

    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    errors: dict[str, int] = field(default_factory=dict)  # by kind; none of them when all went well

    @staticmethod
    def from_json(line: str) -> Answered:
        read = json.loads(line)
        read["errors"] = {kind: count for kind, count in read["errors"].items() if count}
        return Answered(**read)


class Wrk:
    """HTTP/1.1, closed loop: each connection sends its next request when the answer is complete."""

    def __init__(self, folder: Path) -> None:
        self.binary = install.need("wrk")
        folder.mkdir(parents=True, exist_ok=True)
        self.script = folder / "wrk.lua"
        self.script.write_text(WRK_SCRIPT)
        # wrk has no options for TLS, but OpenSSL reads them from here.
        self.openssl = folder / "openssl.cnf"
        self.openssl.write_text(OPENSSL_SETTINGS)
        self.environment = {"OPENSSL_CONF": str(self.openssl)}

    def run(self, url: str, size: int, connections: int, seconds: int, core: int) -> Answered:
        command = self.command(url, connections, seconds)
        return self.read(run_pinned(command, core, seconds, self.environment), size)

    def command(self, url: str, connections: int, seconds: int) -> list[str]:
        return [self.binary, "-t1", f"-c{connections}", f"-d{seconds}", "--timeout", "5s", "-s", str(self.script), url]

    @staticmethod
    def read(output: str, size: int) -> Answered:
        line = next((line for line in output.splitlines() if line.startswith("{")), None)
        if line is None:
            raise Trouble(f"wrk said nothing useful:\n    {output.strip()[-600:]}")
        read = json.loads(line)
        length = read.pop("bytes")
        answered = Answered.from_json(json.dumps(read))
        if length < answered.requests * size:
            answered.errors["short"] = 1
        return answered


WRK_SCRIPT = """\
function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format(
        '{"requests": %d, "seconds": %.6f, "bytes": %d, "p50_us": %.1f, "p99_us": %.1f, ' ..
        '"errors": {"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\\n',
        summary.requests, summary.duration / 1e6, summary.bytes, latency:percentile(50), latency:percentile(99),
        e.connect, e.read, e.write, e.status, e.timeout))
end
"""

OPENSSL_SETTINGS = f"""\
openssl_conf = settings
[settings]
ssl_conf = ssl
[ssl]
system_default = tls
[tls]
MinProtocol = TLSv1.3
Ciphersuites = {CIPHER}
Groups = {GROUP}
"""


class H2load:
    """HTTP/2 over TLS, closed loop: each stream is followed by the next."""

    def __init__(self, folder: Path) -> None:
        self.binary = install.need("h2load")
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "h2load.log"

    def run(self, url: str, size: int, connections: int, streams: int, seconds: int, core: int) -> Answered:
        self.log.unlink(missing_ok=True)
        command = [*self.command(url, connections, streams, seconds), f"--log-file={self.log}"]
        answered = self.read(run_pinned(command, core, seconds), size)
        answered.seconds = seconds
        answered.p50_us, answered.p99_us = self.percentiles()
        return answered

    def command(self, url: str, connections: int, streams: int, seconds: int) -> list[str]:
        return [self.binary, "-t1", f"-c{connections}", f"-m{streams}", f"-D{seconds}", *self.common(url)]

    def common(self, url: str) -> list[str]:
        return [f"--tls13-ciphers={CIPHER}", f"--groups={GROUP}", url]

    def fetch(self, url: str, size: int, count: int, core: int) -> Answered:
        """So many requests on one connection."""
        return self.read(run_pinned([self.binary, "-c1", "-m4", f"-n{count}", *self.common(url)], core, 10), size)

    @staticmethod
    def read(output: str, size: int) -> Answered:
        counts = re.search(r"requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", output)
        status = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
        data = re.search(r"\((\d+)\) data", output)
        protocol = re.search(r"Application protocol: (\S+)", output)
        if not (counts and status and data):
            raise Trouble(f"h2load said nothing useful:\n    {output.strip()[-600:]}")
        succeeded, failed, errored, timeout = (int(n) for n in counts.groups())
        wrong = sum(int(n) for n in status.groups()[1:])
        kinds = {"failed": failed - errored, "errored": errored, "timeout": timeout, "status": wrong,
                 "not h2": int(protocol is None or protocol.group(1) != "h2"),
                 "short": int(int(data.group(1)) < succeeded * size)}
        return Answered(succeeded, 0, 0, 0, {kind: count for kind, count in kinds.items() if count > 0})

    def percentiles(self) -> tuple[float, float]:
        """From its log: a line for each request, `start status microseconds`."""
        times = sorted(int(line.rsplit(None, 1)[1]) for line in self.log.read_text().splitlines())
        self.log.unlink()
        return (times[len(times) // 2], times[len(times) * 99 // 100]) if times else (0, 0)


class Handshakes:
    """New TLS connections with one request each, never resumed."""

    def __init__(self) -> None:
        self.binary = install.build_c("handshakes", "-lssl", "-lcrypto")

    def run(self, port: int, path: str, connections: int, seconds: float, core: int) -> Answered:
        return Answered.from_json(
            run_pinned([self.binary, str(port), path, str(connections), f"{seconds:g}"], core, seconds))


def check(contestant: Contestant, size: int, core: int, h2load: H2load) -> None:
    """One answer each way must be right, and the origin must be told the client, before anything is measured."""
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    unverified.minimum_version = ssl.TLSVersion.TLSv1_3
    for connection in (http.client.HTTPConnection("127.0.0.1", contestant.http, timeout=10),
                       http.client.HTTPSConnection("127.0.0.1", contestant.https, timeout=10, context=unverified)):
        way = type(connection).__name__
        for path, length in ((f"/{size}", size), ("/echo", None), (f"/{size}", size)):
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            if response.status != 200 or (length is not None and body != b"x" * length):
                raise Trouble(f"{contestant.name} answers {path} wrongly ({way}): {response.status}, {len(body)} bytes")
            # Not which address: for a client on loopback Envoy names the machine's own.
            if path == "/echo" and b"\r\nx-forwarded-for: " not in body.lower():
                raise Trouble(f"{contestant.name} does not tell the origin the client ({way}):\n{body.decode()}")
        connection.close()
    answered = h2load.fetch(f"https://127.0.0.1:{contestant.https}/{size}", size, 10, core)
    if answered.requests != 10 or answered.errors:
        raise Trouble(f"{contestant.name} answers HTTP/2 wrongly: {answered}")


def origin_counts(port: int) -> tuple[int, int]:
    """Connections and requests that the origin has seen; this look is one of each."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/count")
    accepted, served = connection.getresponse().read().split()
    connection.close()
    return int(accepted), int(served)
