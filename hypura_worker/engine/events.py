"""What the engine reports of a request: prefill progress, text, the end; and the queue that carries it to a client."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from hypura_worker.engine.counters import RequestCounters

MAX_JOINED_EVENTS = 32
"""Joined at most, so that a client that reads slowly still sees the answer grow."""


@dataclass(frozen=True, slots=True)
class Logprob:
    """Of one token: (id, natural logarithm of its probability), and the likeliest ones, best first."""

    chosen: tuple[int, float]
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Prefill:
    """processed of total prompt tokens are in the KV cache."""

    processed: int
    total: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """New final text and the tokens generated since the last chunk."""

    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[Logprob, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """The end: reason `stop` or `length`; stop_string is the one that ended it, empty for any other end."""

    reason: str
    counters: RequestCounters
    seed: int
    stop_string: str = ""


Event = Prefill | Chunk | Finished | Exception
"""An Exception ends the request as Finished does."""


async def next_events(queue: asyncio.Queue[Event]) -> list[Event]:
    """Wait for the next event and take those that have arrived by then, with neighbouring chunks joined.

    A message costs more than the text of a token: a client that keeps up gets one for each
    token, a slow one gets the same tokens in fewer messages.
    """
    events = [await queue.get()]
    while not queue.empty() and len(events) < MAX_JOINED_EVENTS:
        events.append(queue.get_nowait())
    return join_chunks(events)


def join_chunks(events: list[Event]) -> list[Event]:
    """The events, neighbouring chunks joined into one. Pure."""
    result: list[Event] = []
    chunks: list[Chunk] = []
    for event in events:
        if isinstance(event, Chunk):
            chunks.append(event)
            continue
        result += _joined(chunks)
        chunks = []
        result.append(event)
    return result + _joined(chunks)


def _joined(chunks: list[Chunk]) -> list[Event]:
    if len(chunks) < 2:
        return list(chunks)
    text = "".join(chunk.text for chunk in chunks)
    tokens = tuple(token for chunk in chunks for token in chunk.tokens)
    return [Chunk(text, tokens, tuple(entry for chunk in chunks for entry in chunk.logprobs))]
