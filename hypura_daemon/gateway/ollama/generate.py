"""POST /api/generate: continue a prompt, through the model's template unless it is raw."""

from collections.abc import AsyncGenerator
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hypura.v1 import inference_pb2
from hypura_daemon.errors import InvalidRequest, ModelNotFound
from hypura_daemon.gateway.core import Core
from hypura_daemon.gateway.endpoint import Endpoint
from hypura_daemon.gateway.http.bodies import parsed
from hypura_daemon.gateway.http.streams import streamed, unless_gone
from hypura_daemon.gateway.ollama.answers import Event, Teller, collected, lines
from hypura_daemon.gateway.ollama.chat import NDJSON
from hypura_daemon.gateway.ollama.errors import error_line
from hypura_daemon.gateway.ollama.loading import held
from hypura_daemon.gateway.ollama.options import (
    AnswerRequest,
    limits_of,
    refuse_images,
    sampling_of,
    thinking_of,
    use_of,
)
from hypura_daemon.gateway.ollama.shapes import AnswerEnd, Logprob, ToldToolCall
from hypura_daemon.system.threads import FILES

TokenId = Annotated[int, Field(ge=0, le=(1 << 31) - 1)]


class GenerateRequest(AnswerRequest):
    """See Ollama's API."""

    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    context: list[TokenId] | None = None
    raw: bool | None = None
    images: list[str] | None = None


class GenerateAnswer(AnswerEnd):
    """The whole answer, or a line of it."""

    response: str
    thinking: str | None = None
    tool_calls: list[ToldToolCall] | None = None
    context: list[int] | None = None
    logprobs: list[Logprob] | None = None


def check(asked: GenerateRequest) -> None:
    """Raises InvalidRequest and ModelNotFound for what no model could do."""
    if not asked.model:
        raise ModelNotFound("model '' not found", "")
    refuse_images(asked.images)
    if asked.raw and (asked.template or asked.system or asked.context):
        raise InvalidRequest("raw mode does not support template, system, or context")


def verbatim(asked: GenerateRequest, *, report_prompt_ids: bool) -> inference_pb2.GenerateRequest:
    """The prompt as it is: raw, with a suffix, or for a model without a template. Pure."""
    return inference_pb2.GenerateRequest(
        model=asked.model,
        prompt=asked.prompt or "",
        suffix=asked.suffix or "",
        sampling=sampling_of(asked.options),
        limits=limits_of(asked),
        use=use_of(asked.keep_alive, asked.options),
        report_prompt_ids=report_prompt_ids,
        plain_text=not asked.raw,
    )


def as_chat(asked: GenerateRequest) -> inference_pb2.ChatRequest:
    """The prompt as a user's turn. Pure."""
    think, level = thinking_of(asked.think)
    messages = [inference_pb2.ChatMessage(role="system", content=asked.system)] if asked.system else []
    request = inference_pb2.ChatRequest(
        model=asked.model,
        messages=[*messages, inference_pb2.ChatMessage(role="user", content=asked.prompt or "")],
        sampling=sampling_of(asked.options),
        limits=limits_of(asked),
        use=use_of(asked.keep_alive, asked.options),
        think_level=level,
        think_if_able=True,
        template=asked.template or "",
        report_prompt_ids=True,
    )
    if asked.context:
        request.context.ids.extend(asked.context)
    if think is not None:
        request.think = think
    return request


async def generate(core: Core, request: Request) -> Response:
    """Answers it, or loads the model when there is no prompt."""
    asked = await parsed(request, GenerateRequest)
    check(asked)
    if not asked.prompt and not asked.suffix:
        return await held(core, request, asked, chat=False)
    teller = Teller(asked.model, chat=False, keeps_context=not asked.raw)
    events = await _events(core, asked)
    if asked.streams:
        return await streamed(request, lines(teller, events), NDJSON, error_line)
    return JSONResponse(await unless_gone(request, collected(teller, events)))


async def _events(core: Core, asked: GenerateRequest) -> AsyncGenerator[Event, None]:
    if asked.raw or asked.suffix:
        return core.inference.generate(verbatim(asked, report_prompt_ids=not asked.raw))
    chats = bool(asked.template) or await FILES(_has_template, core, asked.model, key=asked.model)
    if chats:
        return core.inference.chat(as_chat(asked))
    return core.inference.generate(verbatim(asked, report_prompt_ids=True))


def _has_template(core: Core, name: str) -> bool:
    entry = core.registry.get(name)
    return bool(entry.overrides.template or core.registry.model(entry).chat_template)


ENDPOINT = Endpoint(
    method="POST",
    path="/api/generate",
    handler=generate,
    summary="Continue a prompt (Ollama)",
    request=GenerateRequest,
    response=GenerateAnswer,
    stream=GenerateAnswer,
    errors=(400, 404, 500, 503),
)
