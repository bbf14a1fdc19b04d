"""Which of the requests that wait for a loaded model may use it now. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Asking:
    """A request that waits, oldest first.

    overtakable_seconds: when it does not fit the model as it is loaded, how long those behind it that do fit
    may go first; then they wait with it.
    """

    fits: bool
    waited_seconds: float = 0.0
    overtakable_seconds: float = math.inf


def admitted(asking: Sequence[Asking], places: int) -> tuple[int, ...]:
    """The indices of those that are let in."""
    chosen: list[int] = []
    for index, one in enumerate(asking):
        if len(chosen) >= places:
            break
        if one.fits:
            chosen.append(index)
        elif one.waited_seconds >= one.overtakable_seconds:
            break
    return tuple(chosen)
