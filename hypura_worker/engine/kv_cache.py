"""The KV cache: its sequences, the tokens that each holds, and the generation that works in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from hypura_worker.engine.generation import Generation
from hypura_worker.errors import EngineBroken
from hypura_worker.llama.context import Context


class State(Enum):
    """
    IDLE ──begin──► PREFILL ──prompt is computed──► DECODE ──ends──► IDLE
                       ▲                              │
                       └────KV lost or preempted──────┘

    IDLE: no request; `held` may still serve as the prefix of a later one.
    PREFILL: tokens of the prompt are still to be computed, or, where the KV was lost, of both.
    DECODE: a new token a pass, and with it those that the format of the answer forced after the last one.
    """

    IDLE = "idle"
    PREFILL = "prefill"
    DECODE = "decode"


@dataclass(slots=True, eq=False)
class Sequence:
    """held: the tokens whose KV the cache has, in order; used: the pass that last computed it."""

    id: int
    held: list[int] = field(default_factory=list)
    generation: Generation | None = None
    used: int = 0

    @property
    def state(self) -> State:
        """See State."""
        if self.generation is None:
            return State.IDLE
        answers = len(self.held) >= len(self.generation.request.prompt)
        return State.DECODE if answers or self.missing == 1 else State.PREFILL

    @property
    def missing(self) -> int:
        """Tokens of the generation that are not in the KV cache yet."""
        return len(self.generation.tokens) - len(self.held) if self.generation is not None else 0

    @property
    def is_idle_with_kv(self) -> bool:
        """Whether it holds KV that no request uses: dropping that costs time only if a later request could reuse it."""
        return self.generation is None and bool(self.held)


def generation_of(sequence: Sequence) -> Generation:
    """The generation of a sequence that has one. Raises EngineBroken."""
    if sequence.generation is None:
        raise EngineBroken(f"sequence {sequence.id} has no generation")
    return sequence.generation


class KvCache:
    """llama.cpp's KV cache and the record of what it holds, which only this class changes.

    Passes add to llama.cpp's side; `extend` records that. Embedding works in an empty sequence, and empties it again.
    """

    def __init__(self, context: Context, sequences: int) -> None:
        self._context = context
        self.sequences = [Sequence(i) for i in range(sequences)]

    @property
    def capacity_tokens(self) -> int:
        """Tokens of all sequences together."""
        return self._context.size_tokens

    def extend(self, sequence: Sequence, tokens: list[int], pass_number: int) -> None:
        """Record the tokens whose KV a pass has added to the sequence."""
        sequence.held += tokens
        sequence.used = pass_number

    def cut(self, sequence: Sequence, length: int) -> None:
        """Keep the first `length` tokens, or none where a part cannot be kept."""
        if length == len(sequence.held):
            return
        kept = self._context.cut(sequence.id, length)
        del sequence.held[length if kept else 0 :]

    def drop_idle(self) -> bool:
        """Drop all KV that no request uses; whether there was any."""
        idle = [s for s in self.sequences if s.is_idle_with_kv]
        for sequence in idle:
            self.cut(sequence, 0)
        return bool(idle)

    def reuse(self, sequence: Sequence, source: Sequence | None, prefix: int) -> None:
        """Let the sequence hold the first `prefix` tokens of the source, which may be itself, and nothing else."""
        window = self._context.window_tokens
        if source is not None and window and self._context.first_position(source.id) > max(0, prefix - window + 1):
            prefix = 0  # what a sliding window still needs is gone
        if source is sequence:
            self.cut(sequence, prefix)
            return
        self.cut(sequence, 0)
        if source is not None and prefix:
            self._context.copy(source.id, sequence.id, prefix)
            sequence.held = source.held[:prefix]

    def roll_back(self, sequence: Sequence) -> None:
        """Take the positions of a failed pass back; what cannot be cut is emptied and computed again."""
        held = len(sequence.held)
        if not (held and self._context.cuts and self._context.cut(sequence.id, held)):
            self._context.cut(sequence.id, 0)
            sequence.held.clear()


def common_prefix(a: list[int], b: list[int]) -> int:
    """How many tokens both begin with."""
    length = min(len(a), len(b))
    if a[:length] == b[:length]:
        return length
    return next(i for i in range(length) if a[i] != b[i])
