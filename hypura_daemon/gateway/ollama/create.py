"""POST /api/create: a model out of another, or out of uploaded files."""

from typing import Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.core import Core
from hypura_daemon.gateway.endpoint import Endpoint
from hypura_daemon.gateway.http.bodies import converted, parsed
from hypura_daemon.gateway.ollama.naming import Named
from hypura_daemon.gateway.ollama.progress import Progress, told
from hypura_daemon.gateway.shapes import Asked
from hypura_daemon.models.manager import Creation, creation_from_files, creation_of
from hypura_daemon.models.modelfile import Modelfile, make_overrides, parse_modelfile
from hypura_daemon.models.overrides import checked_pairs, parameter_pairs


class ExampleMessage(Asked):
    """A message that every conversation begins with."""

    role: str
    content: str = ""


class CreateRequest(Named):
    """What to make; `modelfile` is the older form of all the others."""

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
    """Makes the model, telling how far it is."""
    asked = await parsed(request, CreateRequest)
    creation = await converted(request, creation_asked, asked)
    return await told(request, core.shop.create(creation), stream=asked.stream is not False)


def creation_asked(asked: CreateRequest) -> Creation:
    """What is to be made. Raises InvalidRequest for what hypura does not do."""
    name = asked.wanted()
    if asked.quantize:
        raise InvalidRequest("quantize is not supported; make a quantized file with llama-quantize and give that")
    if asked.adapters:
        raise InvalidRequest("adapters (LoRA) are not supported; merge them into the model and give that")
    if asked.modelfile:
        return creation_of(name, parse_modelfile(asked.modelfile))
    license = "\n".join(asked.license) if isinstance(asked.license, list) else asked.license
    overrides = make_overrides(
        asked.template or "",
        asked.system or "",
        checked_pairs(parameter_pairs(asked.parameters or {})),
        [(message.role, message.content) for message in asked.messages or []],
        license or "",
    )
    if asked.files:
        return creation_from_files(name, asked.files, overrides)
    if not asked.base:
        raise InvalidRequest("neither 'from' or 'files' was specified")
    return creation_of(name, Modelfile(asked.base, overrides))


ENDPOINT = Endpoint(
    method="POST",
    path="/api/create",
    handler=create,
    summary="Make a model out of another, or out of an uploaded file",
    request=CreateRequest,
    response=Progress,
    stream=Progress,
    errors=(400, 404, 502),
)
