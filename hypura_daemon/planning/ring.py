"""Which layers stay and which are streamed through the ring."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from hypura_daemon.models.model import ModelTensor
from hypura_daemon.models.tensors import Role

LEAST_DEPTH = 2
USUAL_DEPTH = 3
"""One place is computed with while the others are read into."""

_FFN = {Role.DENSE_FFN}
_MATRICES = {Role.DENSE_FFN, Role.ATTENTION, Role.ROUTED_EXPERT, Role.SHARED_EXPERT}
_SMALLEST_STREAMED_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Layers:
    """size_bytes of each layer's streamable tensors, padding for aligned reads included."""

    size_bytes: dict[int, int]
    names: dict[int, frozenset[str]]

    @property
    def largest_bytes(self) -> int:
        """What one place of the ring must hold."""
        return max(self.size_bytes.values(), default=0)


def streamable(tensors: Sequence[ModelTensor], padding_bytes: int, *, attention: bool) -> Layers:
    """The layers' feed-forward matrices, or, with attention, all of their large matrices."""
    roles = _MATRICES if attention else _FFN
    sizes: dict[int, int] = defaultdict(int)
    names: dict[int, set[str]] = defaultdict(set)
    for tensor in tensors:
        matrix = len(tensor.shape) >= 2 and tensor.size_bytes >= _SMALLEST_STREAMED_BYTES
        if tensor.layer >= 0 and tensor.role in roles and matrix and tensor.name.endswith(".weight"):
            sizes[tensor.layer] += tensor.size_bytes + padding_bytes
            names[tensor.layer].add(tensor.name)
    return Layers(dict(sizes), {layer: frozenset(found) for layer, found in names.items()})


def pin(layers: Layers, memory_bytes: int) -> tuple[tuple[int, ...], int] | None:
    """The layers to keep, spread evenly, and the ring's depth, within memory_bytes.

    None when not even a ring of LEAST_DEPTH fits.
    """
    order = sorted(layers.size_bytes)
    depth = min(USUAL_DEPTH, len(order))
    if depth * layers.largest_bytes > memory_bytes:
        depth = min(LEAST_DEPTH, len(order))
    left = memory_bytes - depth * layers.largest_bytes
    if left < 0:
        return None
    count = min(int(left // layers.largest_bytes), len(order) - 1) if layers.largest_bytes else 0
    # Bresenham: the i-th layer is pinned where the running share of pinned layers steps up.
    pinned = [layer for i, layer in enumerate(order) if (i + 1) * count // len(order) > i * count // len(order)]
    depth = min(depth, len(order) - len(pinned))
    return tuple(pinned), depth
