"""Runs the answers of a request and tells them, whole or as they come."""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol, TypeVar

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from hypura.v1 import inference_pb2
from hypura_daemon.gateway.answer import merged
from hypura_daemon.gateway.http.streams import streamed
from hypura_daemon.gateway.http.writing import written
from hypura_daemon.gateway.openai.errors import error_event

SSE = "text/event-stream"
ERRORS = (400, 404, 500, 503)
"""Statuses that a request for an answer may get."""
Event = TypeVar("Event", inference_pb2.ChatResponse, inference_pb2.GenerateResponse)
EventIn = TypeVar("EventIn", inference_pb2.ChatResponse, inference_pb2.GenerateResponse, contravariant=True)


class Writer(Protocol[EventIn]):
    """Writes a stream: begin, add for each event with its answer's index, end."""

    def begin(self) -> bytes: ...
    def add(self, index: int, event: EventIn) -> bytes: ...
    def end(self) -> bytes: ...


def told(body: BaseModel) -> Response:
    """A whole answer."""
    return Response(body.model_dump_json(), media_type="application/json")


async def streaming(request: Request, told: AsyncGenerator[bytes, None]) -> Response:
    """An answer as it comes; an error before its first piece is raised."""
    return await streamed(request, told, SSE, error_event)


def pieces(
    writer: Writer[Event], makers: Sequence[Callable[[], AsyncGenerator[Event, None]]]
) -> AsyncGenerator[bytes, None]:
    """The stream of several answers."""
    return written(merged(makers), lambda _: writer.begin(), lambda pair: writer.add(*pair), writer.end)
