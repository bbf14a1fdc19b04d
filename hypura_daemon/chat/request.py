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
"""The limit for all tools together, and for the calls of one message; of their JSON text, whose bytes may be more."""
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
    def text_bytes(self) -> int:
        """The length of its content and thinking, without its tool calls."""
        return _utf8_bytes(self.content) + _utf8_bytes(self.thinking)


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


def checked_size(request: ChatRequest) -> int:
    """About the length of its messages, tools and context as text, in bytes.

    Raises InvalidRequest where tools or calls are larger than allowed. May take long for many values, so call it
    outside the event loop.
    """
    size_bytes = _checked_bytes(request.tools, "tools") + _TOKEN_BYTES * len(request.context)
    for number, message in enumerate(request.messages, start=1):
        size_bytes += message.text_bytes + _checked_bytes(message.tool_calls, f"tool_calls of message {number}")
    return size_bytes


def json_length(value: Any) -> tuple[int, int]:
    """The value's length as JSON text in characters and in bytes, without writing it: lower bounds."""
    characters, further_bytes, waiting = 0, 0, [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            characters += len(part) + 2
            further_bytes += _utf8_bytes(part) - len(part)
        elif isinstance(part, Mapping):
            characters += 2 * len(part) + 1  # Brackets, colons, commas.
            waiting += part.keys()
            waiting += part.values()
        elif isinstance(part, list | tuple):
            characters += len(part) + 1
            waiting += part
        else:
            characters += 1
    return characters, characters + further_bytes


def _utf8_bytes(text: str) -> int:
    # JSON may hold halves of surrogate pairs.
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _checked_bytes(objects: Sequence[Mapping[str, Any]], what: str) -> int:
    """The length of the objects as JSON text, 0 without any. Raises InvalidRequest above the limit."""
    if not objects:
        return 0
    characters, size_bytes = json_length(objects)
    if characters > MAX_JSON_CHARACTERS:
        raise InvalidRequest(f"{what} has {characters} characters; {MAX_JSON_CHARACTERS} are allowed")
    return size_bytes


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
