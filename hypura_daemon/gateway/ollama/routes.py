"""Ollama's routes for answers: generate, chat, embed. A request without a prompt loads the model, or unloads it."""

import json
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hypura.v1 import inference_pb2
from hypura_daemon.errors import InvalidRequest, ModelNotFound
from hypura_daemon.gateway.endpoint import ANSWER_ERRORS, Core, Endpoint
from hypura_daemon.gateway.http.bodies import converted, parsed
from hypura_daemon.gateway.http.streams import listed, streamed, unless_gone
from hypura_daemon.gateway.ollama import listing, models
from hypura_daemon.gateway.ollama.answers import (
    ChatAnswer,
    EmbedAnswer,
    EmbeddingsAnswer,
    GenerateAnswer,
    nanoseconds,
    now,
)
from hypura_daemon.gateway.ollama.errors import error_line
from hypura_daemon.gateway.ollama.requests import (
    AnswerRequest,
    ChatRequest,
    EmbeddingsRequest,
    EmbedRequest,
    GenerateRequest,
    as_chat,
    chat_request,
    check_generate,
    use_of,
    verbatim,
)
from hypura_daemon.gateway.ollama.stream import NDJSON, Event, Teller, collected, lines
from hypura_daemon.system.threads import FILES


async def held(core: Core, request: Request, body: AnswerRequest, *, chat: bool) -> Response:
    """Load the model as the request wants it held; with a keep_alive of 0, unload it. Raises HypuraError."""
    use = use_of(body.keep_alive, body.options)
    await hold(core, request, body.model, use)
    empty: dict[str, Any] = {"message": {"role": "assistant", "content": ""}} if chat else {"response": ""}
    reason = "unload" if unloads(use) else "load"
    return JSONResponse({"model": body.model, "created_at": now()} | empty | {"done": True, "done_reason": reason})


async def hold(core: Core, request: Request, model: str, use: inference_pb2.ModelUse) -> None:
    """The same without an answer. Raises HypuraError, ClientGone."""
    if unloads(use):
        await core.supervisor.retire((await FILES(core.registry.get, model, key=model)).name)
    else:
        await unless_gone(request, core.inference.hold(model, use))


def unloads(use: inference_pb2.ModelUse) -> bool:
    """Whether the model is to go at once."""
    return use.HasField("keep_alive_seconds") and use.keep_alive_seconds == 0


async def chat(core: Core, request: Request) -> Response:
    """Answers it, or loads the model when there is no message."""
    body = await parsed(request, ChatRequest)
    if not body.model:
        raise InvalidRequest("model is required")
    wanted = await converted(request, chat_request, body)
    if not wanted.messages:
        return await held(core, request, body, chat=True)
    teller = Teller(body.model, chat=True)
    events = core.inference.chat(wanted)
    if body.streams:
        return await streamed(request, lines(teller, events), NDJSON, error_line)
    return JSONResponse(await unless_gone(request, collected(teller, events)))


async def generate(core: Core, request: Request) -> Response:
    """Answers it, or loads the model when there is no prompt."""
    body = await parsed(request, GenerateRequest)
    check_generate(body)
    if not body.prompt and not body.suffix:
        return await held(core, request, body, chat=False)
    teller = Teller(body.model, chat=False, keeps_context=not body.raw)
    events = await _events(core, body)
    if body.streams:
        return await streamed(request, lines(teller, events), NDJSON, error_line)
    return JSONResponse(await unless_gone(request, collected(teller, events)))


async def _events(core: Core, body: GenerateRequest) -> AsyncGenerator[Event, None]:
    if body.raw or body.suffix:
        return core.inference.generate(verbatim(body, report_prompt_ids=not body.raw))
    chats = bool(body.template) or await FILES(_has_template, core, body.model, key=body.model)
    if chats:
        return core.inference.chat(as_chat(body))
    return core.inference.generate(verbatim(body, report_prompt_ids=True))


def _has_template(core: Core, name: str) -> bool:
    entry = core.registry.get(name)
    return bool(entry.overrides.template or core.registry.model(entry).chat_template)


async def embed(core: Core, request: Request) -> Response:
    """Vectors of length 1; no text loads the model."""
    body = await parsed(request, EmbedRequest)
    if not body.model:
        raise ModelNotFound("model '' not found", "")
    texts = body.input if isinstance(body.input, list) else [body.input] if body.input else []
    began_seconds = time.monotonic()
    wanted = inference_pb2.EmbedRequest(
        model=body.model,
        texts=texts,
        normalize=True,
        truncate=body.truncate is not False,
        dimensions=body.dimensions or 0,
        use=use_of(body.keep_alive, body.options),
    )
    answer = await _embedded(core, request, wanted)
    told = {
        "total_duration": nanoseconds(time.monotonic() - began_seconds),
        "load_duration": nanoseconds(answer.load_seconds),
        "prompt_eval_count": answer.prompt_tokens,
    }
    head = f'{{"model":{json.dumps(body.model)},"embeddings":['.encode()
    tail = b"]," + json.dumps(told).encode()[1:]
    return await streamed(request, listed(head, answer.embeddings, _numbers, tail), "application/json", _cut_short)


def _numbers(number: int, values: Sequence[float]) -> bytes:
    return json.dumps(list(values)).encode()


def _cut_short(error: Exception) -> bytes:
    return b""  # a body that does not parse: its status is sent


async def embeddings(core: Core, request: Request) -> Response:
    """One vector, not normalised; no text loads the model."""
    body = await parsed(request, EmbeddingsRequest)
    if not body.model:
        raise InvalidRequest("model is required")
    wanted = inference_pb2.EmbedRequest(
        model=body.model,
        texts=[body.prompt] if body.prompt else [],
        truncate=True,
        use=use_of(body.keep_alive, body.options),
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
    Endpoint(
        method="POST",
        path="/api/generate",
        handler=generate,
        summary="Continue a prompt (Ollama)",
        request=GenerateRequest,
        response=GenerateAnswer,
        stream=GenerateAnswer,
        errors=ANSWER_ERRORS,
    ),
    Endpoint(
        method="POST",
        path="/api/chat",
        handler=chat,
        summary="Answer a conversation (Ollama)",
        request=ChatRequest,
        response=ChatAnswer,
        stream=ChatAnswer,
        errors=ANSWER_ERRORS,
    ),
    Endpoint("POST", "/api/embed", embed, "Embed texts", EmbedRequest, EmbedAnswer, errors=ANSWER_ERRORS),
    Endpoint(
        method="POST",
        path="/api/embeddings",
        handler=embeddings,
        summary="Embed one text",
        request=EmbeddingsRequest,
        response=EmbeddingsAnswer,
        errors=ANSWER_ERRORS,
    ),
    *listing.ENDPOINTS,
    *models.ENDPOINTS,
)
