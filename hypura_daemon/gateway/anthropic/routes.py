"""Anthropic's routes: messages, and the number of tokens in their prompts."""

from functools import partial

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from hypura_daemon.gateway.answer import gathered, new_id, written
from hypura_daemon.gateway.anthropic.answers import Message, TokenCount, message
from hypura_daemon.gateway.anthropic.errors import error_event
from hypura_daemon.gateway.anthropic.requests import CountRequest, MessagesRequest, chat_request, prompt_request
from hypura_daemon.gateway.anthropic.stream import MessageEvent, MessageStream
from hypura_daemon.gateway.endpoint import ANSWER_ERRORS, Core, Endpoint
from hypura_daemon.gateway.http.bodies import converted, parsed
from hypura_daemon.gateway.http.streams import streamed, unless_gone
from hypura_daemon.system.request_log import current


async def messages(core: Core, request: Request) -> Response:
    """Answers a conversation."""
    body = await parsed(request, MessagesRequest)
    chat = await converted(request, chat_request, body)
    message_id, request_id = new_id("msg_"), current().id
    if body.stream:
        writer = MessageStream(message_id, body.model, one_call=body.one_call)
        pieces = written(core.inference.chat(chat), writer.begin, writer.add, writer.end)
        failed = partial(error_event, request_id=request_id)
        return _identified(await streamed(request, pieces, "text/event-stream", failed), request_id)
    [answer] = await unless_gone(request, gathered([partial(core.inference.chat, chat)], one_call=body.one_call))
    return _json_response(message(message_id, body.model, answer), request_id)


async def count_tokens(core: Core, request: Request) -> Response:
    """Counts the tokens of a prompt."""
    body = await parsed(request, CountRequest)
    chat = await converted(request, prompt_request, body)
    counted = await unless_gone(request, core.inference.count_chat_tokens(chat))
    return _json_response(TokenCount(input_tokens=counted), current().id)


def _json_response(body: BaseModel, request_id: str) -> Response:
    return _identified(Response(body.model_dump_json(), media_type="application/json"), request_id)


def _identified(response: Response, request_id: str) -> Response:
    response.headers["request-id"] = request_id
    return response


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/messages",
        handler=messages,
        summary="Answer a conversation (Anthropic)",
        request=MessagesRequest,
        response=Message,
        stream=MessageEvent,
        errors=ANSWER_ERRORS,
    ),
    Endpoint(
        method="POST",
        path="/v1/messages/count_tokens",
        handler=count_tokens,
        summary="Count the tokens of a prompt (Anthropic)",
        request=CountRequest,
        response=TokenCount,
        errors=ANSWER_ERRORS,
    ),
)
