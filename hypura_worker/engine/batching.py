"""Which tokens the next pass computes, and which sequence a request gets. Pure decisions."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass

from hypura_worker.engine.sequence import Sequence, State, common_prefix

_WORTH_COPYING_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Part:
    """`count` next tokens of a sequence's work."""

    sequence: Sequence
    count: int


def compose(sequences: Seq[Sequence], ubatch_tokens: int) -> list[Part]:
    """The next pass: a token of every sequence that decodes, longest waiting first, then the tokens that were
    forced after it, and prompts, oldest first, in what room is left; one token is always left for a prompt that waits.

    A sequence under suspicion of having failed a pass is computed by itself.
    """
    active = [s for s in sequences if s.work is not None]
    alone = next((s for s in active if s.work is not None and s.work.alone), None)
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
    """The parts whose tokens fit the KV cache, and the sequences whose KV must go for that.

    Idle KV goes first, longest unused first, then that of younger work: the oldest work
    always goes on. Work that holds nothing (new, or dropped before) waits until all of it fits.
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
        victims = [s for s in sequences if held[s.id] and s is not part.sequence and _yields(s, part.sequence)]
        victims.sort(key=lambda s: (s.work is not None, s.used if s.work is None else -_order(s)))
        going: list[Sequence] = []
        free = capacity_tokens - sum(held.values())
        for victim in victims:
            if free >= needed:
                break
            going.append(victim)
            free += held[victim.id]
        if free < needed:
            continue
        for victim in going:
            held[victim.id] = 0
        dropped += going
        held[part.sequence.id] += part.count
        kept.append(part)
    return kept, dropped


def room_for(sequences: Seq[Sequence], sequence: Sequence, tokens: int, capacity_tokens: int) -> list[Sequence] | None:
    """The idle sequences whose KV must go so that `sequence`, emptied, can hold so many tokens, longest unused first;
    None while work holds the room."""
    free = capacity_tokens - sum(len(s.held) for s in sequences if s is not sequence)
    going: list[Sequence] = []
    for idle in sorted((s for s in sequences if s.work is None and s.held and s is not sequence), key=lambda s: s.used):
        if free >= tokens:
            break
        going.append(idle)
        free += len(idle.held)
    working = any(s.work is not None and s.held for s in sequences)
    return None if free < tokens and working else going


def oldest(sequences: Seq[Sequence], ubatch_tokens: int) -> list[Part]:
    """The oldest work by itself: there is always room for it."""
    active = [s for s in sequences if s.work is not None]
    return [Part(s, min(s.missing, ubatch_tokens)) for s in sorted(active, key=_order)[:1]]


@dataclass(frozen=True, slots=True)
class Placement:
    """A request's sequence, and whose first `prefix` tokens it can begin with: its own, another's, or nobody's."""

    sequence: Sequence
    source: Sequence | None
    prefix: int


def place(sequences: Seq[Sequence], prompt: list[int], *, cuts: bool) -> Placement | None:
    """Where a prompt goes; None while every sequence works.

    It continues in the idle sequence that begins with most of it, unless that would lose more
    of another conversation than it gains: then the common beginning is copied. cuts: whether a
    sequence's beginning can be had alone; if not, only the whole of one is of use.
    """
    idle = [s for s in sequences if s.work is None]
    if not idle:
        return None

    def useful(sequence: Sequence) -> int:
        prefix = common_prefix(sequence.held, prompt)
        return prefix if cuts or prefix == len(sequence.held) else 0

    source = max(sequences if cuts else idle, key=useful)
    prefix = useful(source)
    if prefix and source.work is None and (2 * prefix >= len(source.held) or len(idle) == 1):
        return Placement(source, source, prefix)
    others = [s for s in idle if s is not source or not prefix]
    target = max(others, key=lambda s: (not s.held, -s.used))
    if cuts and prefix >= _WORTH_COPYING_TOKENS:
        return Placement(target, source, prefix)
    return Placement(target, None, 0)


def _yields(victim: Sequence, to: Sequence) -> bool:
    return victim.work is None or _order(victim) > _order(to)


def _order(sequence: Sequence) -> int:
    return sequence.work.order if sequence.work is not None else 0
