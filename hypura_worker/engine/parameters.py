"""The parameters of a request: how tokens are chosen, and when an answer ends."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from hypura.v1 import inference_pb2
from hypura_worker.errors import InvalidRequest

_MAX_TOP_LOGPROBS = 20
_SEEDS = 2**32 - 1
"""llama.cpp takes the last 32-bit number for "choose one" (LLAMA_DEFAULT_SEED)."""
_GREEDY_BELOW = 1e-6
"""Dividing logits by less overflows; the likeliest token is chosen long before that."""


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
        """With defaults for what is not set. Raises InvalidRequest for a value out of range."""

        def number(name: str, default: float, low: float, high: float) -> float:
            value = getattr(proto, name) if proto.HasField(name) else default
            if not low <= value <= high:  # also refuses NaN
                raise InvalidRequest(f"{name} is {value}; it must be from {low:g} to {high:g}")
            return float(value)

        for token, bias in proto.logit_bias.items():
            if math.isnan(bias) or bias == math.inf:
                raise InvalidRequest(f"logit_bias of token {token} is {bias}; it must be a number, or -inf to ban it")
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
    """When an answer ends. max_tokens None: until the context is full. top_logprobs None: no logprobs.

    context_tokens: of prompt and answer together; 0 for as many as the context has.
    """

    max_tokens: int | None
    stop: tuple[str, ...]
    ignore_eos: bool
    top_logprobs: int | None
    truncate: bool
    context_tokens: int = 0

    @classmethod
    def from_proto(cls, proto: inference_pb2.Limits) -> Limits:
        """Raises InvalidRequest for a value out of range."""
        max_tokens = proto.max_tokens if proto.HasField("max_tokens") and proto.max_tokens >= 0 else None
        top = proto.top_logprobs if proto.HasField("top_logprobs") and proto.top_logprobs >= 0 else None
        if top is not None and top > _MAX_TOP_LOGPROBS:
            raise InvalidRequest(f"top_logprobs is {top}; it must be from 0 to {_MAX_TOP_LOGPROBS}")
        if proto.json_schema or proto.grammar:
            raise InvalidRequest("a worker takes a constraint, not json_schema or grammar in the limits")
        return cls(
            max_tokens=max_tokens,
            stop=tuple(text for text in proto.stop if text),
            ignore_eos=proto.ignore_eos,
            top_logprobs=top,
            truncate=proto.truncate,
            context_tokens=proto.context_tokens,
        )
