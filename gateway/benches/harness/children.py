"""Processes that we start: pinned to cores, logged to a file, and ended whatever happens to us."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from .machine import Trouble

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class Child:
    """A process in a session of its own, so that Ctrl-C reaches us first and its own children end with it.

    Use it as a context manager. It gets SIGTERM, then SIGKILL after three seconds; the kernel ends it if we are killed.
    """

    def __init__(self, name: str, command: list[str], cores: set[int], folder: Path, cwd: Path | None = None,
                 environment: dict[str, str] | None = None) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=cwd,
                                            env={**os.environ, **(environment or {})}, start_new_session=True,
                                            preexec_fn=lambda: prepare(cores))

    @property
    def pid(self) -> int:
        return self.process.pid

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Ends it and all that it started."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.pid, signal.SIGKILL)  # it is the leader of its own group
        except ProcessLookupError:
            pass
        self.process.wait()

    def check_alive(self) -> None:
        """Ends the run with its last words when it is gone."""
        if self.process.poll() is not None:
            last = self.log.read_text(errors="replace").strip().splitlines()[-8:]
            raise Trouble("\n    ".join([f"{self.name} ended with {self.process.returncode}:", *last]))

    def wait_for_port(self, port: int, seconds: float = 20) -> None:
        """Until something accepts on the port."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise Trouble(f"{self.name} does not listen on port {port}; see {self.log}")


def prepare(cores: set[int]) -> None:
    """Runs in the child before its program."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # not SIGKILL: nginx has a worker to end
    os.sched_setaffinity(0, cores)


def run_pinned(command: list[str], core: int, seconds: float, environment: dict[str, str] | None = None) -> str:
    """Runs a program to its end and gives what it printed. It is killed when it takes far too long or when we end."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, errors="replace", start_new_session=True,
                               env={**os.environ, **(environment or {})}, preexec_fn=lambda: prepare({core}))
    try:
        output, _ = process.communicate(timeout=seconds + 20)
    except subprocess.TimeoutExpired:
        raise Trouble(f"{command[0]} did not end") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode != 0:
        raise Trouble(f"{' '.join(command)} ended with {process.returncode}:\n    {output.strip()[-600:]}")
    return output
