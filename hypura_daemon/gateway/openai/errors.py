"""Errors as OpenAI's clients read them."""

from typing import Literal

from starlette.responses import Response

from hypura_daemon.errors import PromptTooLong
from hypura_daemon.gateway.errors import http_status, message_of
from hypura_daemon.gateway.shapes import AnswerShape

ErrorType = Literal["invalid_request_error", "authentication_error", "not_found_error", "api_error"]
CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
_TYPES: dict[int, ErrorType] = {401: "authentication_error", 404: "not_found_error"}


class ErrorDetail(AnswerShape):
    """What went wrong; code is for programs."""

    message: str
    type: ErrorType
    param: str | None = None
    code: str | None = None


class ErrorBody(AnswerShape):
    """A whole body."""

    error: ErrorDetail


def error_body(status: int, message: str, code: str | None = None) -> bytes:
    """The JSON of an error with this status."""
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    return ErrorBody(error=ErrorDetail(message=message, type=kind, code=code)).ascii_json().encode()


def message_and_code(error: Exception) -> tuple[str, str | None]:
    """Message and code. Coding agents know by them that they must shorten the conversation."""
    if not isinstance(error, PromptTooLong):
        return message_of(error), None
    if not error.context_tokens:
        return message_of(error), CONTEXT_LENGTH_EXCEEDED
    message = (
        f"This model's maximum context length is {error.context_tokens} tokens. However, your messages resulted in "
        f"{error.prompt_tokens} tokens. Please reduce the length of the messages."
    )
    return message, CONTEXT_LENGTH_EXCEEDED


def error_event(error: Exception) -> bytes:
    """The last piece of a stream that breaks off; OpenAI's clients raise it."""
    return b"data: " + error_body(http_status(error), *message_and_code(error)) + b"\n\n"


def not_found(message: str) -> Response:
    """A 404 for something other than a model."""
    return Response(error_body(404, message), status_code=404, media_type="application/json")
