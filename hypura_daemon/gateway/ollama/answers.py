"""Ollama's answers: their shapes, and the parts that lines and whole answers share."""

import json
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from hypura.v1 import inference_pb2

NANOSECONDS = 1_000_000_000


class AnswerEnd(BaseModel):
    """Times are in nanoseconds; only the last line has more than the first three fields."""

    model: str
    created_at: str
    done: bool
    done_reason: str | None = None
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None


# Asked… and Told… are names of components in the published /openapi.json, so they stay.
class ToldFunction(BaseModel):
    """The tool of a call, and its arguments."""

    index: int
    name: str
    arguments: dict[str, Any]


class ToldToolCall(BaseModel):
    """A tool call that the model makes."""

    id: str
    function: ToldFunction


class TokenLogprob(BaseModel):
    """A token, and the logarithm of its probability."""

    token: str
    logprob: float
    bytes: list[int]


class Logprob(TokenLogprob):
    """A chosen token, with its alternatives."""

    top_logprobs: list[TokenLogprob] | None = None


class ToldMessage(BaseModel):
    """The model's message, or a part of it."""

    role: str
    content: str
    thinking: str | None = None
    tool_calls: list[ToldToolCall] | None = None


class ChatAnswer(AnswerEnd):
    """The whole answer, or a line of it."""

    message: ToldMessage
    logprobs: list[Logprob] | None = None


class GenerateAnswer(AnswerEnd):
    """The whole answer, or a line of it."""

    response: str
    thinking: str | None = None
    tool_calls: list[ToldToolCall] | None = None
    context: list[int] | None = None
    logprobs: list[Logprob] | None = None


class EmbedAnswer(BaseModel):
    """A vector of length 1 for each text."""

    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class EmbeddingsAnswer(BaseModel):
    """One vector, as the model gives it."""

    embedding: list[float]


def tool_call(call: inference_pb2.ToolCall, index: int) -> dict[str, Any]:
    """A tool call, its arguments as an object."""
    function = {"index": index, "name": call.name, "arguments": json.loads(call.arguments_json or "{}")}
    return {"id": call.id, "function": function}


def logprob(entry: inference_pb2.TokenLogprobs) -> dict[str, Any]:
    """A chosen token's log probability, with those of its alternatives."""
    chosen = _one_logprob(entry.chosen)
    return chosen | {"top_logprobs": [_one_logprob(other) for other in entry.top]} if entry.top else chosen


def _one_logprob(entry: inference_pb2.TokenLogprob) -> dict[str, Any]:
    return {"token": entry.token.decode("utf-8", "replace"), "logprob": entry.logprob, "bytes": list(entry.token)}


def nanoseconds(seconds: float) -> int:
    """Whole nanoseconds: Go clients read nothing else."""
    return int(seconds * NANOSECONDS)


def now() -> str:
    """created_at: RFC 3339, in microseconds, as Go writes it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
