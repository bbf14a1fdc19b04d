"""The dialects: which one a path belongs to, and how it writes an error."""

from starlette.responses import JSONResponse, Response

from hypura_daemon.gateway.anthropic.errors import error_body as anthropic_body
from hypura_daemon.gateway.anthropic.errors import words_of as anthropic_words
from hypura_daemon.gateway.errors import http_status, message_of
from hypura_daemon.gateway.openai.errors import error_body as openai_body
from hypura_daemon.gateway.openai.errors import words_of as openai_words
from hypura_daemon.system.request_log import current


def refusal(path: str, status: int, message: str, code: str | None = None) -> Response:
    """The whole answer."""
    if path.startswith("/v1/messages"):
        request_id = current().id
        body = anthropic_body(status, message, request_id)
        return Response(body, status, {"request-id": request_id}, media_type="application/json")
    if path.startswith("/v1/"):
        return Response(openai_body(status, message, code), status, media_type="application/json")
    return JSONResponse({"error": message}, status)


def error_refusal(path: str, error: Exception) -> Response:
    """The answer to a request that failed with this error."""
    status = http_status(error)
    if path.startswith("/v1/messages"):
        return refusal(path, status, anthropic_words(error))
    if path.startswith("/v1/"):
        return refusal(path, status, *openai_words(error))
    return refusal(path, status, message_of(error))
