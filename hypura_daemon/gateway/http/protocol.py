"""One connection's HTTP/1, read by uvicorn, with three additions.

bounds on a request's head   in bytes and in seconds; httptools has none of its own. Seen: a client that sent one header
                             without end filled the memory before its key was checked
HTTP/1.0 clients             cannot read chunks (RFC 9112, 6.1): a stream is sent to them without chunks and ends with
                             the connection
offers to upgrade            are read as the HTTP/1.1 requests that they are (RFC 9110, 7.8)
"""

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 << 10
HEAD_SECONDS = 30.0
HTTP2_PREFACE_WORDS = "this server speaks HTTP/1.1 and not HTTP/2; have the client use HTTP/1.1"
_FRAMING = (b"content-length", b"transfer-encoding")


class HeadTooLarge(ValueError):
    """The target, headers or trailers of a request are larger than MAX_HEAD_BYTES."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. The bound on seconds counts from the connection's start, or the first byte of a later request."""

    _head_bytes = 0
    _counted_bytes = 0
    _in_head = True
    _late: asyncio.TimerHandle | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.parser = UpgradeParser(self)  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Connection opened: a request's head is due."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Connection closed."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes received. A head may come in many pieces; a piece may hold a whole head and a body."""
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response(f"the request's head is larger than {MAX_HEAD_BYTES} bytes")

    def on_message_begin(self) -> None:
        """First byte of a request."""
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
        """Head received: uvicorn makes the cycle that writes the answer. The body has bounds of its own."""
        self._in_head = False
        self._disarm()
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            self.cycle.chunked_encoding = False
            self.cycle.expected_content_length = _AnyLength(0)

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


class _AnyLength(int):
    """What uvicorn counts an answer's bytes against when its length is not known: never too many, never too few."""

    def __lt__(self, other: int) -> bool:
        return False

    def __sub__(self, other: int) -> "_AnyLength":
        return self


class UpgradeParser:
    """As much of httptools.HttpRequestParser as uvicorn's protocol uses.

    llhttp stops where the head of an offer to upgrade ends, and takes what follows for another protocol. Seen: Java's
    HttpClient offers h2c with its POST, and the body was lost. A second parser goes on there, as if the head had no
    `Upgrade`.
    """

    def __init__(self, protocol: HttpToolsProtocol) -> None:
        self._protocol = protocol
        self._parser = _parser(self)
        self._framing: list[bytes] = []
        self._stopped = False  # It will stop at the end of this head.
        self._resuming = False  # Callbacks repeat what the protocol has got already.
        self._refused = False

    def feed_data(self, data: bytes) -> None:
        """The next bytes of the connection. Raises httptools.HttpParserError."""
        if self._refused:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            if self._stopped:
                self._resume()
                self.feed_data(data[stop.args[0] :])
        except httptools.HttpParserError:
            if self._parser.get_method() != b"PRI":  # HTTP/2's preface begins with it (RFC 9113, 3.4).
                raise
            self._refused = True
            _refuse(self._protocol)

    def _resume(self) -> None:
        """Go on with a parser that has seen the same head, but for `Upgrade`."""
        version, method = self._parser.get_http_version().encode(), self._parser.get_method()
        self._parser = _parser(self)
        self._stopped, self._resuming = False, True
        head, self._framing = [method + b" / HTTP/" + version, *self._framing, b"", b""], []
        self._parser.feed_data(b"\r\n".join(head))

    def should_upgrade(self) -> bool:
        """Never: there is nothing to upgrade to."""
        return False

    def should_keep_alive(self) -> bool:
        """Whether another request may follow."""
        return bool(self._parser.should_keep_alive())

    def get_method(self) -> bytes:
        """The request's method."""
        return bytes(self._parser.get_method())

    def get_http_version(self) -> str:
        """The request's version of HTTP."""
        return str(self._parser.get_http_version())

    def on_message_begin(self) -> None:
        """First byte of a request."""
        if not self._resuming:
            self._framing = []
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        if not self._resuming:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer after the body."""
        if self._resuming:
            return
        if name.lower() in _FRAMING or (name.lower() == b"connection" and b"close" in value.lower()):
            self._framing.append(name + b": " + (b"close" if name.lower() == b"connection" else value))
        self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        """Head received."""
        if self._resuming:
            self._resuming = False
            return
        self._stopped = self._parser.should_upgrade() and self._parser.get_method() != b"CONNECT"
        self._protocol.on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._protocol.on_body(body)

    def on_message_complete(self) -> None:
        """Request received; of one that stopped, only its head."""
        if not self._stopped:
            self._protocol.on_message_complete()


def _parser(protocol: UpgradeParser) -> httptools.HttpRequestParser:
    parser = httptools.HttpRequestParser(protocol)
    # As uvicorn has it: what follows a request that closes the connection does not spoil its answer.
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def _refuse(protocol: HttpToolsProtocol) -> None:
    body = HTTP2_PREFACE_WORDS.encode()
    head = (
        b"HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
    )
    protocol.transport.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
    protocol.transport.close()
