"""Joins the pieces of an answer that wait to be sent: a message costs more than a token's text.

A reader that keeps up gets a message for each token; one that lags gets the same tokens in fewer.
"""

from __future__ import annotations

import asyncio

from hypura_worker.engine import request as engine

MAX_CHUNKS = 32
"""Joined at most, so that a reader that lags still sees the answer grow."""


async def waiting(events: asyncio.Queue[engine.Event]) -> list[engine.Event]:
    """The next event and those that have come by now, neighbouring chunks joined."""
    taken = [await events.get()]
    while not events.empty() and len(taken) < MAX_CHUNKS:
        taken.append(events.get_nowait())
    return joined(taken)


def joined(events: list[engine.Event]) -> list[engine.Event]:
    """The events with neighbouring chunks as one. Pure."""
    result: list[engine.Event] = []
    chunks: list[engine.Chunk] = []
    for event in events:
        if isinstance(event, engine.Chunk):
            chunks.append(event)
            continue
        result += _one(chunks)
        chunks = []
        result.append(event)
    return result + _one(chunks)


def _one(chunks: list[engine.Chunk]) -> list[engine.Event]:
    if len(chunks) < 2:
        return list(chunks)
    text = "".join(chunk.text for chunk in chunks)
    tokens = tuple(token for chunk in chunks for token in chunk.tokens)
    return [engine.Chunk(text, tokens, tuple(entry for chunk in chunks for entry in chunk.logprobs))]
