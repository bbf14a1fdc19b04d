"""An answer gathered from its events, several answers of one request at once, and the pieces that are sent of them."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from hypura.v1 import inference_pb2

AT_ONCE = 8
"""Answers of one request that are generated at the same time; more would fill the queue for all other requests."""

Event = TypeVar("Event", inference_pb2.ChatResponse, inference_pb2.GenerateResponse)
Item = TypeVar("Item")


@dataclass(slots=True)
class Answer:
    """What has come of one answer so far; one_call drops every tool call after the first."""

    one_call: bool = False
    thinking: str = ""
    text: str = ""
    calls: list[inference_pb2.ToolCall] = field(default_factory=list)
    logprobs: list[inference_pb2.TokenLogprobs] = field(default_factory=list)
    thinking_tokens: int = 0
    finished: inference_pb2.Finished = field(default_factory=inference_pb2.Finished)

    def add(self, event: inference_pb2.ChatResponse | inference_pb2.GenerateResponse) -> None:
        """Add the next event. Of a chat's tokens, only those of the content keep their logprobs."""
        if event.HasField("chunk"):
            self.text += event.chunk.text
            self.thinking += event.chunk.thinking
            if event.chunk.thinking:
                self.thinking_tokens += len(event.chunk.token_ids)
            elif event.chunk.text or isinstance(event, inference_pb2.GenerateResponse):
                self.logprobs.extend(event.chunk.logprobs)
        elif event.HasField("finished"):
            self.finished = event.finished
        elif isinstance(event, inference_pb2.ChatResponse) and event.HasField("tool_call"):
            self.calls += [] if self.one_call and self.calls else [event.tool_call]

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt."""
        return self.finished.statistics.prompt_tokens

    @property
    def output_tokens(self) -> int:
        """Tokens of thinking, text and calls."""
        return self.finished.statistics.output_tokens

    @property
    def cut_short(self) -> bool:
        """Whether a limit ended it."""
        return self.finished.reason == inference_pb2.FINISH_REASON_LENGTH


async def gathered(
    makers: Sequence[Callable[[], AsyncGenerator[Event, None]]], *, one_call: bool = False
) -> list[Answer]:
    """All answers, whole. Raises what the first failing one raises; the others are then cancelled."""
    answers = [Answer(one_call) for _ in makers]
    async with aclosing(merged(makers)) as events:
        async for index, event in events:
            answers[index].add(event)
    return answers


async def merged(
    makers: Sequence[Callable[[], AsyncGenerator[Event, None]]],
) -> AsyncGenerator[tuple[int, Event], None]:
    """The events of several answers as they come, each with its answer's index; AT_ONCE answers run at a time.

    Closing it closes the answers that run; an answer that fails ends them all.
    """
    if len(makers) == 1:
        async with aclosing(makers[0]()) as events:
            async for event in events:
                yield 0, event
        return
    waiting = iter(enumerate(makers))
    running: dict[asyncio.Future[Event | None], tuple[int, AsyncGenerator[Event, None]]] = {}
    try:
        while True:
            for index, make in islice(waiting, AT_ONCE - len(running)):
                events = make()
                running[asyncio.ensure_future(_next(events))] = index, events
            if not running:
                return
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                index, events = running.pop(task)
                following = task.result()
                if following is not None:
                    running[asyncio.ensure_future(_next(events))] = index, events
                    yield index, following
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for _, events in running.values():
            await events.aclose()


async def _next(events: AsyncGenerator[Event, None]) -> Event | None:
    return await anext(events, None)


async def listed(
    head: bytes, vectors: Sequence[inference_pb2.Embedding], item: Callable[[int, Sequence[float]], bytes], tail: bytes
) -> AsyncGenerator[bytes, None]:
    """The pieces of a body with a list of vectors, written vector by vector: as text they take five times their memory.

    Other tasks can run before each vector, since one takes a millisecond or two.
    """
    yield head
    for number, vector in enumerate(vectors):
        await asyncio.sleep(0)
        yield (b"," if number else b"") + item(number, vector.values)
    yield tail


async def written(
    events: AsyncGenerator[Item, None],
    begin: Callable[[Item], bytes],
    add: Callable[[Item], bytes],
    end: Callable[[], bytes],
) -> AsyncGenerator[bytes, None]:
    """The pieces: begin and add for the first event, add for the others, end.

    Nothing is written before the core's first event, since an error may come instead.
    """
    begun = False
    async with aclosing(events):
        async for event in events:
            piece = (b"" if begun else begin(event)) + add(event)
            begun = True
            if piece:
                yield piece
    yield end()


def new_id(prefix: str) -> str:
    """Such as msg_0123456789abcdef01234567."""
    return f"{prefix}{secrets.token_hex(12)}"
