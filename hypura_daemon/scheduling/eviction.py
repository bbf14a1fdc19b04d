"""Which models must go so that another one fits. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Holder:
    """A model that holds a part of the budget."""

    name: str
    memory_bytes: int
    movable: bool  # Idle and not pinned.
    leaving: bool  # Being unloaded already; its memory comes back without a decision.
    last_used_seconds: float


def spare_bytes(budget_bytes: int, holders: Sequence[Holder]) -> int:
    """What a new model could have if everything movable went; not below 0."""
    return max(0, budget_bytes - sum(h.memory_bytes for h in holders if not h.movable and not h.leaving))


def evict(budget_bytes: int, holders: Sequence[Holder], wanted_bytes: int) -> tuple[str, ...] | None:
    """The models to unload, least recently used first, none in vain; None when it cannot fit."""
    excess_bytes = wanted_bytes + sum(h.memory_bytes for h in holders if not h.leaving) - budget_bytes
    chosen: list[Holder] = []
    for holder in sorted((h for h in holders if h.movable and not h.leaving), key=lambda h: h.last_used_seconds):
        if excess_bytes <= 0:
            break
        chosen.append(holder)
        excess_bytes -= holder.memory_bytes
    if excess_bytes > 0:
        return None
    for holder in reversed(chosen):
        if excess_bytes + holder.memory_bytes <= 0:
            chosen.remove(holder)
            excess_bytes += holder.memory_bytes
    return tuple(holder.name for holder in chosen)


def told(holders: Sequence[Holder]) -> str:
    """Who holds what, for people."""
    return ", ".join(
        f'"{h.name}" {h.memory_bytes / 1e9:.2f} GB' + ("" if h.movable or h.leaving else " (busy, loading or pinned)")
        for h in sorted(holders, key=lambda h: -h.memory_bytes)
    )
