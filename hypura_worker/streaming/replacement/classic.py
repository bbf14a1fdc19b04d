"""Textbook policies to compare with: recency, frequency, and both."""

from __future__ import annotations

import numpy as np

from hypura_worker.streaming.replacement.policy import Floats, Ids, Key, Policy, Shape

_KEPT = 0.9
"""The share of a decayed count that remains after each visit of its layer."""
_PINNED_SHARE = 0.5


class LeastRecentlyUsed(Policy):
    """Evicts the expert unused for longest. Useless when one token needs more experts than there are slots."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self._clock = 0
        self._used = np.zeros((shape.layers, shape.experts), np.float32)

    def visit(self, layer: int, experts: Ids, probabilities: Floats | None = None) -> None:
        self._clock += 1
        self._used[layer, experts.reshape(-1)] = self._clock

    def worth(self, layer: int) -> Floats:
        return self._used


class LeastFrequentlyUsed(LeastRecentlyUsed):
    """Evicts the expert used in the fewest visits; of equals, the one unused for longest."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self._uses = np.zeros((shape.layers, shape.experts), np.float32)

    def visit(self, layer: int, experts: Ids, probabilities: Floats | None = None) -> None:
        super().visit(layer, experts)
        self._uses[layer, np.unique(experts)] += 1

    def worth(self, layer: int) -> Floats:
        worth: Floats = self._uses + self._used / np.float32(self._clock + 1)
        return worth


class Decayed(Policy):
    """Evicts the expert with the lowest count of uses, each count fading with its layer's visits (LRFU)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self._count = np.zeros((shape.layers, shape.experts), np.float32)

    def visit(self, layer: int, experts: Ids, probabilities: Floats | None = None) -> None:
        self._count[layer] *= _KEPT
        self._count[layer, np.unique(experts)] += 1

    def worth(self, layer: int) -> Floats:
        return self._count


class LeastStale(Policy):
    """Evicts the expert unused in most visits of its own layer; of equals, the one whose layer comes last."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self._unused = np.zeros((shape.layers, shape.experts), np.float32)

    def visit(self, layer: int, experts: Ids, probabilities: Floats | None = None) -> None:
        self._unused[layer] += 1
        self._unused[layer, experts.reshape(-1)] = 0

    def worth(self, layer: int) -> Floats:
        worth: Floats = -self._unused * self.shape.layers - self.distances(layer)
        return worth


class Pinned(LeastFrequentlyUsed):
    """The most used experts fill half of the slots and stay; the other half is by recency."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self._pinned = np.zeros((shape.layers, shape.experts), bool)

    def visit(self, layer: int, experts: Ids, probabilities: Floats | None = None) -> None:
        super().visit(layer, experts)
        if layer == self.shape.layers - 1:
            count = min(self._uses.size, int(self.shape.slots * _PINNED_SHARE))
            self._pinned[:] = False
            if count:
                hottest = np.argpartition(self._uses, -count, axis=None)[-count:]
                self._pinned.reshape(-1)[hottest] = True

    def worth(self, layer: int) -> Floats:
        return np.where(self._pinned, np.float32(self._clock + 1), self._used)


class Hyperbolic(Policy):
    """Evicts the expert used least per visit since it was read (hyperbolic caching)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self._clock = 0
        self._uses = np.zeros((shape.layers, shape.experts), np.float32)
        self._since = np.zeros((shape.layers, shape.experts), np.float32)

    def visit(self, layer: int, experts: Ids, probabilities: Floats | None = None) -> None:
        self._clock += 1
        self._uses[layer, np.unique(experts)] += 1

    def admitted(self, key: Key) -> None:
        super().admitted(key)
        self._uses[key] = 1
        self._since[key] = self._clock

    def worth(self, layer: int) -> Floats:
        worth: Floats = self._uses / (self._clock - self._since + 1)
        return worth
