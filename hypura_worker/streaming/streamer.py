"""The interface of every kind of streaming to the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hypura_worker.llama.context import PassHook


@dataclass(frozen=True, slots=True)
class StreamCounters:
    """Since the load.

    hits, misses: routed experts (or streamed tensors of layers) that a pass found in memory or had to read.
    stall_seconds: time that computing waited for reads; drive_seconds: with a read under way; hook_seconds: processor
    time of the hook between nodes. prefetched_bytes: read before the router chose; prefetched_used_bytes: of these,
    experts that it then chose.
    """

    hits: int
    misses: int
    bytes_read: int
    stall_seconds: float
    prefetched_bytes: int = 0
    prefetched_used_bytes: int = 0
    drive_seconds: float = 0.0
    hook_seconds: float = 0.0


class Streamer(PassHook, Protocol):
    """Has weights in memory when llama.cpp computes with them, node by node."""

    @property
    def places(self) -> int:
        """Slots in use, or how many tensors of the largest size the ring holds."""

    @property
    def place_bytes(self) -> int:
        """Memory of all places in use when they are filled."""

    def pass_tokens(self, memory_bytes: int) -> int:
        """The most tokens that one pass may compute with places of so much memory."""

    @property
    def least_bytes(self) -> int:
        """The least memory that `fit` accepts."""

    @property
    def most_bytes(self) -> int:
        """The most memory that `fit` can use."""

    def fit(self, memory_bytes: int) -> None:
        """Use at most this much memory for places, fewer or more than now; between passes.

        Raises LoadFailed for less than least_bytes.
        """

    def counters(self) -> StreamCounters:
        """Counters since the load."""

    def close(self) -> None:
        """Release the memory; after the context is freed."""
