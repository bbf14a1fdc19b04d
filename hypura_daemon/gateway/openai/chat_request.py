"""POST /v1/chat/completions, what comes in: OpenAI's JSON to a hypura.v1 ChatRequest."""

import json
from typing import Annotated, Any

import structlog
from pydantic import Field

from hypura.v1 import inference_pb2
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.openai.content import Content, text_of
from hypura_daemon.gateway.openai.formats import Format, Reasoning, schema_json, thinking
from hypura_daemon.gateway.openai.sampling import MAX_TOP_LOGPROBS, SamplingFields, TokenLimit, token_limit
from hypura_daemon.gateway.openai.tools import OfferedTools
from hypura_daemon.gateway.shapes import Asked

NO_LOGPROBS = -1
_ROLES = ("system", "user", "assistant", "tool")
_ALIASES = {"developer": "system", "function": "tool"}
"""Few templates know a developer, and none a function."""

_log = structlog.get_logger()


class CalledFunction(Asked):
    """A function that the assistant called; its arguments are JSON text, or the object itself."""

    name: str
    arguments: str | dict[str, Any] | None = None


class CustomCall(Asked):
    """A call of a tool that takes text."""

    name: str
    input: str = ""


class Call(Asked):
    """A call that the assistant made."""

    id: str | None = None
    function: CalledFunction | None = None
    custom: CustomCall | None = None

    def called(self) -> dict[str, Any] | None:
        """In the form of ChatMessage.tool_calls_json; None for a call of another kind."""
        if self.function is not None:
            return called(self.id or "", self.function.name, self.function.arguments or "{}")
        if self.custom is not None:
            return called(self.id or "", self.custom.name, {"input": self.custom.input})
        return None


class Message(Asked):
    """A message of the conversation."""

    role: str
    content: Content = None
    name: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None


class StreamOptions(Asked):
    """What a stream tells beside the answer."""

    include_usage: bool | None = None


class ChatCompletionRequest(SamplingFields, OfferedTools):
    """See OpenAI's reference of chat completions; docs/api-openai-anthropic.md says what is taken."""

    model: str
    messages: list[Message]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: TokenLimit | None = None
    max_completion_tokens: TokenLimit | None = None
    response_format: Format | None = None
    reasoning_effort: str | None = None
    reasoning: Reasoning | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    modalities: list[str] | None = None
    functions: list[Any] | None = None

    @property
    def usage_wanted(self) -> bool:
        """Whether a stream ends with what it cost."""
        return bool(self.stream_options and self.stream_options.include_usage)


def chat_requests(asked: ChatCompletionRequest) -> list[inference_pb2.ChatRequest]:
    """One request for each of the n answers. Raises InvalidRequest."""
    if asked.functions:
        raise InvalidRequest("functions is the old form of tools and not supported; give tools")
    if any(kind != "text" for kind in asked.modalities or ()):
        raise InvalidRequest(f"modalities is {asked.modalities}; hypura answers in text alone")
    if asked.top_logprobs and not asked.logprobs:
        raise InvalidRequest("top_logprobs needs logprobs to be true")
    effort = asked.reasoning_effort or (asked.reasoning.effort if asked.reasoning else None)
    think, level = thinking(effort, asked.reasoning.enabled if asked.reasoning else None)
    tools_json, tool_choice = asked.offer()
    request = inference_pb2.ChatRequest(
        model=asked.model,
        messages=chat_messages(asked.messages),
        tools_json=tools_json,
        tool_choice=tool_choice,
        think=think,
        think_level=level,
        use=asked.use(),
        limits=inference_pb2.Limits(
            max_tokens=token_limit(asked.max_completion_tokens, asked.max_tokens),
            stop=asked.stops(),
            json_schema=schema_json(asked.response_format, "response_format"),
            top_logprobs=(asked.top_logprobs or 0) if asked.logprobs else NO_LOGPROBS,
        ),
    )
    return [_with_sampling(request, asked.sampling(answer)) for answer in range(asked.n or 1)]


def chat_messages(messages: list[Message]) -> list[inference_pb2.ChatMessage]:
    """The conversation; results of tools get the name of the tool that was called. Raises InvalidRequest."""
    if not messages:
        raise InvalidRequest("messages is empty; give at least one message")
    names: dict[str, str] = {}
    result = []
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        calls = [made for call in message.tool_calls or () if (made := call.called()) is not None]
        names.update({call["id"]: call["function"]["name"] for call in calls if call["id"]})
        role = known_role(message.role)
        call_id = message.tool_call_id or ""
        result.append(
            inference_pb2.ChatMessage(
                role=role,
                content=text_of(message.content, where),
                thinking=(message.reasoning or message.reasoning_content or "") if role == "assistant" else "",
                tool_calls_json=json.dumps(calls) if calls else "",
                tool_name=(names.get(call_id) or message.name or "") if role == "tool" else "",
                tool_call_id=call_id,
            )
        )
    return result


def known_role(role: str) -> str:
    """The role as templates know it; what they know not speaks as the user: only some of them take a second system."""
    known = _ALIASES.get(role.lower(), role.lower())
    if known in _ROLES:
        return known
    _log.warning("a role that is not known is taken for the user's")  # It may hold what is content.
    return "user"


def called(call_id: str, name: str, arguments: str | dict[str, Any]) -> dict[str, Any]:
    """A call in the form of ChatMessage.tool_calls_json."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _with_sampling(request: inference_pb2.ChatRequest, sampling: inference_pb2.Sampling) -> inference_pb2.ChatRequest:
    copy = inference_pb2.ChatRequest(sampling=sampling)
    copy.MergeFrom(request)
    return copy
