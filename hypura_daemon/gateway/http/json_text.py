"""The JSON of a request's body: counted while it arrives, and parsed so that other threads run meanwhile.

pieces ─► Census: objects, keys, values, depth within bounds ─► read_json ─► Python's values

json.loads and pydantic hold Python's lock from beginning to end, so a thread alone does not keep the event loop going.
Seen: 9 MB of small messages stopped all requests for 3.8 s, and 102 MB became 4 GB. So what a body may hold is bounded
before it is parsed, and long work calls back into Python, where other threads can take the lock.
"""

import codecs
import json
import math
import re
import secrets
from typing import Any, NoReturn

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.errors import BodyTooLarge

MAX_CONTAINERS = 1 << 15
MAX_KEYS = 3 << 15
MAX_VALUES = 1 << 19
MAX_DEPTH = 256
MAX_STRING_BYTES = 32 << 20
MAX_SHORT_BYTES = 16 << 20
"""Of everything but long strings."""
MAX_DIGITS = 308
"""No float has more digits before its point."""
CONTAINER_BYTES, KEY_BYTES, VALUE_BYTES = 1024, 128, 64
"""Memory that each takes, with the values made from it."""
ASCII_TIMES, BASIC_TIMES, WIDE_TIMES = 3, 5, 8
"""Memory that a byte of the text takes: as received, as Python's string (whose widest character sets the width of all),
and in the request to the core. Measured: 97 MB of text with one emoji in each string took 812 MB."""
_BASIC = bytes(range(0xF0))  # The first byte of a character that is four bytes wide in Python is larger.
_LARGE_BYTES = 1 << 20
"""In texts of at least this size, long strings are decoded separately, in pieces."""
_LONG_BYTES, _PIECE_BYTES = 1 << 10, 1 << 18
_ESCAPE_CHARACTERS = 12
"""A pair of surrogates is the longest escape."""
_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_SURROGATES = re.compile(r"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(\\u[dD][c-fC-F][0-9a-fA-F]{2})?|[c-fC-F][0-9a-fA-F]{2})")
_HIGH_SURROGATE = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}")


class Census:
    """Counts a JSON text as its bytes arrive; a text beyond the bounds is refused before it is parsed."""

    def __init__(self) -> None:
        self.containers = self.keys = self.values = self._depth = 0
        self._bytes = 0
        self._times = ASCII_TIMES
        self._within = False  # a string
        self._rest = b""

    @property
    def memory_bytes(self) -> int:
        """What the text and the values made from it take at most."""
        values_bytes = self.containers * CONTAINER_BYTES + self.keys * KEY_BYTES + self.values * VALUE_BYTES
        return self._bytes * self._times + values_bytes

    def count(self, piece: bytes) -> None:
        """Count the next piece. Raises BodyTooLarge, InvalidRequest."""
        self._bytes += len(piece)
        if self._times < WIDE_TIMES and not piece.isascii():
            self._times = WIDE_TIMES if piece.translate(None, _BASIC) else BASIC_TIMES
        piece = self._rest + piece
        if b"\\" in piece:
            cut = len(piece) - (len(piece) - len(piece.rstrip(b"\\"))) % 2  # A last backslash waits for the next piece.
            piece, self._rest = piece[:cut].replace(b"\\\\", b"").replace(b'\\"', b""), piece[cut:]
        else:
            self._rest = b""
        parts = piece.split(b'"')
        outside = b"".join(parts[1 if self._within else 0 :: 2])
        self._within ^= len(parts) % 2 == 0
        containers = outside.count(b"{") + outside.count(b"[")
        self.containers += containers
        self.keys += outside.count(b":")
        self.values += outside.count(b",") + containers
        for count, most, what in (
            (self.containers, MAX_CONTAINERS, "objects and arrays"),
            (self.keys, MAX_KEYS, "keys"),
            (self.values, MAX_VALUES, "values"),
        ):
            if count > most:
                raise BodyTooLarge(f"the JSON of the request body has more than {most} {what}; send less")
        for bracket in outside.translate(None, _BRACKETS):
            self._depth += 1 if bracket in b"[{" else -1
            if self._depth > MAX_DEPTH:
                raise InvalidRequest(
                    f"the JSON of the request body nests deeper than {MAX_DEPTH} levels; send a flatter one"
                )


def read_json(body: bytes) -> Any:
    """The value of a JSON text that is within Census's bounds. Halves of surrogate pairs, which no text can hold,
    become U+FFFD, as in Go. Other threads run while a large text is parsed. Raises InvalidRequest, BodyTooLarge.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in body[:4]:
        raise InvalidRequest("the request body is UTF-16 or UTF-32; send JSON in UTF-8")
    long: dict[str, str] = {}
    try:
        if len(body) > _LARGE_BYTES:
            body, long = _without_long(body)
        value = json.loads(
            _mended(body.decode()),
            object_hook=_unchanged,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_no_constant,
        )
    except UnicodeError as error:
        raise InvalidRequest(f"the request body is not valid UTF-8: {error}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"the request body is not valid JSON: {error}") from error
    return _filled(value, long) if long else value


def _without_long(body: bytes) -> tuple[bytes, dict[str, str]]:
    """The text with a short name in place of each long string, and these strings by their names."""
    mark = secrets.token_hex(8)  # which no client can know
    pieces: list[bytes] = []
    long: dict[str, str] = {}
    kept = place = 0
    while (begin := body.find(b'"', place)) >= 0 and (end := _end(body, begin)) >= 0:
        if end - begin > MAX_STRING_BYTES:
            raise BodyTooLarge(
                f"a string of the request body has more than {MAX_STRING_BYTES} bytes; send a shorter one"
            )
        if end - begin > _LONG_BYTES:
            name = f"{mark}-{len(long)}"
            long[name] = _decoded(body, begin + 1, end)
            pieces += (body[kept : begin + 1], name.encode())
            kept = end
        place = end + 1
    short_bytes = sum(map(len, pieces)) + len(body) - kept
    if short_bytes > MAX_SHORT_BYTES:
        raise BodyTooLarge(
            f"the JSON of the request body has {short_bytes} bytes beside its long strings, and at most "
            f"{MAX_SHORT_BYTES} are allowed; send less"
        )
    return b"".join([*pieces, body[kept:]]), long


def _end(body: bytes, begin: int) -> int:
    """Where the string that begins here has its closing quote; -1 if it has none."""
    end = body.find(b'"', begin + 1)
    while end >= 0:
        before = end
        while body[before - 1] == 0x5C:  # a backslash
            before -= 1
        if (end - before) % 2 == 0:
            return end
        end = body.find(b'"', end + 1)
    return -1


def _decoded(body: bytes, begin: int, end: int) -> str:
    """The string between these quotes, decoded in pieces. Raises ValueError."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    pieces: list[str] = []
    rest = ""
    for place in range(begin, end, _PIECE_BYTES):
        last = place + _PIECE_BYTES >= end
        text = rest + decoder.decode(body[place : min(place + _PIECE_BYTES, end)], final=last)
        cut = len(text) if last else _cut(text)
        pieces.append(json.loads(f'"{_mended(text[:cut])}"'))
        rest = text[cut:]
    return "".join(pieces)


def _cut(text: str) -> int:
    """Where the text may be cut so that no escape, nor a pair of surrogates, is cut in two."""
    last = text.rfind("\\", max(0, len(text) - _ESCAPE_CHARACTERS))
    if last < 0 or not _begins_escape(text, last):
        return len(text)
    before = last - _ESCAPE_CHARACTERS // 2
    if before >= 0 and _HIGH_SURROGATE.match(text, before) and _begins_escape(text, before):
        return before
    return last


def _begins_escape(text: str, place: int) -> bool:
    """Whether the last of some backslashes begins an escape, and is not itself escaped."""
    run = place
    while run > 0 and text[run - 1] == "\\":
        run -= 1
    return (place - run) % 2 == 0


def _mended(text: str) -> str:
    """The JSON text with halves of surrogate pairs replaced."""
    if _SURROGATES.search(text) is None:
        return text
    # Between escaped backslashes, every backslash begins an escape.
    return "\\\\".join(_SURROGATES.sub(_whole, part) for part in text.split("\\\\"))


def _whole(escape: re.Match[str]) -> str:
    return escape[0] if escape[1] else "\\ufffd"


def _filled(value: Any, long: dict[str, str]) -> Any:
    if isinstance(value, str):
        return long.get(value, value)
    if isinstance(value, list):
        return [_filled(item, long) for item in value]
    if isinstance(value, dict):
        return {long.get(key, key): _filled(item, long) for key, item in value.items()}
    return value


def _unchanged(value: dict[str, Any]) -> dict[str, Any]:
    """In Python, so that other threads can run at every object."""
    return value


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number has {len(text)} digits; {MAX_DIGITS} are allowed")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:40]} is larger than a float can be")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
