"""Which models leave memory so that another one fits, and which waiting model gets memory first. Pure functions.

The oldest waiting request comes first. While it cannot be served, later requests may overtake it for
turn_wait_seconds. After that they wait too, and busy models that hold the memory it needs admit no new requests,
once each has had its min_residency_seconds. So models that do not fit together serve their requests in batches,
and no request waits for ever.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hypura_daemon.scheduling.rules import Rules


@dataclass(frozen=True, slots=True)
class Holder:
    """A model that holds a part of the budget. All times are of the same monotonic clock."""

    name: str
    memory_limit_bytes: int
    kept: str = ""  # Why it cannot leave now, for messages; empty when it can.
    giveable_bytes: int = 0  # How much of its memory it can give back without leaving.
    usable_bytes: int = 0  # How much more memory it could use.
    leaving: bool = False  # Being unloaded already; its memory comes back without a decision.
    pinned: bool = False  # Stays until it is unloaded by name.
    expires_seconds: float = math.inf
    last_used_seconds: float = 0.0
    resident_since_seconds: float = math.inf  # When it was loaded; infinity while it loads.

    @property
    def movable(self) -> bool:
        """Whether it can be unloaded at once."""
        return not self.kept and not self.leaving


def spare_bytes(current_budget_bytes: int, holders: Sequence[Holder]) -> int:
    """What a new model could have if everything movable left; not below 0."""
    return max(0, current_budget_bytes - sum(h.memory_limit_bytes for h in holders if not h.movable and not h.leaving))


def evict(current_budget_bytes: int, holders: Sequence[Holder], wanted_bytes: int) -> tuple[str, ...] | None:
    """The models to unload, and no more than needed; None when there cannot be enough room.

    The model that would expire first leaves first; of several, the least recently used.
    """
    movable = sorted((h for h in holders if h.movable), key=lambda h: (h.expires_seconds, h.last_used_seconds))
    return fewest(
        movable, wanted_bytes + sum(h.memory_limit_bytes for h in holders if not h.leaving) - current_budget_bytes
    )


def fewest(candidates: Sequence[Holder], wanted_bytes: int) -> tuple[str, ...] | None:
    """The first candidates that hold so much together, without those that the later ones make unnecessary."""
    chosen: list[Holder] = []
    for holder in candidates:
        if wanted_bytes <= 0:
            break
        chosen.append(holder)
        wanted_bytes -= holder.memory_limit_bytes
    if wanted_bytes > 0:
        return None
    for holder in reversed(chosen):
        if wanted_bytes + holder.memory_limit_bytes <= 0:
            chosen.remove(holder)
            wanted_bytes += holder.memory_limit_bytes
    return tuple(holder.name for holder in chosen)


def described(holders: Sequence[Holder]) -> str:
    """Which models hold how much, for error messages."""
    return ", ".join(
        f'"{h.name}" {h.memory_limit_bytes / 1e9:.2f} GB' + (f" ({h.kept})" if h.kept and not h.leaving else "")
        for h in sorted(holders, key=lambda h: -h.memory_limit_bytes)
    )


@dataclass(frozen=True, slots=True)
class Wish:
    """A model that waits for memory. The memory that it holds already counts as free for it."""

    name: str
    wanted_bytes: int
    since_seconds: float  # When its oldest request began to wait.


def held_back(wishes: Sequence[Wish], name: str, since_seconds: float, now_seconds: float, rules: Rules) -> bool:
    """Whether a model whose oldest request came at since_seconds must leave free memory to an older wish."""
    return any(
        wish.name != name
        and wish.since_seconds < since_seconds
        and now_seconds >= wish.since_seconds + rules.turn_wait_seconds
        for wish in wishes
    )


def yielding(
    current_budget_bytes: int, holders: Sequence[Holder], wishes: Sequence[Wish], now_seconds: float, rules: Rules
) -> frozenset[str]:
    """The models that must admit no new requests, so that the oldest wish can be served.

    Idle models come first, then those that were loaded first, and no more than needed.
    """
    first = min(wishes, key=lambda wish: wish.since_seconds, default=None)
    if first is None or now_seconds < first.since_seconds + rules.turn_wait_seconds:
        return frozenset()
    staying = [holder for holder in holders if holder.name != first.name and not holder.leaving]
    missing_bytes = first.wanted_bytes + sum(holder.memory_limit_bytes for holder in staying) - current_budget_bytes
    candidates = sorted(
        (holder for holder in staying if not holder.pinned),
        key=lambda h: (not h.movable, h.expires_seconds if h.movable else h.resident_since_seconds),
    )
    due = {h.name for h in candidates if now_seconds >= h.resident_since_seconds + rules.min_residency_seconds}
    return frozenset(fewest(candidates, missing_bytes) or ()) & due
