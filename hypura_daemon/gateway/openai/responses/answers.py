"""Whole responses: the response object and its items."""

from typing import Annotated, Any, Literal

from hypura_daemon.chat.request import ChatMessage
from hypura_daemon.gateway.answer import Answer
from hypura_daemon.gateway.openai.answers import Identity, TokenLogprob
from hypura_daemon.gateway.openai.responses.requests import ResponseRequest
from hypura_daemon.gateway.requests import called
from hypura_daemon.gateway.shapes import OMIT_NONE, AnswerShape

Status = Literal["in_progress", "completed", "incomplete", "failed"]


class OutputText(AnswerShape):
    """A text of a message."""

    type: Literal["output_text"] = "output_text"
    text: str = ""
    annotations: list[dict[str, Any]] = []  # noqa: RUF012 (pydantic copies it)
    logprobs: list[TokenLogprob] = []  # noqa: RUF012


class MessageItem(AnswerShape):
    """The text of the model's answer."""

    id: str
    type: Literal["message"] = "message"
    status: Status = "in_progress"
    role: Literal["assistant"] = "assistant"
    content: list[OutputText] = []  # noqa: RUF012


class ThoughtText(AnswerShape):
    """A text of the reasoning, as it is or as a summary."""

    type: Literal["reasoning_text", "summary_text"]
    text: str = ""


class ReasoningItem(AnswerShape):
    """The model's thinking; clients that request a summary get all of it as the summary."""

    id: str
    type: Literal["reasoning"] = "reasoning"
    status: Status = "in_progress"
    summary: list[ThoughtText] = []  # noqa: RUF012
    content: Annotated[list[ThoughtText] | None, OMIT_NONE] = None


class CallItem(AnswerShape):
    """A tool call that the model makes."""

    id: str
    type: Literal["function_call"] = "function_call"
    status: Status = "in_progress"
    call_id: str
    name: str
    arguments: str = ""
    namespace: Annotated[str | None, OMIT_NONE] = None


Item = MessageItem | ReasoningItem | CallItem


class InputDetails(AnswerShape):
    """cached_tokens: those whose KV cache was kept from an earlier request."""

    cached_tokens: int
    cache_write_tokens: int = 0


class OutputDetails(AnswerShape):
    """reasoning_tokens: those of the thinking."""

    reasoning_tokens: int


class ResponseUsage(AnswerShape):
    """Tokens of the prompt and of the output."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class ResponseFailure(AnswerShape):
    """Why the response failed."""

    code: str
    message: str


class Incomplete(AnswerShape):
    """Which limit ended the answer."""

    reason: Literal["max_output_tokens"] = "max_output_tokens"


class ResponseObject(AnswerShape):
    """A response, with the fields of its request."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: Status
    background: bool = False
    error: ResponseFailure | None = None
    incomplete_details: Incomplete | None = None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, Any]
    model: str
    output: list[Item]
    parallel_tool_calls: bool
    previous_response_id: str | None
    reasoning: dict[str, str | None]
    store: bool
    temperature: float
    text: dict[str, Any]
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_logprobs: int
    top_p: float
    truncation: Literal["auto", "disabled"]
    usage: ResponseUsage | None = None
    user: str | None = None


class DeletedResponse(AnswerShape):
    """A response was deleted."""

    id: str
    object: Literal["response.deleted"] = "response.deleted"
    deleted: bool = True


def response_object(
    identity: Identity,
    body: ResponseRequest,
    output: list[Item],
    status: Status,
    answer: Answer | None = None,
    failure: ResponseFailure | None = None,
) -> ResponseObject:
    """The response object; answer: of a response that has ended."""
    form = body.text.format if body.text else None
    choice = body.tool_choice
    return ResponseObject(
        id=identity.id,
        created_at=identity.created,
        status=status,
        error=failure,
        incomplete_details=Incomplete() if status == "incomplete" else None,
        instructions=body.instructions,
        max_output_tokens=body.max_output_tokens,
        metadata=body.metadata or {},
        model=identity.model,
        output=output,
        parallel_tool_calls=body.parallel_tool_calls is not False,
        previous_response_id=body.previous_response_id,
        reasoning={
            "effort": body.reasoning.effort if body.reasoning else None,
            "summary": body.reasoning.summary if body.reasoning else None,
        },
        store=body.store is not False,
        temperature=1.0 if body.temperature is None else body.temperature,
        text={"format": form.model_dump(by_alias=True, exclude_none=True) if form else {"type": "text"}},
        tool_choice=choice if isinstance(choice, str) else choice.model_dump(exclude_none=True) if choice else "auto",
        tools=[_tool(function.model_dump()) for function in body.offered()],
        top_logprobs=body.top_logprobs or 0,
        top_p=1.0 if body.top_p is None else body.top_p,
        truncation="auto" if body.truncation == "auto" else "disabled",
        usage=_usage(answer) if answer else None,
        user=body.user,
    )


def answer_message(answer: Answer) -> ChatMessage:
    """The answer as a message, for the conversation that continues it."""
    return ChatMessage(
        role="assistant",
        content=answer.text,
        thinking=answer.thinking,
        tool_calls=[called(call.id, call.name, call.arguments_json) for call in answer.calls],
    )


def _tool(function: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", **function}


def _usage(answer: Answer) -> ResponseUsage:
    return ResponseUsage(
        input_tokens=answer.prompt_tokens,
        input_tokens_details=InputDetails(cached_tokens=answer.finished.statistics.cached_tokens),
        output_tokens=answer.output_tokens,
        output_tokens_details=OutputDetails(reasoning_tokens=answer.thinking_tokens),
        total_tokens=answer.prompt_tokens + answer.output_tokens,
    )
