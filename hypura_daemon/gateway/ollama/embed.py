"""POST /api/embed and its older form /api/embeddings."""

import time
from collections.abc import Coroutine
from typing import Annotated, Any

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hypura.v1 import inference_pb2
from hypura_daemon.errors import ModelNotFound
from hypura_daemon.gateway.bodies import parsed
from hypura_daemon.gateway.core import Core
from hypura_daemon.gateway.endpoint import Endpoint
from hypura_daemon.gateway.ollama.answers import nanoseconds
from hypura_daemon.gateway.ollama.options import KeepAlive, Options, use_of
from hypura_daemon.gateway.shapes import Asked
from hypura_daemon.gateway.streams import unless_gone

_ERRORS = (400, 404, 500, 503)


class EmbedRequest(Asked):
    """See Ollama's API; truncate is true unless said otherwise."""

    model: str = ""
    input: str | list[str] | None = None
    truncate: bool | None = None
    dimensions: Annotated[int, Field(ge=0, le=1 << 20)] | None = None
    options: Options | None = None
    keep_alive: KeepAlive = None


class EmbedAnswer(BaseModel):
    """A vector of length 1 for each text."""

    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class EmbeddingsRequest(Asked):
    """The older form: one text."""

    model: str = ""
    prompt: str | None = None
    options: Options | None = None
    keep_alive: KeepAlive = None


class EmbeddingsAnswer(BaseModel):
    """One vector, as the model gives it."""

    embedding: list[float]


async def embed(core: Core, request: Request) -> Response:
    """Vectors of length 1."""
    asked = await parsed(request, EmbedRequest)
    texts = [asked.input] if isinstance(asked.input, str) else asked.input or []
    began_seconds = time.monotonic()
    wanted = inference_pb2.EmbedRequest(
        model=asked.model,
        texts=texts,
        normalize=True,
        truncate=asked.truncate is not False,
        dimensions=asked.dimensions or 0,
        use=use_of(asked.keep_alive, asked.options),
    )
    answer = await unless_gone(request, _embedded(core, wanted)) if texts else inference_pb2.EmbedResponse()
    return JSONResponse(
        {
            "model": asked.model,
            "embeddings": [list(vector.values) for vector in answer.embeddings],
            "total_duration": nanoseconds(time.monotonic() - began_seconds),
            "load_duration": 0,
            "prompt_eval_count": answer.prompt_tokens,
        }
    )


async def embeddings(core: Core, request: Request) -> Response:
    """One vector, not normalised; none for no text."""
    asked = await parsed(request, EmbeddingsRequest)
    wanted = inference_pb2.EmbedRequest(
        model=asked.model,
        texts=[asked.prompt or ""],
        truncate=True,
        use=use_of(asked.keep_alive, asked.options),
    )
    answer = await unless_gone(request, _embedded(core, wanted)) if asked.prompt else None
    return JSONResponse({"embedding": list(answer.embeddings[0].values) if answer is not None else []})


def _embedded(core: Core, wanted: inference_pb2.EmbedRequest) -> Coroutine[Any, Any, inference_pb2.EmbedResponse]:
    async def work() -> inference_pb2.EmbedResponse:
        try:
            return await core.inference.embed(wanted)
        except ModelNotFound as error:
            raise ModelNotFound(f'model "{wanted.model}" not found, try pulling it first', "") from error

    return work()


ENDPOINTS = (
    Endpoint("POST", "/api/embed", embed, "Embed texts", EmbedRequest, EmbedAnswer, errors=_ERRORS),
    Endpoint(
        "POST", "/api/embeddings", embeddings, "Embed one text", EmbeddingsRequest, EmbeddingsAnswer, errors=_ERRORS
    ),
)
