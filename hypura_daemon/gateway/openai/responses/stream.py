"""Streamed responses, event by event; a whole response is the one that the events end with.

created, in_progress, then for each item
    output_item.added
        message:        content_part.added, output_text.delta…, output_text.done, content_part.done
        reasoning:      the same with reasoning_text, or with reasoning_summary_part and _text
        function_call:  function_call_arguments.delta, .done
    output_item.done
and completed, incomplete or failed. All events are numbered.
"""

import json
from typing import Any

from pydantic import ConfigDict

from hypura.v1 import inference_pb2
from hypura_daemon.gateway.answer import Answer, new_id
from hypura_daemon.gateway.openai.answers import Identity, logprobs_of
from hypura_daemon.gateway.openai.responses.answers import (
    CallItem,
    Item,
    MessageItem,
    OutputText,
    ReasoningItem,
    ResponseFailure,
    ResponseObject,
    Status,
    ThoughtText,
    response_object,
)
from hypura_daemon.gateway.openai.responses.requests import ResponseRequest
from hypura_daemon.gateway.openai.stream import progress
from hypura_daemon.gateway.shapes import AnswerShape


class ResponseEvent(AnswerShape):
    """An event of the stream; its type says which other fields it has."""

    model_config = ConfigDict(extra="allow")

    type: str
    sequence_number: int


class ResponseStream:
    """Writes the events, and holds the response that they describe."""

    def __init__(self, identity: Identity, body: ResponseRequest) -> None:
        self._identity = identity
        self._body = body
        self._summarized = bool(body.reasoning and body.reasoning.summary)
        self._offered = {function.name: function for function in body.offered()}
        self._number = 0
        self._output: list[Item] = []
        self._open: MessageItem | ReasoningItem | None = None
        self.answer = Answer(one_call=body.parallel_tool_calls is False)
        self.response = response_object(identity, body, [], "in_progress")

    @property
    def begun(self) -> bool:
        """Whether an event was written."""
        return self._number > 0

    def begin(self) -> bytes:
        """The first events."""
        return self._response("created") + self._response("in_progress")

    def add(self, event: inference_pb2.ChatResponse) -> bytes:
        """The events of an event of the core."""
        if event.HasField("prefill"):
            return progress(event.prefill)
        calls = len(self.answer.calls)
        self.answer.add(event)
        if event.HasField("chunk"):
            return self._think(event.chunk.thinking) + self._write(event.chunk)
        return b"".join(self._call(call) for call in self.answer.calls[calls:])

    def end(self) -> bytes:
        """The last events."""
        events = b"" if self._output else self._begin(MessageItem(id=new_id("msg_")))
        status: Status = "incomplete" if self.answer.cut_short else "completed"
        return events + self._close(status) + self._end(status)

    def fail(self, code: str, message: str) -> bytes:
        """The last events of an answer that broke off."""
        return self._close("incomplete") + self._end("failed", ResponseFailure(code=code, message=message))

    def _end(self, status: Status, failure: ResponseFailure | None = None) -> bytes:
        answer = None if failure else self.answer
        self.response = response_object(self._identity, self._body, self._output, status, answer, failure)
        return self._response(status)

    def _think(self, text: str) -> bytes:
        if not text:
            return b""
        events = b"" if isinstance(self._open, ReasoningItem) else self._begin(self._thought())
        part = self._part()
        part.text += text
        return events + self._text(f"{self._family}.delta", delta=text)

    def _write(self, chunk: inference_pb2.TokenChunk) -> bytes:
        if not chunk.text:
            return b""
        events = b"" if isinstance(self._open, MessageItem) else self._begin(MessageItem(id=new_id("msg_")))
        part = self._part()
        part.text += chunk.text
        logprobs = logprobs_of(chunk.logprobs).content
        if isinstance(part, OutputText):
            part.logprobs.extend(logprobs)
        return events + self._text(
            f"{self._family}.delta", delta=chunk.text, logprobs=[token.model_dump() for token in logprobs]
        )

    def _thought(self) -> ReasoningItem:
        return ReasoningItem(id=new_id("rs_"), content=None if self._summarized else [])

    def _call(self, call: inference_pb2.ToolCall) -> bytes:
        events = self._close("completed")
        offered = self._offered.get(call.name)
        name, namespace = (offered.own_name, offered.namespace or None) if offered else (call.name, None)
        item = CallItem(id=new_id("fc_"), call_id=call.id, name=name, namespace=namespace)
        place = {"item_id": item.id, "output_index": len(self._output)}
        events += self._item("added", item)
        item.arguments, item.status = call.arguments_json, "completed"
        events += self._event("function_call_arguments.delta", **place, delta=item.arguments)
        events += self._event("function_call_arguments.done", **place, name=item.name, arguments=item.arguments)
        events += self._item("done", item)
        self._output.append(item)
        return events

    def _begin(self, item: MessageItem | ReasoningItem) -> bytes:
        """Open an item with its one part."""
        events = self._close("completed") + self._item("added", item)
        self._open = item
        self._output.append(item)
        if isinstance(item, MessageItem):
            item.content = [OutputText()]
        elif item.content is None:
            item.summary = [ThoughtText(type="summary_text")]
        else:
            item.content = [ThoughtText(type="reasoning_text")]
        return events + self._text(f"{self._holder}.added", part=self._part().model_dump())

    def _close(self, status: Status) -> bytes:
        """Close the open item, if there is one."""
        item = self._open
        if item is None:
            return b""
        part, logprobs = self._part(), {}
        if isinstance(part, OutputText):
            logprobs = {"logprobs": [token.model_dump() for token in part.logprobs]}
        events = self._text(f"{self._family}.done", text=part.text, **logprobs)
        events += self._text(f"{self._holder}.done", part=part.model_dump())
        item.status = status
        self._open = None
        return events + self._item("done", item, len(self._output) - 1)

    def _part(self) -> OutputText | ThoughtText:
        """The part of the open item."""
        item = self._open
        parts = (item.content or item.summary) if isinstance(item, ReasoningItem) else item.content if item else []
        return parts[0]

    @property
    def _family(self) -> str:
        """What the text events of the open item are called."""
        if isinstance(self._open, MessageItem):
            return "output_text"
        return "reasoning_summary_text" if self._summarized else "reasoning_text"

    @property
    def _holder(self) -> str:
        """What the part events of the open item are called."""
        return "reasoning_summary_part" if self._family == "reasoning_summary_text" else "content_part"

    def _text(self, kind: str, **fields: Any) -> bytes:
        index = "summary_index" if self._family == "reasoning_summary_text" else "content_index"
        item_id = self._open.id if self._open else ""
        return self._event(kind, item_id=item_id, output_index=len(self._output) - 1, **{index: 0}, **fields)

    def _item(self, kind: str, item: Item, place: int | None = None) -> bytes:
        index = len(self._output) if place is None else place
        return self._event(f"output_item.{kind}", output_index=index, item=item.model_dump())

    def _response(self, kind: str) -> bytes:
        return self._event(kind, response=self.response.model_dump())

    def _event(self, kind: str, **fields: Any) -> bytes:
        name = f"response.{kind}"
        data = json.dumps({"type": name, "sequence_number": self._number, **fields}, separators=(",", ":"))
        self._number += 1
        return f"event: {name}\ndata: {data}\n\n".encode()


def whole(stream: ResponseStream, answer: Answer) -> ResponseObject:
    """The response of an answer that was gathered whole."""
    thought = inference_pb2.TokenChunk(thinking=answer.thinking)
    text = inference_pb2.TokenChunk(text=answer.text, logprobs=answer.logprobs)
    for event in (
        *(inference_pb2.ChatResponse(chunk=chunk) for chunk in (thought, text)),
        *(inference_pb2.ChatResponse(tool_call=call) for call in answer.calls),
        inference_pb2.ChatResponse(finished=answer.finished),
    ):
        stream.add(event)
    stream.answer.thinking_tokens = answer.thinking_tokens
    stream.end()
    return stream.response
