"""POST /api/embed and its older form /api/embeddings."""

import json
import time
from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hypura.v1 import inference_pb2
from hypura_daemon.errors import InvalidRequest, ModelNotFound
from hypura_daemon.gateway.core import Core
from hypura_daemon.gateway.endpoint import Endpoint
from hypura_daemon.gateway.http.bodies import parsed
from hypura_daemon.gateway.http.streams import streamed, unless_gone
from hypura_daemon.gateway.http.writing import listed
from hypura_daemon.gateway.ollama.answers import nanoseconds
from hypura_daemon.gateway.ollama.loading import hold
from hypura_daemon.gateway.ollama.options import KeepAlive, Options, use_of
from hypura_daemon.gateway.shapes import Asked

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
    """Vectors of length 1; no text loads the model."""
    asked = await parsed(request, EmbedRequest)
    if not asked.model:
        raise ModelNotFound("model '' not found", "")
    texts = asked.input if isinstance(asked.input, list) else [asked.input] if asked.input else []
    began_seconds = time.monotonic()
    wanted = inference_pb2.EmbedRequest(
        model=asked.model,
        texts=texts,
        normalize=True,
        truncate=asked.truncate is not False,
        dimensions=asked.dimensions or 0,
        use=use_of(asked.keep_alive, asked.options),
    )
    answer = await _embedded(core, request, wanted)
    told = {
        "total_duration": nanoseconds(time.monotonic() - began_seconds),
        "load_duration": nanoseconds(answer.load_seconds),
        "prompt_eval_count": answer.prompt_tokens,
    }
    head = f'{{"model":{json.dumps(asked.model)},"embeddings":['.encode()
    tail = b"]," + json.dumps(told).encode()[1:]
    return await streamed(request, listed(head, answer.embeddings, _numbers, tail), "application/json", _cut_short)


def _numbers(number: int, values: Sequence[float]) -> bytes:
    return json.dumps(list(values)).encode()


def _cut_short(error: Exception) -> bytes:
    return b""  # a body that does not parse: its status is sent


async def embeddings(core: Core, request: Request) -> Response:
    """One vector, not normalised; no text loads the model."""
    asked = await parsed(request, EmbeddingsRequest)
    if not asked.model:
        raise InvalidRequest("model is required")
    wanted = inference_pb2.EmbedRequest(
        model=asked.model,
        texts=[asked.prompt] if asked.prompt else [],
        truncate=True,
        use=use_of(asked.keep_alive, asked.options),
    )
    answer = await _embedded(core, request, wanted)
    return JSONResponse({"embedding": list(answer.embeddings[0].values) if answer.embeddings else []})


async def _embedded(core: Core, request: Request, wanted: inference_pb2.EmbedRequest) -> inference_pb2.EmbedResponse:
    try:
        if wanted.texts:
            return await unless_gone(request, core.inference.embed(wanted))
        await hold(core, request, wanted.model, wanted.use)
    except ModelNotFound as error:
        raise ModelNotFound(f'model "{wanted.model}" not found, try pulling it first', "") from error
    return inference_pb2.EmbedResponse()


ENDPOINTS = (
    Endpoint("POST", "/api/embed", embed, "Embed texts", EmbedRequest, EmbedAnswer, errors=_ERRORS),
    Endpoint(
        "POST", "/api/embeddings", embeddings, "Embed one text", EmbeddingsRequest, EmbeddingsAnswer, errors=_ERRORS
    ),
)
