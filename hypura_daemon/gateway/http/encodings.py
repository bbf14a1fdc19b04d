"""Decompresses request bodies (RFC 9110, 8.4), piece by piece: a small body may become a large one, so that the bound
on bodies applies to what comes out.
"""

import asyncio
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.errors import UnsupportedEncoding

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE_BYTES = 1 << 16
_MAX_ENCODINGS = 2
_MAX_WINDOW_LOG = 23
"""A decoder needs to support no more than 8 MiB (RFC 8878, 3.1.1.1.2)."""


class Unpacker(Protocol):
    """Decompresses one encoding: takes bytes as they arrive, yields pieces of at most PIECE_BYTES."""

    def unpacked(self, data: bytes) -> Iterator[bytes]: ...

    def ended(self) -> bool:
        """Whether the data may end here."""


class _Zlib:
    """gzip, of any number of members, and deflate, with its zlib header or without, as some clients send it."""

    def __init__(self, *, gzip: bool) -> None:
        self._wbits = 31 if gzip else 15
        self._gzip = gzip
        self._begun = False
        self._inflater = zlib.decompressobj(self._wbits)

    def unpacked(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._inflater.eof:
                if not self._gzip:
                    raise ValueError("data follows its end")
                self._inflater = zlib.decompressobj(self._wbits)
            yield self._piece(data)
            self._begun = True
            data = self._inflater.unconsumed_tail or self._inflater.unused_data
        while piece := self._inflater.decompress(b"", PIECE_BYTES):
            yield piece

    def _piece(self, data: bytes) -> bytes:
        try:
            return self._inflater.decompress(data, PIECE_BYTES)
        except zlib.error:
            if self._gzip or self._begun:
                raise
            self._inflater = zlib.decompressobj(-15)
            return self._inflater.decompress(data, PIECE_BYTES)

    def ended(self) -> bool:
        return self._inflater.eof


class _Zstd:
    """zstd, of any number of frames."""

    def __init__(self) -> None:
        self._frame = self._new()

    def unpacked(self, data: bytes) -> Iterator[bytes]:
        while data or not (self._frame.eof or self._frame.needs_input):
            if self._frame.eof:
                self._frame = self._new()
            piece = self._frame.decompress(data, PIECE_BYTES)
            data = self._frame.unused_data if self._frame.eof else b""
            if piece:
                yield piece

    def ended(self) -> bool:
        return self._frame.eof

    @staticmethod
    def _new() -> "zstd.ZstdDecompressor":
        return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _MAX_WINDOW_LOG})


_UNPACKERS: dict[str, Callable[[], Unpacker]] = {
    "gzip": lambda: _Zlib(gzip=True),
    "x-gzip": lambda: _Zlib(gzip=True),
    "deflate": lambda: _Zlib(gzip=False),
    "zstd": _Zstd,
}
ACCEPTED = "gzip, deflate, zstd"


def unpacked(header: str, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The decompressed body; header: the request's Content-Encoding.

    Raises UnsupportedEncoding, and InvalidRequest for data that is damaged or ends too early.
    """
    names = [name.strip().lower() for name in header.split(",") if name.strip().lower() not in ("", "identity")]
    unknown = [name for name in names if name not in _UNPACKERS]
    if unknown or len(names) > _MAX_ENCODINGS:
        raise UnsupportedEncoding(
            f"the request body's Content-Encoding is {header[:80]!r}; send it uncompressed, or as one of {ACCEPTED}"
        )
    for name in reversed(names):  # The last one was applied last.
        pieces = _unpacked(name, _UNPACKERS[name](), pieces)
    return pieces


async def _unpacked(name: str, unpacker: Unpacker, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for data in pieces:
            for piece in unpacker.unpacked(data):
                yield piece
                await asyncio.sleep(0)  # A small piece may become many.
    except (zlib.error, zstd.ZstdError, ValueError) as error:
        raise InvalidRequest(f"the request body is not valid {name}: {error}; send it uncompressed") from error
    if not unpacker.ended():
        raise InvalidRequest(f"the request body ends before its {name} data does; send all of it")
