"""How far a pull or a creation is, as Ollama tells it: a line for each step, or only the last one."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hypura_daemon.gateway.http.streams import streamed, unless_gone
from hypura_daemon.gateway.ollama.errors import error_line
from hypura_daemon.models.pulling.progress import PullEvent, Stage

_SHOWN_DIGEST_CHARACTERS = 12


class Progress(BaseModel):
    """A line: what is done, and of a file which and how far."""

    status: str
    digest: str | None = None
    total: int | None = None
    completed: int | None = None


def progress_of(event: PullEvent) -> Progress:
    """The line of an event."""
    if isinstance(event, Stage):
        return Progress(status=event.text)
    short = event.file.removeprefix("sha256:")[:_SHOWN_DIGEST_CHARACTERS]
    return Progress(
        status=f"pulling {short}", digest=event.file, total=event.total_bytes, completed=event.completed_bytes
    )


async def told(request: Request, events: AsyncGenerator[PullEvent, None], *, stream: bool) -> Response:
    """The answer that tells the events as they come, or the success of them all."""
    if stream:
        return await streamed(request, _lines(events), "application/x-ndjson", error_line)
    await unless_gone(request, _drained(events))
    return JSONResponse({"status": "success"})


async def _lines(events: AsyncGenerator[PullEvent, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        async for event in events:
            yield json.dumps(progress_of(event).model_dump(exclude_none=True)).encode() + b"\n"


async def _drained(events: AsyncGenerator[PullEvent, None]) -> None:
    async with aclosing(events):
        async for _ in events:
            pass
