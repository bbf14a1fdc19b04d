"""Ollama's routes for answers: generate, chat, embed. A request without a prompt loads the model, or unloads it."""

import json
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hypura.v1 import inference_pb2
from hypura_daemon.errors import InvalidRequest, ModelNotFound
from hypura_daemon.gateway.answer import listed
from hypura_daemon.gateway.endpoint import ANSWER_ERRORS, Core, Endpoint
from hypura_daemon.gateway.http.bodies import converted, parsed
from hypura_daemon.gateway.http.streams import streamed, unless_gone
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
    chat_request,
    check_generate,
    prompt_as_chat,
    use_of,
    verbatim_request,
)
from hypura_daemon.gateway.ollama.stream import NDJSON, AnswerWriter, Event, collected, lines
from hypura_daemon.system.threads import FILES


async def _load_or_unload(core: Core, request: Request, body: AnswerRequest, *, chat: bool) -> Response:
    """Answer a request without a prompt: load its model, or unload it where keep_alive is 0. Raises HypuraError."""
    use = use_of(body.keep_alive, body.options)
    await _hold(core, request, body.model, use)
    empty: dict[str, Any] = {"message": {"role": "assistant", "content": ""}} if chat else {"response": ""}
    reason = "unload" if _unloads(use) else "load"
    return JSONResponse({"model": body.model, "created_at": now()} | empty | {"done": True, "done_reason": reason})


async def _hold(core: Core, request: Request, model: str, use: inference_pb2.ModelUse) -> None:
    """Load the model, or unload it where keep_alive is 0. Raises HypuraError, ClientGone."""
    if _unloads(use):
        await core.supervisor.retire((await FILES(core.registry.get, model, key=model)).name)
    else:
        await unless_gone(request, core.inference.hold(model, use))


def _unloads(use: inference_pb2.ModelUse) -> bool:
    """Whether the model is to be unloaded at once."""
    return use.HasField("keep_alive_seconds") and use.keep_alive_seconds == 0


async def chat(core: Core, request: Request) -> Response:
    """Answers a conversation; without a message it loads the model."""
    body = await parsed(request, ChatRequest)
    if not body.model:
        raise InvalidRequest("model is required")
    core_request = await converted(request, chat_request, body)
    if not core_request.messages:
        return await _load_or_unload(core, request, body, chat=True)
    writer = AnswerWriter(body.model, chat=True)
    events = core.inference.chat(core_request)
    if body.streams:
        return await streamed(request, lines(writer, events), NDJSON, error_line)
    return JSONResponse(await unless_gone(request, collected(writer, events)))


async def generate(core: Core, request: Request) -> Response:
    """Continues a prompt, through the model's template unless it is raw; without a prompt it loads the model."""
    body = await parsed(request, GenerateRequest)
    check_generate(body)
    if not body.prompt and not body.suffix:
        return await _load_or_unload(core, request, body, chat=False)
    writer = AnswerWriter(body.model, chat=False, keeps_context=not body.raw)
    events = await _events(core, body)
    if body.streams:
        return await streamed(request, lines(writer, events), NDJSON, error_line)
    return JSONResponse(await unless_gone(request, collected(writer, events)))


async def _events(core: Core, body: GenerateRequest) -> AsyncGenerator[Event, None]:
    if body.raw or body.suffix:
        return core.inference.generate(verbatim_request(body, report_prompt_ids=not body.raw))
    chats = bool(body.template) or await FILES(_has_template, core, body.model, key=body.model)
    if chats:
        return core.inference.chat(prompt_as_chat(body))
    return core.inference.generate(verbatim_request(body, report_prompt_ids=True))


def _has_template(core: Core, name: str) -> bool:
    entry = core.registry.get(name)
    return bool(entry.overrides.template or core.registry.model(entry).chat_template)


async def embed(core: Core, request: Request) -> Response:
    """Embeds texts as vectors of length 1; without a text it loads the model."""
    body = await parsed(request, EmbedRequest)
    if not body.model:
        raise ModelNotFound("model '' not found", "")
    texts = body.input if isinstance(body.input, list) else [body.input] if body.input else []
    began_seconds = time.monotonic()
    core_request = inference_pb2.EmbedRequest(
        model=body.model,
        texts=texts,
        normalize=True,
        truncate=body.truncate is not False,
        dimensions=body.dimensions or 0,
        use=use_of(body.keep_alive, body.options),
    )
    answer = await _vectors(core, request, core_request)
    figures = {
        "total_duration": nanoseconds(time.monotonic() - began_seconds),
        "load_duration": nanoseconds(answer.load_seconds),
        "prompt_eval_count": answer.prompt_tokens,
    }
    head = f'{{"model":{json.dumps(body.model)},"embeddings":['.encode()
    tail = b"]," + json.dumps(figures).encode()[1:]
    return await streamed(request, listed(head, answer.embeddings, _numbers, tail), "application/json", _cut_short)


def _numbers(number: int, values: Sequence[float]) -> bytes:
    return json.dumps(list(values)).encode()


def _cut_short(error: Exception) -> bytes:
    return b""  # The status is sent already, so the body ends as JSON that does not parse.


async def embeddings(core: Core, request: Request) -> Response:
    """Embeds one text, not normalised; without a text it loads the model."""
    body = await parsed(request, EmbeddingsRequest)
    if not body.model:
        raise InvalidRequest("model is required")
    core_request = inference_pb2.EmbedRequest(
        model=body.model,
        texts=[body.prompt] if body.prompt else [],
        truncate=True,
        use=use_of(body.keep_alive, body.options),
    )
    answer = await _vectors(core, request, core_request)
    return JSONResponse({"embedding": list(answer.embeddings[0].values) if answer.embeddings else []})


async def _vectors(
    core: Core, request: Request, core_request: inference_pb2.EmbedRequest
) -> inference_pb2.EmbedResponse:
    try:
        if core_request.texts:
            return await unless_gone(request, core.inference.embed(core_request))
        await _hold(core, request, core_request.model, core_request.use)
    except ModelNotFound as error:
        raise ModelNotFound(f'model "{core_request.model}" not found, try pulling it first', "") from error
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
