"""POST /api/chat: answer a conversation."""

import json
from collections.abc import Sequence
from typing import Any

import structlog
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hypura.v1 import inference_pb2
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.core import Core
from hypura_daemon.gateway.endpoint import Endpoint
from hypura_daemon.gateway.http.bodies import converted, parsed
from hypura_daemon.gateway.http.streams import streamed, unless_gone
from hypura_daemon.gateway.ollama.answers import Teller, collected, lines
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
from hypura_daemon.gateway.openai.chat_request import known_role
from hypura_daemon.gateway.shapes import Asked

NDJSON = "application/x-ndjson"

_log = structlog.get_logger()


class AskedFunction(Asked):
    """Which tool a call is of."""

    name: str
    arguments: dict[str, Any] | str | None = None


class AskedToolCall(Asked):
    """A call that the model made earlier."""

    id: str | None = None
    function: AskedFunction


class AskedMessage(Asked):
    """One turn."""

    role: str
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[AskedToolCall] | None = None
    tool_name: str | None = None
    name: str | None = None
    tool_call_id: str | None = None


class ChatRequest(AnswerRequest):
    """See Ollama's API."""

    messages: list[AskedMessage] | None = None
    tools: list[dict[str, Any]] | None = None


class ToldMessage(BaseModel):
    """The model's turn, or a part of it."""

    role: str
    content: str
    thinking: str | None = None
    tool_calls: list[ToldToolCall] | None = None


class ChatAnswer(AnswerEnd):
    """The whole answer, or a line of it."""

    message: ToldMessage
    logprobs: list[Logprob] | None = None


def chat_request(asked: ChatRequest) -> inference_pb2.ChatRequest:
    """What the core is asked. Pure; raises InvalidRequest."""
    think, level = thinking_of(asked.think)
    request = inference_pb2.ChatRequest(
        model=asked.model,
        messages=[_message(message) for message in asked.messages or ()],
        tools_json=json.dumps(functions) if (functions := _functions(asked.tools or ())) else "",
        sampling=sampling_of(asked.options),
        limits=limits_of(asked),
        use=use_of(asked.keep_alive, asked.options),
        think_level=level,
        think_if_able=True,
    )
    if think is not None:
        request.think = think
    return request


def _functions(tools: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tools that are functions; others are not offered to the model."""
    functions = [tool for tool in tools if tool.get("type") in (None, "function")]
    if len(functions) < len(tools):
        types = sorted({str(tool["type"])[:40] for tool in tools if tool not in functions})
        _log.warning("tools that are no functions are not offered to the model", types=types)
    return functions


def _message(message: AskedMessage) -> inference_pb2.ChatMessage:
    refuse_images(message.images)
    calls = [
        {"id": call.id or "", "function": {"name": call.function.name, "arguments": call.function.arguments or {}}}
        for call in message.tool_calls or ()
    ]
    return inference_pb2.ChatMessage(
        role=known_role(message.role),
        content=message.content or "",
        thinking=message.thinking or "",
        tool_calls_json=json.dumps(calls) if calls else "",
        tool_name=message.tool_name or message.name or "",
        tool_call_id=message.tool_call_id or "",
    )


async def chat(core: Core, request: Request) -> Response:
    """Answers it, or loads the model when there is no message."""
    asked = await parsed(request, ChatRequest)
    if not asked.model:
        raise InvalidRequest("model is required")
    wanted = await converted(request, chat_request, asked)
    if not wanted.messages:
        return await held(core, request, asked, chat=True)
    teller = Teller(asked.model, chat=True)
    events = core.inference.chat(wanted)
    if asked.streams:
        return await streamed(request, lines(teller, events), NDJSON, error_line)
    return JSONResponse(await unless_gone(request, collected(teller, events)))


ENDPOINT = Endpoint(
    method="POST",
    path="/api/chat",
    handler=chat,
    summary="Answer a conversation (Ollama)",
    request=ChatRequest,
    response=ChatAnswer,
    stream=ChatAnswer,
    errors=(400, 404, 500, 503),
)
