"""How much of the budget models may have while other programs want memory too. Pure.

available  0 ······ reserve ······ twice that ············
           models give     as it is      models take again
"""

from hypura_daemon.hardware.figures import Memory, Pressure

RESERVE_SHARE = 0.04
"""Of the memory that there is: less than the default budget leaves, so that models alone never set this off."""
GIVEN_WHEN_STALLED = {Pressure.CALM: 0.0, Pressure.TIGHT: 0.05, Pressure.CRITICAL: 0.15}
"""Of what models hold, at each look, while processes wait for memory."""


def limited_bytes(limit_bytes: int, budget_bytes: int, held_bytes: int, memory: Memory, pressure: Pressure) -> int:
    """The new limit of all models together.

    limit: what it was. budget: what it is in good times. held: what models may fill now; what they give shows
    as available at the next look, or the one after that.
    """
    reserve_bytes = int(memory.limit_bytes * RESERVE_SHARE)
    missing_bytes = reserve_bytes - memory.available_bytes
    if memory.available_bytes < 2 * reserve_bytes:
        missing_bytes = max(missing_bytes, int(held_bytes * GIVEN_WHEN_STALLED[pressure]))
    if missing_bytes > 0:
        return max(0, min(limit_bytes, held_bytes) - missing_bytes)
    spare_bytes = memory.available_bytes - 2 * reserve_bytes
    return min(budget_bytes, limit_bytes + spare_bytes // 2) if spare_bytes > 0 else limit_bytes
