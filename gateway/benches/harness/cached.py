"""Caches: the same origin behind each, and everything answered from what is kept.

Every contestant keeps in memory what its users would let it keep: nginx in files, which the kernel has in memory; HAProxy,
Varnish and Gatewright in their own. What may be kept the origin says, with Cache-Control. All run with one thread for
requests, log nothing, and are pinned to one core. Varnish speaks no TLS and HAProxy's cache takes no large objects by default.
"""

from __future__ import annotations

import http.client
import http.server
import shutil
import socketserver
import subprocess
import threading
import time
from pathlib import Path

from . import install
from .children import Child
from .contestants import Contestant, Gatewright, Haproxy, Nginx, Site
from .machine import Trouble, free_ports
from .workloads import Load

LOADS = [
    Load("hit-1k", "Cache hit of 1 KB, HTTP/1.1 keep-alive", "h1", 1024, below="/kept"),
    Load("hit-100k", "Cache hit of 100 KB, HTTP/1.1 keep-alive", "h1", 102_400, below="/kept"),
    Load("hit-h2-1k", "Cache hit of 1 KB, HTTP/2 over TLS 1.3", "h2", 1024, 8, 16, below="/kept"),
]
NAMES = [load.name for load in LOADS]
CROWD = 10_000


class Bounded:
    """Mixed into a contestant: how much it may keep, in MiB."""

    room = 200


class NginxCache(Nginx):
    def write(self, site: Site) -> list[str]:
        shutil.rmtree(self.folder / "kept", ignore_errors=True)
        command = super().write(site)
        file = self.folder / "nginx.conf"
        text = file.read_text()
        kept = f"proxy_cache_path {self.folder}/kept keys_zone=kept:10m max_size=200m inactive=1h;\n    "
        text = text.replace("upstream origin {", kept + "upstream origin {", 1)
        file.write_text(text.replace("proxy_pass http", "proxy_cache kept;\n            proxy_cache_lock on;\n"
                                     "            proxy_cache_lock_timeout 60s;\n            proxy_pass http", 1))
        return command


class HaproxyCache(Haproxy):
    def write(self, site: Site) -> list[str]:
        command = super().write(site)
        file = self.folder / "haproxy.cfg"
        rules = "    http-request cache-use kept\n    http-response cache-store kept\n    default_backend origin"
        kept = "\ncache kept\n    total-max-size 200\n    max-object-size 1000000\n    max-age 3600\n"
        file.write_text(file.read_text().replace("    default_backend origin", rules, 1) + kept)
        return command


class Varnish(Bounded, Contestant):
    name = "varnish"

    def version(self) -> str:
        return self.version_like(r"varnish-(\d+\.\d+\.\d+)", "-V")

    def write(self, site: Site) -> list[str]:
        vcl = self.folder / "site.vcl"
        vcl.write_text(f'vcl 4.1;\nbackend origin {{ .host = "127.0.0.1"; .port = "{site.origin_port}"; '
                       ".max_connections = 10000; .first_byte_timeout = 60s; }\n")
        return [self.binary, "-F", "-n", str(self.folder / "work"), "-a", f"127.0.0.1:{self.http}", "-f", str(vcl),
                "-s", f"malloc,{self.room}m", "-T", "none", "-p", "thread_pools=1", "-j", "none"]

    def start(self, site: Site, core: int) -> Child:
        [self.http] = free_ports(1)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.child = Child(self.name, self.write(site), {core}, self.folder, cwd=self.folder)
        self.child.wait_for_port(self.http)
        return self.child


class GatewrightCache(Bounded, Gatewright):
    def write(self, site: Site) -> list[str]:
        command = super().write(site)
        file = self.folder / "gateway.toml"
        file.write_text(file.read_text() + f'cache = true\n\n[limits]\ncache_size = "{self.room}MiB"\n')
        return command


ALL: dict[str, type[Contestant]] = {kind.name: kind for kind in (GatewrightCache, NginxCache, HaproxyCache, Varnish)}


def assemble(names: list[str], binaries: dict[str, Path | None], folder: Path) -> list[Contestant]:
    programs = {"varnish": "varnishd"}
    found = []
    for name in names:
        given = binaries.get(name)
        binary = (install.gatewright(given) if name == "gatewright" else str(given.resolve()) if given
                  else install.need(programs.get(name, name)))
        found.append(ALL[name](binary, folder / f"cache-{name}"))
    return found


def check(contestant: Contestant, load: Load) -> None:
    """The second answer is the first one, kept."""
    connection = http.client.HTTPConnection("127.0.0.1", contestant.http, timeout=10)
    for _ in range(3):
        connection.request("GET", load.path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200 or body != b"x" * load.size:
            raise Trouble(f"{contestant.name} answers {load.path} wrongly: {answer.status}, {len(body)} bytes")
    connection.close()


class Slow(http.server.BaseHTTPRequestHandler):
    """An origin that takes a second for an answer that may be kept, and counts."""

    asked = 0
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        type(self).asked += 1
        time.sleep(1)
        self.send_response(200)
        self.send_header("content-length", "1024")
        self.send_header("cache-control", "max-age=3600")
        self.end_headers()
        self.wfile.write(b"x" * 1024)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class Threads(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 4096

    def handle_error(self, *_: object) -> None:
        """A proxy that is ended breaks its connections."""


def crowd(contestant: Contestant, site: Site, core: int, loader: str) -> tuple[int, int, float]:
    """Ten thousand who ask for the same at once, when nobody has it: what the origin was asked, how many were answered well, and
    how long the last one waited."""
    [port] = free_ports(1)
    Slow.asked = 0
    server = Threads(("127.0.0.1", port), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with contestant.start(Site(port, site.certificate, site.key, site.both), core):
            secure = contestant.https if not isinstance(contestant, Varnish) else 0
            url = f"https://127.0.0.1:{secure}/one" if secure else f"http://127.0.0.1:{contestant.http}/one"
            # Of HTTP/2 a hundred connections with a hundred requests each; Varnish has no TLS, so h2load speaks HTTP/1.1 to it.
            ways = ["-c100", "-m100"] if secure else ["--h1", "-c5000", "-m1"]
            begun = time.monotonic()
            done = subprocess.run(["timeout", "30", loader, "-t1", f"-n{CROWD}", *ways, url], capture_output=True, text=True, check=False)
            took = time.monotonic() - begun
            succeeded = next((line for line in done.stdout.splitlines() if line.startswith("status codes:")), "0 0")
            return Slow.asked, int(succeeded.split()[2] if succeeded.startswith("status") else 0), took
    finally:
        server.shutdown()
        server.server_close()
