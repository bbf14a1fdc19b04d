"""An answer's events to the bytes of its stream."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

from hypura.v1 import inference_pb2

Event = TypeVar("Event")


async def listed(
    head: bytes, vectors: Sequence[inference_pb2.Embedding], item: Callable[[int, Sequence[float]], bytes], tail: bytes
) -> AsyncGenerator[bytes, None]:
    """The pieces of a body with a list of vectors, written one by one: as text they take five times their memory.

    The event loop has its turn before each, since one takes a millisecond or two.
    """
    yield head
    for number, vector in enumerate(vectors):
        await asyncio.sleep(0)
        yield (b"," if number else b"") + item(number, vector.values)
    yield tail


async def written(
    events: AsyncGenerator[Event, None],
    begin: Callable[[Event], bytes],
    add: Callable[[Event], bytes],
    end: Callable[[], bytes],
) -> AsyncGenerator[bytes, None]:
    """The pieces: begin and add for the first event, add for the others, end.

    Nothing comes before the core's first event, since an error may come instead.
    """
    begun = False
    async with aclosing(events):
        async for event in events:
            piece = (b"" if begun else begin(event)) + add(event)
            begun = True
            if piece:
                yield piece
    yield end()
