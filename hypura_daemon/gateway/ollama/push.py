"""POST /api/push: not supported, and it says so."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hypura_daemon.gateway.core import Core
from hypura_daemon.gateway.endpoint import Endpoint
from hypura_daemon.gateway.ollama.naming import Named

REFUSAL = "push is not supported: hypura uploads no models; use ollama push or huggingface_hub's hf upload"


async def push(core: Core, request: Request) -> Response:
    """Refuses."""
    return JSONResponse({"error": REFUSAL}, status_code=501)


ENDPOINT = Endpoint(
    method="POST",
    path="/api/push",
    handler=push,
    summary="Not supported",
    request=Named,
    errors=(501,),
)
