"""The gateway's connections: their number is bounded, and a client that does not read its answer is disconnected.

served    up to the number of places; one that is silent between requests is closed to make room for a new one
refused   any more, for a moment: their request is answered with 503; the oldest of them are closed first
"""

import asyncio
import errno
import socket
import time
from collections.abc import Callable
from typing import Any

import structlog
from starlette.types import Receive, Scope, Send

from hypura_daemon.gateway.dialects import refusal
from hypura_daemon.gateway.http.protocol import BoundedProtocol
from hypura_daemon.system.descriptors import Places
from hypura_daemon.system.tasks import supervised

LEAST_SILENT_SECONDS = 5.0
"""How long a client may be silent between two requests without losing its place to a new connection."""
REFUSED_SECONDS = 2.0
"""Time for a client without a place to send its request."""
MAX_REFUSED_BODY_BYTES = 1 << 20
LEAST_READ_BYTES = 64 << 10
"""Of an answer that waits to be sent: a client has to read so much in client_stall_seconds."""
PAUSE_SECONDS = 0.25
"""After a connection that could not be accepted."""
LOG_SECONDS = 10.0
"""Between two log lines about refused connections."""
_CLOSED_EARLY = (errno.ECONNABORTED, errno.EINTR, errno.EPROTO)

_log = structlog.get_logger()


class Connections:
    """All connections. client_stall_seconds: how long a client may leave its answer unread."""

    def __init__(self, places: Places, client_stall_seconds: float) -> None:
        self.client_stall_seconds = client_stall_seconds
        self._places = places
        self._served: set[CountedProtocol] = set()
        self._silent: dict[CountedProtocol, float] = {}  # Since when; the longest first.
        self._refused: dict[CountedProtocol, None] = {}  # The oldest first.
        self._logged_seconds = -LOG_SECONDS

    @property
    def message(self) -> str:
        """The message to a client without a place."""
        return (
            f"server busy: {self._places.gateway} connections are open, as many as are allowed; close some, or raise "
            "HYPURA_CONNECTIONS and the limit of open files (ulimit -n)"
        )

    def enter(self, connection: "CountedProtocol") -> bool:
        """Add a new connection; whether it has a place."""
        if len(self._served) >= self._places.gateway:
            self._make_room()
        if len(self._served) < self._places.gateway:
            self._served.add(connection)
            self.silent(connection)
            return True
        if time.monotonic() - self._logged_seconds >= LOG_SECONDS:
            self._logged_seconds = time.monotonic()
            _log.warning("connections to the gateway are refused", open=len(self._served))
        if len(self._refused) >= self._places.refusals:
            next(iter(self._refused)).close_idle()
        self._refused[connection] = None
        return False

    def _make_room(self) -> None:
        longest = next(iter(self._silent), None)
        if longest is not None and time.monotonic() - self._silent[longest] >= LEAST_SILENT_SECONDS:
            longest.close_idle()

    def leave(self, connection: "CountedProtocol") -> None:
        """Remove a connection that is closed, or about to be."""
        self._served.discard(connection)
        self._silent.pop(connection, None)
        self._refused.pop(connection, None)

    def silent(self, connection: "CountedProtocol") -> None:
        """A connection waits for a request."""
        if connection in self._served:
            self._silent.pop(connection, None)
            self._silent[connection] = time.monotonic()

    def busy(self, connection: "CountedProtocol") -> None:
        """A connection has a request under way."""
        self._silent.pop(connection, None)

    async def refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of a connection without a place, once received: clients read after they have sent."""
        try:
            async with asyncio.timeout(REFUSED_SECONDS):
                size_bytes, more = 0, True
                while more and size_bytes <= MAX_REFUSED_BODY_BYTES:
                    message = await receive()
                    size_bytes += len(message.get("body", b""))
                    more = message.get("more_body", False)
        except TimeoutError:
            pass  # The client is answered all the same.
        answer = refusal(scope["path"], 503, self.message)
        answer.headers["connection"] = "close"
        await answer(scope, receive, send)


class CountedProtocol(BoundedProtocol):
    """One connection."""

    def __init__(self, connections: Connections, **options: Any) -> None:
        super().__init__(**options)
        self._all = connections
        self._stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Connection opened."""
        has_place = self._all.enter(self)
        super().connection_made(transport)
        if not has_place:
            self.app = self._all.refuse
            self.loop.call_later(REFUSED_SECONDS, self._end_refused)

    def connection_lost(self, exc: Exception | None) -> None:
        """Connection closed."""
        self._all.leave(self)
        self._end_stall()
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        """Head of a request received."""
        self._all.busy(self)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Answer written, though perhaps not yet sent."""
        super().on_response_complete()
        if not self.pipeline:
            self._all.silent(self)
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._watch_stall()

    def pause_writing(self) -> None:
        """The client reads more slowly than the answer is written."""
        super().pause_writing()
        self._watch_stall()

    def resume_writing(self) -> None:
        """The client has read most of what was written."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._end_stall()

    def timeout_keep_alive_handler(self) -> None:
        """Time for the next request is over, and for reading the answer to the last one."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def close_idle(self) -> None:
        """Close a connection that waits for a request; an answer under way is completed."""
        self._all.leave(self)
        if not self.transport.is_closing():
            if self.app == self._all.refuse and self.cycle is None:
                # Without a request there is no dialect; this is Ollama's.
                body = bytes(refusal("/", 503, self._all.message).body)
                self.transport.write(
                    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\n"
                    b"content-length: " + str(len(body)).encode() + b"\r\n\r\n" + body
                )
            self.transport.close()

    def _end_refused(self) -> None:
        """Time for a refused client's request is over; a request that was received is answered."""
        if self.cycle is None or self.cycle.response_complete:
            self.close_idle()

    def _watch_stall(self) -> None:
        self._end_stall()
        seconds, unread_bytes = self._all.client_stall_seconds, self.transport.get_write_buffer_size()
        self._stall = self.loop.call_later(seconds, self._judge_stall, unread_bytes)

    def _judge_stall(self, before_bytes: int) -> None:
        """Abort the connection unless its client reads, so that the answer ends and its model is free for others."""
        if before_bytes - self.transport.get_write_buffer_size() >= LEAST_READ_BYTES:
            self._watch_stall()
            return
        _log.warning(
            "a client does not read its answer; its connection is closed",
            path=self.scope["path"] if self.scope is not None else "",
            seconds=self._all.client_stall_seconds,
        )
        self.transport.abort()

    def _end_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None


class Acceptor:
    """Accepts connections from a listening socket, as asyncio.Server does, and goes on after a lack of descriptors.

    Seen: at the limit uvloop's server closes its listening socket for good, and asyncio's logs each attempt.
    """

    def __init__(self, listener: socket.socket, make_protocol: Callable[[], asyncio.Protocol]) -> None:
        self._listener = listener
        self._make_protocol = make_protocol
        listener.setblocking(False)
        self._accepting = asyncio.ensure_future(supervised("the gateway's connections", self._run))

    async def _run(self) -> None:
        loop, logged_seconds = asyncio.get_running_loop(), -LOG_SECONDS
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                if error.errno in _CLOSED_EARLY:
                    continue
                if time.monotonic() - logged_seconds >= LOG_SECONDS:
                    logged_seconds = time.monotonic()
                    _log.warning("a connection to the gateway cannot be accepted", error=str(error))
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            try:
                await loop.connect_accepted_socket(self._make_protocol, connection)
            except OSError as error:
                _log.debug("a connection was closed early", error=str(error))
                connection.close()

    def close(self) -> None:
        """Accept no more connections."""
        self._accepting.cancel()

    async def wait_closed(self) -> None:
        """Wait until it accepts no more. Raises what ended it."""
        await asyncio.wait([self._accepting])
        if not self._accepting.cancelled():
            self._accepting.result()
