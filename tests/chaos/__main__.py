"""Inject faults for some minutes while clients ask, then say whether the promises held.

    python -m tests.chaos --minutes 20 --faults 200

Exit code 0 when no token was wrong, no request hung, nothing leaked, and the daemon was never restarted.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tests.chaos.faults import FAULTS, OUT_OF_MEMORY
from tests.chaos.load import Load, undisturbed
from tests.chaos.verdict import Leaks, Verdict, judge
from tests.chaos.world import World

LONGEST_FAULT_SECONDS = 2.0
DAEMON_BYTES = 600_000_000
"""Beside the models' budget, in the cgroup: the daemon, and what the kernel counts to it."""
BUDGET_MODELS = 2.4
"""The budget, in models: two fit, the third has to wait for one to leave."""


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Injects random faults into a daemon of its own while clients ask, and judges what they saw.",
        epilog="example: python -m tests.chaos --minutes 2 --faults 20 --only 'kill -9 of a worker'",
    )
    parser.add_argument("--minutes", type=float, default=20.0, help="how long the load lasts (20)")
    parser.add_argument("--faults", type=int, default=200, help="how many faults in that time (200)")
    parser.add_argument("--clients", type=int, default=4, help="how many clients ask (4)")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same faults in the same order (1)")
    parser.add_argument("--only", action="append", choices=sorted(FAULTS), help="this fault alone; may be repeated")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args(given)


def inject(world: World, minutes: float, count: int, names: Sequence[str]) -> Counter[str]:
    """The faults, spread over the time at random; how often each was injected."""
    began, injected = time.monotonic(), Counter[str]()
    starts = sorted(world.random.uniform(0, minutes * 60) for _ in range(count))
    for number, start in enumerate(starts, start=1):
        time.sleep(max(0.0, began + start - time.monotonic()))
        name = names[(number - 1) % len(names)] if number <= len(names) else world.random.choice(names)
        with FAULTS[name](world):
            time.sleep(world.random.uniform(0.05, LONGEST_FAULT_SECONDS))
        injected[name] += 1
        print(f"  {time.monotonic() - began:6.0f} s  {number:3d}/{count}  {name}", file=sys.stderr, flush=True)
    time.sleep(max(0.0, began + minutes * 60 - time.monotonic()))
    return injected


def run(options: argparse.Namespace, folder: Path) -> Verdict:
    """One run in this folder."""
    world = World(folder, Random(options.seed))
    world.start()
    try:
        need_bytes = world.need_bytes()
    finally:
        world.end()
    budget_bytes, names = int(need_bytes * BUDGET_MODELS), options.only or list(FAULTS)
    if OUT_OF_MEMORY in names and (reason := world.confine(budget_bytes + DAEMON_BYTES)):
        print(f"without {OUT_OF_MEMORY}: {reason}", file=sys.stderr, flush=True)
        names = [name for name in names if name != OUT_OF_MEMORY]
    world.start("--memory", str(budget_bytes))
    try:
        print("asking undisturbed ...", file=sys.stderr, flush=True)
        expected = undisturbed(world)
        world.calm()
        before = Leaks.of(world)
        world.load_all()
        load = Load(world, options.clients, options.seed)
        load.start()
        injected = inject(world, options.minutes, options.faults, names)
        outcomes, hung = load.stop()
        settled = world.daemon.poll() is None and world.calm()
        after = Leaks.of(world) if world.daemon.poll() is None else before
        return judge(expected, outcomes, hung, injected, before, after, world.daemon.poll(), settled, world.broken)
    finally:
        world.end()
        if world.cage is not None:
            world.cage.remove()


def raise_descriptors() -> None:
    """The floods' own connections need descriptors, too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192) if hard != resource.RLIM_INFINITY else 8192, hard))


def main(given: Sequence[str] | None = None) -> int:
    options = arguments(given)
    raise_descriptors()
    with tempfile.TemporaryDirectory(prefix="hyp") as name:
        verdict = run(options, Path(name))
        if not verdict.good:
            print((Path(name) / "daemon.log").read_text()[-4000:], file=sys.stderr)
    print(json.dumps(verdict.as_json(), indent=None if options.json else 2))
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
