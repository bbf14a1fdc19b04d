"""Which tokens a pass computes and whose KV goes, as tables."""

from __future__ import annotations

import pytest

from hypura_worker.engine.batching import Part, compose, make_room, place
from hypura_worker.engine.request import Limits, Request, Sampling
from hypura_worker.engine.sequence import Sequence, State, Work, common_prefix
from hypura_worker.engine.text import TextStream


def _sequence(number: int, held: int, wanted: int = 0, order: int = 0, used: int = 0, alone: bool = False) -> Sequence:
    sequence = Sequence(number, list(range(held)), used=used)
    if wanted:
        limits = Limits(None, (), False, "", "", None, False)
        sampling = Sampling(0, 0, 1, 0, 1, 0, 1, 0, 0, 0, ())
        request = Request(str(number), [], sampling, limits, lambda event: None)
        sampler = object()  # never asked here
        work = Work(request, list(range(wanted)), sampler, TextStream([]), order, alone=alone)  # type: ignore[arg-type]
        sequence.work = work
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
    ],
    ids=["idle", "decode", "decode-first", "oldest-prompt-first", "longest-waiting-decode", "suspect-alone"],
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


def test_place_prefers_the_longest_prefix_then_an_empty_one_then_the_longest_unused() -> None:
    a, b, c = _sequence(0, 10, used=5), _sequence(1, 4, used=1), _sequence(2, 0)
    assert place([a, b, c], list(range(8))) is a
    assert place([a, b, c], [99]) is c
    assert place([a, b], [99]) is b
    assert place([_sequence(0, 1, 2, 1)], [1]) is None


def test_common_prefix() -> None:
    assert common_prefix([1, 2, 3], [1, 2, 4, 5]) == 2
    assert common_prefix([1, 2], [1, 2, 3]) == 2
    assert common_prefix([], [1]) == 0


def test_states() -> None:
    assert _sequence(0, 5).state is State.IDLE
    assert _sequence(0, 5, 10).state is State.PREFILL
    assert _sequence(0, 5, 6).state is State.DECODE
