"""Compression: a list in JSON, 50 KB, compressed as it comes and out of a cache, and the size that is reached.

nginx and Caddy compress as their documentation has it: nginx with gzip at its default level, Caddy with zstd and gzip; Gatewright with
`compress = true`. Caddy has no cache, so it compresses what is kept elsewhere anew each time, as nginx does with its own cache.
"""

from __future__ import annotations

import gzip
import http.client
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from . import install
from .contestants import Contestant, Gatewright, Nginx, Site
from .load import Answered, Wrk
from .machine import Trouble
from .workloads import Load

SIZE = 51_200


@dataclass(frozen=True)
class Coded(Load):
    """With this Accept-Encoding."""

    accepted: str = "gzip"


LOADS = [
    Coded("json-gzip", "JSON 50 KB for a client that takes gzip", "h1", SIZE, below="/json"),
    Coded("json-any", "JSON 50 KB for a client that takes gzip, br and zstd", "h1", SIZE, below="/json", accepted="gzip, br, zstd"),
    Coded("kept-gzip", "JSON 50 KB that may be kept, for a client that takes gzip", "h1", SIZE, below="/kept-json"),
    Coded("kept-any", "JSON 50 KB that may be kept, for a client that takes gzip, br and zstd", "h1", SIZE, below="/kept-json",
          accepted="gzip, br, zstd"),
]
NAMES = [load.name for load in LOADS]


class NginxCoded(Nginx):
    def write(self, site: Site) -> list[str]:
        shutil.rmtree(self.folder / "kept", ignore_errors=True)
        command = super().write(site)
        file = self.folder / "nginx.conf"
        shared = (f"proxy_cache_path {self.folder}/kept keys_zone=kept:10m max_size=200m inactive=1h;\n"
                  "    gzip on;\n    gzip_types application/json;\n    gzip_proxied any;\n    gzip_vary on;\n    ")
        text = file.read_text().replace("upstream origin {", shared + "upstream origin {", 1)
        file.write_text(text.replace("proxy_pass http", "proxy_cache kept;\n            proxy_pass http", 1))
        return command


class Caddy(Contestant):
    """One thread for Go; no log, no admin address, no certificates of its own."""

    name = "caddy"

    def version(self) -> str:
        return self.version_like(r"v?(\d+\.\d+\.\d+)", "version")

    def write(self, site: Site) -> list[str]:
        (self.folder / "Caddyfile").write_text(f"""\
{{
    admin off
    auto_https off
    log default {{
        output discard
    }}
}}
http://127.0.0.1:{self.http} {{
    encode zstd gzip
    reverse_proxy 127.0.0.1:{site.origin_port}
}}
https://127.0.0.1:{self.https} {{
    tls {site.certificate} {site.key}
    encode zstd gzip
    reverse_proxy 127.0.0.1:{site.origin_port}
}}
""")
        home = f"HOME={self.folder}"
        return ["env", "GOMAXPROCS=1", home, self.binary, "run", "--config", f"{self.folder}/Caddyfile", "--adapter", "caddyfile"]


class GatewrightCoded(Gatewright):
    def write(self, site: Site) -> list[str]:
        command = super().write(site)
        file = self.folder / "gateway.toml"
        kept = '\n[[route]]\nmatch = { path = "/kept-json/" }\npool = "origin"\ncompress = true\ncache = true\n'
        file.write_text(file.read_text() + "compress = true\n" + kept)
        return command


ALL: dict[str, type[Contestant]] = {kind.name: kind for kind in (GatewrightCoded, NginxCoded, Caddy)}


def assemble(names: list[str], binaries: dict[str, Path | None], folder: Path) -> list[Contestant]:
    found = []
    for name in names:
        given = binaries.get(name)
        binary = (install.gatewright(given) if name == "gatewright" else str(given.resolve()) if given
                  else install.need(name))
        found.append(ALL[name](binary, folder / f"coded-{name}"))
    return found


class Asking(Wrk):
    """wrk with an Accept-Encoding."""

    def run_coded(self, load: Coded, contestant: Contestant, least: int, seconds: int, core: int) -> Answered:
        self.accepted = load.accepted
        return self.run(f"http://127.0.0.1:{contestant.http}{load.path}", least, load.connections, seconds, core)

    def command(self, url: str, connections: int, seconds: int) -> list[str]:
        *rest, url = super().command(url, connections, seconds)
        return [*rest, "-H", f"Accept-Encoding: {self.accepted}", url]


class Generators:
    """What makes load, for `measure.Bench`."""

    def __init__(self, folder: Path) -> None:
        self.wrk = Asking(folder)

    def run(self, load: Coded, contestant: Contestant, seconds: int, core: int) -> Answered:
        # The size differs by contestant; that it is right was seen before.
        return self.wrk.run_coded(load, contestant, 1000, seconds, core)


def check(contestant: Contestant, load: Coded, sizes: dict[str, tuple[str, int]]) -> None:
    """Asked thrice, it compresses, and what comes is the list. Notes encoding and size."""
    for _ in range(3):
        connection = http.client.HTTPConnection("127.0.0.1", contestant.http, timeout=10)
        connection.request("GET", load.path, headers={"Accept-Encoding": load.accepted})
        answer = connection.getresponse()
        body = answer.read()
        coding = answer.headers.get("Content-Encoding", "none")
        connection.close()
        if answer.status != 200 or coding == "none" or len(body) > SIZE // 3:
            raise Trouble(f"{contestant.name} answers {load.path} wrongly: {answer.status}, {coding}, {len(body)} bytes")
        if coding == "gzip":
            plain = gzip.decompress(body)
            if len(plain) != SIZE or not json.loads(plain):
                raise Trouble(f"{contestant.name}: {len(plain)} bytes instead of {SIZE}")
        sizes[contestant.name] = (coding, len(body))
