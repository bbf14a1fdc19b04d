"""A request as the engine sees it, and the events it answers with."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypura.v1 import inference_pb2
from hypura_worker.errors import RequestError

if TYPE_CHECKING:
    from hypura_worker.engine.sampler import Sampler
    from hypura_worker.streaming.streamer import StreamCounters

_MAX_TOP_LOGPROBS = 20
_SEEDS = 2**32 - 1
"""llama.cpp takes the last 32-bit number for "choose one" (LLAMA_DEFAULT_SEED)."""
_GREEDY_BELOW = 1e-6
"""Dividing logits by less overflows; the likeliest token wins long before."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen; ranges are those of llama.cpp's samplers."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    typical_p: float
    repeat_last_n: int
    repeat_penalty: float
    presence_penalty: float
    frequency_penalty: float
    seed: int
    logit_bias: tuple[tuple[int, float], ...]

    @classmethod
    def from_proto(cls, proto: inference_pb2.Sampling) -> Sampling:
        """With defaults for what is left out. Raises RequestError for a value out of range."""

        def number(name: str, default: float, low: float, high: float) -> float:
            value = getattr(proto, name) if proto.HasField(name) else default
            if not low <= value <= high:  # NaN is refused here too
                raise RequestError(f"{name} is {value}; it must be from {low:g} to {high:g}")
            return float(value)

        for token, bias in proto.logit_bias.items():
            if math.isnan(bias) or bias == math.inf:
                raise RequestError(f"logit_bias of token {token} is {bias}; it must be a number, or -inf to ban it")
        temperature = number("temperature", 0.8, 0, 100)
        return cls(
            temperature=temperature if temperature >= _GREEDY_BELOW else 0.0,
            top_k=int(number("top_k", 40, 0, 2**31 - 1)),
            top_p=number("top_p", 0.9, 0, 1),
            min_p=number("min_p", 0, 0, 1),
            typical_p=number("typical_p", 1, 0, 1),
            repeat_last_n=int(number("repeat_last_n", 64, -1, 2**31 - 1)),
            repeat_penalty=number("repeat_penalty", 1, 0.01, 100),
            presence_penalty=number("presence_penalty", 0, -100, 100),
            frequency_penalty=number("frequency_penalty", 0, -100, 100),
            seed=min(proto.seed, _SEEDS - 1) if proto.HasField("seed") else random.randrange(_SEEDS),
            logit_bias=tuple(sorted(proto.logit_bias.items())),
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """When an answer ends. max_tokens None: until the context is full. top_logprobs None: no logprobs."""

    max_tokens: int | None
    stop: tuple[str, ...]
    ignore_eos: bool
    grammar: str
    top_logprobs: int | None
    truncate: bool

    @classmethod
    def from_proto(cls, proto: inference_pb2.Limits) -> Limits:
        """Everything but the grammar is checked here. Raises RequestError for a value out of range."""
        max_tokens = proto.max_tokens if proto.HasField("max_tokens") and proto.max_tokens >= 0 else None
        top = proto.top_logprobs if proto.HasField("top_logprobs") and proto.top_logprobs >= 0 else None
        if top is not None and top > _MAX_TOP_LOGPROBS:
            raise RequestError(f"top_logprobs is {top}; it must be from 0 to {_MAX_TOP_LOGPROBS}")
        if proto.json_schema:
            raise RequestError("a worker takes no json_schema; the daemon makes a grammar of it")
        return cls(
            max_tokens=max_tokens,
            stop=tuple(text for text in proto.stop if text),
            ignore_eos=proto.ignore_eos,
            grammar=proto.grammar,
            top_logprobs=top,
            truncate=proto.truncate,
        )


@dataclass(frozen=True, slots=True)
class Prefill:
    """processed of total prompt tokens are in the KV cache."""

    processed: int
    total: int


@dataclass(frozen=True, slots=True)
class Logprob:
    """Of one token: (id, natural logarithm of its probability), and the likeliest ones, best first."""

    chosen: tuple[int, float]
    top: tuple[tuple[int, float], ...]


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
    """Texts to embed, tokenized: answered with [embedding_length] vectors in order."""

    texts: list[list[int]]
    done: Callable[[list[list[float]] | Exception], None]
    cancelled: bool = False
    vectors: list[list[float]] = field(default_factory=list)
