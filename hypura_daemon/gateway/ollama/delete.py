"""DELETE /api/delete: forget a model, and delete what hypura fetched for it."""

from starlette.requests import Request
from starlette.responses import Response

from hypura_daemon.gateway.core import Core
from hypura_daemon.gateway.endpoint import Endpoint
from hypura_daemon.gateway.http.bodies import parsed
from hypura_daemon.gateway.ollama.naming import Named


async def delete(core: Core, request: Request) -> Response:
    """Removes it; one that others keep is refused."""
    asked = await parsed(request, Named)
    await core.shop.remove(asked.wanted())
    return Response(status_code=200)


ENDPOINT = Endpoint(
    method="DELETE",
    path="/api/delete",
    handler=delete,
    summary="Remove a model",
    request=Named,
    errors=(400, 404),
)
