"""What an engine has done."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypura_worker.streaming.streamer import StreamCounters

NOTHING_STREAMED = StreamCounters(0, 0, 0, 0.0)


@dataclass(slots=True)
class EngineCounters:
    """Since the load; written by the engine's thread, read by anyone."""

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
