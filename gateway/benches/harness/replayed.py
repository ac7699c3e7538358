"""Traces: requests for many things of which few are wanted often, replayed through a cache that has no room for all.

The hits of a cache stand beside those of two replays on paper: least recently used, and one that knows what will be asked
(it evicts what is wanted last and takes in nothing that is wanted later than what it would evict). Both count bodies only.
"""

from __future__ import annotations

import heapq
import random
import subprocess
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from . import install
from .cached import Varnish
from .contestants import Contestant, Site
from .load import Wrk, origin_counts
from .machine import Trouble, memory

ROOM = 32 << 20
THINGS = 20_000
REQUESTS = 200_000


@dataclass
class Trace:
    """What is asked, in order: numbers, and the size of each thing."""

    asked: list[int]
    sizes: list[int]

    @staticmethod
    def skewed(seed: int = 7) -> Trace:
        """The n-th thing is wanted n^0.9 times less often than the first; sizes from 200 B to 200 KB, most of them small."""
        chance = random.Random(seed)
        weights = [1 / (rank + 1) ** 0.9 for rank in range(THINGS)]
        sizes = [int(min(200_000, max(200, chance.lognormvariate(8.7, 1.2)))) for _ in range(THINGS)]
        return Trace(chance.choices(range(THINGS), weights, k=REQUESTS), sizes)

    def path(self, thing: int) -> str:
        return f"/kept/{self.sizes[thing]}?thing={thing}"

    def least_recently_used(self) -> int:
        kept: OrderedDict[int, None] = OrderedDict()
        hits = used = 0
        for thing in self.asked:
            if thing in kept:
                kept.move_to_end(thing)
                hits += 1
                continue
            kept[thing] = None
            used += self.sizes[thing]
            while used > ROOM:
                used -= self.sizes[kept.popitem(last=False)[0]]
        return hits

    def foreseen(self) -> int:
        following: dict[int, int] = {}
        after = [0] * len(self.asked)
        for place in range(len(self.asked) - 1, -1, -1):
            after[place] = following.get(self.asked[place], len(self.asked))
            following[self.asked[place]] = place
        wanted: dict[int, int] = {}
        latest: list[tuple[int, int]] = []
        hits = used = 0
        for place, thing in enumerate(self.asked):
            if thing in wanted:
                hits += 1
            else:
                used += self.sizes[thing]
            wanted[thing] = after[place]
            heapq.heappush(latest, (-after[place], thing))
            while used > ROOM:
                when, last = heapq.heappop(latest)
                if wanted.get(last) == -when:
                    del wanted[last]
                    used -= self.sizes[last]
        return hits


class Replay(Wrk):
    """Asks for what stands in a file, path and a field's value in a line, in a circle."""

    def __init__(self, folder: Path, lines: list[str], header: str) -> None:
        super().__init__(folder)
        (folder / "trace.txt").write_text("\n".join(lines) + "\n")
        self.script.write_text(self.script.read_text() + f"""
local lines, at = {{}}, 0
for line in io.lines("{folder}/trace.txt") do lines[#lines + 1] = line end
function request()
    at = at % #lines + 1
    local path, value = lines[at]:match("^(%S+) ?(%S*)")
    wrk.headers["{header}"] = value
    return wrk.format("GET", path)
end
""")


def hits(contestant: Contestant, site: Site, cores: tuple[int, int], trace: Trace, folder: Path) -> float:
    """The share of requests that the origin did not see, while the trace was replayed."""
    proxy, load = cores
    asked = folder / "trace.txt"
    with contestant.start(site, proxy):
        _, before = origin_counts(site.origin_port)
        base = f"http://127.0.0.1:{contestant.http}"
        asked.write_text("".join(f"{base}{trace.path(thing)}\n" for thing in trace.asked))
        # One after the other, so that all see the same order.
        command = [install.need("h2load"), "--h1", "-t1", "-c1", "-m1", f"-n{len(trace.asked)}", f"--input-file={asked}"]
        done = subprocess.run(["taskset", "-c", str(load), *command], capture_output=True, text=True, check=False)
        _, after = origin_counts(site.origin_port)
    if f"status codes: {len(trace.asked)} 2xx" not in done.stdout:
        raise Trouble(f"{contestant.name} failed with the trace:\n{done.stdout[-600:]}")
    return 1 - (after - before - 1) / len(trace.asked)


def bounded(contestant: Contestant, site: Site, cores: tuple[int, int], minutes: float, folder: Path) -> list[tuple[float, float]]:
    """Random sizes up to 1 MB in 8 languages, many times what there is room for: minutes and resident megabytes."""
    if isinstance(contestant, Varnish):
        raise Trouble("this is about our own memory")
    proxy, load = cores
    chance = random.Random(11)
    lines = [f"/varied/{chance.choice((200, 2_000, 20_000, 200_000, 1_000_000))}?thing={chance.randrange(20_000)} l{chance.randrange(8)}"
             for _ in range(50_000)]
    wrk = Replay(folder, lines, "accept-language")
    seen = []
    with contestant.start(site, proxy):
        begun = time.monotonic()
        while (gone := (time.monotonic() - begun) / 60) < minutes:
            answered = wrk.run(f"http://127.0.0.1:{contestant.http}/", 0, 16, 10, load)
            if answered.errors:
                raise Trouble(f"{contestant.name} failed: {answered}")
            seen.append((gone, memory(contestant.pid).rss / 1e6))
    return seen
