"""Room in a ring of bytes: given out and taken back in the same order.

    front                                                   capacity
    ├── newest ──┤ free ├── oldest ──┤── … ──┤── … ──┤ too small ┤

What does not fit behind the newest goes to the front, so that every span is in one piece.
"""

from __future__ import annotations

from collections import deque


class Ring:
    """capacity_bytes from 0 on. Starts are multiples of whatever all the sizes are multiples of."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self._spans: deque[tuple[int, int]] = deque()

    def take(self, size_bytes: int) -> int | None:
        """The start of a new span of so many bytes, more than 0; None if there is no room in one piece."""
        start = self._fit(size_bytes)
        if start is not None:
            self._spans.append((start, size_bytes))
        return start

    def give_back(self) -> None:
        """Free the oldest span."""
        self._spans.popleft()

    def _fit(self, size_bytes: int) -> int | None:
        if not self._spans:
            return 0 if size_bytes <= self.capacity_bytes else None
        oldest, (newest, length) = self._spans[0][0], self._spans[-1]
        end = newest + length
        if newest < oldest:  # The newest went to the front already.
            return end if size_bytes <= oldest - end else None
        if size_bytes <= self.capacity_bytes - end:
            return end
        return 0 if size_bytes <= oldest else None
