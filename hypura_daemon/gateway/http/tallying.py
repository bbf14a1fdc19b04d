"""The gateway's outermost layer: gives a request its id, says it in the answer, and tells the request at its end."""

import asyncio

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hypura_daemon.system.request_log import OK, REQUEST_ID, begin

FIRST_ERROR_STATUS = 400


class Tallying:
    """See above. The path is logged as it was sent, percent signs and all: no line ends by what a client sends."""

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
