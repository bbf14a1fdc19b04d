"""Streamed answers to chat completions, and the frame that plain completions share with them."""

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Literal, Protocol, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from hypura.v1 import inference_pb2
from hypura_daemon.gateway.answer import Answer, merged, written
from hypura_daemon.gateway.http.streams import streamed
from hypura_daemon.gateway.openai.answers import (
    FINGERPRINT,
    Finish,
    Identity,
    Logprobs,
    ToolCall,
    Usage,
    finish_reason,
    logprobs_of,
    tool_call_fields,
    usage_of,
)
from hypura_daemon.gateway.openai.errors import error_event
from hypura_daemon.gateway.shapes import AnswerShape

SSE = "text/event-stream"
_DONE = b"data: [DONE]\n\n"

Event = TypeVar("Event", inference_pb2.ChatResponse, inference_pb2.GenerateResponse)
EventIn = TypeVar("EventIn", inference_pb2.ChatResponse, inference_pb2.GenerateResponse, contravariant=True)


class Writer(Protocol[EventIn]):
    """Writes a stream: begin, then add for each event with its answer's index, then end."""

    def begin(self) -> bytes: ...
    def add(self, index: int, event: EventIn) -> bytes: ...
    def end(self) -> bytes: ...


async def event_stream(request: Request, pieces: AsyncGenerator[bytes, None]) -> Response:
    """A response of server-sent events; an error before the first piece is raised."""
    return await streamed(request, pieces, SSE, error_event)


def written_answers(
    writer: Writer[Event], makers: Sequence[Callable[[], AsyncGenerator[Event, None]]]
) -> AsyncGenerator[bytes, None]:
    """The pieces of several answers' stream."""
    return written(merged(makers), lambda _: writer.begin(), lambda pair: writer.add(*pair), writer.end)


class Frame:
    """Frames the choices of one stream; usage: whether it ends with its usage.

    Written as text, since a chunk is written for every token.
    """

    def __init__(self, identity: Identity, kind: str, *, usage: bool) -> None:
        self._head = (
            f'data: {{"id":"{identity.id}","object":"{kind}","created":{identity.created},'
            f'"model":{json.dumps(identity.model)},"system_fingerprint":"{FINGERPRINT}","choices":['
        )
        self._tail = '],"usage":null}\n\n' if usage else "]}\n\n"
        self._usage = usage

    def choice(self, index: int, new: str, logprobs: str = "null", finish: str = "null") -> bytes:
        """One chunk; new is a JSON member with what is new, logprobs and finish are JSON values."""
        choice = f'{{"index":{index},{new},"logprobs":{logprobs},"finish_reason":{finish}}}'
        return f"{self._head}{choice}{self._tail}".encode()

    def end(self, usage: Usage) -> bytes:
        """The last lines."""
        chunks = f'{self._head}],"usage":{usage.ascii_json()}}}\n\n'.encode() if self._usage else b""
        return chunks + _DONE


def progress(prefill: inference_pb2.PrefillProgress) -> bytes:
    """A comment that keeps the connection alive while the prompt is processed; clients ignore it."""
    return f": prompt {prefill.processed_tokens} of {prefill.prompt_tokens} tokens\n\n".encode()


class DeltaCall(ToolCall):
    """A whole call, with its index among the answer's calls."""

    index: int


class Delta(AnswerShape):
    """What is new; empty in the last chunk of an answer."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[DeltaCall] | None = None


class ChunkChoice(AnswerShape):
    """What is new in one of n answers."""

    index: int
    delta: Delta
    logprobs: Logprobs | None
    finish_reason: Finish | None


class ChatCompletionChunk(AnswerShape):
    """A piece of a stream; the last one has no choices but the usage, if requested."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChunkChoice]
    usage: Usage | None = None


class ChatStream:
    """Writes a stream's chunks, from the events of n answers."""

    def __init__(self, identity: Identity, answers: int, *, usage: bool, one_call: bool = False) -> None:
        self._frame = Frame(identity, "chat.completion.chunk", usage=usage)
        self._answers = [Answer(one_call) for _ in range(answers)]

    def begin(self) -> bytes:
        """The first chunk of every answer."""
        return b"".join(
            self._frame.choice(index, '"delta":{"role":"assistant","content":""}')
            for index in range(len(self._answers))
        )

    def add(self, index: int, event: inference_pb2.ChatResponse) -> bytes:
        """The chunks of an event."""
        if event.HasField("chunk"):
            return self._chunk(index, event.chunk)
        if event.HasField("prefill"):
            return progress(event.prefill)
        answer = self._answers[index]
        calls = len(answer.calls)
        answer.add(event)
        if event.HasField("finished"):
            return self._frame.choice(index, '"delta":{}', finish=f'"{finish_reason(answer)}"')
        return b"".join(
            self._delta(index, f'"tool_calls":[{DeltaCall(index=place, **tool_call_fields(call)).ascii_json()}]')
            for place, call in enumerate(answer.calls[calls:], calls)
        )

    def end(self) -> bytes:
        """The last lines."""
        return self._frame.end(usage_of(self._answers))

    def _chunk(self, index: int, chunk: inference_pb2.TokenChunk) -> bytes:
        chunks, logprobs = b"", "null"
        if chunk.thinking:
            self._answers[index].thinking_tokens += len(chunk.token_ids)
            thinking = json.dumps(chunk.thinking)
            chunks = self._delta(index, f'"reasoning":{thinking},"reasoning_content":{thinking}')
        if chunk.text:
            if chunk.logprobs:
                logprobs = logprobs_of(chunk.logprobs).ascii_json()
            chunks += self._delta(index, f'"content":{json.dumps(chunk.text)}', logprobs)
        return chunks

    def _delta(self, index: int, members: str, logprobs: str = "null") -> bytes:
        return self._frame.choice(index, f'"delta":{{{members}}}', logprobs)
