"""How much context a request needs, and a load makes room for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypura_daemon.scheduling.context import (
    LEAST_STEP_TOKENS,
    MOST_ANSWER_TOKENS,
    answer_room,
    context_for,
    grown_context,
    rounded,
)

TRAINED_TOKENS = 131_072


@pytest.mark.parametrize(
    ("tokens", "context"),
    [(1, 256), (257, 384), (4096, 4096), (4097, 6144), (6145, 8192), (30_000, 32_768), (98_305, TRAINED_TOKENS),
     (200_000, TRAINED_TOKENS)],
)  # fmt: skip
def test_steps(tokens: int, context: int) -> None:
    assert grown_context(tokens, TRAINED_TOKENS) == context


def test_a_step_leaves_room_for_what_comes_next() -> None:
    for tokens in range(256, TRAINED_TOKENS, 97):
        context = grown_context(tokens, TRAINED_TOKENS)
        assert tokens <= context <= max(256, tokens * 3 // 2 + 1) and context % 128 == 0
        assert context_for(4096, context, TRAINED_TOKENS) <= max(4096, context * 9 // 8)


@pytest.mark.parametrize(("max_tokens", "room"), [(-1, 2048), (0, 1), (1, 1), (500, 500), (32_000, MOST_ANSWER_TOKENS)])
def test_the_room_for_an_answer(max_tokens: int, room: int) -> None:
    assert answer_room(max_tokens, 4096) == room


@pytest.mark.parametrize(
    ("usual", "least", "trained", "tokens"),
    [
        (4096, 0, 32768, 4096),
        (4096, 512, 32768, 4096),
        (4096, 4096, 32768, 4096),
        (4096, 4097, 32768, 4608),
        (4096, 32000, 32768, 32768),
        (4096, 32767, 32768, 32768),
        (4096, 32769, 32768, 32769),  # more than it was trained for: the planner refuses that
        (512, 600, 600, 600),
    ],
)
def test_context(usual: int, least: int, trained: int, tokens: int) -> None:
    assert context_for(usual, least, trained) == tokens


@given(st.integers(1, 1 << 24))
def test_rounding_adds_little(tokens: int) -> None:
    assert tokens <= rounded(tokens) <= tokens + max(LEAST_STEP_TOKENS, tokens // 8)
    assert rounded(tokens) % LEAST_STEP_TOKENS == 0
    assert rounded(rounded(tokens)) == rounded(tokens)
