"""One sequence of the KV cache: what it holds, and the request that works on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from hypura_worker.engine.events import Logprob
from hypura_worker.engine.generation import TextStream
from hypura_worker.engine.request import Request


class State(Enum):
    """
    IDLE ──assign──► PREFILL ──prompt is in──► DECODE ──ends──► IDLE
                        ▲                        │
                        └──KV lost or preempted──┘

    IDLE: no request; `held` may still serve as the prefix of a later one.
    PREFILL: tokens of the prompt are still to be computed, or, where the KV was lost, of both.
    DECODE: a new token a pass, and with it those that the format of the answer forced after the last one.
    """

    IDLE = "idle"
    PREFILL = "prefill"
    DECODE = "decode"


@dataclass(slots=True, eq=False)
class Work:
    """A request under way. wanted: prompt and generated tokens, all to be in the KV cache.

    alone: it is computed by itself since a pass that it was part of failed; failures:
    how often it failed by itself.
    """

    request: Request
    wanted: list[int]
    text: TextStream
    order: int
    alone: bool = False
    failures: int = 0
    unsent_tokens: list[int] = field(default_factory=list)
    unsent_logprobs: list[Logprob] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Sequence:
    """held: the tokens whose KV the cache has, in order; used: when it was last worked on."""

    id: int
    held: list[int] = field(default_factory=list)
    work: Work | None = None
    used: int = 0

    @property
    def state(self) -> State:
        """See State."""
        if self.work is None:
            return State.IDLE
        answers = len(self.held) >= len(self.work.request.prompt)
        return State.DECODE if answers or self.missing == 1 else State.PREFILL

    @property
    def missing(self) -> int:
        """Tokens of the work that are not in the KV cache yet."""
        return len(self.work.wanted) - len(self.held) if self.work is not None else 0


def common_prefix(a: list[int], b: list[int]) -> int:
    """How many tokens both begin with."""
    length = min(len(a), len(b))
    if a[:length] == b[:length]:
        return length
    return next(i for i in range(length) if a[i] != b[i])
