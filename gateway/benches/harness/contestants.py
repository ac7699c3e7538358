"""The proxies: how each is configured and started. All of them

- listen in cleartext and over TLS 1.3 with the same ECDSA P-256 certificate, HTTP/1.1 and HTTP/2 by ALPN;
- forward everything to one origin over HTTP/1.1 connections that they keep;
- add X-Forwarded-For, log no requests, and work with one thread;
- are otherwise left as they come.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from . import install
from .children import Child
from .machine import Trouble, free_ports

CIPHER = "TLS_AES_128_GCM_SHA256"


@dataclass
class Site:
    """What a contestant has to serve."""

    origin_port: int
    certificate: Path
    key: Path
    both: Path


@dataclass
class Contestant:
    """A proxy. `write` makes its configuration in `folder` and gives the command."""

    binary: str
    folder: Path
    http: int = 0
    https: int = 0
    child: Child | None = field(default=None, repr=False)

    name = ""

    def write(self, site: Site) -> list[str]:
        raise NotImplementedError

    def version(self) -> str:
        raise NotImplementedError

    def start(self, site: Site, core: int) -> Child:
        """On new ports. The caller ends the child."""
        self.http, self.https = free_ports(2)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.child = Child(self.name, self.write(site), {core}, self.folder, cwd=self.folder)
        try:
            self.child.wait_for_port(self.http)
            self.child.wait_for_port(self.https)
        except BaseException:
            self.child.end()
            raise
        return self.child

    @property
    def pid(self) -> int:
        assert self.child is not None, "it was started"
        return self.child.pid

    def said(self, *arguments: str) -> str:
        done = subprocess.run([self.binary, *arguments], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def version_like(self, pattern: str, *arguments: str) -> str:
        found = re.search(pattern, self.said(*arguments))
        return found.group(1) if found else "unknown version"


class Nginx(Contestant):
    """Buffers, temporary files and TLS records as they come; connections last as long as the load wants them."""

    name = "nginx"

    def version(self) -> str:
        return self.version_like(r"nginx/([\d.]+)", "-v")

    def write(self, site: Site) -> list[str]:
        new = tuple(int(n) for n in re.findall(r"\d+", self.version())[:3]) >= (1, 25, 1)
        temporary = "\n    ".join(f"{kind}_temp_path {self.folder}/{kind};" for kind in
                                  ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.folder / "nginx.conf").write_text(f"""\
daemon off;
{"user root;" if os.geteuid() == 0 else ""}
worker_processes 1;
worker_rlimit_nofile 20000;
pid {self.folder}/nginx.pid;
error_log {self.folder}/error.log error;
events {{ worker_connections 19000; }}
http {{
    access_log off;
    {temporary}
    keepalive_requests 1000000000;
    upstream origin {{
        server 127.0.0.1:{site.origin_port};
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{self.http};
        listen 127.0.0.1:{self.https} ssl{"" if new else " http2"};
        {"http2 on;" if new else ""}
        ssl_certificate {site.certificate};
        ssl_certificate_key {site.key};
        ssl_protocols TLSv1.3;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
""")
        return [self.binary, "-p", str(self.folder), "-e", f"{self.folder}/error.log", "-c", f"{self.folder}/nginx.conf"]


class Haproxy(Contestant):
    """Every request may use any kept connection, as with the others."""

    name = "haproxy"

    def version(self) -> str:
        return self.version_like(r"version ([\d.]+)", "-v")

    def write(self, site: Site) -> list[str]:
        (self.folder / "haproxy.cfg").write_text(f"""\
global
    nbthread 1
    maxconn 9000
    ssl-default-bind-options ssl-min-ver TLSv1.3

defaults
    mode http
    timeout connect 5s
    timeout client 120s
    timeout server 120s
    http-reuse always
    option forwardfor

frontend in
    bind 127.0.0.1:{self.http}
    bind 127.0.0.1:{self.https} ssl crt {site.both} alpn h2,http/1.1
    default_backend origin

backend origin
    server one 127.0.0.1:{site.origin_port}
""")
        return [self.binary, "-db", "-f", f"{self.folder}/haproxy.cfg"]


class Envoy(Contestant):
    """One worker (and its main thread, which idles); circuit breakers wide open."""

    name = "envoy"

    def version(self) -> str:
        return self.version_like(r"/(\d+\.\d+\.\d+)", "--version")

    def write(self, site: Site) -> list[str]:
        def typed(name: str, **rest: object) -> dict[str, object]:
            return {"@type": f"type.googleapis.com/envoy.{name}", **rest}

        def address(port: int) -> dict[str, object]:
            return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

        router = {"name": "router", "typed_config": typed("extensions.filters.http.router.v3.Router")}
        manager = typed(
            "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            stat_prefix="in", codec_type="AUTO", use_remote_address=True, http_filters=[router],
            route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, "route": {"cluster": "origin"}}]}]})
        tls = typed(
            "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            common_tls_context={
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
                "tls_certificates": [{"certificate_chain": {"filename": str(site.certificate)},
                                      "private_key": {"filename": str(site.key)}}]})

        def listener(name: str, port: int, **chain: object) -> dict[str, object]:
            filters = [{"name": "http", "typed_config": manager}]
            return {"name": name, "address": address(port), "filter_chains": [{"filters": filters, **chain}]}

        many = 1_000_000
        cluster = {
            "name": "origin", "type": "STATIC", "connect_timeout": "5s",
            "circuit_breakers": {"thresholds": [{"max_connections": many, "max_pending_requests": many,
                                                 "max_requests": many}]},
            "load_assignment": {"cluster_name": "origin", "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address(site.origin_port)}}]}]}}
        # YAML is a superset of JSON.
        (self.folder / "envoy.json").write_text(json.dumps({"static_resources": {
            "listeners": [listener("http", self.http),
                          listener("https", self.https, transport_socket={"name": "tls", "typed_config": tls})],
            "clusters": [cluster]}}, indent=2))
        return [self.binary, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error",
                "-c", f"{self.folder}/envoy.json"]


class Gatewright(Contestant):
    """As it comes: it also sends Via, the other X-Forwarded fields and a request id."""

    name = "gatewright"

    def version(self) -> str:
        return self.version_like(r"(\d+\.\d+\.\d+\S*)", "--version")

    def write(self, site: Site) -> list[str]:
        (self.folder / "gateway.toml").write_text(f"""\
workers = 1

[[listener]]
address = "127.0.0.1:{self.http}"

[[listener]]
address = "127.0.0.1:{self.https}"
tls = {{ certificates = [{{ certificate = "{site.certificate}", key = "{site.key}" }}], minimum = "1.3" }}

[pool.origin]
endpoints = ["127.0.0.1:{site.origin_port}"]

[[route]]
match = {{ path = "/" }}
pool = "origin"
""")
        return [self.binary, "run", "--config", f"{self.folder}/gateway.toml"]


ALL: dict[str, type[Contestant]] = {kind.name: kind for kind in (Gatewright, Nginx, Haproxy, Envoy)}


def assemble(names: list[str], paths: dict[str, Path | None], folder: Path) -> list[Contestant]:
    """Finds, installs or builds the binaries."""
    found = []
    for name in names:
        given = paths.get(name)
        if name == "gatewright":
            binary = install.gatewright(given)
        elif given is not None:
            if not given.exists():
                raise Trouble(f"{given} does not exist")
            binary = str(given.resolve())
        else:
            binary = install.envoy() if name == "envoy" else install.need(name)
        found.append(ALL[name](binary, folder / name))
    return found
