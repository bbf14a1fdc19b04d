"""The WorkerService: gRPC on one side, the engine's thread on the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import NoReturn

import grpc
import structlog

from hypura.error_kinds import METADATA_KEY, grpc_code, name_of
from hypura.v1 import inference_pb2, worker_pb2, worker_pb2_grpc
from hypura.v1.errors_pb2 import ERROR_KIND_INTERNAL
from hypura_worker import runtime
from hypura_worker.constraining.constraints import Constraints
from hypura_worker.constraining.matcher import Matcher
from hypura_worker.engine.counters import RequestCounters
from hypura_worker.engine.embedding import normalized
from hypura_worker.engine.events import Chunk, Event, Finished, Logprob, Prefill, next_events
from hypura_worker.engine.loop import Engine
from hypura_worker.engine.parameters import Limits, Sampling
from hypura_worker.engine.request import EmbedRequest, Request
from hypura_worker.engine.sampler import Sampler
from hypura_worker.errors import (
    EngineBroken,
    LoadFailed,
    PromptTooLong,
    RequestError,
    WorkerError,
)
from hypura_worker.model import LlamaModel

_REASONS = {
    "stop": inference_pb2.FINISH_REASON_STOP,
    "length": inference_pb2.FINISH_REASON_LENGTH,
}

LONG_TEXT_CHARACTERS = 1 << 16
Context = grpc.aio.ServicerContext[object, object]


class Worker(worker_pb2_grpc.WorkerServiceServicer):
    """Serves one model. on_end is called when the process should end, with the reason."""

    def __init__(self, on_end: Callable[[str], None]) -> None:
        self._on_end = on_end
        self._model: LlamaModel | None = None
        self._engine: Engine | None = None
        self._constraints: Constraints | None = None
        self._load_begun = False
        self._tokenizing = ThreadPoolExecutor(2, "tokenize")
        self._tokenizing_long = ThreadPoolExecutor(1, "tokenize-long")

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
        # threads than processors its waits fall asleep at once, hundreds of times a token.
        thread = ThreadPoolExecutor(1, "load")
        loading = loop.run_in_executor(thread, load)
        thread.shutdown(wait=False)
        while (share := await shares.get()) is not None:
            yield worker_pb2.WorkerLoadResponse(progress=share)
        try:
            self._model = await loading
        except WorkerError as error:
            await _abort(context, error)

        def broken(error: Exception) -> None:
            loop.call_soon_threadsafe(self._on_end, str(error))

        self._engine = Engine(self._model, broken)
        self._engine.start()
        read_after = runtime.read_bytes()
        bytes_read = 0 if read_before is None or read_after is None else read_after - read_before
        yield worker_pb2.WorkerLoadResponse(loaded=self._loaded(time.monotonic() - started, bytes_read))

    async def Generate(  # noqa: N802
        self, request: worker_pb2.WorkerGenerateRequest, context: Context
    ) -> AsyncIterator[worker_pb2.WorkerGenerateResponse]:
        """Continues a prompt; a cancelled call ends it before the next pass."""
        structlog.contextvars.bind_contextvars(request_id=request.request_id)
        structlog.get_logger().debug("answering")
        try:
            model, running = self._ready()
            prompt = await self._prompt(model, request)
        except WorkerError as error:
            await _abort(context, error)
        try:
            async with self._bound(model, request.constraint) as matcher:
                async for response in self._answer(model, running, request, prompt, matcher):
                    yield response
        except WorkerError as error:
            await _abort(context, error)

    async def _answer(
        self,
        model: LlamaModel,
        running: Engine,
        request: worker_pb2.WorkerGenerateRequest,
        prompt: list[int],
        matcher: Matcher | None,
    ) -> AsyncIterator[worker_pb2.WorkerGenerateResponse]:
        """The answer's messages. Raises WorkerError."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event] = asyncio.Queue()
        sampling, limits = Sampling.from_proto(request.sampling), Limits.from_proto(request.limits)
        asked = Request(
            request.request_id,
            prompt,
            sampling,
            limits,
            await _sampler(sampling, limits, model, matcher),
            lambda event: _tell(loop, events, event),
            frozenset(request.visible_tokens),
        )
        try:
            running.submit(asked)
        except WorkerError:
            asked.sampler.close()
            raise
        try:
            while True:
                for event in await next_events(events):
                    if isinstance(event, Exception):
                        raise event
                    response = self._response(event)
                    if isinstance(event, Finished) and request.report_prompt_ids:
                        response.finished.prompt_ids.extend(prompt)
                    yield response
                    if isinstance(event, Finished):
                        return
        finally:
            running.cancel(asked)

    async def Embed(  # noqa: N802
        self, request: worker_pb2.WorkerEmbedRequest, context: Context
    ) -> AsyncIterator[worker_pb2.WorkerEmbedResponse]:
        """Turns texts into vectors, sent as they are computed: all of them may be larger than a message may be."""
        loop = asyncio.get_running_loop()
        answers: asyncio.Queue[inference_pb2.Embedding | Exception | None] = asyncio.Queue()

        def emit(result: list[float] | Exception | None) -> None:
            if isinstance(result, list):  # four bytes a number from here on
                vector = normalized(result) if request.normalize else result
                loop.call_soon_threadsafe(answers.put_nowait, inference_pb2.Embedding(values=vector))
            else:
                loop.call_soon_threadsafe(answers.put_nowait, result)

        try:
            model, running = self._ready()
            limit = min(running.embed_tokens, request.context_tokens or running.embed_tokens)
            texts = [await self._tokens(model, text) for text in request.texts]
            last = model.vocabulary.tokenize("")[-1:]
            for given in request.token_texts:
                texts.append(list(given.ids))
                model.vocabulary.check(texts[-1])
            for i, tokens in enumerate(texts):
                texts[i] = _beginning(tokens or [max(model.vocabulary.bos, 0)], limit, request.truncate, last)
            asked = EmbedRequest(texts, emit)
            running.submit(asked)
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
            running.cancel(asked)

    async def Tokenize(  # noqa: N802
        self, request: worker_pb2.WorkerTokenizeRequest, context: Context
    ) -> worker_pb2.WorkerTokenizeResponse:
        """Turns text into token ids."""
        try:
            model, _ = self._ready()
            plain = _spans(request.plain_spans)
            tokens = await self._tokens(model, request.text, add_special=request.add_special, plain=plain)
        except WorkerError as error:
            await _abort(context, error)
        return worker_pb2.WorkerTokenizeResponse(token_ids=tokens)

    async def Resize(  # noqa: N802
        self, request: worker_pb2.WorkerResizeRequest, context: Context
    ) -> worker_pb2.WorkerResizeResponse:
        """Keeps to another memory limit from the next pass on."""
        try:
            model, running = self._ready()
            limit = await asyncio.wrap_future(running.resize(request.memory_limit_bytes))
        except WorkerError as error:
            await _abort(context, error)
        slots = model.streamer.places if model.streamer is not None else 0
        return worker_pb2.WorkerResizeResponse(memory_limit_bytes=limit, slots=slots)

    async def Statistics(  # noqa: N802
        self, request: worker_pb2.WorkerStatisticsRequest, context: Context
    ) -> worker_pb2.WorkerStatisticsResponse:
        """Counters since the load."""
        statistics = worker_pb2.WorkerStatisticsResponse(
            rss_bytes=runtime.resident_bytes(), peak_rss_bytes=runtime.peak_resident_bytes()
        )
        if self._engine is not None and self._model is not None:
            counters = self._engine.counters
            statistics.active_requests = counters.active
            statistics.queued_requests = counters.queued
            statistics.finished_requests = counters.finished
            statistics.failed_requests = counters.failed
            statistics.prompt_tokens = counters.prompt_tokens
            statistics.output_tokens = counters.output_tokens
            statistics.forced_tokens = counters.forced_tokens
            statistics.passes = counters.passes
            statistics.forward_seconds = counters.forward_seconds
            statistics.bytes_read = counters.stream.bytes_read
            statistics.expert_hits = counters.stream.hits
            statistics.expert_misses = counters.stream.misses
            statistics.stall_seconds = counters.stream.stall_seconds
            statistics.prefetched_bytes = counters.stream.prefetched_bytes
            statistics.prefetched_used_bytes = counters.stream.prefetched_used_bytes
            if self._model.streamer is not None:
                statistics.slots = self._model.streamer.places
        return statistics

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

    def _bound(
        self, model: LlamaModel, constraint: worker_pb2.Constraint
    ) -> AbstractAsyncContextManager[Matcher | None]:
        if constraint.WhichOneof("form") is None:
            return nullcontext()
        if self._constraints is None:
            self._constraints = Constraints(model.vocabulary, model.plan.sequences + 1)
        return self._constraints.made(constraint)

    async def _prompt(self, model: LlamaModel, request: worker_pb2.WorkerGenerateRequest) -> list[int]:
        context = model.ready()
        if not context.generates:
            raise RequestError("this model only embeds; it cannot generate text")
        if request.WhichOneof("input") == "prompt_ids":
            tokens = list(request.prompt_ids.ids)
            model.vocabulary.check(tokens)
        else:
            tokens = await self._tokens(model, request.prompt, plain=_spans(request.plain_spans))
        if not tokens:
            tokens = [model.vocabulary.bos if model.vocabulary.bos >= 0 else model.vocabulary.eos]
            model.vocabulary.check(tokens)
        size = min(context.size_tokens, request.limits.context_tokens or context.size_tokens)
        room = max(1, min(request.limits.max_tokens if request.limits.max_tokens > 0 else size // 4, size // 2))
        return _fit(tokens, size - 1, size - room, request.limits.truncate)

    async def _tokens(
        self, model: LlamaModel, text: str, *, add_special: bool = True, plain: Sequence[tuple[int, int]] = ()
    ) -> list[int]:
        """Token ids, made in a thread. Long texts have one of their own: with threads in common, a few of them would
        hold up every other request."""
        threads = self._tokenizing_long if len(text) > LONG_TEXT_CHARACTERS else self._tokenizing
        work = partial(model.vocabulary.tokenize, text, add_special=add_special, plain=plain)
        return await asyncio.get_running_loop().run_in_executor(threads, work)

    def _loaded(self, seconds: float, bytes_read: int) -> worker_pb2.LoadedModel:
        model, _ = self._ready()
        vocabulary, context, streamer = model.vocabulary, model.ready(), model.streamer
        least_bytes, most_bytes = model.memory_limits
        return worker_pb2.LoadedModel(
            load_seconds=seconds,
            bytes_read=bytes_read,
            rss_bytes=runtime.resident_bytes(),
            slots=streamer.places if streamer is not None else 0,
            slot_bytes=streamer.place_bytes if streamer is not None else 0,
            vocabulary_tokens=vocabulary.size,
            bos_text=vocabulary.text(vocabulary.bos),
            eos_text=vocabulary.text(vocabulary.eos),
            adds_bos=vocabulary.adds_bos,
            embedding_length=context.embedding_length,
            can_generate=context.generates,
            context_tokens=context.size_tokens,
            min_memory_limit_bytes=least_bytes,
            max_memory_limit_bytes=most_bytes,
            control_texts=[text.decode() for text in vocabulary.controls if _is_text(text)],
        )

    def _response(self, event: Event) -> worker_pb2.WorkerGenerateResponse:
        match event:
            case Prefill(processed, total):
                return worker_pb2.WorkerGenerateResponse(
                    prefill=inference_pb2.PrefillProgress(processed_tokens=processed, prompt_tokens=total)
                )
            case Chunk(text, tokens, logprobs):
                return worker_pb2.WorkerGenerateResponse(
                    chunk=inference_pb2.TokenChunk(
                        text=text, token_ids=tokens, logprobs=[self._logprobs(entry) for entry in logprobs]
                    )
                )
            case Finished(reason, counters, seed, stop_string):
                return worker_pb2.WorkerGenerateResponse(
                    finished=inference_pb2.Finished(
                        reason=_REASONS[reason], statistics=_statistics(counters, seed), stop_string=stop_string
                    )
                )
        raise EngineBroken(f"the engine said {event!r}")

    def _logprobs(self, entry: Logprob) -> inference_pb2.TokenLogprobs:
        model, _ = self._ready()

        def one(token: int, logprob: float) -> inference_pb2.TokenLogprob:
            return inference_pb2.TokenLogprob(token_id=token, token=model.vocabulary.piece(token), logprob=logprob)

        return inference_pb2.TokenLogprobs(chosen=one(*entry.chosen), top=[one(*top) for top in entry.top])


def _spans(spans: Iterable[worker_pb2.TextSpan]) -> list[tuple[int, int]]:
    return [(span.start_bytes, span.length_bytes) for span in spans]


def _is_text(data: bytes) -> bool:
    """Whether it is UTF-8: no user can write a token that is not."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _free(made: asyncio.Future[Sampler]) -> None:
    if not made.cancelled() and made.exception() is None:
        made.result().close()


async def _sampler(sampling: Sampling, limits: Limits, model: LlamaModel, matcher: Matcher | None) -> Sampler:
    """A sampler, made outside the loop, and freed if nobody waits for it any more. Raises RequestError."""
    making = asyncio.get_running_loop().run_in_executor(
        None, Sampler, sampling, limits, model.vocabulary, model.ready().size_tokens, matcher
    )
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        making.add_done_callback(_free)
        raise


def _fit(tokens: list[int], limit: int, cut_to: int, truncate: bool) -> list[int]:
    """The tokens, cut from their start to `cut_to` if there are more than `limit` and that is allowed."""
    if len(tokens) > limit and not truncate:
        raise _too_long(tokens, limit)
    return tokens if len(tokens) <= limit else tokens[-cut_to:]


def _beginning(tokens: list[int], limit: int, truncate: bool, last: list[int]) -> list[int]:
    """The text to embed, without its end where it is too long and that is allowed; `last` is what ends every text.

    Pooling by the last token looks at the token that ends a text, so that stays.
    """
    if len(tokens) <= limit:
        return tokens
    if not truncate:
        raise _too_long(tokens, limit)
    kept = [] if tokens[-1:] != last or limit < 2 else last
    return tokens[: limit - len(kept)] + kept


def _too_long(tokens: list[int], limit: int) -> PromptTooLong:
    return PromptTooLong(
        f"the input length exceeds the context length: the prompt is too long, it has {len(tokens)} tokens, and at "
        f"most {limit} of them fit; shorten it, or ask for a larger context"
    )


def _statistics(counters: RequestCounters, seed: int) -> inference_pb2.RequestStatistics:
    decode_seconds = max(0.0, counters.last_token - counters.first_token)
    # Tokens that were computed after the first: one a pass, and the forced ones.
    tokens = counters.decode_passes + counters.forced_tokens
    looked_up = counters.hits + counters.misses
    return inference_pb2.RequestStatistics(
        prompt_tokens=counters.prompt_tokens,
        cached_tokens=counters.cached_tokens,
        output_tokens=counters.output_tokens,
        forced_tokens=counters.forced_tokens,
        queue_seconds=counters.started - counters.arrived,
        prefill_seconds=max(0.0, counters.first_token - counters.started),
        decode_seconds=decode_seconds,
        ttft_seconds=max(0.0, counters.first_token - counters.arrived),
        tok_per_second=tokens / decode_seconds if decode_seconds else 0.0,
        hit_rate=counters.hits / looked_up if looked_up else 1.0,
        bytes_read_per_token=counters.decode_bytes / tokens if tokens else 0.0,
        stall_seconds_per_token=counters.stall_seconds / tokens if tokens else 0.0,
        prefill_bytes_read=counters.prefill_bytes,
        worker_peak_rss_bytes=runtime.peak_resident_bytes(),
        seed=seed,
    )


def _tell(loop: asyncio.AbstractEventLoop, events: asyncio.Queue[Event], event: Event) -> None:
    loop.call_soon_threadsafe(events.put_nowait, event)


async def _abort(context: Context, error: Exception) -> NoReturn:
    """End the call with the status of the error's kind, its message, and the kind's name in trailing metadata."""
    kind = error.kind if isinstance(error, WorkerError) else ERROR_KIND_INTERNAL
    code = grpc.StatusCode[grpc_code(kind)]
    if code is grpc.StatusCode.INTERNAL:
        structlog.get_logger().error("call failed", error=repr(error))
    await context.abort(code, str(error), ((METADATA_KEY, name_of(kind)),))
    raise error  # abort raises; this is for the type checker
