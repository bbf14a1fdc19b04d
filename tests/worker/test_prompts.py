"""Prompts and texts: tokenized without holding each other up, and cut where they are too long."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

import pytest

from hypura_worker.prompts import Prompts, keep_beginning


async def test_long_texts_do_not_hold_up_the_tokenizing_of_short_ones() -> None:
    gate = threading.Event()

    class Vocabulary:
        def tokenize(self, text: str, **options: object) -> list[int]:
            assert len(text) < 10 or gate.wait(30)
            return [len(text)]

    vocabulary, prompts = cast(Any, Vocabulary()), Prompts()
    long = [asyncio.ensure_future(prompts.tokenize(vocabulary, "x" * 99_999)) for _ in range(40)]
    try:
        async with asyncio.timeout(10):
            assert await prompts.tokenize(vocabulary, "short") == [5]
    finally:
        gate.set()
    assert await asyncio.gather(*long) == [[99_999]] * 40


@pytest.mark.parametrize(
    ("tokens", "limit", "last", "kept"),
    [
        ([1, 2, 3], 3, [9], [1, 2, 3]),
        ([1, 2, 3, 4], 3, [9], [1, 2, 3]),
        ([1, 2, 3, 9], 3, [9], [1, 2, 9]),  # The token that ends a text stays: some models pool by it.
        ([2, 9], 1, [9], [2]),
        ([1, 2, 3], 2, [], [1, 2]),
    ],
)
def test_what_of_a_long_text_is_embedded(tokens: list[int], limit: int, last: list[int], kept: list[int]) -> None:
    assert keep_beginning(tokens, limit, last, truncate=True) == kept
