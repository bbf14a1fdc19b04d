"""Counters: of the engine since the load, and of each request."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from hypura_worker.streaming.streamer import StreamCounters

NOTHING_STREAMED = StreamCounters(0, 0, 0, 0.0)


@dataclass(slots=True)
class EngineCounters:
    """Since the load; written by the engine's thread, read from any thread."""

    finished: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    forced_tokens: int = 0
    passes: int = 0
    forward_seconds: float = 0.0
    active: int = 0
    queued: int = 0
    stream: StreamCounters = field(default_factory=lambda: NOTHING_STREAMED)


@dataclass(slots=True)
class RequestCounters:
    """Of one request so far; arrived, started, first_token and last_token are times of the monotonic clock."""

    arrived: float = field(default_factory=time.monotonic)
    started: float = 0.0
    first_token: float = 0.0
    last_token: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    forced_tokens: int = 0
    prefill_bytes: int = 0
    decode_bytes: int = 0
    decode_passes: int = 0
    hits: int = 0
    misses: int = 0
    stall_seconds: float = 0.0

    def add_pass(self, before: StreamCounters, after: StreamCounters, members: int, *, prefill: bool) -> None:
        """Add a pass that several requests shared: this one's share of the bytes, and all of the stall."""
        bytes_read = (after.bytes_read - before.bytes_read) // members
        if prefill or not self.output_tokens:
            self.prefill_bytes += bytes_read
            return
        self.decode_passes += 1
        self.decode_bytes += bytes_read
        self.hits += after.hits - before.hits
        self.misses += after.misses - before.misses
        self.stall_seconds += after.stall_seconds - before.stall_seconds
