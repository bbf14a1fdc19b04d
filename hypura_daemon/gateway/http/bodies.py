"""Request bodies: read whole up to a bound, then checked against their shape.

pieces ─► decompressed ─► counted, within what all bodies may take together ─► parsed in a thread ─► shape
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from hypura_daemon.errors import InvalidRequest, ServerBusy
from hypura_daemon.gateway.errors import BodyTooLarge, BodyTooSlow, ClientGone
from hypura_daemon.gateway.http.encodings import unpacked
from hypura_daemon.gateway.http.json_text import (
    CONTAINER_BYTES,
    KEY_BYTES,
    MAX_CONTAINERS,
    MAX_KEYS,
    MAX_VALUES,
    VALUE_BYTES,
    Census,
    read_json,
)
from hypura_daemon.system.threads import REQUESTS

STALL_SECONDS = 60.0
ROOM_SECONDS = 10.0
ROOM_TIMES = 4
"""Memory for all bodies together, as a multiple of the largest body."""
FREE_BYTES = 1 << 18
"""Of each request, not counted against the room of all: small requests are served whatever large ones take."""
LARGE_BYTES = 1 << 14
"""Bodies of at least this size are parsed in a thread."""
_SHARE = "hypura.body"

Shape = TypeVar("Shape", bound=BaseModel)
T = TypeVar("T")


class Bodies:
    """The layer that bounds request bodies, each and together; a body counts until its request has ended."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app = app
        self._limit_bytes = limit_bytes
        values_bytes = MAX_CONTAINERS * CONTAINER_BYTES + MAX_KEYS * KEY_BYTES + MAX_VALUES * VALUE_BYTES
        self._room = Room(ROOM_TIMES * limit_bytes + values_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        share = scope[_SHARE] = Share(self._room, self._limit_bytes)
        try:
            await self._app(scope, receive, send)
        finally:
            share.give_back()


class Room:
    """Memory for all bodies and the values parsed from them."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.taken_bytes = 0
        self._freed = asyncio.Event()

    async def take(self, size_bytes: int) -> None:
        """Take so much as soon as it is free. Raises ServerBusy."""
        try:
            async with asyncio.timeout(ROOM_SECONDS):
                while self.taken_bytes + size_bytes > self.capacity_bytes:
                    await self._freed.wait()
        except TimeoutError as error:
            raise ServerBusy(
                f"the bodies of other requests take {self.taken_bytes} of {self.capacity_bytes} bytes; try again"
            ) from error
        self.taken_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Free so much."""
        self.taken_bytes -= size_bytes
        self._freed.set()
        self._freed = asyncio.Event()


class Share:
    """One request's part of the room."""

    def __init__(self, room: Room, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.body_bytes = 0
        self._room = room
        self._taken_bytes = 0

    async def grow(self, size_bytes: int) -> None:
        """Take more, up to so much in all. Raises ServerBusy, BodyTooLarge."""
        if size_bytes > self._room.capacity_bytes:
            raise BodyTooLarge(
                f"the request takes more than {self._room.capacity_bytes} bytes of memory to read; send less"
            )
        wanted_bytes = size_bytes - FREE_BYTES - self._taken_bytes
        if wanted_bytes > 0:
            await self._room.take(wanted_bytes)
            self._taken_bytes += wanted_bytes

    def give_back(self) -> None:
        """Free all of it: the request has ended."""
        if self._taken_bytes:
            self._room.give_back(self._taken_bytes)
            self._taken_bytes = 0


async def parsed(request: Request, shape: type[Shape]) -> Shape:
    """The body as `shape`. Its content type does not matter: curl -d sends JSON as a form.

    Raises InvalidRequest, BodyTooLarge, BodyTooSlow, UnsupportedEncoding, ServerBusy, ClientGone.
    """
    share: Share = request.scope[_SHARE]
    body = await _read(request, share)
    share.body_bytes = len(body)
    return await converted(request, shaped, body, shape)


async def converted(request: Request, work: Callable[..., T], *arguments: Any) -> T:
    """The result of work on a request's body, in a thread where that is large. Raises what it raises, ServerBusy."""
    if request.scope[_SHARE].body_bytes < LARGE_BYTES:
        return work(*arguments)
    return await REQUESTS(work, *arguments)


def shaped(body: bytes, shape: type[Shape]) -> Shape:
    """The body's JSON as `shape`. Pure; raises InvalidRequest, BodyTooLarge."""
    if not body.strip():
        raise InvalidRequest("missing request body")
    value = read_json(body)
    if not isinstance(value, dict):
        raise InvalidRequest(f"the request body is {_kind(value)}; give a JSON object")
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        raise InvalidRequest(_explained(error, value)) from error


async def _read(request: Request, share: Share) -> bytes:
    """The body, decompressed and counted."""
    too_large = BodyTooLarge(f"the request body has more than {share.limit_bytes} bytes; send less")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 18 or int(announced) > share.limit_bytes):
        raise too_large  # Before the body is sent: a client with Expect: 100-continue would wait for ever.
    body, census = bytearray(), Census()
    encoding = ",".join(request.headers.getlist("content-encoding"))
    async for piece in unpacked(encoding, _pieces(request.stream())):
        if len(body) + len(piece) > share.limit_bytes:
            raise too_large
        census.count(piece)
        await share.grow(census.memory_bytes)
        body += piece
    return bytes(body)


async def _pieces(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces of the body. Raises BodyTooSlow, ClientGone."""
    stream = aiter(stream)
    while True:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                piece = await anext(stream, None)
        except ClientDisconnect as error:
            raise ClientGone from error
        except TimeoutError as error:
            raise BodyTooSlow(
                f"no more of the request body has arrived for {STALL_SECONDS:g} seconds; send it again"
            ) from error
        if piece is None:
            return
        yield piece


def _explained(error: ValidationError, value: dict[str, Any]) -> str:
    """The first error, with its place and the value there."""
    detail = error.errors(include_url=False)[0]
    where = _where(detail["loc"], value, missing=detail["type"] == "missing")
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if detail["type"] == "missing":
        return f"{where} is required"
    return f"{where} is {_shown(detail['input'])}: {message[:1].lower()}{message[1:]}" if where else message


def _where(location: tuple[int | str, ...], value: Any, *, missing: bool) -> str:
    """The path of an error, without the members of unions that pydantic names in it, which no client has written."""
    place: list[str] = []
    for part in location:
        inside: Any = value
        if (isinstance(value, dict) and part in value) or (isinstance(value, list) and isinstance(part, int)):
            place.append(str(part))
            value = inside[part]
    if missing:
        place.append(str(location[-1]))
    return ".".join(place)


def _shown(value: Any) -> str:
    text = json.dumps(value[:60] if isinstance(value, str) else value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _kind(value: object) -> str:
    return {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(type(value), "a number")
