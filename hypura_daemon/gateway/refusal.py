"""An error as the dialect of its path writes it."""

from starlette.responses import JSONResponse, Response

from hypura_daemon.gateway.anthropic.errors import error_body as anthropic_body
from hypura_daemon.gateway.openai.errors import error_body as openai_body
from hypura_daemon.tally import current


def refusal(path: str, status: int, message: str) -> Response:
    """The whole answer."""
    if path.startswith("/v1/messages"):
        request_id = current().id
        body = anthropic_body(status, message, request_id)
        return Response(body, status, {"request-id": request_id}, media_type="application/json")
    if path.startswith("/v1/"):
        return Response(openai_body(status, message), status, media_type="application/json")
    return JSONResponse({"error": message}, status)
