"""A chat request as the daemon's own parts make and read it: tools and calls as objects, not as JSON text.

gateway: a dialect's JSON ───────────────────► ChatRequest ─► chat_job
gRPC:    hypura.v1's ChatRequest ─ from_proto ─┘
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypura.v1 import inference_pb2
from hypura_daemon.errors import InvalidRequest

MAX_JSON_CHARACTERS = 1 << 24
"""The limit for all tools together, and for the calls of one message."""
_TOKEN_BYTES = 3


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a conversation.

    tool_calls: an assistant's, each {"function": {"name", "arguments"}}; tool_name and tool_call_id: for role tool.
    """

    role: str
    content: str = ""
    thinking: str = ""
    tool_calls: Sequence[Mapping[str, Any]] = ()
    tool_name: str = ""
    tool_call_id: str = ""

    @property
    def size_bytes(self) -> int:
        """About its length as text."""
        return _text_bytes(self.content) + _text_bytes(self.thinking) + self.tool_call_characters

    @property
    def tool_call_characters(self) -> int:
        """About how long its tool calls are as JSON text."""
        return json_characters(self.tool_calls) if self.tool_calls else 0


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """The fields of hypura.v1's ChatRequest, which documents them; tools are in OpenAI's format."""

    model: str
    messages: Sequence[ChatMessage]
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str = ""
    think: bool | None = None
    think_level: str = ""
    think_if_able: bool = False
    sampling: inference_pb2.Sampling = field(default_factory=inference_pb2.Sampling)
    limits: inference_pb2.Limits = field(default_factory=inference_pb2.Limits)
    use: inference_pb2.ModelUse = field(default_factory=inference_pb2.ModelUse)
    template: str = ""
    context: Sequence[int] = ()
    report_prompt_ids: bool = False

    @property
    def size_bytes(self) -> int:
        """About the length of its messages, tools and context as text."""
        messages_bytes = sum(message.size_bytes for message in self.messages)
        return messages_bytes + json_characters(self.tools) + _TOKEN_BYTES * len(self.context)


def from_proto(request: inference_pb2.ChatRequest) -> ChatRequest:
    """The request with its JSON texts parsed. Raises InvalidRequest.

    May take long for large texts, so call it outside the event loop.
    """
    return ChatRequest(
        model=request.model,
        messages=[
            ChatMessage(
                role=message.role,
                content=message.content,
                thinking=message.thinking,
                tool_calls=_objects(message.tool_calls_json, f"tool_calls of message {number}"),
                tool_name=message.tool_name,
                tool_call_id=message.tool_call_id,
            )
            for number, message in enumerate(request.messages, start=1)
        ],
        tools=_objects(request.tools_json, "tools"),
        tool_choice=request.tool_choice,
        think=request.think if request.HasField("think") else None,
        think_level=request.think_level,
        think_if_able=request.think_if_able,
        sampling=request.sampling,
        limits=request.limits,
        use=request.use,
        template=request.template,
        context=tuple(request.context.ids),
        report_prompt_ids=request.report_prompt_ids,
    )


def check_sizes(request: ChatRequest) -> None:
    """Check that tools and calls are not larger than allowed. Raises InvalidRequest.

    May take long for many values, so call it outside the event loop.
    """
    _check_size(request.tools, "tools")
    for number, message in enumerate(request.messages, start=1):
        _check_size(message.tool_calls, f"tool_calls of message {number}")


def json_characters(value: Any) -> int:
    """The value's length as JSON text, without writing it: a lower bound."""
    characters, waiting = 0, [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            characters += len(part) + 2
        elif isinstance(part, Mapping):
            characters += 2 * len(part) + 1  # Brackets, colons, commas.
            waiting += part.keys()
            waiting += part.values()
        elif isinstance(part, list | tuple):
            characters += len(part) + 1
            waiting += part
        else:
            characters += 1
    return characters


def _text_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _check_size(objects: Sequence[Mapping[str, Any]], what: str) -> None:
    if objects and (characters := json_characters(objects)) > MAX_JSON_CHARACTERS:
        raise InvalidRequest(f"{what} has {characters} characters; {MAX_JSON_CHARACTERS} are allowed")


def _objects(text: str, what: str) -> list[dict[str, Any]]:
    """A JSON array of objects; empty for an empty text."""
    if not text:
        return []
    if len(text) > MAX_JSON_CHARACTERS:
        raise InvalidRequest(f"{what} has {len(text)} characters; {MAX_JSON_CHARACTERS} are allowed")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{what} is not valid JSON: {error}; give a JSON array of objects") from error
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidRequest(f"{what} is {text[:80]!r}; give a JSON array of objects")
    return value
