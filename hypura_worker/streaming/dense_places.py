"""Where streamed tensors lie in memory: in a ring of bytes, or, while memory is left, in places of their own behind it.

    pool    [ ring: newest │ free │ oldest … │ too small ][ unit 0 ][ unit 4 ][ unit 2 ][ unit 6 ] …

The ring gives room out and takes it back in the same order; what does not fit behind the newest goes to the front, so
that every span is in one piece. The places behind it keep tensors once they are read. They lie in an order of which
every beginning is spread evenly over the units, so that the drive has as much to do in one part of a pass as in
another; less memory takes the last of them away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class Ring:
    """Gives out spans of [0, capacity_bytes). Starts are multiples of every common divisor of the sizes."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self._spans: deque[tuple[int, int]] = deque()

    def take(self, size_bytes: int) -> int | None:
        """The start of a new span of so many bytes (more than 0); None if there is no room for it in one piece."""
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


class Kept:
    """Places behind the ring for units that stay in memory.

    sizes_bytes: of the units' places; start_bytes: where the places begin in the pool; most_bytes: of them all. No unit
    has a place until `fit` gives places out.
    """

    def __init__(self, sizes_bytes: Sequence[int], start_bytes: int, most_bytes: int) -> None:
        self._ends: dict[int, int] = {}
        end = self._start_bytes = start_bytes
        for unit in _spread(len(sizes_bytes)):
            if end + sizes_bytes[unit] > start_bytes + most_bytes:
                break
            end += sizes_bytes[unit]
            self._ends[unit] = end
        self._sizes_bytes = sizes_bytes
        self._end = start_bytes
        self.most_bytes = end - start_bytes
        """Of all the places that there can be."""

    @property
    def size_bytes(self) -> int:
        """Of the places given out."""
        return self._end - self._start_bytes

    @property
    def end_bytes(self) -> int:
        """Where the last of them ends."""
        return self._end

    def place(self, unit: int) -> int | None:
        """Where the unit stays, in bytes from the start of the pool; None if it goes through the ring."""
        end = self._ends.get(unit)
        return end - self._sizes_bytes[unit] if end is not None and end <= self._end else None

    def fit(self, memory_bytes: int) -> list[int]:
        """Give out as many places as fit memory_bytes; returns the units that have lost theirs."""
        before, limit = self._end, self._start_bytes + memory_bytes
        self._end = max((end for end in self._ends.values() if end <= limit), default=self._start_bytes)
        return [unit for unit, end in self._ends.items() if self._end < end <= before]


def _spread(count: int) -> list[int]:
    """0 to count - 1 in the order of their reversed bits: each next one lies in the middle of a widest gap."""
    bits = max(1, (count - 1).bit_length())
    return sorted(range(count), key=lambda number: int(f"{number:0{bits}b}"[::-1], 2))
