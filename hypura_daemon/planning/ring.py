"""Which tensors stay and which are streamed through the ring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hypura_daemon.models.model import ModelTensor
from hypura_daemon.models.tensors import Role

LEAST_DEPTH = 2
"""Of the largest tensor: one is computed with, one is being read. Where reads are the limit they take longer than what
lies between two of them, and a third place would hold what could be pinned instead."""
_DEEP_SHARE = 0.25
"""Small tensors need more places to keep the drive busy, but pinning what these take saves reading it at all."""

_FFN = {Role.DENSE_FFN}
_MATRICES = {Role.DENSE_FFN, Role.ATTENTION, Role.ROUTED_EXPERT, Role.SHARED_EXPERT}
_SMALLEST_STREAMED_BYTES = 16_384
_MOST_LARGEST, _MOST_LOOKS = 64, 1 << 17
"""Of sizes that are tried as the largest, and of tensors looked at for them: models have a handful of sizes, but a file
may have as many as it has tensors. Seen: 65,536 of them would have taken hours."""


@dataclass(frozen=True, slots=True)
class Division:
    """pinned: names of the tensors that stay; depth: how many of the largest streamed tensor the ring holds, each in
    place_bytes."""

    pinned: frozenset[str]
    pinned_bytes: int
    depth: int
    place_bytes: int

    @property
    def ring_bytes(self) -> int:
        """Memory of the ring."""
        return self.depth * self.place_bytes


def streamable(tensors: Sequence[ModelTensor], *, attention: bool) -> list[ModelTensor]:
    """The layers' feed-forward matrices, or, with attention, all of their large matrices; layer by layer."""
    roles = _MATRICES if attention else _FFN
    found = [
        tensor
        for tensor in tensors
        if tensor.layer >= 0
        and tensor.role in roles
        and len(tensor.shape) >= 2
        and tensor.size_bytes >= _SMALLEST_STREAMED_BYTES
        and tensor.name.endswith(".weight")
    ]
    return sorted(found, key=lambda tensor: (tensor.layer, tensor.file, tensor.offset_bytes))


def divide(
    tensors: Sequence[ModelTensor], memory_bytes: int, *, place_bytes: Callable[[int], int], in_flight_bytes: int
) -> Division | None:
    """What to pin, and the ring's depth, within memory_bytes, so that the least is read; None when nothing fits.

    tensors: of `streamable`, at least one; place_bytes: what a tensor of a size takes in the ring, padding included;
    in_flight_bytes: reads that the drive should have waiting.

    The largest streamed tensor sets the size of the ring, so sizes are tried as the largest: what is larger stays.
    """
    found: Division | None = None
    for largest_bytes in _largest(tensors):
        made = _divide(tensors, memory_bytes, largest_bytes, place_bytes(largest_bytes), in_flight_bytes)
        if made is not None and (found is None or made.pinned_bytes > found.pinned_bytes):
            found = made
    return found


def _largest(tensors: Sequence[ModelTensor]) -> list[int]:
    """The sizes to try, the largest first: all of them, or evenly chosen ones with the largest and the smallest."""
    sizes = sorted({tensor.size_bytes for tensor in tensors}, reverse=True)
    most = max(2, min(_MOST_LARGEST, _MOST_LOOKS // len(tensors)))
    if len(sizes) <= most:
        return sizes
    return [sizes[place * (len(sizes) - 1) // (most - 1)] for place in range(most)]


def _divide(
    tensors: Sequence[ModelTensor], memory_bytes: int, largest_bytes: int, place_bytes: int, in_flight_bytes: int
) -> Division | None:
    """The division that streams nothing larger than largest_bytes."""
    small = [tensor for tensor in tensors if tensor.size_bytes <= largest_bytes]
    large = [tensor for tensor in tensors if tensor.size_bytes > largest_bytes]
    left = memory_bytes - sum(tensor.size_bytes for tensor in large)
    depth = _depth(len(small), left, place_bytes, in_flight_bytes)
    if depth is None:
        return None
    pinned = _pin(small, left - depth * place_bytes) + large
    return Division(
        frozenset(tensor.name for tensor in pinned),
        sum(tensor.size_bytes for tensor in pinned),
        min(depth, len(tensors) - len(pinned)),
        place_bytes,
    )


def _depth(count: int, memory_bytes: int, place_bytes: int, in_flight_bytes: int) -> int | None:
    possible = memory_bytes // place_bytes
    if possible < min(LEAST_DEPTH, count):
        return None
    busy = 1 + -(-in_flight_bytes // place_bytes)
    cheap = int(memory_bytes * _DEEP_SHARE) // place_bytes
    return min(max(LEAST_DEPTH, min(busy, cheap)), possible, count)


def _pin(tensors: Sequence[ModelTensor], memory_bytes: int) -> list[ModelTensor]:
    """Tensors to keep, spread evenly by bytes, the last room filled with what fits; never all of them."""
    total_bytes = sum(tensor.size_bytes for tensor in tensors)
    share = min(1.0, memory_bytes / total_bytes)
    pinned: dict[str, ModelTensor] = {}
    passed_bytes = pinned_bytes = 0
    for tensor in tensors:
        # Bresenham: pinned where the running share of pinned bytes would not pass the whole one.
        passed_bytes += tensor.size_bytes
        if pinned_bytes + tensor.size_bytes <= share * passed_bytes:
            pinned[tensor.name] = tensor
            pinned_bytes += tensor.size_bytes
    for tensor in sorted(tensors, key=lambda tensor: -tensor.size_bytes):
        if tensor.name not in pinned and pinned_bytes + tensor.size_bytes <= memory_bytes:
            pinned[tensor.name] = tensor
            pinned_bytes += tensor.size_bytes
    if len(pinned) == len(tensors):
        del pinned[min(tensors, key=lambda tensor: tensor.size_bytes).name]
    return list(pinned.values())
