"""Whole answers to chat completions, the list of models, and what other answers share with them: identity, usage."""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from hypura.v1 import inference_pb2
from hypura_daemon.gateway.answer import Answer, new_id
from hypura_daemon.gateway.shapes import OMIT_NONE, AnswerShape
from hypura_daemon.models.names import parse_name
from hypura_daemon.models.summaries import ModelSummary

FINGERPRINT = "fp_hypura"
_OWNER = "library"
_LATEST_SECONDS = 253402300799
"""The last second of the year 9999; a file's time may be anything."""


@dataclass(frozen=True, slots=True)
class Identity:
    """id, the model as the client named it, and when the request came."""

    id: str
    model: str
    created: int


def new_identity(prefix: str, model: str) -> Identity:
    """A new identity, made now."""
    return Identity(new_id(prefix), model, int(time.time()))


def finite(logprob: float) -> float:
    """JSON has no infinity; OpenAI writes -9999 for a token that cannot come."""
    return max(logprob, -9999.0) if math.isfinite(logprob) else -9999.0


class PromptDetails(AnswerShape):
    """cached_tokens: those whose KV cache was kept from an earlier request."""

    cached_tokens: int = 0


class CompletionDetails(AnswerShape):
    """reasoning_tokens: those of the thinking."""

    reasoning_tokens: int = 0


class Usage(AnswerShape):
    """Tokens of the prompt, and of all answers."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails = PromptDetails()
    completion_tokens_details: CompletionDetails = CompletionDetails()


def usage_of(answers: Sequence[Answer], prompts: int = 1) -> Usage:
    """The usage of answers grouped by prompt; a prompt with several answers is counted once."""
    firsts = answers[:: max(1, len(answers) // prompts)]
    prompt_tokens = sum(answer.prompt_tokens for answer in firsts)
    completion_tokens = sum(answer.output_tokens for answer in answers)
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt_tokens + completion_tokens,
        prompt_tokens_details=PromptDetails(
            cached_tokens=sum(answer.finished.statistics.cached_tokens for answer in firsts)
        ),
        completion_tokens_details=CompletionDetails(reasoning_tokens=sum(answer.thinking_tokens for answer in answers)),
    )


Finish = Literal["stop", "length", "tool_calls"]


class Alternative(AnswerShape):
    """A token, and the logarithm of its probability."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(Alternative):
    """A chosen token, and the likeliest ones."""

    top_logprobs: list[Alternative]


class Logprobs(AnswerShape):
    """One entry for each token of the content."""

    content: list[TokenLogprob]
    refusal: None = None


class CalledFunction(AnswerShape):
    """The function and its arguments as JSON text."""

    name: str
    arguments: str


class ToolCall(AnswerShape):
    """A tool call that the model makes."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class AssistantMessage(AnswerShape):
    """The answer; content is null where there are only calls."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    reasoning: Annotated[str | None, OMIT_NONE] = None
    reasoning_content: Annotated[str | None, OMIT_NONE] = None
    tool_calls: Annotated[list[ToolCall] | None, OMIT_NONE] = None


class Choice(AnswerShape):
    """One of n answers."""

    index: int
    message: AssistantMessage
    logprobs: Logprobs | None = None
    finish_reason: Finish


class ChatCompletion(AnswerShape):
    """An answer that does not stream."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    system_fingerprint: str = FINGERPRINT
    choices: list[Choice]
    usage: Usage


def chat_completion(identity: Identity, answers: Sequence[Answer], *, logprobs: bool) -> ChatCompletion:
    """The whole body."""
    return ChatCompletion(
        id=identity.id,
        created=identity.created,
        model=identity.model,
        choices=[_choice(index, answer, logprobs) for index, answer in enumerate(answers)],
        usage=usage_of(answers),
    )


def logprobs_of(tokens: Iterable[inference_pb2.TokenLogprobs]) -> Logprobs:
    """The tokens' log probabilities in OpenAI's form."""
    return Logprobs(
        content=[
            TokenLogprob(**_token(token.chosen), top_logprobs=[Alternative(**_token(other)) for other in token.top])
            for token in tokens
        ]
    )


def _choice(index: int, answer: Answer, logprobs: bool) -> Choice:
    calls = [ToolCall(**tool_call_fields(call)) for call in answer.calls]
    return Choice(
        index=index,
        message=AssistantMessage(
            content=answer.text or (None if calls else ""),
            reasoning=answer.thinking or None,
            reasoning_content=answer.thinking or None,
            tool_calls=calls or None,
        ),
        logprobs=logprobs_of(answer.logprobs) if logprobs else None,
        finish_reason=finish_reason(answer),
    )


def finish_reason(answer: Answer) -> Finish:
    if answer.cut_short:
        return "length"
    return "tool_calls" if answer.calls else "stop"


def tool_call_fields(call: inference_pb2.ToolCall) -> dict[str, Any]:
    return {"id": call.id, "function": CalledFunction(name=call.name, arguments=call.arguments_json)}


def _token(token: inference_pb2.TokenLogprob) -> dict[str, Any]:
    return {
        "token": token.token.decode("utf-8", "replace"),
        "logprob": finite(token.logprob),
        "bytes": list(token.token),
    }


class ModelObject(AnswerShape):
    """A model; the last three are what Anthropic's clients read."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    type: Literal["model"] = "model"
    display_name: str
    created_at: str


class ModelList(AnswerShape):
    """All models, on one page."""

    object: Literal["list"] = "list"
    data: list[ModelObject]
    has_more: bool = False
    first_id: str | None
    last_id: str | None


def model_object(summary: ModelSummary) -> ModelObject:
    """A model, for clients of both dialects."""
    created_seconds = int(min(max(summary.modified_seconds, 0), _LATEST_SECONDS))
    return ModelObject(
        id=summary.name,
        created=created_seconds,
        owned_by=parse_name(summary.name).namespace or _OWNER,
        display_name=summary.name,
        created_at=datetime.fromtimestamp(created_seconds, UTC).isoformat().replace("+00:00", "Z"),
    )


def model_list(summaries: Sequence[ModelSummary]) -> ModelList:
    """The models that can be used."""
    data = [model_object(summary) for summary in summaries if not summary.error]
    return ModelList(data=data, first_id=data[0].id if data else None, last_id=data[-1].id if data else None)
