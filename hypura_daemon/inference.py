"""One request, from its admission to its last token.

Knows neither gRPC's server nor HTTP: it takes and gives hypura.v1 messages, and raises errors.py's
errors. Closing an answer's iterator cancels it in the worker.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator
from contextlib import aclosing

from hypura.v1 import inference_pb2, worker_pb2
from hypura_daemon.chat.conversation import chat_template, template_messages, template_tools
from hypura_daemon.errors import InvalidRequest, WorkerFailed
from hypura_daemon.models.registry import Registry
from hypura_daemon.workers.snapshot import Lease
from hypura_daemon.workers.supervisor import Supervisor

MAX_TEXTS = 4096
MAX_TEXT_CHARACTERS = 1 << 24


class Inference:
    """Answers requests with the models that the supervisor loads."""

    def __init__(self, supervisor: Supervisor, registry: Registry) -> None:
        self._supervisor = supervisor
        self._registry = registry
        self._numbers = itertools.count(1)

    async def generate(
        self, request: inference_pb2.GenerateRequest
    ) -> AsyncGenerator[inference_pb2.GenerateResponse, None]:
        """Continues a prompt; the last message has `finished` set. Raises HypuraError."""
        asked = worker_pb2.WorkerGenerateRequest(sampling=request.sampling, limits=request.limits)
        match request.WhichOneof("input"):
            case "prompt":
                asked.prompt = _sized(request.prompt, "the prompt")
            case "prompt_ids":
                asked.prompt_ids.CopyFrom(request.prompt_ids)
            case _:
                raise InvalidRequest("the request has neither prompt nor prompt_ids; give one of them")
        name = await self._name(request.model)
        async with self._supervisor.lease(name) as lease, aclosing(self._answer(lease, asked)) as answer:
            async for message in answer:
                yield inference_pb2.GenerateResponse(
                    prefill=message.prefill if message.HasField("prefill") else None,
                    chunk=message.chunk if message.HasField("chunk") else None,
                    finished=message.finished if message.HasField("finished") else None,
                )

    async def chat(self, request: inference_pb2.ChatRequest) -> AsyncGenerator[inference_pb2.ChatResponse, None]:
        """Answers a conversation; the last message has `finished` set. Raises HypuraError."""
        from hypura_daemon.chat.templates import render  # jinja2 is not needed until somebody chats.

        messages, tools = template_messages(request.messages), template_tools(request.tools_json)
        name = await self._name(request.model)
        model = await asyncio.to_thread(self._registry.open, name)
        template = chat_template(model.metadata, name, with_tools=bool(tools))
        think = request.think if request.HasField("think") else None
        async with self._supervisor.lease(name) as lease:
            loaded = lease.loaded
            prompt = await asyncio.to_thread(
                render, template, messages, tools, think=think, bos=loaded.bos_text, eos=loaded.eos_text
            )
            if loaded.adds_bos and loaded.bos_text:
                # The tokenizer adds it: twice would be a prompt the model has never seen.
                prompt = prompt.removeprefix(loaded.bos_text)
            asked = worker_pb2.WorkerGenerateRequest(prompt=prompt, sampling=request.sampling, limits=request.limits)
            async with aclosing(self._answer(lease, asked)) as answer:
                async for message in answer:
                    yield inference_pb2.ChatResponse(
                        prefill=message.prefill if message.HasField("prefill") else None,
                        chunk=message.chunk if message.HasField("chunk") else None,
                        finished=message.finished if message.HasField("finished") else None,
                    )

    async def embed(self, request: inference_pb2.EmbedRequest) -> inference_pb2.EmbedResponse:
        """Turns texts into vectors. Raises HypuraError."""
        if not 1 <= len(request.texts) <= MAX_TEXTS:
            raise InvalidRequest(f"{len(request.texts)} texts were given; give 1 to {MAX_TEXTS}")
        for text in request.texts:
            _sized(text, "a text")
        asked = worker_pb2.WorkerEmbedRequest(
            texts=request.texts, normalize=request.normalize, truncate=request.truncate
        )
        async with self._supervisor.lease(await self._name(request.model)) as lease:
            answer = await lease.worker.embed(asked)
        return inference_pb2.EmbedResponse(embeddings=answer.embeddings, prompt_tokens=answer.prompt_tokens)

    async def tokenize(self, request: inference_pb2.TokenizeRequest) -> inference_pb2.TokenizeResponse:
        """Turns text into token ids. Raises HypuraError."""
        asked = worker_pb2.WorkerTokenizeRequest(text=_sized(request.text, "the text"), add_special=request.add_special)
        async with self._supervisor.lease(await self._name(request.model)) as lease:
            answer = await lease.worker.tokenize(asked)
        return inference_pb2.TokenizeResponse(token_ids=answer.token_ids)

    async def _name(self, given: str) -> str:
        """The registered name; in a thread, since the registry looks at the models folder."""
        return (await asyncio.to_thread(self._registry.get, given)).name

    async def _answer(
        self, lease: Lease, asked: worker_pb2.WorkerGenerateRequest
    ) -> AsyncGenerator[worker_pb2.WorkerGenerateResponse, None]:
        asked.request_id = f"r{next(self._numbers)}"
        async with aclosing(lease.worker.generate(asked)) as messages:
            async for message in messages:
                if message.HasField("finished"):
                    message.finished.load_seconds = lease.load_seconds
                    yield message
                    return
                yield message
        raise WorkerFailed(f"worker {lease.worker.pid} ended answer {asked.request_id} without a result; ask again")


def _sized(text: str, what: str) -> str:
    if len(text) > MAX_TEXT_CHARACTERS:
        raise InvalidRequest(f"{what} has {len(text)} characters; {MAX_TEXT_CHARACTERS} are allowed")
    return text
