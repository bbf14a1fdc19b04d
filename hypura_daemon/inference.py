"""One request, from its admission to its last token.

Knows neither gRPC's server nor HTTP: it takes and gives hypura.v1 messages, and raises errors.py's
errors. Closing an answer's iterator cancels it in the worker.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager

import structlog

from hypura.v1 import inference_pb2, worker_pb2
from hypura_daemon.chat.answering import Answering
from hypura_daemon.chat.constraints import schema_grammar
from hypura_daemon.chat.defaults import limits_with, sampling_with, use_with
from hypura_daemon.chat.infill import InfillTokens, infill_tokens
from hypura_daemon.chat.job import ChatJob, chat_job
from hypura_daemon.errors import InvalidRequest, WorkerFailed
from hypura_daemon.models.entry import Entry
from hypura_daemon.models.model import Model
from hypura_daemon.models.overrides import Overrides, style_of
from hypura_daemon.models.registry import Registry
from hypura_daemon.tally import current
from hypura_daemon.workers.snapshot import Lease
from hypura_daemon.workers.supervisor import Supervisor

MAX_TEXTS = 4096
MAX_TEXT_CHARACTERS = 1 << 24

_log = structlog.get_logger()


class Inference:
    """Answers requests with the models that the supervisor loads."""

    def __init__(self, supervisor: Supervisor, registry: Registry, *, log_content: bool = False) -> None:
        self._supervisor = supervisor
        self._registry = registry
        self._log_content = log_content

    async def generate(
        self, request: inference_pb2.GenerateRequest
    ) -> AsyncGenerator[inference_pb2.GenerateResponse, None]:
        """Continues a prompt, or fills in what stands before a suffix; the last message has `finished` set.

        Raises HypuraError.
        """
        entry, model = await asyncio.to_thread(self._opened, request.model)
        current().model = entry.name
        if not model.generates:
            raise InvalidRequest(f'"{request.model}" does not support generate')
        parameters = entry.overrides.parameters
        asked = worker_pb2.WorkerGenerateRequest(
            sampling=sampling_with(request.sampling, parameters),
            limits=await asyncio.to_thread(_with_grammar, limits_with(request.limits, parameters)),
            report_prompt_ids=request.report_prompt_ids,
        )
        match request.WhichOneof("input"):
            case "prompt":
                asked.prompt = _sized(request.prompt, "the prompt")
            case "prompt_ids":
                asked.prompt_ids.CopyFrom(request.prompt_ids)
            case _ if not request.suffix:
                raise InvalidRequest("the request has neither prompt nor prompt_ids; give one of them")
        gap = None
        if request.suffix:
            _sized(request.suffix, "the suffix")
            gap = await asyncio.to_thread(_gap, request, model, entry.overrides, asked)
        use = use_with(request.use, parameters, model.hyperparameters.context_length)
        async with self._supervisor.lease(entry.name, use=use) as lease:
            if gap is not None:
                ids = await _infilled(lease, gap, asked, request.suffix)
                asked.prompt_ids.CopyFrom(inference_pb2.TokenIds(ids=ids))
            async with aclosing(self._answer(lease, asked)) as answer:
                async for message in answer:
                    yield inference_pb2.GenerateResponse(
                        prefill=message.prefill if message.HasField("prefill") else None,
                        chunk=message.chunk if message.HasField("chunk") else None,
                        finished=message.finished if message.HasField("finished") else None,
                    )

    async def chat(self, request: inference_pb2.ChatRequest) -> AsyncGenerator[inference_pb2.ChatResponse, None]:
        """Answers a conversation; the last message has `finished` set. Raises HypuraError."""
        name, job = await asyncio.to_thread(self._chat_job, request)
        current().model = name
        async with self._supervisor.lease(name, use=job.use) as lease:
            prompt = await self._chat_prompt(lease, job)
            asked = worker_pb2.WorkerGenerateRequest(
                prompt=prompt,
                sampling=job.sampling,
                limits=job.limits,
                visible_tokens=job.visible_tokens,
                report_prompt_ids=job.report_prompt_ids,
            )
            bound = await asyncio.to_thread(job.constraint, prompt)
            asked.limits.json_schema, asked.limits.grammar, asked.grammar_root = "", bound.text, bound.root
            if job.context:
                added = await _tokens(lease, prompt, add_special=False)
                asked.prompt_ids.CopyFrom(inference_pb2.TokenIds(ids=[*job.context, *added]))
            answering = Answering(job.parser(prompt))
            async with aclosing(self._answer(lease, asked)) as answer:
                async for message in answer:
                    for event in answering.events(message):
                        yield event

    async def count_chat_tokens(self, request: inference_pb2.ChatRequest) -> int:
        """Tokens of the prompt that `chat` would make of the request. Raises HypuraError."""
        name, job = await asyncio.to_thread(self._chat_job, request)
        current().model = name
        async with self._supervisor.lease(name, use=job.use) as lease:
            return await _length(lease, job, await asyncio.to_thread(_rendered, lease, job))

    async def hold(self, name: str, use: inference_pb2.ModelUse) -> None:
        """Loads the model as its answers will want it, so that the first need not load it anew. Raises HypuraError."""
        async with self._lease(name, use):
            pass

    async def embed(self, request: inference_pb2.EmbedRequest) -> inference_pb2.EmbedResponse:
        """Turns texts into vectors. Raises HypuraError."""
        count = len(request.texts) + len(request.token_texts)
        if not 1 <= count <= MAX_TEXTS:
            raise InvalidRequest(f"{count} texts were given; give 1 to {MAX_TEXTS}")
        for text in request.texts:
            _sized(text, "a text")
        asked = worker_pb2.WorkerEmbedRequest(
            texts=request.texts,
            token_texts=request.token_texts,
            normalize=request.normalize and not request.dimensions,
            truncate=request.truncate,
        )
        async with self._lease(request.model, request.use) as lease:
            answer = await lease.worker.embed(asked)
            load_seconds = lease.load_seconds
        current().prompt_tokens += answer.prompt_tokens
        vectors: Iterable[inference_pb2.Embedding] = answer.embeddings
        if request.dimensions:
            vectors = [_cut(vector.values, request.dimensions, request.normalize) for vector in vectors]
        return inference_pb2.EmbedResponse(
            embeddings=vectors, prompt_tokens=answer.prompt_tokens, load_seconds=load_seconds
        )

    async def tokenize(self, request: inference_pb2.TokenizeRequest) -> inference_pb2.TokenizeResponse:
        """Turns text into token ids. Raises HypuraError."""
        text = _sized(request.text, "the text")
        async with self._lease(request.model, request.use) as lease:
            return inference_pb2.TokenizeResponse(token_ids=await _tokens(lease, text, add_special=request.add_special))

    @asynccontextmanager
    async def _lease(self, name: str, asked: inference_pb2.ModelUse) -> AsyncIterator[Lease]:
        entry, model = await asyncio.to_thread(self._opened, name)
        current().model = entry.name
        use = use_with(asked, entry.overrides.parameters, model.hyperparameters.context_length)
        async with self._supervisor.lease(entry.name, use=use) as lease:
            yield lease

    def _opened(self, name: str) -> tuple[Entry, Model]:
        """In a thread, since the registry looks at the models' files."""
        entry = self._registry.get(name)
        return entry, self._registry.model(entry)

    def _chat_job(self, request: inference_pb2.ChatRequest) -> tuple[str, ChatJob]:
        entry, model = self._opened(request.model)
        return entry.name, chat_job(request, model, entry.overrides)

    async def _chat_prompt(self, lease: Lease, job: ChatJob) -> str:
        """The prompt; if it is too long and may be cut, without as many of the oldest messages as need be."""
        prompt = await asyncio.to_thread(_rendered, lease, job)
        size = lease.loaded.context_tokens
        if not job.limits.truncate or not size or len(prompt.encode()) + len(job.context) < size - 1:
            return prompt  # A token is a byte at least.
        if await _length(lease, job, prompt) < size:
            return prompt
        wanted = job.limits.max_tokens if job.limits.max_tokens > 0 else size // 4
        room = size - max(1, min(wanted, size // 2))
        starts, fitting = job.starts, ""
        low, high = 0, len(starts)
        while low < high:
            middle = (low + high) // 2
            shorter = await asyncio.to_thread(_rendered, lease, job, starts[middle])
            if await _length(lease, job, shorter) <= room:
                fitting, high = shorter, middle
            else:
                low = middle + 1
        _log.warning(
            "a conversation is too long", context_tokens=size, dropped_messages=starts[min(low, len(starts) - 1)]
        )
        return fitting or await asyncio.to_thread(_rendered, lease, job, starts[-1])

    async def _answer(
        self, lease: Lease, asked: worker_pb2.WorkerGenerateRequest
    ) -> AsyncGenerator[worker_pb2.WorkerGenerateResponse, None]:
        tally = current()
        asked.request_id = tally.answer_id()
        said: list[str] = []
        async with aclosing(lease.worker.generate(asked)) as messages:
            async for message in messages:
                if self._log_content:
                    said.append(message.chunk.text)
                if message.HasField("finished"):
                    tally.prompt_tokens += message.finished.statistics.prompt_tokens
                    tally.output_tokens += message.finished.statistics.output_tokens
                    if self._log_content:
                        _log.info("content", answer=asked.request_id, prompt=asked.prompt, output="".join(said))
                    message.finished.load_seconds = lease.load_seconds
                    yield message
                    return
                yield message
        raise WorkerFailed(f"worker {lease.worker.pid} ended answer {asked.request_id} without a result; ask again")


def _rendered(lease: Lease, job: ChatJob, first: int = 0) -> str:
    """The prompt without the token that the tokenizer adds: twice would be a prompt the model has never seen."""
    loaded = lease.loaded
    prompt = job.prompt(loaded.bos_text, loaded.eos_text, first)
    bos_is_there = job.context or loaded.adds_bos
    return prompt.removeprefix(loaded.bos_text) if bos_is_there and loaded.bos_text else prompt


async def _tokens(lease: Lease, text: str, *, add_special: bool) -> Sequence[int]:
    answer = await lease.worker.tokenize(worker_pb2.WorkerTokenizeRequest(text=text, add_special=add_special))
    return answer.token_ids


async def _length(lease: Lease, job: ChatJob, prompt: str) -> int:
    return len(job.context) + len(await _tokens(lease, prompt, add_special=not job.context))


def _gap(
    request: inference_pb2.GenerateRequest,
    model: Model,
    overrides: Overrides,
    asked: worker_pb2.WorkerGenerateRequest,
) -> InfillTokens | None:
    """What tells the model of the gap; None where its template has told it in the prompt. Raises InvalidRequest."""
    if overrides.template and style_of(overrides.template) == "go" and ".Suffix" in overrides.template:
        from hypura_daemon.chat.go_template import render_go

        data = {"Prompt": request.prompt, "Suffix": request.suffix, "Response": ""}
        asked.prompt = render_go(overrides.template, data)
        return None
    tokens = infill_tokens(model.metadata)
    if tokens is None:
        raise InvalidRequest(f'"{request.model}" does not support insert')
    return tokens


async def _infilled(
    lease: Lease, gap: InfillTokens, asked: worker_pb2.WorkerGenerateRequest, suffix: str
) -> Sequence[int]:
    before: Sequence[int] = list(asked.prompt_ids.ids)
    if asked.WhichOneof("input") != "prompt_ids":
        before = await _tokens(lease, asked.prompt, add_special=False)
    bos = await _tokens(lease, "", add_special=True)
    return gap.prompt(bos, before, await _tokens(lease, suffix, add_special=False))


def _with_grammar(limits: inference_pb2.Limits) -> inference_pb2.Limits:
    """The limits with the grammar that their JSON schema stands for. Raises InvalidRequest."""
    if limits.json_schema:
        if limits.grammar:
            raise InvalidRequest("grammar and json_schema are both set; give one of them")
        limits.grammar, limits.json_schema = schema_grammar(limits.json_schema), ""
    return limits


def _cut(values: Sequence[float], dimensions: int, normalize: bool) -> inference_pb2.Embedding:
    kept = values[:dimensions]
    length = math.sqrt(sum(value * value for value in kept)) if normalize else 1.0
    return inference_pb2.Embedding(values=[value / length for value in kept] if length else kept)


def _sized(text: str, what: str) -> str:
    if len(text) > MAX_TEXT_CHARACTERS:
        raise InvalidRequest(f"{what} has {len(text)} characters; {MAX_TEXT_CHARACTERS} are allowed")
    return text
