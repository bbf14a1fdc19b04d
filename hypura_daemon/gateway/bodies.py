"""Request bodies: read whole up to a bound, then checked against their shape."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.errors import BodyTooLarge, BodyTooSlow

STALL_SECONDS = 60.0
Shape = TypeVar("Shape", bound=BaseModel)


async def parsed(request: Request, shape: type[Shape]) -> Shape:
    """The body as `shape`, whatever its content type says: curl -d calls JSON a form.

    Raises InvalidRequest, BodyTooLarge, BodyTooSlow.
    """
    return shaped(await _whole(request), shape)


def shaped(body: bytes, shape: type[Shape]) -> Shape:
    """The same for a body that has been read. Pure."""
    if not body.strip():
        raise InvalidRequest("missing request body")
    try:
        value = json.loads(body, parse_constant=_no_constant)
        if b"\\u" in body:
            # Half of a surrogate pair is JSON and yet no text.
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeError as error:
        raise InvalidRequest(f"the request body is not valid UTF-8: {error}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"the request body is no valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidRequest(f"the request body is {_kind(value)}; give a JSON object")
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        raise InvalidRequest(_explained(error, value)) from error


async def _whole(request: Request) -> bytes:
    limit_bytes: int = request.app.state.body_limit_bytes
    too_large = BodyTooLarge(f"the request body has more than {limit_bytes} bytes; send less")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 18 or int(announced) > limit_bytes):
        raise too_large  # Before it is sent: a client that waits to be asked for it would wait for ever.
    pieces, size_bytes = [], 0
    stream = aiter(request.stream())
    while (piece := await _next(stream)) is not None:
        size_bytes += len(piece)
        if size_bytes > limit_bytes:
            raise too_large
        pieces.append(piece)
    return b"".join(pieces)


async def _next(stream: AsyncIterator[bytes]) -> bytes | None:
    try:
        async with asyncio.timeout(STALL_SECONDS):
            return await anext(stream, None)
    except TimeoutError as error:
        raise BodyTooSlow(f"the rest of the request body has not come for {STALL_SECONDS:g} seconds") from error


def _explained(error: ValidationError, value: dict[str, Any]) -> str:
    """The first defect, with where it is and what was given."""
    detail = error.errors(include_url=False)[0]
    where = _where(detail["loc"], value, missing=detail["type"] == "missing")
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if detail["type"] == "missing":
        return f"{where} is required"
    return f"{where} is {_shown(detail['input'])}: {message[:1].lower()}{message[1:]}" if where else message


def _where(location: tuple[int | str, ...], value: Any, *, missing: bool) -> str:
    """The path of a defect. pydantic also names the members of unions that it tried, which no client has written."""
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
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _kind(value: object) -> str:
    return {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(type(value), "a number")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
