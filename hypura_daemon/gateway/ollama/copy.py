"""POST /api/copy: a second name for a model."""

from starlette.requests import Request
from starlette.responses import Response

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.core import Core
from hypura_daemon.gateway.endpoint import Endpoint
from hypura_daemon.gateway.http.bodies import parsed
from hypura_daemon.gateway.shapes import Asked


class CopyRequest(Asked):
    """Which model, and the name to add."""

    source: str = ""
    destination: str = ""


async def copy(core: Core, request: Request) -> Response:
    """Names it."""
    asked = await parsed(request, CopyRequest)
    if not asked.source or not asked.destination:
        raise InvalidRequest("source and destination are required; give the names of the model and of its copy")
    await core.shop.copy(asked.source, asked.destination)
    return Response(status_code=200)


ENDPOINT = Endpoint(
    method="POST",
    path="/api/copy",
    handler=copy,
    summary="Give a model a second name",
    request=CopyRequest,
    errors=(400, 404),
)
