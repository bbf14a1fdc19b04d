"""Errors as Anthropic's clients read them."""

from typing import Literal

from hypura_daemon.errors import PromptTooLong
from hypura_daemon.gateway.errors import http_status, message_of
from hypura_daemon.gateway.shapes import AnswerShape

ErrorType = Literal[
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "api_error",
    "overloaded_error",
]
_TYPES: dict[int, ErrorType] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    503: "overloaded_error",
}


class ErrorDetail(AnswerShape):
    """What went wrong."""

    type: ErrorType
    message: str


class ErrorBody(AnswerShape):
    """A whole body, and the data of an error in a stream."""

    type: Literal["error"] = "error"
    error: ErrorDetail
    request_id: str


def error_body(status: int, message: str, request_id: str) -> bytes:
    """The JSON of an error with this status."""
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    return ErrorBody(error=ErrorDetail(type=kind, message=message), request_id=request_id).ascii_json().encode()


def message_for(error: Exception) -> str:
    """The message. Claude Code and others know by Anthropic's words that they must shorten the conversation."""
    if isinstance(error, PromptTooLong) and error.context_tokens:
        return f"prompt is too long: {error.prompt_tokens} tokens > {error.context_tokens - 1} maximum"
    return message_of(error)


def error_event(error: Exception, request_id: str) -> bytes:
    """The last event of a stream that breaks off."""
    return b"event: error\ndata: " + error_body(http_status(error), message_for(error), request_id) + b"\n\n"
