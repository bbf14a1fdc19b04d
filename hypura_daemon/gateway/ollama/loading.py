"""Requests without a prompt: they load the model, or unload it, and are answered by one object."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hypura.v1 import inference_pb2
from hypura_daemon.gateway.core import Core
from hypura_daemon.gateway.http.streams import unless_gone
from hypura_daemon.gateway.ollama.options import AnswerRequest, now, use_of
from hypura_daemon.system.threads import FILES


async def held(core: Core, request: Request, asked: AnswerRequest, *, chat: bool) -> Response:
    """Load the model as the request wants it held; with a keep_alive of 0, unload it. Raises HypuraError."""
    use = use_of(asked.keep_alive, asked.options)
    await hold(core, request, asked.model, use)
    empty: dict[str, Any] = {"message": {"role": "assistant", "content": ""}} if chat else {"response": ""}
    reason = "unload" if unloads(use) else "load"
    return JSONResponse({"model": asked.model, "created_at": now()} | empty | {"done": True, "done_reason": reason})


async def hold(core: Core, request: Request, model: str, use: inference_pb2.ModelUse) -> None:
    """The same without an answer. Raises HypuraError, ClientGone."""
    if unloads(use):
        await core.supervisor.retire((await FILES(core.registry.get, model, key=model)).name)
    else:
        await unless_gone(request, core.inference.hold(model, use))


def unloads(use: inference_pb2.ModelUse) -> bool:
    """Whether the model is to go at once."""
    return use.HasField("keep_alive_seconds") and use.keep_alive_seconds == 0
