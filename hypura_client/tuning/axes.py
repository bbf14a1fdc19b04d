"""What tuning tries: one setting after another, each with values that may be faster than the planner's. No effects."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

_MIB = 1 << 20
_SPIN_COUNTS = (0, 1_000, 30_000, 3_000_000)
"""No value lets idle threads spin for seconds: a loaded model must not heat the machine between requests."""
_QUEUE_DEPTHS = (2, 4, 6, 8, 12, 16)
_CHUNKS_BYTES = (_MIB // 2, _MIB, 2 * _MIB, 4 * _MIB)
_MOST_IN_FLIGHT_BYTES = 64 * _MIB
"""The daemon allows no more: tuning must not use more memory than planned."""


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
    """One setting. figure: what it should make faster. same_tokens: it cannot change the logits."""

    name: str
    figure: Figure
    values: tuple[int, ...]
    same_tokens: bool


@dataclass(frozen=True, slots=True)
class Planned:
    """What tuning starts from: the machine, and the planner's choice."""

    physical_cores: int
    usable_cores: int
    threads: int
    batch_threads: int
    queue_depth: int
    chunk_bytes: int
    streams: bool


def axes(planned: Planned) -> tuple[Axis, ...]:
    """The settings to try. Memory is not one of them: it is what the user gives with --memory."""
    found = [
        Axis("threads", Figure.DECODE, _threads(planned, planned.threads), same_tokens=False),
        Axis("batch_threads", Figure.PROMPT, _threads(planned, planned.batch_threads), same_tokens=False),
        Axis("spin_count", Figure.DECODE, _SPIN_COUNTS, same_tokens=True),
    ]
    if planned.streams:
        # Any depth with any chunk must be allowed: both may be found better.
        depths = tuple(
            d for d in _QUEUE_DEPTHS if d * max(planned.chunk_bytes, *_CHUNKS_BYTES) <= _MOST_IN_FLIGHT_BYTES
        )
        most_deep = max(planned.queue_depth, *depths) if depths else planned.queue_depth
        chunks = tuple(c for c in _CHUNKS_BYTES if c * most_deep <= _MOST_IN_FLIGHT_BYTES)
        found += [
            Axis("queue_depth", Figure.DECODE, _without(depths, planned.queue_depth), same_tokens=True),
            Axis("chunk_bytes", Figure.DECODE, _without(chunks, planned.chunk_bytes), same_tokens=True),
        ]
    return tuple(axis for axis in found if axis.values)


def _threads(planned: Planned, chosen: int) -> tuple[int, ...]:
    """All cores, the physical ones, all but one for the rest of the system, three quarters, half; the most first."""
    cores = planned.usable_cores
    counts = {min(planned.physical_cores, cores), cores - 1, cores * 3 // 4, cores // 2, cores}
    return _without(tuple(sorted((count for count in counts if count >= 1), reverse=True)), chosen)


def _without(values: tuple[int, ...], chosen: int) -> tuple[int, ...]:
    return tuple(value for value in values if value != chosen)
