"""Which tokens the next pass computes, and which sequence a request gets. Pure decisions."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass

from hypura_worker.engine.generation import Generation
from hypura_worker.engine.kv_cache import Sequence, State, common_prefix, generation_of
from hypura_worker.llama.context import BatchToken

_WORTH_COPYING_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Part:
    """The `count` next tokens of a sequence's generation, which one pass computes."""

    sequence: Sequence
    count: int

    @property
    def generation(self) -> Generation:
        """The generation that the tokens belong to."""
        return generation_of(self.sequence)

    @property
    def tokens(self) -> list[int]:
        """The tokens themselves; other ones once these have been added to `held`, so read them before that."""
        start = len(self.sequence.held)
        return self.generation.tokens[start : start + self.count]


def batch(parts: Seq[Part]) -> list[BatchToken]:
    """What llama.cpp computes in one pass; an output for the last token of each generation."""
    tokens = []
    for part in parts:
        start, last = len(part.sequence.held), len(part.generation.tokens) - 1
        for position, token in enumerate(part.tokens, start):
            tokens.append(BatchToken(token, position, part.sequence.id, position == last))
    return tokens


def compose(sequences: Seq[Sequence], ubatch_tokens: int) -> list[Part]:
    """The next pass, of at most so many tokens.

    First one token of every sequence that decodes, the one that waited longest first, then the tokens forced after
    it, then prompts, oldest first, in the room that is left; one token is always left for a prompt that waits.
    A sequence whose last pass failed together with others is computed by itself.
    """
    active = [s for s in sequences if s.generation is not None]
    alone = next((s for s in active if generation_of(s).alone), None)
    if alone is not None:
        return [Part(alone, min(alone.missing, ubatch_tokens))]
    if ubatch_tokens == 1:
        turn = min(active, key=lambda s: (s.used, _order(s)), default=None)
        return [Part(turn, 1)] if turn is not None else []
    decodes = sorted((s for s in active if s.state is State.DECODE), key=lambda s: (s.used, _order(s)))
    prompts = sorted((s for s in active if s.state is State.PREFILL), key=_order)
    decodes = decodes[: ubatch_tokens - bool(prompts)]
    room = ubatch_tokens - len(decodes)
    parts = []
    for sequence in decodes:
        more = min(sequence.missing - 1, room - bool(prompts))
        parts.append(Part(sequence, 1 + more))
        room -= more
    for sequence in prompts:
        count = min(sequence.missing, room)
        if count > 0:
            parts.append(Part(sequence, count))
        room -= count
    return parts


def make_room(sequences: Seq[Sequence], parts: Seq[Part], capacity_tokens: int) -> tuple[list[Part], list[Sequence]]:
    """The parts whose tokens fit the KV cache, and the sequences whose KV must be dropped for that.

    Idle KV is dropped first, longest unused first, then that of younger requests: the oldest request is always
    computed. A request that holds nothing (new, or dropped before) waits until all of it fits.
    """
    held = {s.id: len(s.held) for s in sequences}
    kept: list[Part] = []
    dropped: list[Sequence] = []
    by_age = sorted(parts, key=lambda part: _order(part.sequence))
    for rank, part in enumerate(by_age):
        if part.sequence in dropped:
            continue
        needed = part.count
        if not part.sequence.held and rank > 0:
            needed = part.sequence.missing
        victims = [s for s in sequences if held[s.id] and s is not part.sequence and _may_drop(s, part.sequence)]
        victims.sort(key=lambda s: (s.generation is not None, s.used if s.generation is None else -_order(s)))
        chosen: list[Sequence] = []
        free = capacity_tokens - sum(held.values())
        for victim in victims:
            if free >= needed:
                break
            chosen.append(victim)
            free += held[victim.id]
        if free < needed:
            continue
        for victim in chosen:
            held[victim.id] = 0
        dropped += chosen
        held[part.sequence.id] += part.count
        kept.append(part)
    return kept, dropped


def room_for(sequences: Seq[Sequence], sequence: Sequence, tokens: int, capacity_tokens: int) -> list[Sequence] | None:
    """The idle sequences whose KV must be dropped so that `sequence`, emptied, can hold so many tokens.

    Longest unused first; None while requests hold the room.
    """
    free = capacity_tokens - sum(len(s.held) for s in sequences if s is not sequence)
    dropped: list[Sequence] = []
    for idle in sorted((s for s in sequences if s.is_idle_with_kv and s is not sequence), key=lambda s: s.used):
        if free >= tokens:
            break
        dropped.append(idle)
        free += len(idle.held)
    working = any(s.generation is not None and s.held for s in sequences)
    return None if free < tokens and working else dropped


def oldest(sequences: Seq[Sequence], ubatch_tokens: int) -> list[Part]:
    """The oldest request by itself: there is always room for it."""
    active = [s for s in sequences if s.generation is not None]
    return [Part(s, min(s.missing, ubatch_tokens)) for s in sorted(active, key=_order)[:1]]


@dataclass(frozen=True, slots=True)
class Placement:
    """A request's sequence, and the source of the first `prefix` tokens: itself, another sequence, or none."""

    sequence: Sequence
    source: Sequence | None
    prefix: int


def place(sequences: Seq[Sequence], prompt: list[int], *, cuts: bool) -> Placement | None:
    """Where a prompt is computed; None while every sequence is in use.

    It continues in the idle sequence that begins with most of it, unless that would lose more
    of another conversation than it gains: then the common beginning is copied. cuts: whether the
    beginning of a sequence can be kept alone; if not, only the whole of a sequence is of use.
    """
    idle = [s for s in sequences if s.generation is None]
    if not idle:
        return None

    def useful(sequence: Sequence) -> int:
        prefix = common_prefix(sequence.held, prompt)
        return prefix if cuts or prefix == len(sequence.held) else 0

    source = max(sequences if cuts else idle, key=useful)
    prefix = useful(source)
    if prefix and source.generation is None and (2 * prefix >= len(source.held) or len(idle) == 1):
        return Placement(source, source, prefix)
    others = [s for s in idle if s is not source or not prefix]
    target = max(others, key=lambda s: (not s.held, -s.used))
    if cuts and prefix >= _WORTH_COPYING_TOKENS:
        return Placement(target, source, prefix)
    return Placement(target, None, 0)


def _may_drop(victim: Sequence, for_sequence: Sequence) -> bool:
    return victim.generation is None or _order(victim) > _order(for_sequence)


def _order(sequence: Sequence) -> int:
    return sequence.generation.order if sequence.generation is not None else 0
