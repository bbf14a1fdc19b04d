"""Which slots give way when experts must be read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def least_recently_used(last_used: npt.NDArray[np.uint64], now: int, count: int) -> npt.NDArray[np.int64]:
    """`count` slots, those unused for longest first.

    last_used: [slots], the clock at each slot's last use, 0 for an empty one. Slots used
    at `now` hold experts of the visit under way and never give way; fewer than `count`
    come back when there are not enough others.
    """
    if count >= len(last_used):
        order = np.argsort(last_used, kind="stable")
    else:
        order = np.argpartition(last_used, count - 1)[:count]
    return order[last_used[order] < now][:count]
