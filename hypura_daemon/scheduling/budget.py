"""How much memory all models together may have when nobody said so. Pure."""

LEAST_RESERVE_BYTES = 1_000_000_000
RESERVE_SHARE = 0.10
LEAST_SHARE = 0.5


def default_budget_bytes(limit_bytes: int, available_bytes: int) -> int:
    """What is available less a reserve for the rest of the system, which slows down when it is pushed out.

    limit_bytes: the smaller of the machine's memory and the container's limit. A machine too small for
    the reserve gives half of what is available.
    """
    reserve_bytes = max(LEAST_RESERVE_BYTES, int(limit_bytes * RESERVE_SHARE))
    available_bytes = min(available_bytes, limit_bytes)
    return max(1, available_bytes - reserve_bytes, int(available_bytes * LEAST_SHARE))
