"""OpenAI's routes for responses: create, retrieve, delete."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from hypura_daemon.chat.request import ChatRequest
from hypura_daemon.errors import HypuraError, InvalidRequest
from hypura_daemon.gateway.answer import gathered, written
from hypura_daemon.gateway.endpoint import ANSWER_ERRORS, Core, Endpoint
from hypura_daemon.gateway.http.bodies import converted, parsed
from hypura_daemon.gateway.http.streams import unless_gone
from hypura_daemon.gateway.openai.answers import new_identity
from hypura_daemon.gateway.openai.errors import message_and_code, not_found
from hypura_daemon.gateway.openai.responses.answers import DeletedResponse, ResponseObject, answer_message
from hypura_daemon.gateway.openai.responses.memory import Conversation, Remembered, ResponseMemory
from hypura_daemon.gateway.openai.responses.requests import ResponseRequest, input_messages, response_request
from hypura_daemon.gateway.openai.responses.stream import ResponseEvent, ResponseStream, whole
from hypura_daemon.gateway.openai.stream import event_stream
from hypura_daemon.gateway.shapes import json_response

_PATH = "/v1/responses/{id}"


class Responses:
    """The routes, which share a memory."""

    def __init__(self, memory: ResponseMemory) -> None:
        self._memory = memory

    async def create(self, core: Core, request: Request) -> Response:
        """Answers an input."""
        body = await parsed(request, ResponseRequest)
        new = await converted(request, input_messages, body.input)
        conversation = await converted(request, self._before(body.previous_response_id).extended, new)
        chat = await converted(request, response_request, body, conversation.messages)
        stream = ResponseStream(new_identity("resp_", body.model), body)
        if body.stream:
            return await event_stream(request, self._events(stream, core, chat, body, conversation))
        [answer] = await unless_gone(
            request, gathered([partial(core.inference.chat, chat)], one_call=body.parallel_tool_calls is False)
        )
        response = whole(stream, answer)
        self._keep(stream, body, conversation)
        return json_response(response)

    async def retrieve(self, core: Core, request: Request) -> Response:
        """Returns a response that is kept."""
        remembered = self._memory.get(request.path_params["id"])
        if remembered is None:
            return not_found(_unknown(request.path_params["id"]))
        return Response(remembered.body, media_type="application/json")

    async def delete(self, core: Core, request: Request) -> Response:
        """Forgets a response."""
        response_id = request.path_params["id"]
        if not self._memory.forget(response_id):
            return not_found(_unknown(response_id))
        return json_response(DeletedResponse(id=response_id))

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints of these routes."""
        return (
            Endpoint(
                method="POST",
                path="/v1/responses",
                handler=self.create,
                summary="Answer an input (OpenAI)",
                request=ResponseRequest,
                response=ResponseObject,
                stream=ResponseEvent,
                errors=ANSWER_ERRORS,
            ),
            Endpoint(
                method="GET",
                path=_PATH,
                handler=self.retrieve,
                summary="Give a response again (OpenAI)",
                response=ResponseObject,
                errors=(404,),
            ),
            Endpoint(
                method="DELETE",
                path=_PATH,
                handler=self.delete,
                summary="Forget a response (OpenAI)",
                response=DeletedResponse,
                errors=(404,),
            ),
        )

    async def _events(
        self,
        stream: ResponseStream,
        core: Core,
        chat: ChatRequest,
        body: ResponseRequest,
        conversation: Conversation,
    ) -> AsyncGenerator[bytes, None]:
        def end() -> bytes:
            last = stream.end()
            self._keep(stream, body, conversation)
            return last

        pieces = written(core.inference.chat(chat), lambda _: stream.begin(), stream.add, end)
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    yield piece
        except HypuraError as error:
            if not stream.begun:
                raise
            message, code = message_and_code(error)
            yield stream.fail(code or "server_error", message)

    def _before(self, previous: str | None) -> Conversation:
        if previous is None:
            return Conversation()
        remembered = self._memory.get(previous)
        if remembered is None:
            raise InvalidRequest(f"previous_response_id: {_unknown(previous)}; send the whole conversation as input")
        return remembered.conversation

    def _keep(self, stream: ResponseStream, body: ResponseRequest, conversation: Conversation) -> None:
        if body.store is not False:
            answered = conversation.extended([answer_message(stream.answer)])
            text = stream.response.model_dump_json().encode()
            self._memory.keep(stream.response.id, Remembered(answered, text))


def _unknown(response_id: str) -> str:
    return f"there is no response {response_id[:80]!r}: it is too old, was not stored, or hypura was restarted since"
