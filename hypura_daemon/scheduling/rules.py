"""How models share the memory and requests share a model, in seconds."""

import math
from dataclasses import dataclass

LONGEST_KEEP_ALIVE_SECONDS = 100 * 365 * 86400.0
"""More is for ever: a date so far away cannot be written in every protocol."""


@dataclass(frozen=True, slots=True)
class Rules:
    """keep_alive: how long a model stays after its last request, negative for ever.
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
