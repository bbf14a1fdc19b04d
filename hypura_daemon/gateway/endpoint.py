"""One route: what serves it, and the shapes by which it is documented."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from hypura_daemon.gateway.core import Core


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`stream` is the shape of one item of a streamed answer; `errors` are the statuses that may come."""

    method: str
    path: str
    handler: Callable[[Core, Request], Awaitable[Response]]
    summary: str
    request: type[BaseModel] | None = None
    response: type[BaseModel] | None = None
    stream: type[BaseModel] | None = None
    errors: tuple[int, ...] = ()
