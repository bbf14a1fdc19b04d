"""Answers that are sent piece by piece, and answers that end when their client disconnects.

generator ─► pump (one task, from first to last) ─► queue ─► writer: all waiting pieces in one send
                                           disconnected ─► the pump is cancelled
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hypura_daemon.errors import HypuraError, ShuttingDown
from hypura_daemon.gateway.dialects import refusal
from hypura_daemon.gateway.errors import ClientGone
from hypura_daemon.system.request_log import current

MAX_WAITING = 256
"""Pieces that may wait for a slow client before its answer has to wait."""
CUT = "hypurad has ended, and this request with it; send it again when hypurad runs"
CUT_SECONDS = 0.5
"""For a slow client to read the last piece."""
_CUT = "hypura.cut"

T = TypeVar("T")
_log = structlog.get_logger()


class Cuttable:
    """Around the application: a request that is cancelled because the daemon ends is refused, or its stream gets an
    error.

    cut: set when the daemon ends.
    """

    def __init__(self, app: ASGIApp, cut: asyncio.Event) -> None:
        self._app = app
        self._cut = cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[_CUT] = self._cut
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except asyncio.CancelledError:
            if not self._cut.is_set():
                raise
            if not begun:
                await refusal(scope["path"], 503, CUT)(scope, receive, send)


def _is_cut(scope: Scope) -> bool:
    """Whether a cancellation means that the daemon ends, which the client should learn."""
    task, cut = asyncio.current_task(), scope.get(_CUT)
    if task is None or cut is None or not cut.is_set():
        return False
    task.uncancel()
    return True


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of the work; when the client disconnects first, the work is cancelled and ClientGone raised.

    The request's body must have been read.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_gone(request.receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        await _cancelled(working, leaving)


async def streamed(
    request: Request,
    pieces: AsyncGenerator[bytes, None],
    media_type: str,
    failed: Callable[[Exception], bytes],
) -> Response:
    """An answer of these pieces. The first is awaited here, so that an error before it is raised and becomes a status;
    a later error becomes the last piece, as `failed` writes it. Raises ClientGone.
    """
    feed = _Feed(pieces, failed)
    try:
        first = await unless_gone(request, feed.first())
    except BaseException:
        await feed.close()
        raise
    return _Streamed(feed, first, media_type)


class _Feed:
    """Runs the generator in a task of its own: its timeouts and locks belong to that task."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], failed: Callable[[Exception], bytes]) -> None:
        self._pieces = pieces
        self._failed = failed
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_WAITING)  # None: the end.
        self._error: Exception | None = None
        self._ended = self._is_cut = False
        self._pump = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        try:
            async with aclosing(self._pieces):
                async for piece in self._pieces:
                    await self._waiting.put(piece)
        except Exception as error:
            self._error = error
        await self._waiting.put(None)

    async def first(self) -> bytes:
        """The first piece; empty where there is none. Raises what the generator raised before it."""
        piece = await self._waiting.get()
        if piece is None:
            self._ended = True
            if self._error is not None:
                raise self._error
        return piece or b""

    async def batches(self) -> AsyncGenerator[bytes, None]:
        """The pieces after the first; those that wait are joined."""
        while not self._ended:
            batch = [await self._waiting.get()]
            while not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            if self._is_cut and batch[-1] is not None:
                batch.append(None)
            self._ended = batch[-1] is None
            if self._ended and self._error is not None:
                current().failed(self._error)
                if not isinstance(self._error, HypuraError):
                    _log.error("an answer failed with an internal error", exc_info=self._error)
                batch.append(self._failed(self._error))
            yield b"".join(piece for piece in batch if piece)

    async def cut(self, error: Exception) -> None:
        """End the answer with this error, after the pieces that wait already."""
        await _cancelled(self._pump)
        self._is_cut = True
        self._error = self._error or error
        if not self._waiting.full():
            self._waiting.put_nowait(None)

    async def close(self) -> None:
        """Cancel the generator, wherever it is."""
        await _cancelled(self._pump)


class _Streamed(Response):
    """Sends a feed."""

    def __init__(self, feed: _Feed, first: bytes, media_type: str) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self.headers["cache-control"] = "no-cache"
        self._feed = feed
        self._first = first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_gone(receive))
        try:
            try:
                await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                if not _is_cut(scope):
                    raise
                await self._feed.cut(ShuttingDown(CUT))
                await asyncio.wait((sending, leaving), timeout=CUT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
            else:
                current().failed(ClientGone())
        finally:
            await _cancelled(sending, leaving)
            await self._feed.close()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self._first, "more_body": True})
        async with aclosing(self._feed.batches()) as batches:
            async for batch in batches:
                await send({"type": "http.response.body", "body": batch, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancelled(*tasks: "asyncio.Future[Any]") -> None:
    """Cancel the tasks, and wait until all have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
