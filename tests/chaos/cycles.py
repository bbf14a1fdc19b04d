"""Load and unload a model many times, and see that the daemon's descriptors and memory stay where they were.

python -m tests.chaos.cycles --cycles 2000
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tests.chaos.verdict import SPARE_DESCRIPTORS, Leaks
from tests.chaos.world import MODELS, World

WARM_CYCLES = 20
"""Before the first count: imports, caches and arenas that are made once."""
MAX_GROWTH_BYTES = 10_000_000
REPORT_EVERY = 50


def run(world: World, cycles: int) -> tuple[Leaks, Leaks]:
    """What the daemon holds after the warm cycles, and at the end."""
    name = MODELS[0][0]
    before = Leaks.of(world)
    with world.client(120) as client:
        for number in range(cycles + WARM_CYCLES):
            if number == WARM_CYCLES:
                before = Leaks.of(world)
            client.load(name, world.options())
            client.unload(name)
            if number % REPORT_EVERY == 0:
                now = Leaks.of(world)
                print(
                    f"  {number:5d}  {now.rss_bytes / 1e6:6.1f} MB  {now.descriptors} fds", file=sys.stderr, flush=True
                )
    return before, Leaks.of(world)


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.cycles", description=__doc__)
    parser.add_argument("--cycles", type=int, default=2000)
    options = parser.parse_args(given)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hyp") as folder:
        world = World(Path(folder), Random(1))
        world.start()
        try:
            before, after = run(world, options.cycles)
        finally:
            world.end()
    good = (
        after.descriptors <= before.descriptors + SPARE_DESCRIPTORS
        and after.workers == 0
        and after.sockets == before.sockets
        and after.rss_bytes - before.rss_bytes <= MAX_GROWTH_BYTES
    )
    figures = {
        "good": good,
        "cycles": options.cycles,
        "seconds": round(time.monotonic() - began, 1),
        "descriptors": [before.descriptors, after.descriptors],
        "rss_bytes": [before.rss_bytes, after.rss_bytes],
        "workers": after.workers,
        "sockets": list(after.sockets),
    }
    print(json.dumps(figures))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
