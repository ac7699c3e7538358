"""What is measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .contestants import Contestant
from .load import Answered, H2load, Handshakes, Wrk
from .machine import Trouble


@dataclass(frozen=True)
class Load:
    """Requests as fast as they are answered, by a fixed number at the same time: 64, or 8 x 16 over HTTP/2."""

    name: str
    title: str
    kind: str            # h1, tls, h2, connect
    size: int
    connections: int = 64
    streams: int = 1
    below: str = ""      # where on the origin it lies

    @property
    def path(self) -> str:
        return f"{self.below}/{self.size}"


@dataclass(frozen=True)
class Idle:
    """Connections that have sent one request and then wait."""

    name: str
    title: str
    kind: str            # h1, tls, h2
    connections: int = 5000
    size: int = 128


LOADS = [
    Load("h1-128", "HTTP/1.1 keep-alive, 128 B", "h1", 128),
    Load("h1-1k", "HTTP/1.1 keep-alive, 1 KB", "h1", 1024),
    Load("h1-100k", "HTTP/1.1 keep-alive, 100 KB", "h1", 102_400),
    Load("tls-128", "HTTP/1.1 keep-alive over TLS 1.3, 128 B", "tls", 128),
    Load("h2-128", "HTTP/2 over TLS 1.3, 128 B", "h2", 128, 8, 16),
    Load("h2-100k", "HTTP/2 over TLS 1.3, 100 KB", "h2", 102_400, 8, 16),
    Load("connect", "New TLS 1.3 connection with one request, 128 B", "connect", 128),
]

IDLES = [
    Idle("idle", "Idle connections, cleartext", "h1"),
    Idle("idle-tls", "Idle connections, TLS 1.3", "tls"),
    Idle("idle-h2", "Idle connections, HTTP/2 over TLS 1.3", "h2"),
]

NAMES = [workload.name for workload in (*LOADS, *IDLES)]


class Generators:
    """The programs that make load, found or built once."""

    def __init__(self, folder: Path, kinds: set[str]) -> None:
        self.h2load = H2load(folder)  # the check of each contestant needs it in any case
        self.wrk = Wrk(folder) if kinds & {"h1", "tls"} else None
        self.handshakes = Handshakes() if "connect" in kinds else None

    def run(self, load: Load, contestant: Contestant, seconds: int, core: int) -> Answered:
        path, cleartext = load.path, f"http://127.0.0.1:{contestant.http}"
        encrypted = f"https://127.0.0.1:{contestant.https}"
        if load.kind == "h2":
            return self.h2load.run(encrypted + path, load.size, load.connections, load.streams, seconds, core)
        if load.kind == "connect" and self.handshakes:
            return self.handshakes.run(contestant.https, path, load.connections, seconds, core)
        if self.wrk:
            base = encrypted if load.kind == "tls" else cleartext
            return self.wrk.run(base + path, load.size, load.connections, seconds, core)
        raise Trouble(f"nothing was prepared for {load.name}")
