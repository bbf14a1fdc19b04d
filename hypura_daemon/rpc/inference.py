"""InferenceService: the rpcs of inference.py."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from hypura.v1 import inference_pb2, inference_pb2_grpc
from hypura_daemon.chat.request import from_proto
from hypura_daemon.inference import MAX_TEXTS, Inference
from hypura_daemon.system.threads import REQUESTS
from hypura_daemon.workers.process import MAX_MESSAGE_BYTES

_OVERHEAD_BYTES = 16 * MAX_TEXTS + 1024
"""What a message of vectors takes beside their numbers, at most."""


class InferenceServicer(inference_pb2_grpc.InferenceServiceServicer):
    """See inference.proto. Errors become statuses in errors.py."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    async def Generate(  # noqa: N802
        self, request: inference_pb2.GenerateRequest, context: Any
    ) -> AsyncIterator[inference_pb2.GenerateResponse]:
        """Continues a prompt."""
        async with aclosing(self._inference.generate(request)) as messages:
            async for message in messages:
                yield message

    async def Chat(  # noqa: N802
        self, request: inference_pb2.ChatRequest, context: Any
    ) -> AsyncIterator[inference_pb2.ChatResponse]:
        """Answers a conversation."""
        chat = await REQUESTS(from_proto, request)
        async with aclosing(self._inference.chat(chat)) as messages:
            async for message in messages:
                yield message

    async def Embed(  # noqa: N802
        self, request: inference_pb2.EmbedRequest, context: Any
    ) -> inference_pb2.EmbedResponse:
        """Turns texts into vectors."""
        return await self._inference.embed(request, MAX_MESSAGE_BYTES - _OVERHEAD_BYTES)

    async def Tokenize(  # noqa: N802
        self, request: inference_pb2.TokenizeRequest, context: Any
    ) -> inference_pb2.TokenizeResponse:
        """Turns text into token ids."""
        return await self._inference.tokenize(request)
