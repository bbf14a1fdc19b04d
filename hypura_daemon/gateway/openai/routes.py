"""OpenAI's routes: chat completions, completions, embeddings, models, and those of responses."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from hypura_daemon.gateway.answer import gathered
from hypura_daemon.gateway.endpoint import ANSWER_ERRORS, Core, Endpoint
from hypura_daemon.gateway.http.bodies import converted, parsed
from hypura_daemon.gateway.http.streams import streamed, unless_gone
from hypura_daemon.gateway.openai.answers import (
    ChatCompletion,
    ModelList,
    ModelObject,
    chat_completion,
    model_list,
    model_object,
    new_identity,
)
from hypura_daemon.gateway.openai.completions import (
    Completion,
    CompletionRequest,
    CompletionStream,
    completion,
    completion_requests,
)
from hypura_daemon.gateway.openai.embeddings import EmbeddingList, EmbeddingRequest, embed_request, embedding_list
from hypura_daemon.gateway.openai.requests import ChatCompletionRequest, chat_requests
from hypura_daemon.gateway.openai.responses.memory import ResponseMemory
from hypura_daemon.gateway.openai.responses.routes import Responses
from hypura_daemon.gateway.openai.stream import ChatCompletionChunk, ChatStream, event_stream, written_answers
from hypura_daemon.gateway.shapes import json_response
from hypura_daemon.system.threads import FILES


async def chat_completions(core: Core, request: Request) -> Response:
    """Answers a conversation."""
    body = await parsed(request, ChatCompletionRequest)
    makers = [partial(core.inference.chat, chat) for chat in await converted(request, chat_requests, body)]
    identity = new_identity("chatcmpl-", body.model)
    one_call = body.parallel_tool_calls is False
    if body.stream:
        writer = ChatStream(identity, len(makers), usage=body.usage_wanted, one_call=one_call)
        return await event_stream(request, written_answers(writer, makers))
    answers = await unless_gone(request, gathered(makers, one_call=one_call))
    return json_response(chat_completion(identity, answers, logprobs=bool(body.logprobs)))


async def completions(core: Core, request: Request) -> Response:
    """Continues prompts."""
    body = await parsed(request, CompletionRequest)
    makers = [partial(core.inference.generate, one) for one in await converted(request, completion_requests, body)]
    identity = new_identity("cmpl-", body.model)
    if body.stream:
        return await event_stream(request, written_answers(CompletionStream(identity, body), makers))
    return json_response(completion(identity, body, await unless_gone(request, gathered(makers))))


async def embeddings(core: Core, request: Request) -> Response:
    """Embeds texts."""
    body = await parsed(request, EmbeddingRequest)
    answer = await unless_gone(request, core.inference.embed(await converted(request, embed_request, body)))
    return await streamed(request, embedding_list(body, answer), "application/json", lambda error: b"")


async def models(core: Core, request: Request) -> Response:
    """Lists the models."""
    return await FILES(lambda: json_response(model_list(core.registry.list())), key="/")


async def model(core: Core, request: Request) -> Response:
    """Describes one model; its name may have slashes and a colon."""
    name = request.path_params["id"]
    return json_response(model_object(await FILES(core.registry.summary, name, key=name)))


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/chat/completions",
        handler=chat_completions,
        summary="Answer a conversation (OpenAI)",
        request=ChatCompletionRequest,
        response=ChatCompletion,
        stream=ChatCompletionChunk,
        errors=ANSWER_ERRORS,
    ),
    Endpoint(
        method="POST",
        path="/v1/completions",
        handler=completions,
        summary="Continue prompts (OpenAI)",
        request=CompletionRequest,
        response=Completion,
        stream=Completion,
        errors=ANSWER_ERRORS,
    ),
    Endpoint(
        method="POST",
        path="/v1/embeddings",
        handler=embeddings,
        summary="Turn texts into vectors (OpenAI)",
        request=EmbeddingRequest,
        response=EmbeddingList,
        errors=ANSWER_ERRORS,
    ),
    Endpoint(method="GET", path="/v1/models", handler=models, summary="List the models (OpenAI)", response=ModelList),
    Endpoint(
        method="GET",
        path="/v1/models/{id:path}",
        handler=model,
        summary="Tell of one model (OpenAI)",
        response=ModelObject,
        errors=(400, 404),
    ),
    *Responses(ResponseMemory()).endpoints(),
)
