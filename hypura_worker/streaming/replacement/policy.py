"""The interface of a replacement policy: what is reported to it, and what it decides.

    a layer's visit:  visit ─► victims (if some must be read) ─► evicted … admitted …

A policy keeps evidence per expert of every layer, held or not, so that an expert that was evicted is still known when
it comes back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Key = tuple[int, int]
"""An expert: (layer, expert)."""

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Shape:
    """The cache: `slots` of layers × experts, of which each visit of a layer takes per_token."""

    layers: int
    experts: int
    per_token: int
    slots: int

    @property
    def tokens_held(self) -> float:
        """For how many tokens the slots hold all experts."""
        return self.slots / (self.layers * self.per_token)


class Policy(ABC):
    """Chooses the experts that are evicted. Subclasses define what each is worth."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.held = np.zeros((shape.layers, shape.experts), bool)
        self._order = np.arange(shape.layers)

    @abstractmethod
    def visit(self, layer: int, experts: Ids, probabilities: Floats | None = None) -> None:
        """A layer chose experts [tokens, per token], each token's in a row.

        probabilities: the router's [tokens, experts], where they are known.
        """

    @abstractmethod
    def worth(self, layer: int) -> Floats:
        """[layers, experts]: what each is worth keeping after this layer's visit; only the order counts."""

    def admitted(self, key: Key) -> None:
        """The expert is in memory from now on."""
        self.held[key] = True

    def evicted(self, key: Key) -> None:
        """The expert is no longer in memory."""
        self.held[key] = False

    def victims(
        self, layer: int, count: int, keep: Collection[Key] = (), layers: Sequence[int] | None = None
    ) -> list[Key]:
        """`count` held experts to evict during this layer's visit, the least worth first.

        keep: experts that must stay, such as those that the visit itself chose; layers: whose experts may be evicted,
        all if left out. Returns fewer when there are not enough.
        """
        if count <= 0:
            return []
        worth = np.where(self.held, self.worth(layer), np.float32(np.inf))
        for key in keep:
            worth[key] = np.inf
        if layers is not None:
            others = np.ones(self.shape.layers, bool)
            others[list(layers)] = False
            worth[others] = np.inf
        flat = worth.reshape(-1)
        lowest = np.argpartition(flat, count - 1)[:count] if count < flat.size else np.arange(flat.size)
        lowest = lowest[np.isfinite(flat[lowest])]
        lowest = lowest[np.argsort(flat[lowest], kind="stable")]
        return [divmod(index, self.shape.experts) for index in lowest.tolist()]

    def distances(self, layer: int) -> Floats:
        """[layers, 1]: visits until each layer's next one, during this layer's visit; 1 for the layer that follows."""
        ahead = (self._order - layer - 1) % self.shape.layers + 1
        return ahead[:, np.newaxis].astype(np.float32)
