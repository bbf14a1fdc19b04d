"""Whole answers: a message of blocks."""

import base64
import hashlib
import json
from typing import Any, Literal

from hypura_daemon.gateway.answer import Answer
from hypura_daemon.gateway.shapes import AnswerShape

StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use"]


class ThinkingBlock(AnswerShape):
    """The model's thinking; the signature only lets clients send the block back."""

    type: Literal["thinking"] = "thinking"
    thinking: str
    signature: str


class TextBlock(AnswerShape):
    """The text of the answer; without citations, which the AI SDK wants left out where there are none."""

    type: Literal["text"] = "text"
    text: str


class ToolUseBlock(AnswerShape):
    """A tool call that the model makes."""

    type: Literal["tool_use"] = "tool_use"
    id: str
    name: str
    input: dict[str, Any]


class Usage(AnswerShape):
    """input_tokens: all of the prompt, including those whose KV cache was kept from an earlier request."""

    input_tokens: int
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    output_tokens: int


class Message(AnswerShape):
    """An answer."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: str
    content: list[ThinkingBlock | TextBlock | ToolUseBlock]
    stop_reason: StopReason | None
    stop_sequence: str | None
    usage: Usage


class TokenCount(AnswerShape):
    """How many tokens a prompt has."""

    input_tokens: int


def message(message_id: str, model: str, answer: Answer) -> Message:
    """The whole body."""
    content: list[ThinkingBlock | TextBlock | ToolUseBlock] = []
    if answer.thinking:
        content.append(ThinkingBlock(thinking=answer.thinking, signature=signature(answer.thinking)))
    if answer.text:
        content.append(TextBlock(text=answer.text))
    for call in answer.calls:
        content.append(ToolUseBlock(id=call.id, name=call.name, input=json.loads(call.arguments_json or "{}")))
    return Message(
        id=message_id,
        model=model,
        content=content,
        stop_reason=stop_reason(answer),
        stop_sequence=answer.finished.stop_string or None,
        usage=Usage(input_tokens=answer.prompt_tokens, output_tokens=answer.output_tokens),
    )


def stop_reason(answer: Answer) -> StopReason:
    """Why the answer ended."""
    if answer.cut_short:
        return "max_tokens"
    if answer.calls:
        return "tool_use"
    return "stop_sequence" if answer.finished.stop_string else "end_turn"


def signature(thinking: str) -> str:
    """A signature of the thinking: clients drop thinking without one. It is not checked when it comes back."""
    return base64.b64encode(hashlib.sha256(thinking.encode()).digest()).decode()
