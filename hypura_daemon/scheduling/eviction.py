"""Which models must go so that another one fits. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Holder:
    """A model that holds a part of the budget. Times are of one monotonic clock."""

    name: str
    memory_bytes: int
    kept: str = ""  # Why it cannot leave now, for people; empty when it can.
    giveable_bytes: int = 0  # Of its memory, what it can give back without leaving.
    usable_bytes: int = 0  # What it could use beside its memory.
    leaving: bool = False  # Being unloaded already; its memory comes back without a decision.
    pinned: bool = False  # Stays until it is unloaded by name.
    expires_seconds: float = math.inf
    last_used_seconds: float = 0.0
    resident_since_seconds: float = math.inf  # When it was loaded; infinity while it loads.

    @property
    def movable(self) -> bool:
        """Whether it can be unloaded at once."""
        return not self.kept and not self.leaving


def spare_bytes(budget_bytes: int, holders: Sequence[Holder]) -> int:
    """What a new model could have if everything movable went; not below 0."""
    return max(0, budget_bytes - sum(h.memory_bytes for h in holders if not h.movable and not h.leaving))


def evict(budget_bytes: int, holders: Sequence[Holder], wanted_bytes: int) -> tuple[str, ...] | None:
    """The models to unload, none in vain; None when it cannot fit.

    The one that would expire first goes first, and of equal ones the least recently used.
    """
    movable = sorted((h for h in holders if h.movable), key=lambda h: (h.expires_seconds, h.last_used_seconds))
    return least(movable, wanted_bytes + sum(h.memory_bytes for h in holders if not h.leaving) - budget_bytes)


def least(candidates: Sequence[Holder], wanted_bytes: int) -> tuple[str, ...] | None:
    """The first of the candidates that hold so much together, without those that the others make needless."""
    chosen: list[Holder] = []
    for holder in candidates:
        if wanted_bytes <= 0:
            break
        chosen.append(holder)
        wanted_bytes -= holder.memory_bytes
    if wanted_bytes > 0:
        return None
    for holder in reversed(chosen):
        if wanted_bytes + holder.memory_bytes <= 0:
            chosen.remove(holder)
            wanted_bytes += holder.memory_bytes
    return tuple(holder.name for holder in chosen)


def told(holders: Sequence[Holder]) -> str:
    """Who holds what, for people."""
    return ", ".join(
        f'"{h.name}" {h.memory_bytes / 1e9:.2f} GB' + (f" ({h.kept})" if h.kept and not h.leaving else "")
        for h in sorted(holders, key=lambda h: -h.memory_bytes)
    )
