"""The WorkerService: gRPC on one side, the engine's thread on the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import NoReturn

import grpc
import structlog

from hypura.error_kinds import METADATA_KEY, grpc_code, name_of
from hypura.v1 import inference_pb2, worker_pb2, worker_pb2_grpc
from hypura.v1.errors_pb2 import ERROR_KIND_INTERNAL
from hypura_worker import runtime, wire
from hypura_worker.constraining.constraints import Constraints
from hypura_worker.constraining.matcher import Matcher
from hypura_worker.engine.embedding import normalize
from hypura_worker.engine.events import Event, Finished, next_events
from hypura_worker.engine.loop import Engine
from hypura_worker.engine.parameters import Limits, Sampling
from hypura_worker.engine.request import EmbedRequest, Request
from hypura_worker.engine.sampler import Sampler
from hypura_worker.errors import (
    LoadFailed,
    WorkerError,
)
from hypura_worker.loaded_model import LlamaModel
from hypura_worker.prompts import Prompts, plain_spans

Context = grpc.aio.ServicerContext[object, object]


class Worker(worker_pb2_grpc.WorkerServiceServicer):
    """Serves one model. on_end is called when the process should end, with the reason."""

    def __init__(self, on_end: Callable[[str], None]) -> None:
        self._on_end = on_end
        self._model: LlamaModel | None = None
        self._engine: Engine | None = None
        self._constraints: Constraints | None = None
        self._load_begun = False
        self._prompts = Prompts()

    async def Load(  # noqa: N802
        self, request: worker_pb2.WorkerLoadRequest, context: Context
    ) -> AsyncIterator[worker_pb2.WorkerLoadResponse]:
        """Loads the model as the plan says, once."""
        if self._load_begun:
            await _abort(context, LoadFailed("this worker has loaded a model already"))
        self._load_begun = True
        loop = asyncio.get_running_loop()
        shares: asyncio.Queue[float | None] = asyncio.Queue()

        def progress(share: float) -> None:
            loop.call_soon_threadsafe(shares.put_nowait, share)

        def load() -> LlamaModel:
            try:
                return LlamaModel(request.plan, progress)
            finally:
                loop.call_soon_threadsafe(shares.put_nowait, None)

        started, read_before = time.monotonic(), runtime.read_bytes()
        # A thread of its own, which ends: OpenMP keeps a team for every thread that has computed, and with more
        # threads than processors a waiting thread sleeps at once, hundreds of times a token.
        thread = ThreadPoolExecutor(1, "load")
        loading = loop.run_in_executor(thread, load)
        thread.shutdown(wait=False)
        while (share := await shares.get()) is not None:
            yield worker_pb2.WorkerLoadResponse(progress=share)
        try:
            self._model = await loading
        except WorkerError as error:
            await _abort(context, error)

        def on_broken(error: Exception) -> None:
            loop.call_soon_threadsafe(self._on_end, str(error))

        self._engine = Engine(self._model, on_broken)
        self._engine.start()
        read_after = runtime.read_bytes()
        bytes_read = 0 if read_before is None or read_after is None else read_after - read_before
        loaded = wire.loaded_model(self._model, time.monotonic() - started, bytes_read)
        yield worker_pb2.WorkerLoadResponse(loaded=loaded)

    async def Generate(  # noqa: N802
        self, request: worker_pb2.WorkerGenerateRequest, context: Context
    ) -> AsyncIterator[worker_pb2.WorkerGenerateResponse]:
        """Continues a prompt; a cancelled call ends it before the next pass."""
        structlog.contextvars.bind_contextvars(request_id=request.request_id)
        structlog.get_logger().debug("answering")
        try:
            model, engine = self._ready()
            prompt = await self._prompts.to_continue(model, request)
        except WorkerError as error:
            await _abort(context, error)
        try:
            async with self._matcher(model, request.constraint) as matcher:
                async for response in self._answer(model, engine, request, prompt, matcher):
                    yield response
        except WorkerError as error:
            await _abort(context, error)

    async def _answer(
        self,
        model: LlamaModel,
        engine: Engine,
        request: worker_pb2.WorkerGenerateRequest,
        prompt: list[int],
        matcher: Matcher | None,
    ) -> AsyncIterator[worker_pb2.WorkerGenerateResponse]:
        """The answer's messages. Raises WorkerError."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event] = asyncio.Queue()
        sampling, limits = Sampling.from_proto(request.sampling), Limits.from_proto(request.limits)
        sampler = await _make_sampler(sampling, limits, model, matcher)

        def emit(event: Event) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        visible = frozenset(request.visible_tokens)
        submitted = Request(request.request_id, prompt, sampling, limits, sampler, emit, visible)
        try:
            engine.submit(submitted)
        except WorkerError:
            sampler.close()
            raise
        try:
            while True:
                for event in await next_events(events):
                    if isinstance(event, Exception):
                        raise event
                    response = wire.generate_response(event, model.vocabulary)
                    if isinstance(event, Finished) and request.report_prompt_ids:
                        response.finished.prompt_ids.extend(prompt)
                    yield response
                    if isinstance(event, Finished):
                        return
        finally:
            engine.cancel(submitted)

    async def Embed(  # noqa: N802
        self, request: worker_pb2.WorkerEmbedRequest, context: Context
    ) -> AsyncIterator[worker_pb2.WorkerEmbedResponse]:
        """Turns texts into vectors, each sent when it is computed: together they may be too large for a message."""
        loop = asyncio.get_running_loop()
        answers: asyncio.Queue[inference_pb2.Embedding | Exception | None] = asyncio.Queue()

        def emit(result: list[float] | Exception | None) -> None:
            if isinstance(result, list):  # four bytes a number from here on
                vector = normalize(result) if request.normalize else result
                loop.call_soon_threadsafe(answers.put_nowait, inference_pb2.Embedding(values=vector))
            else:
                loop.call_soon_threadsafe(answers.put_nowait, result)

        try:
            model, engine = self._ready()
            texts = await self._prompts.to_embed(model, request, engine.embed_tokens)
            submitted = EmbedRequest(texts, emit)
            engine.submit(submitted)
        except WorkerError as error:
            await _abort(context, error)
        try:
            prompt_tokens = sum(map(len, texts))
            while (answer := await answers.get()) is not None:
                if isinstance(answer, Exception):
                    await _abort(context, answer)
                yield worker_pb2.WorkerEmbedResponse(embeddings=[answer], prompt_tokens=prompt_tokens)
                prompt_tokens = 0
        finally:
            engine.cancel(submitted)

    async def Tokenize(  # noqa: N802
        self, request: worker_pb2.WorkerTokenizeRequest, context: Context
    ) -> worker_pb2.WorkerTokenizeResponse:
        """Turns text into token ids."""
        try:
            model, _ = self._ready()
            plain = plain_spans(request.plain_spans)
            tokens = await self._prompts.tokenize(
                model.vocabulary, request.text, add_special=request.add_special, plain=plain
            )
        except WorkerError as error:
            await _abort(context, error)
        return worker_pb2.WorkerTokenizeResponse(token_ids=tokens)

    async def Resize(  # noqa: N802
        self, request: worker_pb2.WorkerResizeRequest, context: Context
    ) -> worker_pb2.WorkerResizeResponse:
        """Keeps to another memory limit from the next pass on."""
        try:
            model, engine = self._ready()
            limit = await asyncio.wrap_future(engine.resize(request.memory_limit_bytes))
        except WorkerError as error:
            await _abort(context, error)
        slots = model.streamer.places if model.streamer is not None else 0
        return worker_pb2.WorkerResizeResponse(memory_limit_bytes=limit, slots=slots)

    async def Statistics(  # noqa: N802
        self, request: worker_pb2.WorkerStatisticsRequest, context: Context
    ) -> worker_pb2.WorkerStatisticsResponse:
        """Counters since the load."""
        if self._model is None or self._engine is None:
            return wire.memory_statistics()
        return wire.worker_statistics(self._engine.counters, self._model)

    def close(self) -> None:
        """End the engine and free the model."""
        if self._engine is not None:
            self._engine.stop()
        if self._constraints is not None:
            self._constraints.close()
        if self._model is not None:
            self._model.close()

    def _ready(self) -> tuple[LlamaModel, Engine]:
        if self._model is None or self._engine is None:
            raise LoadFailed("no model is loaded in this worker yet")
        return self._model, self._engine

    def _matcher(
        self, model: LlamaModel, constraint: worker_pb2.Constraint
    ) -> AbstractAsyncContextManager[Matcher | None]:
        """What the answer's format allows, for as long as the answer takes; None where it has no format."""
        if constraint.WhichOneof("form") is None:
            return nullcontext()
        if self._constraints is None:
            self._constraints = Constraints(model.vocabulary, model.plan.sequences + 1)
        return self._constraints.matcher(constraint)


async def _make_sampler(sampling: Sampling, limits: Limits, model: LlamaModel, matcher: Matcher | None) -> Sampler:
    """A sampler, made in a thread, and freed when the client leaves before it is made. Raises InvalidRequest."""

    def free(future: asyncio.Future[Sampler]) -> None:
        if not future.cancelled() and future.exception() is None:
            future.result().close()

    making = asyncio.get_running_loop().run_in_executor(
        None, Sampler, sampling, limits, model.vocabulary, model.ready().size_tokens, matcher
    )
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        making.add_done_callback(free)
        raise


async def _abort(context: Context, error: Exception) -> NoReturn:
    """End the call with the status of the error's kind, its message, and the kind's name in trailing metadata."""
    kind = error.kind if isinstance(error, WorkerError) else ERROR_KIND_INTERNAL
    code = grpc.StatusCode[grpc_code(kind)]
    if code is grpc.StatusCode.INTERNAL:
        structlog.get_logger().error("call failed", error=repr(error))
    await context.abort(code, str(error), ((METADATA_KEY, name_of(kind)),))
    raise error  # abort raises; this is for the type checker
