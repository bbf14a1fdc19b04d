"""Whose turn it is when models want the same memory. Pure.

First come, first served by the oldest waiting request. While the first cannot be served, what came later may
overtake it for turn_wait_seconds; after that it waits too, and busy models that hold what the first needs
admit nothing new, once each has had its min_residency_seconds. So models that do not fit together serve
their requests in batches, and none waits for ever.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hypura_daemon.scheduling.eviction import Holder, least
from hypura_daemon.scheduling.rules import Rules


@dataclass(frozen=True, slots=True)
class Wish:
    """A model that waits for memory. What it holds already counts as free for it."""

    name: str
    wanted_bytes: int
    since_seconds: float  # When its oldest request began to wait.


def held_back(wishes: Sequence[Wish], name: str, since_seconds: float, now_seconds: float, rules: Rules) -> bool:
    """Whether a model whose oldest request came at since_seconds must leave the memory to an older wish."""
    return any(
        wish.name != name
        and wish.since_seconds < since_seconds
        and now_seconds >= wish.since_seconds + rules.turn_wait_seconds
        for wish in wishes
    )


def yielding(
    budget_bytes: int, holders: Sequence[Holder], wishes: Sequence[Wish], now_seconds: float, rules: Rules
) -> frozenset[str]:
    """The models that must admit nothing new, so that the oldest wish comes true: idle ones first, then those
    that were loaded first, and none in vain.
    """
    first = min(wishes, key=lambda wish: wish.since_seconds, default=None)
    if first is None or now_seconds < first.since_seconds + rules.turn_wait_seconds:
        return frozenset()
    staying = [holder for holder in holders if holder.name != first.name and not holder.leaving]
    missing_bytes = first.wanted_bytes + sum(holder.memory_bytes for holder in staying) - budget_bytes
    candidates = sorted(
        (holder for holder in staying if not holder.pinned),
        key=lambda h: (not h.movable, h.expires_seconds if h.movable else h.resident_since_seconds),
    )
    due = {h.name for h in candidates if now_seconds >= h.resident_since_seconds + rules.min_residency_seconds}
    return frozenset(least(candidates, missing_bytes) or ()) & due
