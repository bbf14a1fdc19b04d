"""Requests for responses, and the core's requests that they become."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import structlog
from pydantic import Field

from hypura.v1 import inference_pb2
from hypura_daemon.chat.request import ChatMessage, ChatRequest
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.openai.requests import (
    MAX_TOP_LOGPROBS,
    Content,
    Format,
    Reasoning,
    schema_json,
    text_of,
    thinking,
)
from hypura_daemon.gateway.openai.tools import OfferedTools
from hypura_daemon.gateway.requests import (
    NO_LOGPROBS,
    Probability,
    Temperature,
    TokenLimit,
    called,
    known_role,
    token_limit,
)
from hypura_daemon.gateway.shapes import RequestShape

LOGPROBS_WANTED = "message.output_text.logprobs"

_log = structlog.get_logger()


class Item(RequestShape):
    """A message, a call, the result of a call, or reasoning; clients send back the output of earlier responses.

    input: of a call of a custom tool; action: of a call of the local shell.
    """

    type: str | None = None
    role: str | None = None
    content: Content = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    input: str | None = None
    action: dict[str, Any] | None = None
    output: Content = None
    summary: Content = None

    def call(self) -> dict[str, Any] | None:
        """The call as ChatMessage.tool_calls has it; None for an item that is not a call, or one that OpenAI runs."""
        kind = self.type or ""
        if not kind.endswith("_call") or not self.call_id:
            return None
        name = self.name or kind.removesuffix("_call")
        if self.input is not None:
            return called(self.call_id, name, {"input": self.input})
        return called(self.call_id, name, self.arguments or self.action or "{}")


class TextConfig(RequestShape):
    """The form of the answer."""

    format: Format | None = None


class ResponseRequest(OfferedTools):
    """See OpenAI's reference of responses; docs/api-openai-anthropic.md lists what hypura supports."""

    model: str
    input: str | list[Item] | None = None
    instructions: str | None = None
    max_output_tokens: TokenLimit | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    text: TextConfig | None = None
    reasoning: Reasoning | None = None
    include: list[str] | None = None
    truncation: str | None = None
    stream: bool | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    metadata: dict[str, Any] | None = None
    user: str | None = None
    background: bool | None = None
    conversation: Any = None
    prompt: Any = None


def response_request(body: ResponseRequest, conversation: Sequence[ChatMessage]) -> ChatRequest:
    """The core's request; conversation: without the instructions. Raises InvalidRequest."""
    for name in ("background", "conversation", "prompt"):
        if getattr(body, name):
            raise InvalidRequest(f"{name} is not supported; send the whole input, or previous_response_id")
    think, level = thinking(body.reasoning.effort if body.reasoning else None)
    tools, tool_choice = body.offer()
    logprobs = body.top_logprobs if LOGPROBS_WANTED not in (body.include or ()) else body.top_logprobs or 0
    return ChatRequest(
        model=body.model,
        messages=_instructed(body.instructions, conversation),
        tools=tools,
        tool_choice=tool_choice,
        think=think,
        think_level=level,
        sampling=inference_pb2.Sampling(
            temperature=1.0 if body.temperature is None else body.temperature,
            top_p=1.0 if body.top_p is None else body.top_p,
        ),
        limits=inference_pb2.Limits(
            max_tokens=token_limit(body.max_output_tokens),
            json_schema=schema_json(body.text.format if body.text else None, "text.format"),
            top_logprobs=NO_LOGPROBS if logprobs is None else logprobs,
            truncate=body.truncation == "auto",
        ),
    )


def input_messages(given: str | list[Item] | None) -> list[ChatMessage]:
    """The input's messages, without the instructions. Raises InvalidRequest."""
    if not given:
        raise InvalidRequest("input is empty; give text, or at least one item")
    if isinstance(given, str):
        return [ChatMessage(role="user", content=given)]
    gathered = _Messages()
    for number, item in enumerate(given):
        gathered.add(item, f"input[{number}]")
    return gathered.end()


@dataclass(slots=True)
class _Messages:
    """Items to messages: reasoning, text and calls of one turn become one message of the assistant."""

    done: list[ChatMessage] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    thinking: str = ""
    content: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)

    def add(self, item: Item, where: str) -> None:
        match item.type or "message":
            case "message" if item.role == "assistant":
                if self.content or self.calls:
                    self.end()
                self.content = text_of(item.content, where)
            case "message" | "agent_message":
                self.end()
                role = known_role(item.role or "user")
                self.done.append(ChatMessage(role=role, content=text_of(item.content, where)))
            case "reasoning":
                if self.content or self.calls:
                    self.end()
                self.thinking += text_of(item.content or item.summary, where)
            case "function_call" if not item.name or not item.call_id:
                raise InvalidRequest(f"{where} is a function_call without name or call_id; give both")
            case _ if call := item.call():
                self.names[call["id"]] = call["function"]["name"]
                self.calls.append(call)
            case kind if kind.endswith("_output") and item.call_id:
                self.end()
                call_id = item.call_id or ""
                self.done.append(
                    ChatMessage(
                        role="tool",
                        content=text_of(item.output, where),
                        tool_call_id=call_id,
                        tool_name=self.names.get(call_id, item.name or ""),
                    )
                )
            case other:  # What OpenAI runs, or keeps for itself: a web search, a compaction.
                _log.warning("an item of the input is left out", where=where, type=other[:40])

    def end(self) -> list[ChatMessage]:
        if self.thinking or self.content or self.calls:
            self.done.append(
                ChatMessage(
                    role="assistant",
                    content=self.content,
                    thinking=self.thinking,
                    tool_calls=self.calls,
                )
            )
        self.thinking, self.content, self.calls = "", "", []
        return self.done


def _instructed(instructions: str | None, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The messages, with the instructions and the first system messages as one: many templates take only one."""
    leading = next((i for i, message in enumerate(messages) if message.role != "system"), len(messages))
    texts = [text for text in (instructions, *(message.content for message in messages[:leading])) if text]
    system = [ChatMessage(role="system", content="\n\n".join(texts))] if texts else []
    return [*system, *messages[leading:]]
