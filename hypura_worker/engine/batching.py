"""Which tokens the next pass computes, and which sequence a request gets. Pure decisions."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass

from hypura_worker.engine.sequence import Sequence, State, common_prefix


@dataclass(frozen=True, slots=True)
class Part:
    """`count` next tokens of a sequence's work."""

    sequence: Sequence
    count: int


def compose(sequences: Seq[Sequence], ubatch_tokens: int) -> list[Part]:
    """The next pass: a token of every sequence that decodes, longest waiting first, and prompts,
    oldest first, in what room is left.

    A sequence under suspicion of having failed a pass is computed by itself.
    """
    active = sorted(
        (s for s in sequences if s.work is not None),
        key=lambda s: (s.state is not State.DECODE, s.used if s.state is State.DECODE else _order(s)),
    )
    alone = next((s for s in active if s.work is not None and s.work.alone), None)
    if alone is not None:
        return [Part(alone, min(alone.missing, ubatch_tokens))]
    parts, room = [], ubatch_tokens
    for sequence in active:
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


def place(sequences: Seq[Sequence], prompt: list[int]) -> Sequence | None:
    """The idle sequence that begins with most of the prompt, else an empty one, else the longest unused."""
    idle = [s for s in sequences if s.work is None]
    return max(idle, key=lambda s: (common_prefix(s.held, prompt), not s.held, -s.used), default=None)


def _yields(victim: Sequence, to: Sequence) -> bool:
    return victim.work is None or _order(victim) > _order(to)


def _order(sequence: Sequence) -> int:
    return sequence.work.order if sequence.work is not None else 0
