"""The gateway as an ASGI application: the dialects' routes behind the guard, and every error in its dialect's shape.

request ─► id, log ─► path ─► Host, Origin ─► CORS ─► key ─► bounds on bodies ─► route ─► handler(core, request)
                                                                                   │ error ─► error_refusal
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hypura_daemon.gateway.anthropic.routes import ENDPOINTS as ANTHROPIC
from hypura_daemon.gateway.dialects import error_refusal, refusal
from hypura_daemon.gateway.endpoint import Core, Endpoint
from hypura_daemon.gateway.errors import ClientGone, UnsupportedEncoding, http_status
from hypura_daemon.gateway.http.bodies import Bodies
from hypura_daemon.gateway.http.encodings import ACCEPTED
from hypura_daemon.gateway.http.guard import Rules, guarded
from hypura_daemon.gateway.ollama.routes import ENDPOINTS as OLLAMA
from hypura_daemon.gateway.openai.routes import ENDPOINTS as OPENAI
from hypura_daemon.gateway.openapi import document
from hypura_daemon.system.request_log import OK, REQUEST_ID, begin, current

ENDPOINTS: tuple[Endpoint, ...] = (*OLLAMA, *OPENAI, *ANTHROPIC)
_CLIENT_CLOSED_REQUEST = 499  # nginx's number; no client is left to read it.
FIRST_ERROR_STATUS = 400

_log = structlog.get_logger()


def build(core: Core, rules: Rules, body_limit_bytes: int) -> ASGIApp:
    """The application that uvicorn serves."""
    routes = [
        Route(endpoint.path, _handler(core, endpoint), methods=[endpoint.method]) for endpoint in _by_path(ENDPOINTS)
    ]
    description = document(ENDPOINTS)

    async def openapi(request: Request) -> Response:
        return JSONResponse(description)

    app = Starlette(
        routes=[*routes, Route("/openapi.json", openapi)],
        exception_handlers={HTTPException: _refused, Exception: _failed, ClientGone: _client_gone},
    )
    return RequestLog(_WithoutExtraSlashes(guarded(Bodies(app, body_limit_bytes), rules)))


class _WithoutExtraSlashes:
    """Reads a path with too many slashes as the one without: clients put their paths behind a base URL that may end
    in a slash, and some end all of their paths in one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope["path"].endswith("/") or "//" in scope["path"]):
            scope = {**scope, "path": "/" + "/".join(part for part in scope["path"].split("/") if part)}
        await self._app(scope, receive, send)


def _by_path(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """Fixed paths before those with a parameter, which would match them too."""
    return sorted(endpoints, key=lambda endpoint: "{" in endpoint.path)


def _handler(core: Core, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        try:
            return await endpoint.handler(core, request)
        except ClientGone:
            raise
        except ClientDisconnect as error:
            raise ClientGone from error
        except Exception as error:
            return _failure(request, error)

    return handle


def _failure(request: Request, error: Exception) -> Response:
    if http_status(error) == 500:
        _log.error("a request failed with an internal error", path=request.url.path, exc_info=error)
    current().failed(error)
    response = error_refusal(request.url.path, error)
    if isinstance(error, UnsupportedEncoding):
        response.headers["accept-encoding"] = ACCEPTED  # RFC 9110, 15.5.16
    return response


async def _refused(request: Request, error: Exception) -> Response:
    """Starlette's own errors: no such path, or not this method."""
    assert isinstance(error, HTTPException)
    messages = {404: f"there is no {request.url.path} here", 405: f"{request.url.path} does not take {request.method}"}
    response = refusal(request.url.path, error.status_code, messages.get(error.status_code, error.detail))
    response.headers.update(error.headers or {})
    return response


async def _failed(request: Request, error: Exception) -> Response:
    return _failure(request, error)


async def _client_gone(request: Request, error: Exception) -> Response:
    current().failed(error)
    return Response(status_code=_CLIENT_CLOSED_REQUEST)


class RequestLog:
    """The application's outermost layer: gives a request its id, repeats that in the answer, and logs the request at
    its end.

    The path is logged as it was sent, with its percent signs: no client can end a line of the log.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["raw_path"].decode("ascii", "backslashreplace")
        tally = begin(Headers(scope=scope).get(REQUEST_ID, ""), f"{scope['method']} {path}")
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = tally.id
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except (Exception, asyncio.CancelledError) as error:
            tally.failed(error)
            raise
        finally:
            if status >= FIRST_ERROR_STATUS and tally.outcome == OK:
                tally.outcome = "refused"
            tally.end(status=status)
