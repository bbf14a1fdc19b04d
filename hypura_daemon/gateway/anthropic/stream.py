"""Streamed answers, event by event.

message_start, then for each block
    content_block_start
        thinking:  thinking_delta…, signature_delta
        text:      text_delta…
        tool_use:  input_json_delta
    content_block_stop
and message_delta, message_stop; ping while the prompt is processed.
"""

import json
from typing import Any

from pydantic import ConfigDict

from hypura.v1 import inference_pb2
from hypura_daemon.gateway.answer import Answer
from hypura_daemon.gateway.anthropic.answers import Message, Usage, signature, stop_reason
from hypura_daemon.gateway.shapes import AnswerShape


class MessageEvent(AnswerShape):
    """An event of the stream; its type says which other fields it has."""

    model_config = ConfigDict(extra="allow")

    type: str


class MessageStream:
    """Writes the events of one answer."""

    def __init__(self, message_id: str, model: str, *, one_call: bool) -> None:
        self._id = message_id
        self._model = model
        self._answer = Answer(one_call)
        self._blocks = 0
        self._open = ""

    def begin(self, first: inference_pb2.ChatResponse) -> bytes:
        """The message without content; the core's first event may have the length of the prompt."""
        return event(
            "message_start",
            message=Message(
                id=self._id,
                model=self._model,
                content=[],
                stop_reason=None,
                stop_sequence=None,
                usage=Usage(input_tokens=first.prefill.prompt_tokens, output_tokens=0),
            ).model_dump(),
        )

    def add(self, core_event: inference_pb2.ChatResponse) -> bytes:
        """The events of an event of the core."""
        if core_event.HasField("prefill"):
            return event("ping")
        calls = len(self._answer.calls)
        self._answer.add(core_event)
        if core_event.HasField("chunk"):
            return self._write("thinking", core_event.chunk.thinking) + self._write("text", core_event.chunk.text)
        return b"".join(self._call(call) for call in self._answer.calls[calls:])

    def end(self) -> bytes:
        """The last events."""
        answer = self._answer
        return (
            self._close()
            + event(
                "message_delta",
                delta={"stop_reason": stop_reason(answer), "stop_sequence": answer.finished.stop_string or None},
                usage=Usage(input_tokens=answer.prompt_tokens, output_tokens=answer.output_tokens).model_dump(),
            )
            + event("message_stop")
        )

    def _write(self, kind: str, text: str) -> bytes:
        if not text:
            return b""
        events = b""
        if self._open != kind:
            events = self._close() + self._start(
                {"type": kind, kind: "", **({"signature": ""} if kind == "thinking" else {})}
            )
            self._open = kind
        delta = f'{{"type":"{kind}_delta","{kind}":{json.dumps(text)}}}'
        data = f'{{"type":"content_block_delta","index":{self._blocks - 1},"delta":{delta}}}'
        return events + f"event: content_block_delta\ndata: {data}\n\n".encode()

    def _call(self, call: inference_pb2.ToolCall) -> bytes:
        return (
            self._close()
            + self._start({"type": "tool_use", "id": call.id, "name": call.name, "input": {}})
            + self._delta({"type": "input_json_delta", "partial_json": call.arguments_json or "{}"})
            + self._stop()
        )

    def _start(self, block: dict[str, Any]) -> bytes:
        self._blocks += 1
        return event("content_block_start", index=self._blocks - 1, content_block=block)

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return event("content_block_delta", index=self._blocks - 1, delta=delta)

    def _stop(self) -> bytes:
        return event("content_block_stop", index=self._blocks - 1)

    def _close(self) -> bytes:
        """Close the open block, if there is one."""
        if not self._open:
            return b""
        events = b""
        if self._open == "thinking":
            events = self._delta({"type": "signature_delta", "signature": signature(self._answer.thinking)})
        self._open = ""
        return events + self._stop()


def event(kind: str, **fields: Any) -> bytes:
    """One event."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields}, separators=(',', ':'))}\n\n".encode()
