"""Answers requests: generate, chat, embed, tokenize, each from its request message to its last answer message.

It knows neither the gRPC server nor HTTP: it takes chat/request.py's ChatRequest and hypura.v1 messages, yields
hypura.v1 messages, and raises the errors of errors.py. Closing an answer's iterator cancels the answer in the worker.
"""

import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager

import structlog

from hypura.v1 import inference_pb2, worker_pb2
from hypura_daemon.chat.constraints import bare_constraint
from hypura_daemon.chat.defaults import limits_with, sampling_with, use_with
from hypura_daemon.chat.infill import InfillTokens, infill_tokens
from hypura_daemon.chat.job import ChatJob, chat_job
from hypura_daemon.chat.parts import Answering
from hypura_daemon.chat.prompts.control_texts import (
    NO_CONTROLS,
    ControlTexts,
    Prompt,
    control_texts,
    plain_text,
    rendered,
)
from hypura_daemon.chat.request import ChatRequest
from hypura_daemon.errors import InvalidRequest, WorkerFailed
from hypura_daemon.models.catalogue import Entry
from hypura_daemon.models.model import Model
from hypura_daemon.models.overrides import Overrides, style_of
from hypura_daemon.models.registry import Registry
from hypura_daemon.residency.context_lease import (
    ContextNeed,
    EmbedInput,
    Input,
    PromptInput,
    lease_with_context,
    max_tokens_of,
    token_ids,
)
from hypura_daemon.residency.lease import Lease
from hypura_daemon.residency.supervisor import Supervisor
from hypura_daemon.system.request_log import current
from hypura_daemon.system.threads import FILES, REQUESTS, TEMPLATES

MAX_TEXTS = 4096
MAX_TEXT_CHARACTERS = 1 << 24
FLOAT_BYTES = 4
MAX_VECTORS_BYTES = 128 << 20
"""Of one answer's vectors, 4 bytes a number: 4,096 of 8,192 dimensions."""

_log = structlog.get_logger()


class Inference:
    """Answers requests with the models that the supervisor loads.

    context_tokens: the context that a model is loaded with where no request names one.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        registry: Registry,
        *,
        context_tokens: int,
        log_content: bool = False,
    ) -> None:
        self._supervisor = supervisor
        self._registry = registry
        self._context_tokens = context_tokens
        self._log_content = log_content

    async def generate(
        self, request: inference_pb2.GenerateRequest
    ) -> AsyncGenerator[inference_pb2.GenerateResponse, None]:
        """Continues a prompt, or fills in what stands before a suffix; the last message has `finished` set.

        Raises HypuraError.
        """
        began_seconds = time.monotonic()
        entry, model = await FILES(self._opened, request.model, key=request.model)
        current().model = entry.name
        if not model.generates:
            raise InvalidRequest(f'"{request.model}" does not support generate')
        parameters = entry.overrides.parameters
        worker_request = worker_pb2.WorkerGenerateRequest(
            sampling=sampling_with(request.sampling, parameters),
            limits=limits_with(request.limits, parameters),
            report_prompt_ids=request.report_prompt_ids,
        )
        _set_constraint(worker_request, await REQUESTS(bare_constraint, worker_request.limits))
        _sized(request.prompt, "the prompt")
        if request.WhichOneof("input") is None and not request.suffix:
            raise InvalidRequest("the request has neither prompt nor prompt_ids; give one of them")
        gap = None
        if request.suffix:
            _sized(request.suffix, "the suffix")
            gap = _gap(request, model, entry.overrides)

        async def prompt(lease: Lease) -> PromptInput:
            if request.suffix:
                return await _filled(lease, gap, entry.overrides.template, request)
            return PromptInput(_given(request, request.prompt), tuple(request.prompt_ids.ids))

        trained_tokens = model.hyperparameters.context_length
        use = use_with(request.use, parameters, trained_tokens)
        need = ContextNeed(use, trained_tokens, max_tokens_of(worker_request.limits), worker_request.limits.truncate)
        async with self._lease_with_context(entry.name, need, prompt, request.ByteSize()) as (
            lease,
            model_input,
            context_tokens,
        ):
            load_seconds = time.monotonic() - began_seconds
            model_input.write_to(worker_request)
            worker_request.limits.context_tokens = context_tokens
            async with aclosing(self._answer(lease, worker_request, load_seconds)) as answer:
                async for message in answer:
                    yield inference_pb2.GenerateResponse(
                        prefill=message.prefill if message.HasField("prefill") else None,
                        chunk=message.chunk if message.HasField("chunk") else None,
                        finished=message.finished if message.HasField("finished") else None,
                    )

    async def chat(self, request: ChatRequest) -> AsyncGenerator[inference_pb2.ChatResponse, None]:
        """Answers a conversation; the last message has `finished` set. Raises HypuraError."""
        began_seconds = time.monotonic()
        name, job = await self._chat_job(request)
        current().model = name

        async def whole(lease: Lease) -> PromptInput:
            return PromptInput(await _rendered(lease, job), job.context)

        need = ContextNeed(job.use, job.trained_tokens, max_tokens_of(job.limits), job.limits.truncate)
        async with self._lease_with_context(name, need, whole, job.size_bytes) as (
            lease,
            model_input,
            context_tokens,
        ):
            load_seconds = time.monotonic() - began_seconds
            prompt = await self._chat_prompt(lease, job, model_input.prompt, context_tokens)
            worker_request = worker_pb2.WorkerGenerateRequest(
                prompt=prompt.text,
                plain_spans=prompt.spans,
                sampling=job.sampling,
                limits=job.limits,
                visible_tokens=job.visible_tokens,
                report_prompt_ids=job.report_prompt_ids,
            )
            worker_request.limits.context_tokens = context_tokens
            _set_constraint(worker_request, await REQUESTS(job.constraint, prompt.markup))
            if job.context:
                added = await token_ids(lease, prompt, add_special=False)
                worker_request.prompt_ids.CopyFrom(inference_pb2.TokenIds(ids=[*job.context, *added]))
            answering = Answering(job.parser(prompt.markup))
            async with aclosing(self._answer(lease, worker_request, load_seconds)) as answer:
                async for message in answer:
                    if message.finished.stop_string in job.own_stops:
                        message.finished.stop_string = ""
                    for event in answering.events(message):
                        yield event

    async def count_chat_tokens(self, request: ChatRequest) -> int:
        """Tokens of the prompt that `chat` would make of the request. Raises HypuraError."""
        name, job = await self._chat_job(request)
        current().model = name
        async with self._supervisor.lease(name, use=job.use) as lease:
            return await _length(lease, job, await _rendered(lease, job))

    async def hold(self, name: str, use: inference_pb2.ModelUse) -> None:
        """Loads the model as its answers will need it, so that the first need not load it anew. Raises HypuraError."""
        async with self._lease(name, use):
            pass

    async def embed(
        self, request: inference_pb2.EmbedRequest, most_bytes: int = MAX_VECTORS_BYTES
    ) -> inference_pb2.EmbedResponse:
        """Turns texts into vectors, of at most most_bytes together, which is known before any is computed.

        Raises HypuraError.
        """
        began_seconds = time.monotonic()
        count = len(request.texts) + len(request.token_texts)
        if not 1 <= count <= MAX_TEXTS:
            raise InvalidRequest(f"{count} texts were given; give 1 to {MAX_TEXTS}")
        for text in request.texts:
            _sized(text, "a text")
        entry, model = await FILES(self._opened, request.model, key=request.model)
        current().model = entry.name
        worker_request = worker_pb2.WorkerEmbedRequest(
            texts=request.texts,
            token_texts=request.token_texts,
            normalize=request.normalize and not request.dimensions,
            truncate=request.truncate,
        )
        trained_tokens = model.hyperparameters.context_length
        use = use_with(request.use, entry.overrides.parameters, trained_tokens)
        need = ContextNeed(use, trained_tokens, None, request.truncate)
        texts = EmbedInput(request)

        async def given(lease: Lease) -> EmbedInput:
            _check_vectors(count, lease.loaded.embedding_length, request.dimensions, most_bytes)
            return texts

        async with self._lease_with_context(entry.name, need, given, texts.longest_bytes) as (lease, _, context_tokens):
            load_seconds = time.monotonic() - began_seconds
            worker_request.context_tokens = context_tokens
            answer = await lease.worker.embed(worker_request)
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
            tokens = await token_ids(lease, Prompt(text), add_special=request.add_special)
            return inference_pb2.TokenizeResponse(token_ids=tokens)

    @asynccontextmanager
    async def _lease(self, name: str, requested: inference_pb2.ModelUse) -> AsyncIterator[Lease]:
        entry, model = await FILES(self._opened, name, key=name)
        current().model = entry.name
        use = use_with(requested, entry.overrides.parameters, model.hyperparameters.context_length)
        async with self._supervisor.lease(entry.name, use=use) as lease:
            yield lease

    def _opened(self, name: str) -> tuple[Entry, Model]:
        """In a thread, since the registry looks at the models' files."""
        entry = self._registry.get(name)
        return entry, self._registry.model(entry)

    async def _chat_job(self, request: ChatRequest) -> tuple[str, ChatJob]:
        entry, model = await FILES(self._opened, request.model, key=request.model)
        job = await REQUESTS(_job, request, model, entry.overrides)
        # Another key than the rendering's: a template that is quick to try may be slow with a conversation.
        return entry.name, await TEMPLATES(job.usable, key=f"usable {job.template.text}")

    def _lease_with_context(
        self, name: str, need: ContextNeed, make_input: Callable[[Lease], Awaitable[Input]], size_bytes: int
    ) -> AbstractAsyncContextManager[tuple[Lease, Input, int]]:
        """See lease_with_context."""
        return lease_with_context(self._supervisor, self._context_tokens, name, need, make_input, size_bytes)

    async def _chat_prompt(self, lease: Lease, job: ChatJob, prompt: Prompt, size: int) -> Prompt:
        """The prompt; if it is too long and may be cut, without as many of the oldest messages as need be."""
        if not job.limits.truncate or len(prompt.text.encode()) + len(job.context) < size - 1:
            return prompt  # A token is a byte at least.
        if await _length(lease, job, prompt) < size:
            return prompt
        wanted = job.limits.max_tokens if job.limits.max_tokens > 0 else size // 4
        room = size - max(1, min(wanted, size // 2))
        starts = job.starts
        fitting: Prompt | None = None
        low, high = 0, len(starts)
        while low < high:
            middle = (low + high) // 2
            shorter = await _rendered(lease, job, starts[middle])
            if await _length(lease, job, shorter) <= room:
                fitting, high = shorter, middle
            else:
                low = middle + 1
        _log.warning(
            "a conversation is too long", context_tokens=size, dropped_messages=starts[min(low, len(starts) - 1)]
        )
        if fitting is None:
            fitting = await _rendered(lease, job, starts[-1])
        return fitting

    async def _answer(
        self, lease: Lease, request: worker_pb2.WorkerGenerateRequest, load_seconds: float
    ) -> AsyncGenerator[worker_pb2.WorkerGenerateResponse, None]:
        tally = current()
        request.request_id = tally.answer_id()
        texts: list[str] = []
        async with aclosing(lease.worker.generate(request)) as messages:
            async for message in messages:
                if self._log_content:
                    texts.append(message.chunk.text)
                if message.HasField("finished"):
                    tally.prompt_tokens += message.finished.statistics.prompt_tokens
                    tally.output_tokens += message.finished.statistics.output_tokens
                    if self._log_content:
                        _log.info("content", answer=request.request_id, prompt=request.prompt, output="".join(texts))
                    message.finished.load_seconds = load_seconds
                    yield message
                    return
                yield message
        raise WorkerFailed(f"worker {lease.worker.pid} ended answer {request.request_id} without a result; ask again")


def _job(request: ChatRequest, model: Model, overrides: Overrides) -> ChatJob:
    """The chat's job. Raises InvalidRequest, for more text than any prompt may have too."""
    characters = sum(len(message.content) + len(message.thinking) for message in request.messages)
    if characters > MAX_TEXT_CHARACTERS:
        raise InvalidRequest(f"the conversation has {characters} characters; {MAX_TEXT_CHARACTERS} are allowed")
    return chat_job(request, model, overrides)


def _check_vectors(count: int, length: int, dimensions: int, most_bytes: int) -> None:
    """Raises InvalidRequest for more vectors than one answer may have."""
    length = min(length, dimensions) if dimensions else length
    if count * length * FLOAT_BYTES > most_bytes:
        raise InvalidRequest(
            f"{count} vectors of {length} dimensions are {count * length * FLOAT_BYTES / 1e6:.0f} MB, and "
            f"{most_bytes / 1e6:.0f} MB are allowed; give at most {most_bytes // (length * FLOAT_BYTES)} texts at once"
        )


async def _rendered(lease: Lease, job: ChatJob, first: int = 0) -> Prompt:
    """The prompt without the token that the tokenizer adds: twice would be a prompt the model has never seen."""
    loaded = lease.loaded
    prompt = await TEMPLATES(
        job.prompt, loaded.bos_text, loaded.eos_text, first, _controls(lease), key=job.template.text
    )
    bos_is_there = job.context or loaded.adds_bos
    return prompt.without_prefix(loaded.bos_text) if bos_is_there and loaded.bos_text else prompt


def _controls(lease: Lease) -> ControlTexts:
    return control_texts(tuple(lease.loaded.control_texts))


def _given(request: inference_pb2.GenerateRequest, text: str) -> Prompt:
    return plain_text(text) if request.plain_text else Prompt(text)


async def _length(lease: Lease, job: ChatJob, prompt: Prompt) -> int:
    return len(job.context) + len(await token_ids(lease, prompt, add_special=not job.context))


def _gap(request: inference_pb2.GenerateRequest, model: Model, overrides: Overrides) -> InfillTokens | None:
    """What tells the model of the gap; None where its template does. Raises InvalidRequest."""
    if overrides.template and style_of(overrides.template) == "go" and ".Suffix" in overrides.template:
        return None
    tokens = infill_tokens(model.metadata)
    if tokens is None:
        raise InvalidRequest(f'"{request.model}" does not support insert')
    return tokens


async def _filled(
    lease: Lease, gap: InfillTokens | None, template: str, request: inference_pb2.GenerateRequest
) -> PromptInput:
    """The prompt for a gap."""
    if gap is None:
        from hypura_daemon.chat.prompts.renderer import renderer

        data = {"Prompt": request.prompt, "Suffix": request.suffix, "Response": ""}
        controls = _controls(lease) if request.plain_text else NO_CONTROLS
        made = await TEMPLATES(
            rendered, lambda given: renderer.render_go(template, [given]), data, controls, key=template
        )
        return PromptInput(made)
    before: Sequence[int] = list(request.prompt_ids.ids)
    if request.WhichOneof("input") != "prompt_ids":
        before = await token_ids(lease, _given(request, request.prompt), add_special=False)
    bos = await token_ids(lease, Prompt(""), add_special=True)
    behind = await token_ids(lease, _given(request, request.suffix), add_special=False)
    return PromptInput(Prompt(""), tuple(gap.prompt(bos, before, behind)))


def _set_constraint(request: worker_pb2.WorkerGenerateRequest, constraint: worker_pb2.Constraint) -> None:
    """Put the constraint in place of the schema or grammar in the limits."""
    request.limits.json_schema, request.limits.grammar = "", ""
    if constraint.WhichOneof("form") is not None:
        request.constraint.CopyFrom(constraint)


def _cut(values: Sequence[float], dimensions: int, normalize: bool) -> inference_pb2.Embedding:
    kept = values[:dimensions]
    length = math.sqrt(sum(value * value for value in kept)) if normalize else 1.0
    return inference_pb2.Embedding(values=[value / length for value in kept] if length else kept)


def _sized(text: str, what: str) -> str:
    if len(text) > MAX_TEXT_CHARACTERS:
        raise InvalidRequest(f"{what} has {len(text)} characters; {MAX_TEXT_CHARACTERS} are allowed")
    return text
