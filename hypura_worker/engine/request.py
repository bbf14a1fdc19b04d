"""A request as the engine sees it, and the events it answers with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hypura_worker.engine.parameters import Limits, Sampling
from hypura_worker.engine.sampler import Logprob, Sampler
from hypura_worker.streaming.streamer import StreamCounters


@dataclass(frozen=True, slots=True)
class Prefill:
    """processed of total prompt tokens are in the KV cache."""

    processed: int
    total: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """New final text and the tokens generated since the last chunk."""

    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[Logprob, ...]


@dataclass(slots=True)
class Costs:
    """What a request has cost so far; seconds by the monotonic clock."""

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

    def charge(self, before: StreamCounters, after: StreamCounters, members: int, *, prefill: bool) -> None:
        """Add a pass that it shared with others: its part of the bytes, and all of the waiting."""
        bytes_read = (after.bytes_read - before.bytes_read) // members
        if prefill or not self.output_tokens:
            self.prefill_bytes += bytes_read
            return
        self.decode_passes += 1
        self.decode_bytes += bytes_read
        self.hits += after.hits - before.hits
        self.misses += after.misses - before.misses
        self.stall_seconds += after.stall_seconds - before.stall_seconds


@dataclass(frozen=True, slots=True)
class Finished:
    """The end: reason `stop` or `length`; stop_string is the one that ended it, empty for any other end."""

    reason: str
    costs: Costs
    seed: int
    stop_string: str = ""


Event = Prefill | Chunk | Finished | Exception
"""An Exception ends the request as Finished does."""


@dataclass(slots=True, eq=False)
class Request:
    """One prompt to continue. emit is called from the engine's thread, which closes the sampler too.

    visible: control tokens whose text is part of the answer.
    """

    id: str
    prompt: list[int]
    sampling: Sampling
    limits: Limits
    sampler: Sampler
    emit: Callable[[Event], None]
    visible: frozenset[str] = frozenset()
    cancelled: bool = False
    costs: Costs = field(default_factory=Costs)


@dataclass(slots=True, eq=False)
class EmbedRequest:
    """Texts to embed, tokenized; embedded: how many are done.

    emit is called from the engine's thread: with an [embedding_length] vector for each text, in order, and with None
    after the last, or with what it failed with.
    """

    texts: list[list[int]]
    emit: Callable[[list[float] | Exception | None], None]
    cancelled: bool = False
    embedded: int = 0
