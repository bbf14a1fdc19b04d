"""Requests for chat completions, the core's requests that they become, and the fields that other requests share."""

import json
from dataclasses import replace
from typing import Annotated, Any

import structlog
from pydantic import ConfigDict, Field

from hypura.v1 import inference_pb2
from hypura_daemon.chat.request import ChatMessage, ChatRequest
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.openai.tools import OfferedTools
from hypura_daemon.gateway.requests import (
    MAX_TOKENS,
    NO_LOGPROBS,
    Penalty,
    Probability,
    Temperature,
    TokenLimit,
    called,
    known_role,
    stop_strings,
    token_limit,
)
from hypura_daemon.gateway.shapes import RequestShape

_MEDIA = ("image", "audio", "video", "file")
"""Without these parts the answer would be wrong, so they are refused and not left out."""
ANY_OBJECT = "{}"
_LEVELS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "max", "max": "max"}
MAX_TOP_LOGPROBS = 20
MAX_ANSWERS = 128
_SEEDS = 1 << 32

_log = structlog.get_logger()


class Part(RequestShape):
    """A part of a message; only text is supported."""

    type: str = "text"
    text: str | None = None
    refusal: str | None = None


Content = str | list[str | Part] | Part | None


def text_of(content: Content, where: str) -> str:
    """The text, parts on lines of their own; parts without text are left out. Raises InvalidRequest for images, sound
    and files.
    """
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, list) else [content]
    texts = (part if isinstance(part, str) else _text_of(part, where) for part in parts)
    return "\n".join(text for text in texts if text is not None)


def _text_of(part: Part, where: str) -> str | None:
    if any(kind in part.type for kind in _MEDIA):
        what = "an image" if "image" in part.type else f"a part of type {part.type[:40]!r}"
        raise InvalidRequest(f"{where} has {what}; hypura takes text only, images are not supported")
    text = part.refusal if part.text is None else part.text
    if text is None:
        _log.warning("a part of a message has no text and is left out", where=where, type=part.type[:40])
    return text


class Schema(RequestShape):
    """A named JSON schema."""

    model_config = ConfigDict(populate_by_name=True)

    name: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")


class Format(Schema):
    """text, json_object or json_schema; responses have the schema's fields beside the type."""

    type: str = "text"
    json_schema: Schema | None = None


class Reasoning(RequestShape):
    """How to think, in the form of the responses API."""

    effort: str | None = None
    enabled: bool | None = None
    summary: str | None = None


def schema_json(form: Format | None, field: str) -> str:
    """The JSON schema that the answer must fit, as text; empty for none. Raises InvalidRequest."""
    match form.type if form else "text":
        case "text":
            return ""
        case "json_object" | "json_schema" if form is not None:
            # OpenAI's schema is optional, and llama-server and others take one with json_object too.
            schema = form.json_schema.schema_ if form.json_schema else form.schema_
            return ANY_OBJECT if schema is None else json.dumps(schema)
    raise InvalidRequest(f"{field} has an unknown type; give text, json_object or json_schema")


def thinking(effort: str | None, enabled: bool | None = None) -> tuple[bool | None, str]:
    """think and think_level of a ChatRequest; the model's default without either. Raises InvalidRequest."""
    if effort == "none" or enabled is False:
        return False, ""
    if effort is None:
        return enabled, ""
    if effort not in _LEVELS:
        raise InvalidRequest(f"the reasoning effort is {effort[:40]!r}; give none, {', '.join(_LEVELS)}")
    return True, _LEVELS[effort]


TokenId = Annotated[int, Field(ge=0, lt=1 << 32)]
Stops = str | list[str]


class ContextOptions(RequestShape):
    """The one of Ollama's options that is supported here."""

    num_ctx: int | None = None


class SamplingFields(RequestShape):
    """The fields that chat and plain completions share; top_k, min_p, repeat_penalty, num_ctx and options are not
    OpenAI's own.
    """

    temperature: Temperature | None = None
    top_p: Probability | None = None
    top_k: Annotated[int, Field(ge=0, le=1 << 20)] | None = None
    min_p: Probability | None = None
    repeat_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)] | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    stop: Stops | None = None
    n: Annotated[int, Field(ge=1, le=MAX_ANSWERS)] | None = None
    num_ctx: int | None = None
    options: ContextOptions | None = None

    def use(self) -> inference_pb2.ModelUse:
        """The context that the request names, as in Ollama's own routes."""
        named = self.options.num_ctx if self.options and self.options.num_ctx else self.num_ctx
        return inference_pb2.ModelUse(context_tokens=min(max(0, named or 0), MAX_TOKENS))

    def sampling(self, answer: int = 0) -> inference_pb2.Sampling:
        """The sampling of the answer at this index; each answer has a seed of its own. Raises InvalidRequest."""
        return inference_pb2.Sampling(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            repeat_penalty=self.repeat_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            seed=None if self.seed is None else (self.seed + answer) % _SEEDS,
            logit_bias=_biases(self.logit_bias or {}),
        )

    def stops(self) -> list[str]:
        """The strings that end an answer. Raises InvalidRequest."""
        return stop_strings(self.stop, "stop")


def _biases(given: dict[str, float]) -> dict[int, float]:
    biases = {}
    for key, bias in given.items():
        if not (key.isascii() and key.isdigit() and len(key) <= 10 and int(key) < 1 << 32):
            raise InvalidRequest(f"logit_bias has the key {key[:40]!r}, which is not a token id; give the model's ids")
        biases[int(key)] = bias
    return biases


class CalledFunction(RequestShape):
    """A function that the assistant called; its arguments are JSON text, or the object itself."""

    name: str
    arguments: str | dict[str, Any] | None = None


class CustomCall(RequestShape):
    """A call of a tool that takes text."""

    name: str
    input: str = ""


class Call(RequestShape):
    """A call that the assistant made."""

    id: str | None = None
    function: CalledFunction | None = None
    custom: CustomCall | None = None

    def called(self) -> dict[str, Any] | None:
        """The call as ChatMessage.tool_calls has it; None for a call of another kind."""
        if self.function is not None:
            return called(self.id or "", self.function.name, self.function.arguments or "{}")
        if self.custom is not None:
            return called(self.id or "", self.custom.name, {"input": self.custom.input})
        return None


class Message(RequestShape):
    """A message of the conversation."""

    role: str
    content: Content = None
    name: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None


class StreamOptions(RequestShape):
    """What a stream has beside the answer."""

    include_usage: bool | None = None


class ChatCompletionRequest(SamplingFields, OfferedTools):
    """See OpenAI's reference of chat completions; docs/api-openai-anthropic.md lists what hypura supports."""

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
        """Whether a stream ends with its usage."""
        return bool(self.stream_options and self.stream_options.include_usage)


def chat_requests(body: ChatCompletionRequest) -> list[ChatRequest]:
    """The core's requests, one for each of the n answers. Raises InvalidRequest."""
    if body.functions:
        raise InvalidRequest("functions is the old form of tools and not supported; give tools")
    if any(kind != "text" for kind in body.modalities or ()):
        raise InvalidRequest(f"modalities is {body.modalities}; hypura answers in text only")
    if body.top_logprobs and not body.logprobs:
        raise InvalidRequest("top_logprobs needs logprobs to be true")
    effort = body.reasoning_effort or (body.reasoning.effort if body.reasoning else None)
    think, level = thinking(effort, body.reasoning.enabled if body.reasoning else None)
    tools, tool_choice = body.offer()
    request = ChatRequest(
        model=body.model,
        messages=chat_messages(body.messages),
        tools=tools,
        tool_choice=tool_choice,
        think=think,
        think_level=level,
        use=body.use(),
        limits=inference_pb2.Limits(
            max_tokens=token_limit(body.max_completion_tokens, body.max_tokens),
            stop=body.stops(),
            json_schema=schema_json(body.response_format, "response_format"),
            top_logprobs=(body.top_logprobs or 0) if body.logprobs else NO_LOGPROBS,
        ),
    )
    return [replace(request, sampling=body.sampling(answer)) for answer in range(body.n or 1)]


def chat_messages(messages: list[Message]) -> list[ChatMessage]:
    """The conversation, with the name of the called tool in each tool result. Raises InvalidRequest."""
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
            ChatMessage(
                role=role,
                content=text_of(message.content, where),
                thinking=(message.reasoning or message.reasoning_content or "") if role == "assistant" else "",
                tool_calls=calls,
                tool_name=(names.get(call_id) or message.name or "") if role == "tool" else "",
                tool_call_id=call_id,
            )
        )
    return result
