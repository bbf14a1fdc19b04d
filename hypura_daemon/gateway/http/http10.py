"""uvicorn's protocol, for HTTP/1.0 clients too: they cannot read chunks (RFC 9112, 6.1), so a stream is sent to them
as it is and ends with the connection.
"""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class _AnyLength(int):
    """What uvicorn counts an answer's bytes against when nobody knows how many will come: never too many, never too
    few.
    """

    def __lt__(self, other: int) -> bool:
        return False

    def __sub__(self, other: int) -> "_AnyLength":
        return self


class Protocol(HttpToolsProtocol):
    """For uvicorn.Config."""

    def on_headers_complete(self) -> None:
        """The request's head is here; its cycle writes the answer."""
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            self.cycle.chunked_encoding = False
            self.cycle.expected_content_length = _AnyLength(0)
