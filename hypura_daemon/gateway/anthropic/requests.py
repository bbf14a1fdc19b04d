"""Requests for messages, and the core's requests that they become."""

import json
from dataclasses import replace
from typing import Annotated, Any, Literal

import structlog
from pydantic import ConfigDict, Field

from hypura.v1 import inference_pb2
from hypura_daemon.chat.request import ChatRequest
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.anthropic.conversation import Content, Message, chat_messages
from hypura_daemon.gateway.requests import NO_LOGPROBS, Probability, Temperature, TokenLimit, stop_strings, token_limit
from hypura_daemon.gateway.shapes import RequestShape

_CHOICES = ("auto", "any", "tool", "none")
_LEVELS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "max", "max": "max"}

_log = structlog.get_logger()


class Tool(RequestShape):
    """A tool of the client; those that Anthropic runs itself have another type."""

    type: str | None = None
    name: str
    description: str | None = None
    input_schema: dict[str, Any] | None = None

    @property
    def offered(self) -> bool:
        """Whether it is offered to the model."""
        return self.type in (None, "custom")


class ToolChoice(RequestShape):
    """Whether a tool must be called, and which."""

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(RequestShape):
    """Whether to think: enabled, disabled, or any other word for the model's default; the budget is not enforced."""

    type: str
    budget_tokens: Annotated[int, Field(ge=0)] | None = None


class OutputFormat(RequestShape):
    """A JSON schema that the answer must fit."""

    model_config = ConfigDict(populate_by_name=True)

    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(RequestShape):
    """The format of the answer, and how hard to think about it."""

    effort: str | None = None
    format: OutputFormat | None = None


class CountRequest(RequestShape):
    """The fields that decide the prompt; docs/api-openai-anthropic.md lists what hypura supports."""

    model: str
    messages: list[Message]
    system: Content | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None


class MessagesRequest(CountRequest):
    """See Anthropic's reference of messages; docs/api-openai-anthropic.md lists what hypura supports."""

    max_tokens: TokenLimit
    temperature: Temperature | None = None
    top_k: Annotated[int, Field(ge=0, le=1 << 20)] | None = None
    top_p: Probability | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None

    @property
    def one_call(self) -> bool:
        """Whether the answer has one tool call at most."""
        return bool(self.tool_choice and self.tool_choice.disable_parallel_tool_use)


def prompt_request(body: CountRequest) -> ChatRequest:
    """The core's request as far as the prompt needs it. Raises InvalidRequest."""
    offered = [tool for tool in body.tools or () if tool.offered]
    if left_out := sorted({str(tool.type)[:40] for tool in body.tools or () if not tool.offered}):
        _log.warning("tools that Anthropic runs or knows itself are not offered to the model", types=left_out)
    think, if_able, level = _thinking(body)
    return ChatRequest(
        model=body.model,
        messages=chat_messages(body.system, body.messages),
        tools=[_tool(tool) for tool in offered],
        tool_choice=_choice(body.tool_choice, [tool.name for tool in offered], left_out=bool(left_out)),
        think=think,
        think_if_able=if_able,
        think_level=level,
    )


def chat_request(body: MessagesRequest) -> ChatRequest:
    """The core's whole request. Raises InvalidRequest."""
    form = body.output_config.format if body.output_config else None
    return replace(
        prompt_request(body),
        sampling=inference_pb2.Sampling(
            temperature=1.0 if body.temperature is None else body.temperature,
            top_p=1.0 if body.top_p is None else body.top_p,
            top_k=body.top_k,
        ),
        limits=inference_pb2.Limits(
            max_tokens=token_limit(body.max_tokens),
            stop=stop_strings(body.stop_sequences, "stop_sequences"),
            json_schema=json.dumps(form.schema_) if form else "",
            top_logprobs=NO_LOGPROBS,
        ),
    )


def _tool(tool: Tool) -> dict[str, Any]:
    if tool.input_schema is None:
        raise InvalidRequest(f"tools: {tool.name!r} has no input_schema; give one")
    described = {"description": tool.description} if tool.description is not None else {}
    return {"type": "function", "function": {"name": tool.name, **described, "parameters": tool.input_schema}}


def _choice(choice: ToolChoice | None, names: list[str], *, left_out: bool) -> str:
    if choice and (choice.type not in _CHOICES or (left_out and choice.type in ("any", "tool"))):
        name = choice.name if choice.type == "tool" else None
        if choice.type not in _CHOICES or (name not in names if name else not names):
            _log.warning("a tool_choice that cannot be followed is taken for auto", type=choice.type[:40])
            return "auto"
    match choice.type if choice else "auto":
        case "auto" | "none" as word:
            return word if choice else ""
        case "any":
            if not names:
                raise InvalidRequest("tool_choice is any but tools is empty; offer at least one tool")
            return "required"
        case "tool":
            name = choice.name if choice else None
            if name not in names:
                raise InvalidRequest(f"tool_choice: the tool {name!r} is not among the tools; offer it in tools")
            return str(name)
    return ""


def _thinking(body: CountRequest) -> tuple[bool | None, bool, str]:
    """think, think_if_able and think_level; as with Anthropic's own models, requests without `thinking` get none.

    Coding agents always request it, so a model that cannot think answers without.
    """
    effort = body.output_config.effort if body.output_config else None
    if effort is not None and effort not in _LEVELS:
        raise InvalidRequest(f"output_config: the effort is {effort[:40]!r}; give one of {', '.join(_LEVELS)}")
    kind = body.thinking.type if body.thinking else "disabled"
    if kind == "disabled":
        return False, False, ""
    return None, kind == "enabled" or effort is not None, _LEVELS[effort] if effort else ""
