"""One route of the gateway: its handler, the parts of the daemon that it uses, and the shapes that document it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from hypura_daemon.inference import Inference
from hypura_daemon.models.manager import ModelManager
from hypura_daemon.models.registry import Registry
from hypura_daemon.residency.supervisor import Supervisor
from hypura_daemon.settings import Settings

ANSWER_ERRORS = (400, 404, 500, 503)
"""Statuses that a request for an answer may get."""


@dataclass(frozen=True, slots=True)
class Core:
    """The parts of the daemon that handlers use."""

    inference: Inference
    registry: Registry
    supervisor: Supervisor
    settings: Settings
    manager: ModelManager


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
