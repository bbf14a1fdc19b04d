"""In which order passes use streamed tensors, learned from the passes themselves.

order   up0 gate0 down0 up2 gate2 down2            from the graph, not from the file
turn     0    1     2    3    4     5              of the first pass; up0 has turn 6 in the second …
                   now ▲
"""

from __future__ import annotations

from collections.abc import Sequence


class Order:
    """The order of use. units: what to expect before a pass has shown it. A unit may come more than once."""

    def __init__(self, units: Sequence[int]) -> None:
        self._units = list(units)
        self._pass: list[int] = []
        self._after = 0
        self.now = 0
        """The turn of the first unit that has not been computed with yet."""

    def __len__(self) -> int:
        return len(self._units)

    def unit(self, turn: int) -> int:
        """The unit of this turn."""
        return self._units[turn % len(self._units)]

    def use(self, units: Sequence[int]) -> None:
        """A node needs these units; those that were expected before them are skipped."""
        self._pass.extend(units)
        self.now = self._after = self._find(units[0])
        for unit in units:
            if self.unit(self._after) == unit:
                self._after += 1

    def computed(self) -> None:
        """The node that needed units has been computed."""
        self.now = self._after

    def note(self, units: Sequence[int]) -> None:
        """In a learning pass: a node will need these units."""
        self._pass.extend(units)

    def learn(self, *, whole: bool) -> bool:
        """Expect the order of the pass that has ended from now on; True if it was another one, and turns restart at 0.

        whole: the pass went through all of the graph, so that a unit it did not use is never used.
        """
        seen, self._pass = self._pass, []
        if not whole:
            seen += [unit for unit in self._units if unit not in seen]
        if not seen or seen == self._units:
            return False
        self._units, self.now, self._after = seen, 0, 0
        return True

    def forget(self) -> None:
        """The pass that has ended failed: its order means nothing."""
        self._pass = []

    def _find(self, unit: int) -> int:
        """The unit's next turn; for an unknown unit, the current one."""
        for turn in range(self.now, self.now + len(self._units)):
            if self.unit(turn) == unit:
                return turn
        return self.now
