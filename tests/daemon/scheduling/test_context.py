"""How much context a request needs, and a load makes room for."""

from __future__ import annotations

import pytest

from hypura_daemon.scheduling.context import MOST_ANSWER_TOKENS, answer_room, context_for, grown

TRAINED_TOKENS = 131_072


@pytest.mark.parametrize(
    ("tokens", "context"),
    [(1, 256), (257, 384), (4096, 4096), (4097, 6144), (6145, 8192), (30_000, 32_768), (98_305, TRAINED_TOKENS),
     (200_000, TRAINED_TOKENS)],
)  # fmt: skip
def test_steps(tokens: int, context: int) -> None:
    assert grown(tokens, TRAINED_TOKENS) == context


def test_a_step_leaves_room_for_what_comes_next() -> None:
    for tokens in range(256, TRAINED_TOKENS, 97):
        context = grown(tokens, TRAINED_TOKENS)
        assert tokens <= context <= max(256, tokens * 3 // 2 + 1) and context % 128 == 0
        assert context_for(4096, context, TRAINED_TOKENS) <= max(4096, context * 9 // 8)


@pytest.mark.parametrize(("max_tokens", "room"), [(-1, 2048), (0, 1), (1, 1), (500, 500), (32_000, MOST_ANSWER_TOKENS)])
def test_the_room_for_an_answer(max_tokens: int, room: int) -> None:
    assert answer_room(max_tokens, 4096) == room
