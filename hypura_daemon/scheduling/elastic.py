"""How models that stay loaded give memory back to others, and take it again. Pure.

Slots and rings are caches: with less memory a model answers more slowly, and as well. What is asked of several
is taken from each in proportion to what it can give; what is free goes to each in proportion to what it could use.
"""

from collections.abc import Mapping, Sequence

from hypura_daemon.scheduling.eviction import Holder

LEAST_STEP_SHARE = 0.02
"""Of a model's memory: to grow by less is not worth a stop."""


def giveable_bytes(holders: Sequence[Holder]) -> int:
    """What those that stay can give back together."""
    return sum(holder.giveable_bytes for holder in holders if not holder.leaving)


def shrunk(holders: Sequence[Holder], wanted_bytes: int) -> dict[str, int] | None:
    """The memory each is left with, by name, so that wanted_bytes come free; None if all cannot give so much."""
    giving = [holder for holder in holders if holder.giveable_bytes and not holder.leaving]
    total_bytes = giveable_bytes(giving)
    if wanted_bytes > total_bytes:
        return None
    if wanted_bytes <= 0:
        return {}
    return {h.name: h.memory_bytes + -(wanted_bytes * h.giveable_bytes) // total_bytes for h in giving}


def grown(budget_bytes: int, holders: Sequence[Holder]) -> Mapping[str, int]:
    """The memory each may take, by name, when all that is free is given to those that can use it."""
    free_bytes = budget_bytes - sum(holder.memory_bytes for holder in holders)
    wanting = [holder for holder in holders if holder.usable_bytes and not holder.leaving]
    total_bytes = sum(holder.usable_bytes for holder in wanting)
    if free_bytes <= 0 or not total_bytes:
        return {}
    share = min(1.0, free_bytes / total_bytes)
    added = [(holder, int(holder.usable_bytes * share)) for holder in wanting]
    return {h.name: h.memory_bytes + more for h, more in added if more > LEAST_STEP_SHARE * h.memory_bytes}
