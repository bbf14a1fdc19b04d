"""A parser for uvicorn that reads requests to upgrade as the HTTP/1.1 requests that they are (RFC 9110, 7.8).

llhttp stops where such a head ends, and takes what follows for another protocol. Seen: Java's HttpClient offers h2c
with its POST, and the body was lost. A second parser goes on there, as if the head had not said `Upgrade`.
"""

from typing import TYPE_CHECKING

import httptools

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_FRAMING = (b"content-length", b"transfer-encoding")
HTTP2_PREFACE_WORDS = "this server speaks HTTP/1.1 and not HTTP/2; have the client use HTTP/1.1"


class UpgradeParser:
    """As much of httptools.HttpRequestParser as uvicorn's protocol uses."""

    def __init__(self, protocol: "HttpToolsProtocol") -> None:
        self._protocol = protocol
        self._parser = _parser(self)
        self._framing: list[bytes] = []
        self._stopped = False  # It will stop at the end of this head.
        self._resuming = False  # Callbacks tell the protocol what it knows already.
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
        """Of this request."""
        return bytes(self._parser.get_method())

    def get_http_version(self) -> str:
        """Of this request."""
        return str(self._parser.get_http_version())

    def on_message_begin(self) -> None:
        """The first byte of a request."""
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
        """The head is here."""
        if self._resuming:
            self._resuming = False
            return
        self._stopped = self._parser.should_upgrade() and self._parser.get_method() != b"CONNECT"
        self._protocol.on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._protocol.on_body(body)

    def on_message_complete(self) -> None:
        """The request is here; of one that stopped, only its head."""
        if not self._stopped:
            self._protocol.on_message_complete()


def _parser(protocol: UpgradeParser) -> httptools.HttpRequestParser:
    parser = httptools.HttpRequestParser(protocol)
    # As uvicorn has it: what follows a request that closes the connection does not spoil its answer.
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def _refuse(protocol: "HttpToolsProtocol") -> None:
    body = HTTP2_PREFACE_WORDS.encode()
    head = (
        b"HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
    )
    protocol.transport.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
    protocol.transport.close()
