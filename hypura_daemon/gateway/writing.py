"""An answer's events to the bytes of its stream."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeVar

Event = TypeVar("Event")


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
