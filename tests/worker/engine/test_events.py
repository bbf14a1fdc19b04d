"""Pieces that wait are joined, and none is lost or moved."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hypura_worker.engine.events import MAX_JOINED_EVENTS, Chunk, Event, Prefill, join_chunks, next_events

CHUNKS = st.builds(Chunk, st.text(max_size=3), st.lists(st.integers(0, 9), max_size=3).map(tuple), st.just(()))
EVENTS = st.lists(CHUNKS | st.builds(Prefill, st.integers(0, 9), st.integers(0, 9)), max_size=12)


@given(EVENTS)
def test_text_tokens_and_order_stay(events: list[Event]) -> None:
    def content(given: list[Event]) -> list[object]:
        parts: list[object] = []
        for event in given:
            if not isinstance(event, Chunk):
                parts.append(event)
            elif parts and isinstance(parts[-1], tuple):
                parts[-1] = (parts[-1][0] + event.text, parts[-1][1] + event.tokens)
            else:
                parts.append((event.text, event.tokens))
        return parts

    result = join_chunks(events)
    assert content(result) == content(events)
    assert not any(isinstance(a, Chunk) and isinstance(b, Chunk) for a, b in pairwise(result))


async def test_a_reader_that_lags_gets_fewer_messages() -> None:
    events: asyncio.Queue[Event] = asyncio.Queue()
    for number in range(MAX_JOINED_EVENTS + 1):
        events.put_nowait(Chunk("a", (number,), ()))
    [first] = await next_events(events)
    assert isinstance(first, Chunk) and first.text == "a" * MAX_JOINED_EVENTS
    [last] = await next_events(events)
    assert isinstance(last, Chunk) and last.tokens == (MAX_JOINED_EVENTS,)
