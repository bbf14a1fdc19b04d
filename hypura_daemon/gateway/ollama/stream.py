"""Ollama's answers as they come, line by line, or gathered into one object; generate's and chat's differ in one field.

A chunk's line is written by hand: it is made for every token, and only its text differs.
"""

import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from hypura.v1 import inference_pb2
from hypura_daemon.gateway.answer import Answer
from hypura_daemon.gateway.ollama.answers import logprob, nanoseconds, now, tool_call

NDJSON = "application/x-ndjson"

Event = inference_pb2.ChatResponse | inference_pb2.GenerateResponse


@dataclass(slots=True)
class AnswerWriter:
    """Writes one answer. chat: as a message; keeps_context: whether the end has `context`."""

    model: str
    chat: bool
    keeps_context: bool = False
    began_seconds: float = field(default_factory=time.monotonic)
    _answer: Answer = field(default_factory=Answer)
    _tokens: list[int] = field(default_factory=list)
    _logprobs: list[dict[str, Any]] = field(default_factory=list)
    _head: str = ""

    def __post_init__(self) -> None:
        self._head = f'{{"model":{json.dumps(self.model)},"created_at":"'

    def add(self, event: Event) -> bytes:
        """The line of an event; empty for one without text."""
        self._answer.add(event)
        if isinstance(event, inference_pb2.ChatResponse) and event.HasField("tool_call"):
            call = tool_call(event.tool_call, len(self._answer.calls) - 1)
            message = {"role": "assistant", "content": "", "tool_calls": [call]}
            return self._line({"message": message} if self.chat else {"response": "", "tool_calls": [call]})
        if not event.HasField("chunk"):
            return b""
        chunk = event.chunk
        if self.keeps_context:
            self._tokens.extend(chunk.token_ids)
        self._logprobs += [logprob(entry) for entry in chunk.logprobs]
        if not chunk.text and not chunk.thinking:
            return b""
        tail = f',"logprobs":{json.dumps(self._logprobs)}' if self._logprobs else ""
        self._logprobs = []
        thinking = f',"thinking":{json.dumps(chunk.thinking)}' if chunk.thinking else ""
        if self.chat:
            body = f'"message":{{"role":"assistant","content":{json.dumps(chunk.text)}{thinking}}}'
        else:
            body = f'"response":{json.dumps(chunk.text)}{thinking}'
        return f'{self._head}{now()}",{body},"done":false{tail}}}\n'.encode()

    def last(self) -> bytes:
        """The line that ends a stream."""
        empty = {"message": {"role": "assistant", "content": ""}} if self.chat else {"response": ""}
        waiting = {"logprobs": self._logprobs} if self._logprobs else {}
        return self._line(empty | self._end() | waiting)

    def whole(self) -> dict[str, Any]:
        """The answer in one object."""
        answer = self._answer
        calls = [tool_call(call, index) for index, call in enumerate(answer.calls)]
        beside: dict[str, Any] = {"thinking": answer.thinking} if answer.thinking else {}
        if calls:
            beside["tool_calls"] = calls
        if self.chat:
            text: dict[str, Any] = {"message": {"role": "assistant", "content": answer.text} | beside}
        else:
            text = {"response": answer.text} | beside
        logprobs = {"logprobs": self._logprobs} if self._logprobs else {}
        return {"model": self.model, "created_at": now()} | text | self._end() | logprobs

    def collect(self, event: Event) -> None:
        """Add an event of an answer that is written whole."""
        self._answer.add(event)
        if event.HasField("chunk"):
            if self.keeps_context:
                self._tokens.extend(event.chunk.token_ids)
            self._logprobs += [logprob(entry) for entry in event.chunk.logprobs]

    def _line(self, fields: dict[str, Any]) -> bytes:
        whole = {"model": self.model, "created_at": now(), "done": False} | fields
        return json.dumps(whole).encode() + b"\n"

    def _end(self) -> dict[str, Any]:
        finished = self._answer.finished
        cost = finished.statistics
        end: dict[str, Any] = {
            "done": True,
            "done_reason": "length" if self._answer.cut_short else "stop",
            "total_duration": nanoseconds(time.monotonic() - self.began_seconds),
            "load_duration": nanoseconds(finished.load_seconds),
            "prompt_eval_count": cost.prompt_tokens,
            "prompt_eval_duration": nanoseconds(cost.prefill_seconds),
            "eval_count": cost.output_tokens,
            "eval_duration": nanoseconds(cost.decode_seconds),
        }
        if self.keeps_context:
            end["context"] = [*finished.prompt_ids, *self._tokens]
        return end


async def lines(writer: AnswerWriter, events: AsyncGenerator[Event, None]) -> AsyncGenerator[bytes, None]:
    """The lines of a stream."""
    async with aclosing(events):
        async for event in events:
            if line := writer.add(event):
                yield line
    yield writer.last()


async def collected(writer: AnswerWriter, events: AsyncGenerator[Event, None]) -> dict[str, Any]:
    """The whole answer, in one object."""
    async with aclosing(events):
        async for event in events:
            writer.collect(event)
    return writer.whole()
