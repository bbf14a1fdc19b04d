"""How much memory all models may use together, and how loaded models share it. Pure functions.

- The default budget, when no setting gives one.
- The limit while other programs need memory, by what is available:

      available  0 ······ reserve ······ 2 × reserve ··········
                 models give     no change     models take again

- Which loaded models shrink and grow. Slots and rings are caches: with less memory a model gives the same answers,
  only more slowly. Memory that is needed is taken from each model in proportion to what it can give; free memory
  goes to each in proportion to what it could use.
"""

from collections.abc import Mapping, Sequence

from hypura_daemon.platforms.platform import Memory, Pressure
from hypura_daemon.scheduling.eviction import Holder

LEAST_RESERVE_BYTES = 1_000_000_000
DEFAULT_RESERVE_SHARE = 0.10
LEAST_SHARE = 0.5


def default_memory_budget_bytes(container_limit_bytes: int, available_bytes: int) -> int:
    """What is available less a reserve for the rest of the system, which slows down when it is pushed out.

    container_limit_bytes: the smaller of the machine's memory and the container's limit. A machine too small for
    the reserve gives half of what is available.
    """
    reserve_bytes = max(LEAST_RESERVE_BYTES, int(container_limit_bytes * DEFAULT_RESERVE_SHARE))
    available_bytes = min(available_bytes, container_limit_bytes)
    return max(1, available_bytes - reserve_bytes, int(available_bytes * LEAST_SHARE))


PRESSURE_RESERVE_SHARE = 0.04
"""Of the container limit: less than the default budget leaves, so that models alone never cause pressure."""
GIVEN_WHEN_STALLED = {Pressure.CALM: 0.0, Pressure.TIGHT: 0.05, Pressure.CRITICAL: 0.15}
"""Of what models hold, at each measurement, while processes wait for memory."""


def budget_under_pressure(
    current_budget_bytes: int, memory_budget_bytes: int, planned_bytes: int, memory: Memory, pressure: Pressure
) -> int:
    """The memory budget of all models together from now on, given how much memory the system has left.

    current_budget_bytes: what it was until now. memory_budget_bytes: what it is while memory is plentiful.
    planned_bytes: what models may fill now; memory that they give back shows as available at the next measurement, or
    the one after that.
    """
    reserve_bytes = int(memory.container_limit_bytes * PRESSURE_RESERVE_SHARE)
    missing_bytes = reserve_bytes - memory.available_bytes
    if memory.available_bytes < 2 * reserve_bytes:
        missing_bytes = max(missing_bytes, int(planned_bytes * GIVEN_WHEN_STALLED[pressure]))
    if missing_bytes > 0:
        return max(0, min(current_budget_bytes, planned_bytes) - missing_bytes)
    spare_bytes = memory.available_bytes - 2 * reserve_bytes
    if spare_bytes <= 0:
        return current_budget_bytes
    return min(memory_budget_bytes, current_budget_bytes + spare_bytes // 2)


LEAST_STEP_SHARE = 0.02
"""Of a model's memory: to grow by less is not worth a stop."""


def giveable_bytes(holders: Sequence[Holder]) -> int:
    """What the models that stay can give back together."""
    return sum(holder.giveable_bytes for holder in holders if not holder.leaving)


def shrunk_limits(holders: Sequence[Holder], wanted_bytes: int) -> dict[str, int] | None:
    """The limits that models shrink to, by name, to free wanted_bytes; None if they cannot give so much."""
    giving = [holder for holder in holders if holder.giveable_bytes and not holder.leaving]
    total_bytes = giveable_bytes(giving)
    if wanted_bytes > total_bytes:
        return None
    if wanted_bytes <= 0:
        return {}
    return {h.name: h.memory_limit_bytes + -(wanted_bytes * h.giveable_bytes) // total_bytes for h in giving}


def grown_limits(current_budget_bytes: int, holders: Sequence[Holder]) -> Mapping[str, int]:
    """The limits that models may grow to, by name, when all free memory goes to those that can use it."""
    free_bytes = current_budget_bytes - sum(holder.memory_limit_bytes for holder in holders)
    wanting = [holder for holder in holders if holder.usable_bytes and not holder.leaving]
    total_bytes = sum(holder.usable_bytes for holder in wanting)
    if free_bytes <= 0 or not total_bytes:
        return {}
    share = min(1.0, free_bytes / total_bytes)
    added = [(holder, int(holder.usable_bytes * share)) for holder in wanting]
    return {h.name: h.memory_limit_bytes + more for h, more in added if more > LEAST_STEP_SHARE * h.memory_limit_bytes}
