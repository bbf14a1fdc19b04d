"""Which tokens a pass computes and whose KV goes, as tables."""

from __future__ import annotations

import pytest

from hypura_worker.engine.batching import Part, compose, make_room, oldest, place
from hypura_worker.engine.generation import Generation
from hypura_worker.engine.kv_cache import Sequence, State, common_prefix
from hypura_worker.engine.parameters import Limits, Sampling
from hypura_worker.engine.request import Request


def _sequence(
    number: int, held: int, wanted: int = 0, order: int = 0, used: int = 0, alone: bool = False, prompt: int = 0
) -> Sequence:
    """prompt: how many of the wanted tokens are the prompt's; 0 for all."""
    sequence = Sequence(number, list(range(held)), used=used)
    if wanted:
        limits = Limits(None, (), False, None, False)
        sampling = Sampling(0, 0, 1, 0, 1, 0, 1, 0, 0, 0, ())
        sampler = object()  # not used here
        request = Request(str(number), list(range(prompt or wanted)), sampling, limits, sampler, lambda event: None)  # type: ignore[arg-type]
        sequence.generation = Generation(request, order)
        sequence.generation.tokens = list(range(wanted))
        sequence.generation.alone = alone
    return sequence


def _shape(parts: list[Part]) -> dict[int, int]:
    return {part.sequence.id: part.count for part in parts}


@pytest.mark.parametrize(
    ("sequences", "ubatch", "expected"),
    [
        ([_sequence(0, 5)], 8, {}),
        ([_sequence(0, 5, 6, 1)], 8, {0: 1}),
        ([_sequence(0, 5, 6, 1), _sequence(1, 0, 20, 2)], 8, {0: 1, 1: 7}),
        ([_sequence(0, 0, 20, 2), _sequence(1, 0, 20, 1)], 8, {1: 8}),
        ([_sequence(0, 5, 6, 1, used=4), _sequence(1, 5, 6, 2, used=3)], 1, {1: 1}),
        ([_sequence(0, 5, 6, 1), _sequence(1, 0, 20, 2, alone=True)], 8, {1: 8}),
        ([_sequence(0, 5, 6, 1), _sequence(1, 5, 6, 2), _sequence(2, 0, 9, 3)], 2, {0: 1, 2: 1}),
        ([_sequence(0, 5, 6, 1, used=9), _sequence(1, 0, 9, 2)], 1, {1: 1}),
        ([_sequence(0, 5, 9, 1, prompt=5), _sequence(1, 5, 6, 2), _sequence(2, 0, 20, 3)], 8, {0: 4, 1: 1, 2: 3}),
        ([_sequence(0, 5, 30, 1, prompt=5), _sequence(1, 5, 6, 2), _sequence(2, 0, 20, 3)], 8, {0: 6, 1: 1, 2: 1}),
        ([_sequence(0, 5, 30, 1, prompt=5), _sequence(1, 5, 30, 2, prompt=5)], 8, {0: 7, 1: 1}),
    ],
    ids=[
        "idle",
        "decode",
        "decode-first",
        "oldest-prompt-first",
        "longest-waiting-decode",
        "suspect-alone",
        "prompts-are-not-starved",
        "turns-at-ubatch-1",
        "forced-tokens-with-the-one-before",
        "forced-tokens-leave-room-for-others",
        "forced-tokens-of-two",
    ],
)
def test_compose(sequences: list[Sequence], ubatch: int, expected: dict[int, int]) -> None:
    assert _shape(compose(sequences, ubatch)) == expected


@pytest.mark.parametrize(
    ("sequences", "capacity", "kept", "dropped"),
    [
        ([_sequence(0, 5, 6, 1), _sequence(1, 90, used=1)], 100, {0: 1}, []),
        ([_sequence(0, 9, 10, 1), _sequence(1, 60, used=1), _sequence(2, 31, used=2)], 100, {0: 1}, [1]),
        ([_sequence(0, 50, 51, 1), _sequence(1, 50, 51, 2)], 100, {0: 1}, [1]),
        ([_sequence(0, 50, 51, 2), _sequence(1, 50, 51, 1)], 100, {1: 1}, [0]),
        ([_sequence(0, 60, 61, 1), _sequence(1, 0, 50, 2)], 100, {0: 1}, []),
        ([_sequence(0, 60, 61, 1), _sequence(1, 0, 39, 2)], 100, {0: 1, 1: 39}, []),
    ],
    ids=["fits", "idle-longest-unused", "younger-yields", "age-not-number", "new-work-waits", "new-work-fits"],
)
def test_make_room(sequences: list[Sequence], capacity: int, kept: dict[int, int], dropped: list[int]) -> None:
    parts, gone = make_room(sequences, compose(sequences, 512), capacity)
    assert _shape(parts) == kept
    assert [s.id for s in gone] == dropped


LONG = list(range(100))


@pytest.mark.parametrize(
    ("sequences", "prompt", "cuts", "expected"),
    [
        ([_sequence(0, 10, used=5), _sequence(1, 4, used=1), _sequence(2, 0)], LONG[:8], True, (0, 0, 8)),
        ([_sequence(0, 10, used=5), _sequence(1, 4, used=1), _sequence(2, 0)], [99], True, (2, None, 0)),
        ([_sequence(0, 10, used=5), _sequence(1, 4, used=1)], [99], True, (1, None, 0)),
        ([_sequence(0, 60, used=5), _sequence(1, 0)], [0, 99, 98], True, (1, None, 0)),
        ([_sequence(0, 60, used=5), _sequence(1, 0)], [*LONG[:20], 777], True, (1, 0, 20)),
        ([_sequence(0, 60, used=5)], [*LONG[:20], 777], True, (0, 0, 20)),
        ([_sequence(0, 60, 61, 1), _sequence(1, 5, used=2)], [*LONG[:20], 777], True, (1, 0, 20)),
        ([_sequence(0, 60, used=5), _sequence(1, 0)], [*LONG[:20], 777], False, (1, None, 0)),
        ([_sequence(0, 60, used=5), _sequence(1, 0)], LONG, False, (0, 0, 60)),
        ([_sequence(0, 1, 2, 1)], [1], True, None),
    ],
    ids=[
        "longest-prefix", "empty", "longest-unused", "a-shared-first-token-overwrites-nothing", "copied-beginning",
        "nowhere-else", "from-one-that-works", "a-state-cannot-be-cut", "a-state-can-go-on", "all-work",
    ],
)  # fmt: skip
def test_place(
    sequences: list[Sequence], prompt: list[int], cuts: bool, expected: tuple[int, int | None, int] | None
) -> None:
    placement = place(sequences, prompt, cuts=cuts)
    if expected is None:
        assert placement is None
        return
    assert placement is not None
    source = placement.source.id if placement.source is not None else None
    assert (placement.sequence.id, source, placement.prefix) == expected


def test_common_prefix() -> None:
    assert common_prefix([1, 2, 3], [1, 2, 4, 5]) == 2
    assert common_prefix([1, 2], [1, 2, 3]) == 2
    assert common_prefix([], [1]) == 0


def test_states() -> None:
    assert _sequence(0, 5).state is State.IDLE
    assert _sequence(0, 5, 10).state is State.PREFILL
    assert _sequence(0, 5, 6).state is State.DECODE
    assert _sequence(0, 5, 10, prompt=5).state is State.DECODE
    assert _sequence(0, 4, 10, prompt=5).state is State.PREFILL


def test_the_oldest_work_always_has_room() -> None:
    """Seen: when it was the younger one's turn and nothing could be dropped for it, an empty pass broke the engine."""
    full = [_sequence(0, 60, 61, 1, used=5), _sequence(1, 40, 41, 2, used=1)]
    parts, _ = make_room(full, compose(full, 1), 100)
    assert parts == []
    parts, dropped = make_room(full, oldest(full, 1), 100)
    assert (_shape(parts), [s.id for s in dropped]) == ({0: 1}, [1])
