"""What is tried: one setting after another, each with values that may be better than the planner's. No effects."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

_MIB = 1 << 20
_SPIN_COUNTS = (0, 1_000, 30_000, 3_000_000)
"""None that has idle threads spin for seconds: a loaded model must not heat the machine between requests."""
_QUEUE_DEPTHS = (2, 4, 6, 8, 12, 16)
_CHUNKS_BYTES = (_MIB // 2, _MIB, 2 * _MIB, 4 * _MIB)
_MOST_IN_FLIGHT_BYTES = 64 * _MIB
"""The daemon allows no more: tuning must not take memory beside the plan's."""


class Figure(Enum):
    """What is measured."""

    DECODE = "decoding"
    PROMPT = "prompts"

    @property
    def other(self) -> Figure:
        return Figure.PROMPT if self is Figure.DECODE else Figure.DECODE


@dataclass(frozen=True, slots=True)
class Settings:
    """RunSettings of placement.proto; None: the planner's choice."""

    threads: int | None = None
    batch_threads: int | None = None
    queue_depth: int | None = None
    chunk_bytes: int | None = None
    spin_count: int | None = None


@dataclass(frozen=True, slots=True)
class Axis:
    """One setting. figure: what it shall make faster. same_tokens: it can change no bit of the logits."""

    name: str
    figure: Figure
    values: tuple[int, ...]
    same_tokens: bool


@dataclass(frozen=True, slots=True)
class Ground:
    """The machine, and the planner's choice."""

    physical_cores: int
    usable_cores: int
    threads: int
    batch_threads: int
    queue_depth: int
    chunk_bytes: int
    streams: bool


def axes(ground: Ground) -> tuple[Axis, ...]:
    """What to try there; memory is not among it: that is the user's --memory."""
    found = [
        Axis("threads", Figure.DECODE, _threads(ground, ground.threads), same_tokens=False),
        Axis("batch_threads", Figure.PROMPT, _threads(ground, ground.batch_threads), same_tokens=False),
        Axis("spin_count", Figure.DECODE, _SPIN_COUNTS, same_tokens=True),
    ]
    if ground.streams:
        # Any depth with any chunk must be allowed: both may be found better.
        depths = tuple(d for d in _QUEUE_DEPTHS if d * max(ground.chunk_bytes, *_CHUNKS_BYTES) <= _MOST_IN_FLIGHT_BYTES)
        most_deep = max(ground.queue_depth, *depths) if depths else ground.queue_depth
        chunks = tuple(c for c in _CHUNKS_BYTES if c * most_deep <= _MOST_IN_FLIGHT_BYTES)
        found += [
            Axis("queue_depth", Figure.DECODE, _without(depths, ground.queue_depth), same_tokens=True),
            Axis("chunk_bytes", Figure.DECODE, _without(chunks, ground.chunk_bytes), same_tokens=True),
        ]
    return tuple(axis for axis in found if axis.values)


def _threads(ground: Ground, planned: int) -> tuple[int, ...]:
    """Physical cores, one left to the rest of the system, three quarters, half; the most first."""
    cores = ground.usable_cores
    counts = {min(ground.physical_cores, cores), cores - 1, cores * 3 // 4, cores // 2, cores}
    return _without(tuple(sorted((count for count in counts if count >= 1), reverse=True)), planned)


def _without(values: tuple[int, ...], planned: int) -> tuple[int, ...]:
    return tuple(value for value in values if value != planned)
