"""The dialects: which one a path belongs to, and how it writes an error.

/v1/messages…   Anthropic
/v1/…           OpenAI
all others      Ollama
"""

from pydantic import BaseModel
from starlette.responses import Response

from hypura_daemon.gateway.anthropic import errors as anthropic
from hypura_daemon.gateway.errors import http_status, message_of
from hypura_daemon.gateway.ollama import errors as ollama
from hypura_daemon.gateway.openai import errors as openai
from hypura_daemon.system.request_log import current

ERROR_SHAPES: tuple[type[BaseModel], ...] = (ollama.ErrorMessage, openai.ErrorBody, anthropic.ErrorBody)


def refusal(path: str, status: int, message: str, code: str | None = None) -> Response:
    """The response to a request that is refused; code: of the error, where the dialect has codes."""
    if _is_anthropic(path):
        request_id = current().id
        body = anthropic.error_body(status, message, request_id)
        return Response(body, status, {"request-id": request_id}, media_type="application/json")
    body = openai.error_body(status, message, code) if _is_openai(path) else ollama.error_body(message)
    return Response(body, status, media_type="application/json")


def error_refusal(path: str, error: Exception) -> Response:
    """The response to a request that failed with this error."""
    status = http_status(error)
    if _is_anthropic(path):
        return refusal(path, status, anthropic.message_for(error))
    if _is_openai(path):
        return refusal(path, status, *openai.message_and_code(error))
    return refusal(path, status, message_of(error))


def error_shape(path: str) -> type[BaseModel]:
    """The shape of an error's body."""
    if _is_anthropic(path):
        return anthropic.ErrorBody
    return openai.ErrorBody if _is_openai(path) else ollama.ErrorMessage


def _is_anthropic(path: str) -> bool:
    return path.startswith("/v1/messages")


def _is_openai(path: str) -> bool:
    return path.startswith("/v1/") and not _is_anthropic(path)
