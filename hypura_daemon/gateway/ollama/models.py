"""Ollama's routes that change which models there are: create, copy, delete, blobs, pull; push is refused."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.dialects import refusal
from hypura_daemon.gateway.endpoint import Core, Endpoint
from hypura_daemon.gateway.http.bodies import converted, parsed
from hypura_daemon.gateway.http.streams import streamed, unless_gone
from hypura_daemon.gateway.ollama.errors import error_line
from hypura_daemon.gateway.ollama.requests import Named
from hypura_daemon.gateway.ollama.stream import NDJSON
from hypura_daemon.gateway.shapes import RequestShape
from hypura_daemon.models.manager import Creation, creation_from_files, creation_of
from hypura_daemon.models.modelfile import Modelfile, make_overrides, parse_modelfile
from hypura_daemon.models.overrides import checked_pairs, parameter_pairs
from hypura_daemon.models.pulling.download import in_thread
from hypura_daemon.models.pulling.progress import PullEvent, Stage

_SHOWN_DIGEST_CHARACTERS = 12
MAX_BLOB_BYTES = 1 << 44
_BLOB_PATH = "/api/blobs/{digest}"
REFUSAL = "push is not supported: hypura uploads no models; use ollama push or huggingface_hub's hf upload"


class Progress(BaseModel):
    """A line: the step under way; of a download, which file and how far."""

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


async def _progress_response(request: Request, events: AsyncGenerator[PullEvent, None], *, stream: bool) -> Response:
    """The events as they come, a line each, or one success at their end."""
    if stream:
        return await streamed(request, _lines(events), NDJSON, error_line)
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


class ExampleMessage(RequestShape):
    """A message that every conversation begins with."""

    role: str
    content: str = ""


class CreateRequest(Named):
    """The model to make; `modelfile` is the older form of all other fields."""

    stream: bool | None = None
    base: str | None = Field(default=None, alias="from")
    files: dict[str, str] | None = None
    adapters: dict[str, str] | None = None
    template: str | None = None
    license: str | list[str] | None = None
    system: str | None = None
    parameters: dict[str, Any] | None = None
    messages: list[ExampleMessage] | None = None
    quantize: str | None = None
    modelfile: str | None = None


async def create(core: Core, request: Request) -> Response:
    """Makes a model, and reports progress."""
    body = await parsed(request, CreateRequest)
    creation = await converted(request, creation_from, body)
    return await _progress_response(request, core.manager.create(creation), stream=body.stream is not False)


def creation_from(body: CreateRequest) -> Creation:
    """The creation that the request describes. Raises InvalidRequest for what hypura does not support."""
    name = body.model_name()
    if body.quantize:
        raise InvalidRequest("quantize is not supported; make a quantized file with llama-quantize and give that")
    if body.adapters:
        raise InvalidRequest("adapters (LoRA) are not supported; merge them into the model and give that")
    if body.modelfile:
        return creation_of(name, parse_modelfile(body.modelfile))
    license = "\n".join(body.license) if isinstance(body.license, list) else body.license
    overrides = make_overrides(
        body.template or "",
        body.system or "",
        checked_pairs(parameter_pairs(body.parameters or {})),
        [(message.role, message.content) for message in body.messages or []],
        license or "",
    )
    if body.files:
        return creation_from_files(name, body.files, overrides)
    if not body.base:
        raise InvalidRequest("neither 'from' or 'files' was specified")
    return creation_of(name, Modelfile(body.base, overrides))


class CopyRequest(RequestShape):
    """A model, and the name to add."""

    source: str = ""
    destination: str = ""


async def copy(core: Core, request: Request) -> Response:
    """Gives a model a second name."""
    body = await parsed(request, CopyRequest)
    if not body.source or not body.destination:
        raise InvalidRequest("source and destination are required; give the names of the model and of its copy")
    await core.manager.copy(body.source, body.destination)
    return Response(status_code=200)


async def delete(core: Core, request: Request) -> Response:
    """Removes a model and its downloaded files; a model that another store keeps is refused."""
    body = await parsed(request, Named)
    await core.manager.remove(body.model_name())
    return Response(status_code=200)


async def find_blob(core: Core, request: Request) -> Response:
    """200 if the blob is here, else 404."""
    path = core.manager.blobs.path(request.path_params["digest"])
    return Response(status_code=200 if await in_thread(path.is_file) else 404)


async def upload_blob(core: Core, request: Request) -> Response:
    """Keeps a blob, checked by its sha256: 201 if it is new, 200 if it was here."""
    length = request.headers.get("content-length", "")
    size_bytes = min(int(length), MAX_BLOB_BYTES) if length.isascii() and length.isdigit() and len(length) < 18 else 0
    created = await core.manager.blobs.put(request.path_params["digest"], request.stream(), size_bytes)
    return Response(status_code=201 if created else 200)


class PullRequest(Named):
    """The model to download."""

    insecure: bool | None = None
    stream: bool | None = None


async def pull(core: Core, request: Request) -> Response:
    """Downloads a model, and reports progress; a client that disconnects no longer waits for the download."""
    body = await parsed(request, PullRequest)
    events = core.manager.pull(body.model_name(), insecure=bool(body.insecure))
    return await _progress_response(request, events, stream=body.stream is not False)


async def push(core: Core, request: Request) -> Response:
    """Refuses: hypura uploads no models."""
    return refusal(request.url.path, 501, REFUSAL)


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/api/create",
        handler=create,
        summary="Make a model out of another, or out of an uploaded file",
        request=CreateRequest,
        response=Progress,
        stream=Progress,
        errors=(400, 404, 502),
    ),
    Endpoint(
        method="POST",
        path="/api/copy",
        handler=copy,
        summary="Give a model a second name",
        request=CopyRequest,
        errors=(400, 404),
    ),
    Endpoint(
        method="DELETE",
        path="/api/delete",
        handler=delete,
        summary="Remove a model",
        request=Named,
        errors=(400, 404),
    ),
    Endpoint(
        method="HEAD",
        path=_BLOB_PATH,
        handler=find_blob,
        summary="Say whether a blob is here",
        errors=(400, 404),
    ),
    Endpoint(method="POST", path=_BLOB_PATH, handler=upload_blob, summary="Upload a blob", errors=(400,)),
    Endpoint(
        method="POST",
        path="/api/pull",
        handler=pull,
        summary="Download a model",
        request=PullRequest,
        response=Progress,
        stream=Progress,
        errors=(400, 404, 502),
    ),
    Endpoint(method="POST", path="/api/push", handler=push, summary="Not supported", request=Named, errors=(501,)),
)
