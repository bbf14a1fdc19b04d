"""The rules of time: how long models stay and requests wait, who may overtake, and pauses after crashes. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_KEEP_ALIVE_SECONDS = 100 * 365 * 86400.0
"""A longer one is for ever, since not every protocol can express a date so far away."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How long models stay, and requests wait.

    keep_alive: how long a model stays after its last request, negative for ever.
    load_wait: how long a request may wait for memory that others hold.
    turn_wait: how long a request may be overtaken; then those that came later wait for it.
    min_residency: how long a model that was just loaded keeps its memory while requests come for it.
    """

    keep_alive_seconds: float = 300.0
    load_wait_seconds: float = 120.0
    turn_wait_seconds: float = 20.0
    min_residency_seconds: float = 10.0


def expiry(idle_since_seconds: float, keep_alive_seconds: float) -> float:
    """When a model that is idle since then is to be unloaded; infinity for never."""
    if 0 <= keep_alive_seconds <= LONGEST_KEEP_ALIVE_SECONDS:
        return idle_since_seconds + keep_alive_seconds
    return math.inf


@dataclass(frozen=True, slots=True)
class WaitingRequest:
    """A request that waits for a loaded model.

    overtakable_seconds: if it does not fit the model as it is loaded, how long later requests that do fit may go
    first; after that they wait with it.
    """

    fits: bool
    waited_seconds: float = 0.0
    overtakable_seconds: float = math.inf


def admitted(waiting: Sequence[WaitingRequest], places: int) -> tuple[int, ...]:
    """The indices of the requests that are admitted; waiting: the oldest first."""
    chosen: list[int] = []
    for index, request in enumerate(waiting):
        if len(chosen) >= places:
            break
        if request.fits:
            chosen.append(index)
        elif request.waited_seconds >= request.overtakable_seconds:
            break
    return tuple(chosen)


MANY_CRASHES = 3
WINDOW_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Crashes:
    """A model's worker deaths since the last answered request: times of the recent ones, and pauses that followed."""

    times_seconds: tuple[float, ...] = ()
    pauses: int = 0
    paused_until_seconds: float = 0.0

    def after(self, now_seconds: float) -> "Crashes":
        """After one more death. Three within a minute lead to a pause, and each death after a pause to a longer one."""
        times = (*(t for t in self.times_seconds if now_seconds < t + WINDOW_SECONDS), now_seconds)[-MANY_CRASHES:]
        if not self.pauses and len(times) < MANY_CRASHES:
            return Crashes(times)
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0**self.pauses)
        return Crashes(times, min(self.pauses + 1, 16), now_seconds + pause)
