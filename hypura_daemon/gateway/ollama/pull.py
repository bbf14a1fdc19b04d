"""POST /api/pull: fetch a model from a registry or from Hugging Face."""

from starlette.requests import Request
from starlette.responses import Response

from hypura_daemon.gateway.core import Core
from hypura_daemon.gateway.endpoint import Endpoint
from hypura_daemon.gateway.http.bodies import parsed
from hypura_daemon.gateway.ollama.naming import Named
from hypura_daemon.gateway.ollama.progress import Progress, told


class PullRequest(Named):
    """What to fetch."""

    insecure: bool | None = None
    stream: bool | None = None


async def pull(core: Core, request: Request) -> Response:
    """Fetches it, telling how far it is; a client that hangs up ends its part."""
    asked = await parsed(request, PullRequest)
    events = core.shop.pull(asked.wanted(), insecure=bool(asked.insecure))
    return await told(request, events, stream=asked.stream is not False)


ENDPOINT = Endpoint(
    method="POST",
    path="/api/pull",
    handler=pull,
    summary="Download a model",
    request=PullRequest,
    response=Progress,
    stream=Progress,
    errors=(400, 404, 502),
)
