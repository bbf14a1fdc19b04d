"""How a plan computes and reads: as the load says, else as tuning found, else as the planner chose. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.planning.plan import IoPlan, Plan, RunSettings

CHUNK_STEP_BYTES = 1 << 16
MAX_CHUNK_BYTES = 32 << 20
MAX_QUEUE_DEPTH = 64
MAX_IN_FLIGHT_BYTES = 64 << 20
"""Reads that land beside their slot need a buffer of this size; the plan's reserve must hold it."""
MAX_SPIN_COUNT = 1_000_000_000
_OF_READING = ("queue_depth", "chunk_bytes")
_OF_LOW_BITS = ("threads", "batch_threads")
"""llama.cpp splits sums by threads, so these change the last bits of logits."""


def checked(settings: RunSettings, usable_cores: int) -> RunSettings:
    """The same settings. Raises InvalidRequest for what no load can have."""
    for name, least, most, unit in (
        ("threads", 1, max(1, usable_cores), "the cores that may be used"),
        ("batch_threads", 1, max(1, usable_cores), "the cores that may be used"),
        ("queue_depth", 1, MAX_QUEUE_DEPTH, "reads in flight"),
        ("chunk_bytes", CHUNK_STEP_BYTES, MAX_CHUNK_BYTES, "bytes"),
        ("spin_count", 0, MAX_SPIN_COUNT, "looks for work"),
    ):
        value = getattr(settings, name)
        if value is not None and not least <= value <= most:
            raise InvalidRequest(f"{name} of {value} is not possible; give {least} to {most} ({unit})")
    if settings.chunk_bytes is not None and settings.chunk_bytes % CHUNK_STEP_BYTES:
        raise InvalidRequest(f"chunk_bytes of {settings.chunk_bytes} is no multiple of {CHUNK_STEP_BYTES}")
    return settings


def settled(made: Plan, given: RunSettings, found: RunSettings) -> Plan:
    """The plan with its settings; found: by tuning, for this mode on this machine.

    `exact` fixes the threads, so none that were found count there. Raises InvalidRequest when more would be read
    at once than there is memory for; what was found never has a load refused.
    """
    asked = {name: value for name in RunSettings.__slots__ if (value := getattr(given, name)) is not None}
    better = {
        name: value
        for name in RunSettings.__slots__
        if (value := getattr(found, name)) is not None
        and name not in asked
        and not (made.exact and name in _OF_LOW_BITS)
    }
    io = _io(made.io, asked)
    if io != made.io and not _holdable(io):
        raise InvalidRequest(
            f"{io.queue_depth} reads of {io.chunk_bytes} bytes in flight are more than {MAX_IN_FLIGHT_BYTES} bytes; "
            "give a smaller queue_depth or chunk_bytes"
        )
    if not _holdable(_io(io, better)):
        better = {name: value for name, value in better.items() if name not in _OF_READING}
    wanted = better | asked
    return replace(
        made,
        threads=wanted.get("threads", made.threads),
        batch_threads=wanted.get("batch_threads", made.batch_threads),
        io=_io(made.io, wanted),
        spin_count=wanted.get("spin_count"),
        tuned=tuple(better),
    )


def _io(io: IoPlan, wanted: Mapping[str, int]) -> IoPlan:
    return replace(
        io,
        queue_depth=wanted.get("queue_depth", io.queue_depth),
        chunk_bytes=wanted.get("chunk_bytes", io.chunk_bytes),
    )


def _holdable(io: IoPlan) -> bool:
    return io.chunk_bytes * io.queue_depth <= MAX_IN_FLIGHT_BYTES
