"""uvicorn's HTTP, with bounds on a request's head, in bytes and in seconds: httptools has none of its own.

Seen: a client that sends one header without end filled the memory before anybody asked for its key.
"""

import asyncio
from typing import Any

from hypura_daemon.gateway.http.http10 import Protocol
from hypura_daemon.gateway.http.upgrades import UpgradeParser

MAX_HEAD_BYTES = 64 << 10
HEAD_SECONDS = 30.0


class HeadTooLarge(ValueError):
    """The target, headers or trailers of a request are larger than MAX_HEAD_BYTES."""


class BoundedProtocol(Protocol):
    """One connection."""

    _head_bytes = 0
    _counted_bytes = 0
    _in_head = True
    _late: asyncio.TimerHandle | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.parser = UpgradeParser(self)  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody connected, and has to ask."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """He went."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A head may come in many pieces; a piece may hold a whole head and a body, too."""
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response(f"the request's head is larger than {MAX_HEAD_BYTES} bytes")

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._await_head()

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer after the body."""
        self._count(name + value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The body follows; who reads that has bounds of his own."""
        self._in_head = False
        self._disarm()
        super().on_headers_complete()

    def _await_head(self) -> None:
        self._disarm()
        self._in_head, self._head_bytes, self._counted_bytes = True, 0, 0
        self._late = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)

    def _disarm(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _count(self, piece: bytes) -> None:
        self._counted_bytes += len(piece)
        if self._counted_bytes > MAX_HEAD_BYTES:
            raise HeadTooLarge(f"the request's head is larger than {MAX_HEAD_BYTES} bytes")  # httptools makes it a 400
