"""What the clients saw, held against what was promised. Pure but for counting what is left."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.load import DEADLINE_SECONDS, Answers, Outcome
from tests.chaos.world import World

SPARE_DESCRIPTORS = 8
"""Connections of clients that have just closed."""


@dataclass(frozen=True, slots=True)
class Leaks:
    """What the daemon holds while nothing is loaded."""

    descriptors: int
    workers: int
    sockets: tuple[str, ...]
    rss_bytes: int

    @classmethod
    def of(cls, world: World) -> Leaks:
        return cls(world.descriptors(), len(world.workers()), tuple(world.sockets()), world.rss_bytes())


@dataclass(frozen=True, slots=True)
class Verdict:
    """How it went; `faults` of the run are the promises that were broken."""

    injected: Mapping[str, int]
    answers: int
    errors: Mapping[str, int]
    longest_seconds: float
    median_seconds: float
    before: Leaks
    after: Leaks
    broken: tuple[str, ...]

    @property
    def good(self) -> bool:
        return not self.broken

    def as_json(self) -> dict[str, Any]:
        return {
            "good": self.good,
            "broken": list(self.broken),
            "faults": sum(self.injected.values()),
            "injected": dict(self.injected),
            "answers": self.answers,
            "errors": dict(self.errors),
            "longest_seconds": round(self.longest_seconds, 2),
            "median_seconds": round(self.median_seconds, 3),
            "descriptors": [self.before.descriptors, self.after.descriptors],
            "rss_bytes": [self.before.rss_bytes, self.after.rss_bytes],
        }


def judge(
    expected: Answers,
    outcomes: Sequence[Outcome],
    hung: int,
    injected: Mapping[str, int],
    before: Leaks,
    after: Leaks,
    daemon_code: int | None,
    settled: bool,
    seen: Sequence[str],
) -> Verdict:
    """daemon_code: None while it runs; settled: whether every worker ended once nothing was loaded; seen: what the
    faults themselves saw broken.
    """
    broken = list(dict.fromkeys(seen))
    wrong = [o for o in outcomes if not o.error and o.tokens != expected[o.model, o.prompt]]
    if wrong:
        first = ", ".join(f"{o.model} {o.began_seconds:.1f} to {o.began_seconds + o.seconds:.1f} s" for o in wrong[:5])
        broken.append(f"{len(wrong)} answers had other tokens: {first}")
    untyped = [o.error for o in outcomes if not o.typed]
    if untyped:
        broken.append(f"{len(untyped)} errors were not the daemon's own, first: {untyped[0]}")
    late = [o for o in outcomes if o.seconds > DEADLINE_SECONDS]
    if late or hung:
        broken.append(f"{len(late) + hung} requests did not end within {DEADLINE_SECONDS:g} s")
    if not any(not o.error for o in outcomes):
        broken.append("nothing was answered at all")
    if daemon_code is not None:
        broken.append(f"the daemon ended with code {daemon_code}")
    if not settled:
        broken.append("workers were left, or the daemon did not answer, once nothing was to be loaded")
    if after.descriptors > before.descriptors + SPARE_DESCRIPTORS:
        broken.append(f"descriptors leaked: {before.descriptors} before, {after.descriptors} after")
    if after.sockets != before.sockets:
        broken.append(f"sockets leaked: {before.sockets} before, {after.sockets} after")
    seconds = [o.seconds for o in outcomes] or [0.0]
    return Verdict(
        injected=injected,
        answers=sum(not o.error for o in outcomes),
        errors=Counter(o.error.split(":")[0] for o in outcomes if o.error),
        longest_seconds=max(seconds),
        median_seconds=statistics.median(seconds),
        before=before,
        after=after,
        broken=tuple(broken),
    )
