"""Pieces that wait are joined, and none is lost or moved."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hypura_worker.coalescing import MAX_CHUNKS, joined, waiting
from hypura_worker.engine import request as engine

CHUNKS = st.builds(engine.Chunk, st.text(max_size=3), st.lists(st.integers(0, 9), max_size=3).map(tuple), st.just(()))
EVENTS = st.lists(CHUNKS | st.builds(engine.Prefill, st.integers(0, 9), st.integers(0, 9)), max_size=12)


@given(EVENTS)
def test_text_tokens_and_order_stay(events: list[engine.Event]) -> None:
    def told(given: list[engine.Event]) -> list[object]:
        parts: list[object] = []
        for event in given:
            if not isinstance(event, engine.Chunk):
                parts.append(event)
            elif parts and isinstance(parts[-1], tuple):
                parts[-1] = (parts[-1][0] + event.text, parts[-1][1] + event.tokens)
            else:
                parts.append((event.text, event.tokens))
        return parts

    result = joined(events)
    assert told(result) == told(events)
    assert not any(isinstance(a, engine.Chunk) and isinstance(b, engine.Chunk) for a, b in pairwise(result))


async def test_a_reader_that_lags_gets_fewer_messages() -> None:
    events: asyncio.Queue[engine.Event] = asyncio.Queue()
    for number in range(MAX_CHUNKS + 1):
        events.put_nowait(engine.Chunk("a", (number,), ()))
    [first] = await waiting(events)
    assert isinstance(first, engine.Chunk) and first.text == "a" * MAX_CHUNKS
    [last] = await waiting(events)
    assert isinstance(last, engine.Chunk) and last.tokens == (MAX_CHUNKS,)
