"""Static files: the same folder, served by each, in turns.

Every contestant has what its users switch on for files: nginx sendfile, tcp_nopush and open_file_cache; Caddy and Gatewright
are as they come. All run with one thread (Caddy: GOMAXPROCS=1), log nothing, and are pinned to one core.
"""

from __future__ import annotations

import hashlib
import http.client
import ssl
from contextlib import ExitStack
from pathlib import Path

from . import install
from .children import Child
from .contestants import Contestant, Gatewright, Nginx, Site
from .machine import Trouble, memory, usage
from .measure import Bench, LoadResult, Sample
from .workloads import Load

LOADS = [
    Load("file-1k", "Static file of 1 KB, HTTP/1.1 keep-alive", "h1", 1024),
    Load("file-100k", "Static file of 100 KB, HTTP/1.1 keep-alive", "h1", 102_400),
    Load("file-100m", "Static file of 100 MB, HTTP/1.1 keep-alive", "h1", 104_857_600, 4),
    Load("file-tls-1k", "Static file of 1 KB over TLS 1.3", "tls", 1024),
    Load("file-h2-1k", "Static file of 1 KB, HTTP/2 over TLS 1.3", "h2", 1024, 8, 16),
    Load("file-h2-100k", "Static file of 100 KB, HTTP/2 over TLS 1.3", "h2", 102_400, 8, 16),
]
NAMES = [load.name for load in LOADS]


def make_folder(folder: Path) -> Path:
    """Files named by their size, of bytes that differ, so that a wrong part is seen."""
    folder.mkdir(parents=True, exist_ok=True)
    for size in {load.size for load in LOADS}:
        file = folder / str(size)
        if not file.exists() or file.stat().st_size != size:
            with file.open("wb") as out:
                for start in range(0, size, 1 << 20):
                    block = hashlib.shake_128(start.to_bytes(8, "big")).digest(min(1 << 20, size - start))
                    out.write(block)
    return folder


class Serving:
    """Mixed into a contestant: the folder that it serves."""

    root: Path = Path()


class NginxFiles(Serving, Nginx):
    def write(self, site: Site) -> list[str]:
        command = super().write(site)
        file = self.folder / "nginx.conf"
        text = file.read_text()
        start, end = text.index("        location / {"), text.rindex("        }\n    }\n}")
        served = f"""\
        location / {{
            root {self.root};
            sendfile on;
            tcp_nopush on;
            open_file_cache max=1000 inactive=60s;
            open_file_cache_valid 1s;
"""
        file.write_text(text[:start] + served + text[end:])
        return command


class CaddyFiles(Serving, Contestant):
    name = "caddy"

    def version(self) -> str:
        return self.version_like(r"v?(\d+\.\d+\.\d+)", "version")

    def write(self, site: Site) -> list[str]:
        served = f"root * {self.root}\n    file_server"
        (self.folder / "Caddyfile").write_text(f"""\
{{
    admin off
    auto_https off
    storage file_system {self.folder}
    servers {{
        protocols h1 h2
    }}
}}
http://127.0.0.1:{self.http} {{
    {served}
}}
https://127.0.0.1:{self.https} {{
    tls {site.certificate} {site.key}
    {served}
}}
""")
        environment = ["env", "GOMAXPROCS=1", f"HOME={self.folder}"]
        return [*environment, self.binary, "run", "--config", f"{self.folder}/Caddyfile", "--adapter", "caddyfile"]


class GatewrightFiles(Serving, Gatewright):
    def write(self, site: Site) -> list[str]:
        command = super().write(site)
        file = self.folder / "gateway.toml"
        text = file.read_text()
        file.write_text(text[:text.index("[pool.origin]")] + f'[[route]]\nstatic = "{self.root}"\n')
        return command


ALL = {kind.name: kind for kind in (GatewrightFiles, NginxFiles, CaddyFiles)}


def assemble(names: list[str], binaries: dict[str, Path | None], folder: Path, root: Path) -> list[Contestant]:
    found = []
    for name in names:
        given = binaries.get(name)
        binary = install.gatewright(given) if name == "gatewright" else str(given.resolve()) if given else install.need(name)
        contestant = ALL[name](binary, folder / f"files-{name}")
        contestant.root = root
        found.append(contestant)
    return found


def check(contestant: Contestant, root: Path, size: int) -> None:
    """The right bytes, in cleartext and over TLS."""
    context = ssl._create_unverified_context()  # noqa: S323: the certificate is our own
    for connection in (http.client.HTTPConnection("127.0.0.1", contestant.http, timeout=30),
                       http.client.HTTPSConnection("127.0.0.1", contestant.https, timeout=30, context=context)):
        connection.request("GET", f"/{size}")
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status != 200 or body != (root / str(size)).read_bytes():
            raise Trouble(f"{contestant.name} answers {answer.status} with {len(body)} bytes, which are not those of the file")


def measure(bench: Bench, load: Load, contestants: list[Contestant], root: Path) -> LoadResult:
    """All run at the same time and take turns."""
    result, plan = LoadResult(load), bench.plan
    core = plan.cores.proxy

    def sample(contestant: Contestant, seconds: int) -> Sample:
        before = usage(contestant.pid, core)
        answered = bench.generators.run(load, contestant, seconds, plan.cores.load)
        used = usage(contestant.pid, core) - before
        if contestant.child:
            contestant.child.check_alive()
        return Sample(answered, used, 0)

    with ExitStack() as running:
        for contestant in contestants:
            child: Child = running.enter_context(contestant.start(bench.site, core))
            child.check_alive()
            check(contestant, root, load.size)
            sample(contestant, 1)
        for number in range(plan.rounds):
            install.say(f"{load.name}: round {number + 1} of {plan.rounds}")
            for contestant in contestants:
                result.samples.setdefault(contestant.name, []).append(sample(contestant, plan.seconds))
        for contestant in contestants:
            result.memory[contestant.name] = memory(contestant.pid)
    return result


