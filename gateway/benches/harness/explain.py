"""Where a figure comes from: the split of CPU time into user and system, sleeps, and system calls of each request."""

from __future__ import annotations

import re
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass

from . import install
from .children import Child
from .contestants import Contestant
from .machine import Trouble, family
from .measure import Bench, Sample
from .workloads import Load


@dataclass
class Explained:
    """One contestant on one workload."""

    sample: Sample                 # undisturbed
    calls: dict[str, float]        # system calls for each request, under strace; empty without it
    failed: dict[str, float]       # those of them that failed (EAGAIN and such)


def explain(bench: Bench, workload: Load) -> dict[str, Explained]:
    """All contestants. strace slows the proxy down, so its counts are of a run of their own."""
    strace = install.find("strace")
    found = {}
    with ExitStack() as running:
        for contestant in bench.contestants:
            running.enter_context(bench.start(contestant, workload.size))
        for contestant in bench.contestants:
            install.say(f"{workload.name}: explaining {contestant.name}")
            bench.sample(workload, contestant, 1)
            sample = bench.sample(workload, contestant, bench.plan.seconds)
            calls, failed = trace(bench, workload, contestant, strace) if strace else ({}, {})
            found[contestant.name] = Explained(sample, calls, failed)
    return found


def trace(bench: Bench, workload: Load, contestant: Contestant, strace: str) -> tuple[dict[str, float], dict[str, float]]:
    counts = bench.plan.folder / f"strace.{contestant.name}"
    members = family(contestant.pid)
    command = [strace, "-c", "-f", "-o", str(counts), *(f"-p{member}" for member in members)]
    with Child("strace", command, {bench.plan.cores.load}, bench.plan.folder) as child:
        deadline = time.monotonic() + 10
        while child.log.read_text(errors="replace").count(" attached") < len(members):
            child.check_alive()
            if time.monotonic() > deadline:
                raise Trouble(f"strace does not attach to {contestant.name}; see {child.log}")
            time.sleep(0.05)
        answered = bench.generators.run(workload, contestant, bench.plan.seconds, bench.plan.cores.load)
        child.process.send_signal(signal.SIGINT)
        child.process.wait(10)
    calls, failed = {}, {}
    for line in counts.read_text().splitlines():
        # % time, seconds, usecs/call, calls, errors (may be empty), syscall
        if row := re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(\d+)?\s+(\w+)$", line):
            if row.group(3) != "total":
                calls[row.group(3)] = int(row.group(1)) / max(1, answered.requests)
                failed[row.group(3)] = int(row.group(2) or 0) / max(1, answered.requests)
    return calls, failed
