"""HEAD and POST /api/blobs/{digest}: whether a file is here, and its upload, checked by its sha256."""

from starlette.requests import Request
from starlette.responses import Response

from hypura_daemon.gateway.core import Core
from hypura_daemon.gateway.endpoint import Endpoint
from hypura_daemon.models.pulling.download import in_thread

MAX_BLOB_BYTES = 1 << 44
PATH = "/api/blobs/{digest}"


async def find(core: Core, request: Request) -> Response:
    """200 if it is here, else 404."""
    path = core.shop.blobs.path(request.path_params["digest"])
    return Response(status_code=200 if await in_thread(path.is_file) else 404)


async def upload(core: Core, request: Request) -> Response:
    """Keeps it: 201 if it is new, 200 if it was here."""
    length = request.headers.get("content-length", "")
    size_bytes = min(int(length), MAX_BLOB_BYTES) if length.isascii() and length.isdigit() and len(length) < 18 else 0
    created = await core.shop.blobs.put(request.path_params["digest"], request.stream(), size_bytes)
    return Response(status_code=201 if created else 200)


ENDPOINTS = (
    Endpoint(method="HEAD", path=PATH, handler=find, summary="Say whether a blob is here", errors=(400, 404)),
    Endpoint(method="POST", path=PATH, handler=upload, summary="Upload a blob", errors=(400,)),
)
