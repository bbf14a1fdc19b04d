"""Which tensors stay and which are streamed through the ring."""

from __future__ import annotations

from collections.abc import Sequence
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


@dataclass(frozen=True, slots=True)
class Division:
    """pinned: names of the tensors that stay; depth: how many of the largest tensor the ring holds."""

    pinned: frozenset[str]
    depth: int


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
    tensors: Sequence[ModelTensor], memory_bytes: int, *, place_bytes: int, in_flight_bytes: int
) -> Division | None:
    """What to pin, and the ring's depth, within memory_bytes; None when not even LEAST_DEPTH fits.

    tensors: of `streamable`, at least one; place_bytes: for the largest of them, padding included;
    in_flight_bytes: reads that the drive should have waiting.
    """
    depth = _depth(len(tensors), memory_bytes, place_bytes, in_flight_bytes)
    if depth is None:
        return None
    pinned = _pin(tensors, memory_bytes - depth * place_bytes)
    return Division(pinned, min(depth, len(tensors) - len(pinned)))


def _depth(count: int, memory_bytes: int, place_bytes: int, in_flight_bytes: int) -> int | None:
    possible = memory_bytes // place_bytes
    if possible < min(LEAST_DEPTH, count):
        return None
    busy = 1 + -(-in_flight_bytes // place_bytes)
    cheap = int(memory_bytes * _DEEP_SHARE) // place_bytes
    return min(max(LEAST_DEPTH, min(busy, cheap)), possible, count)


def _pin(tensors: Sequence[ModelTensor], memory_bytes: int) -> frozenset[str]:
    """Names of tensors to keep, spread evenly by bytes, the last room filled with what fits; never all of them."""
    total_bytes = sum(tensor.size_bytes for tensor in tensors)
    share = min(1.0, memory_bytes / total_bytes)
    pinned: set[str] = set()
    passed_bytes = pinned_bytes = 0
    for tensor in tensors:
        # Bresenham: pinned where the running share of pinned bytes would not pass the whole one.
        passed_bytes += tensor.size_bytes
        if pinned_bytes + tensor.size_bytes <= share * passed_bytes:
            pinned.add(tensor.name)
            pinned_bytes += tensor.size_bytes
    for tensor in sorted(tensors, key=lambda tensor: -tensor.size_bytes):
        if tensor.name not in pinned and pinned_bytes + tensor.size_bytes <= memory_bytes:
            pinned.add(tensor.name)
            pinned_bytes += tensor.size_bytes
    if len(pinned) == len(tensors):
        pinned.discard(min(tensors, key=lambda tensor: tensor.size_bytes).name)
    return frozenset(pinned)
