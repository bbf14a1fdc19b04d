"""The settings for computing and reading: from the load, else from tuning, else from the planner. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.planning.plan import IoPlan, Plan, RunSettings

CHUNK_STEP_BYTES = 1 << 16
MAX_CHUNK_BYTES = 32 << 20
MAX_QUEUE_DEPTH = 64
MAX_IN_FLIGHT_BYTES = 64 << 20
"""The buffer for reads that do not go straight to their slot; it must fit into the plan's reserve."""
MAX_SPIN_COUNT = 1_000_000_000
_READING = ("queue_depth", "chunk_bytes")
_CHANGES_LOW_BITS = ("threads", "batch_threads")
"""llama.cpp splits sums by threads, so these change the last bits of logits."""


def checked_settings(settings: RunSettings, usable_cores: int) -> RunSettings:
    """The settings, if they are within range. Raises InvalidRequest."""
    for name, least, most, unit in (
        ("threads", 1, max(1, usable_cores), "the usable cores"),
        ("batch_threads", 1, max(1, usable_cores), "the usable cores"),
        ("queue_depth", 1, MAX_QUEUE_DEPTH, "reads in flight"),
        ("chunk_bytes", CHUNK_STEP_BYTES, MAX_CHUNK_BYTES, "bytes"),
        ("spin_count", 0, MAX_SPIN_COUNT, "checks for work"),
    ):
        value = getattr(settings, name)
        if value is not None and not least <= value <= most:
            raise InvalidRequest(f"{name} of {value} is not possible; give {least} to {most} ({unit})")
    if settings.chunk_bytes is not None and settings.chunk_bytes % CHUNK_STEP_BYTES:
        raise InvalidRequest(f"chunk_bytes of {settings.chunk_bytes} is not a multiple of {CHUNK_STEP_BYTES}")
    return settings


def with_settings(made: Plan, given: RunSettings, found: RunSettings) -> Plan:
    """The plan with its settings; found: by tuning, for this mode on this machine.

    `exact` fixes the threads, so that found ones are ignored. Raises InvalidRequest if the given settings need more
    memory for reads in flight than there is; found settings never cause a refusal.
    """
    requested = {name: value for name in RunSettings.__slots__ if (value := getattr(given, name)) is not None}
    better = {
        name: value
        for name in RunSettings.__slots__
        if (value := getattr(found, name)) is not None
        and name not in requested
        and not (made.exact and name in _CHANGES_LOW_BITS)
    }
    io = _io(made.io, requested)
    if io != made.io and not _fits_buffer(io):
        raise InvalidRequest(
            f"{io.queue_depth} reads of {io.chunk_bytes} bytes in flight are more than {MAX_IN_FLIGHT_BYTES} bytes; "
            "give a smaller queue_depth or chunk_bytes"
        )
    if not _fits_buffer(_io(io, better)):
        better = {name: value for name, value in better.items() if name not in _READING}
    wanted = better | requested
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


def _fits_buffer(io: IoPlan) -> bool:
    return io.chunk_bytes * io.queue_depth <= MAX_IN_FLIGHT_BYTES
