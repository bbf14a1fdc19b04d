"""Answers requests: generate, chat, embed, tokenize, each from its request message to its last answer message.

It knows neither the gRPC server nor HTTP: it takes chat/request.py's ChatRequest and hypura.v1 messages, yields
hypura.v1 messages, and raises the errors of errors.py. Closing an answer's iterator cancels the answer in the worker.
"""

import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass

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
from hypura_daemon.residency.context_lease import AnyInput, ContextNeed, lease_with_context
from hypura_daemon.residency.lease import Lease
from hypura_daemon.residency.supervisor import Supervisor
from hypura_daemon.system.request_log import current
from hypura_daemon.system.threads import FILES, REQUESTS, TEMPLATES

MAX_TEXTS = 4096
MAX_TEXT_CHARACTERS = 1 << 24
FLOAT_BYTES = 4
MAX_VECTORS_BYTES = 128 << 20
"""Of one answer's vectors, at 4 bytes a number: 4,096 vectors of 8,192 dimensions."""

_ADDED_TOKENS = 4
"""Begin and end of a sequence, and the space that some tokenizers put before a text."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PromptInput:
    """The input of a generation: token ids, then a prompt of text."""

    prompt: Prompt
    ids: tuple[int, ...] = ()

    @property
    def most_tokens(self) -> int:
        """At most so many tokens: each is at least a byte, but for those that the tokenizer adds."""
        return len(self.ids) + len(self.prompt.text.encode()) + _ADDED_TOKENS

    async def count(self, lease: Lease) -> int:
        """Its number of tokens."""
        if self.ids and not self.prompt.text:
            return len(self.ids)
        return len(self.ids) + len(await _token_ids(lease, self.prompt, add_special=not self.ids))

    def write_to(self, request: worker_pb2.WorkerGenerateRequest) -> None:
        """Put the ids or the text, of which there is one, into the worker's request."""
        if self.ids:
            request.prompt_ids.CopyFrom(inference_pb2.TokenIds(ids=self.ids))
        else:
            request.prompt = self.prompt.text
            request.plain_spans.extend(self.prompt.spans)


class EmbedInput:
    """Texts that are embedded, each by itself: the longest decides the context."""

    def __init__(self, request: inference_pb2.EmbedRequest) -> None:
        self._texts = request.texts
        self._longest_ids = max((len(text.ids) for text in request.token_texts), default=0)
        self.longest_bytes = max((len(text.encode()) for text in request.texts), default=0)
        self.most_tokens = max(self._longest_ids, self.longest_bytes + _ADDED_TOKENS)

    async def count(self, lease: Lease) -> int:
        """The tokens of the longest text."""
        longest = self._longest_ids
        for text in self._texts:
            if len(text.encode()) + _ADDED_TOKENS > longest:
                longest = max(longest, len(await _token_ids(lease, Prompt(text), add_special=True)))
        return longest


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
        _checked(request.prompt, "the prompt")
        if request.WhichOneof("input") is None and not request.suffix:
            raise InvalidRequest("the request has neither prompt nor prompt_ids; give one of them")
        gap = None
        if request.suffix:
            _checked(request.suffix, "the suffix")
            gap = _gap(request, model, entry.overrides)

        async def prompt(lease: Lease) -> PromptInput:
            if request.suffix:
                return await _infill_input(lease, gap, entry.overrides.template, request)
            return PromptInput(_as_prompt(request, request.prompt), tuple(request.prompt_ids.ids))

        trained_tokens = model.hyperparameters.context_length
        use = use_with(request.use, parameters, trained_tokens)
        need = ContextNeed(use, trained_tokens, _max_tokens(worker_request.limits), worker_request.limits.truncate)
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

        need = ContextNeed(job.use, job.trained_tokens, _max_tokens(job.limits), job.limits.truncate)
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
                added = await _token_ids(lease, prompt, add_special=False)
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
        """Loads the model as its answers will need it, so that the first need not reload it. Raises HypuraError."""
        async with self._lease(name, use):
            pass

    async def embed(
        self, request: inference_pb2.EmbedRequest, most_bytes: int = MAX_VECTORS_BYTES
    ) -> inference_pb2.EmbedResponse:
        """Turns texts into vectors, of at most most_bytes together, which is checked before any is computed.

        Raises HypuraError.
        """
        began_seconds = time.monotonic()
        count = len(request.texts) + len(request.token_texts)
        if not 1 <= count <= MAX_TEXTS:
            raise InvalidRequest(f"{count} texts were given; give 1 to {MAX_TEXTS}")
        for text in request.texts:
            _checked(text, "a text")
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
            vectors = [_shortened(vector.values, request.dimensions, request.normalize) for vector in vectors]
        return inference_pb2.EmbedResponse(
            embeddings=vectors, prompt_tokens=answer.prompt_tokens, load_seconds=load_seconds
        )

    async def tokenize(self, request: inference_pb2.TokenizeRequest) -> inference_pb2.TokenizeResponse:
        """Turns text into token ids. Raises HypuraError."""
        text = _checked(request.text, "the text")
        async with self._lease(request.model, request.use) as lease:
            tokens = await _token_ids(lease, Prompt(text), add_special=request.add_special)
            return inference_pb2.TokenizeResponse(token_ids=tokens)

    @asynccontextmanager
    async def _lease(self, name: str, requested: inference_pb2.ModelUse) -> AsyncIterator[Lease]:
        entry, model = await FILES(self._opened, name, key=name)
        current().model = entry.name
        use = use_with(requested, entry.overrides.parameters, model.hyperparameters.context_length)
        async with self._supervisor.lease(entry.name, use=use) as lease:
            yield lease

    def _opened(self, name: str) -> tuple[Entry, Model]:
        """The model by its name; to be run in a thread, since the registry reads the models' files."""
        entry = self._registry.get(name)
        return entry, self._registry.model(entry)

    async def _chat_job(self, request: ChatRequest) -> tuple[str, ChatJob]:
        entry, model = await FILES(self._opened, request.model, key=request.model)
        job = await REQUESTS(_job, request, model, entry.overrides)
        # Not the key of rendering: a template that is quick to check may be slow with a conversation.
        return entry.name, await TEMPLATES(job.usable, key=f"usable {job.template.text}")

    def _lease_with_context(
        self, name: str, need: ContextNeed, make_input: Callable[[Lease], Awaitable[AnyInput]], size_bytes: int
    ) -> AbstractAsyncContextManager[tuple[Lease, AnyInput, int]]:
        """See lease_with_context."""
        return lease_with_context(self._supervisor, self._context_tokens, name, need, make_input, size_bytes)

    async def _chat_prompt(self, lease: Lease, job: ChatJob, prompt: Prompt, size: int) -> Prompt:
        """The prompt; if it is too long and may be cut, without as many of the oldest messages as necessary."""
        if not job.limits.truncate or len(prompt.text.encode()) + len(job.context) < size - 1:
            return prompt  # A token has at least one byte.
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
    """The prompt without the token that the tokenizer adds: models are not trained on prompts that have it twice."""
    loaded = lease.loaded
    prompt = await TEMPLATES(
        job.prompt, loaded.bos_text, loaded.eos_text, first, _controls(lease), key=job.template.text
    )
    bos_is_added = job.context or loaded.adds_bos
    return prompt.without_prefix(loaded.bos_text) if bos_is_added and loaded.bos_text else prompt


def _controls(lease: Lease) -> ControlTexts:
    return control_texts(tuple(lease.loaded.control_texts))


def _as_prompt(request: inference_pb2.GenerateRequest, text: str) -> Prompt:
    return plain_text(text) if request.plain_text else Prompt(text)


async def _length(lease: Lease, job: ChatJob, prompt: Prompt) -> int:
    return len(job.context) + len(await _token_ids(lease, prompt, add_special=not job.context))


def _gap(request: inference_pb2.GenerateRequest, model: Model, overrides: Overrides) -> InfillTokens | None:
    """The tokens that mark the gap for the model; None where its template does. Raises InvalidRequest."""
    if overrides.template and style_of(overrides.template) == "go" and ".Suffix" in overrides.template:
        return None
    tokens = infill_tokens(model.metadata)
    if tokens is None:
        raise InvalidRequest(f'"{request.model}" does not support insert')
    return tokens


async def _infill_input(
    lease: Lease, gap: InfillTokens | None, template: str, request: inference_pb2.GenerateRequest
) -> PromptInput:
    """The input that has the model fill the gap between prompt and suffix."""
    if gap is None:
        from hypura_daemon.chat.prompts.renderer import renderer

        data = {"Prompt": request.prompt, "Suffix": request.suffix, "Response": ""}
        controls = _controls(lease) if request.plain_text else NO_CONTROLS
        prompt = await TEMPLATES(
            rendered, lambda given: renderer.render_go(template, [given]), data, controls, key=template
        )
        return PromptInput(prompt)
    before: Sequence[int] = list(request.prompt_ids.ids)
    if request.WhichOneof("input") != "prompt_ids":
        before = await _token_ids(lease, _as_prompt(request, request.prompt), add_special=False)
    bos = await _token_ids(lease, Prompt(""), add_special=True)
    after = await _token_ids(lease, _as_prompt(request, request.suffix), add_special=False)
    return PromptInput(Prompt(""), tuple(gap.prompt(bos, before, after)))


def _set_constraint(request: worker_pb2.WorkerGenerateRequest, constraint: worker_pb2.Constraint) -> None:
    """Put the constraint in place of the schema or grammar in the limits."""
    request.limits.json_schema, request.limits.grammar = "", ""
    if constraint.WhichOneof("form") is not None:
        request.constraint.CopyFrom(constraint)


def _shortened(values: Sequence[float], dimensions: int, normalize: bool) -> inference_pb2.Embedding:
    kept = values[:dimensions]
    length = math.sqrt(sum(value * value for value in kept)) if normalize else 1.0
    return inference_pb2.Embedding(values=[value / length for value in kept] if length else kept)


def _checked(text: str, what: str) -> str:
    """The text. Raises InvalidRequest if it is longer than any prompt may be."""
    if len(text) > MAX_TEXT_CHARACTERS:
        raise InvalidRequest(f"{what} has {len(text)} characters; {MAX_TEXT_CHARACTERS} are allowed")
    return text


def _max_tokens(limits: inference_pb2.Limits) -> int:
    """The most tokens that the answer may have; negative where the request does not say."""
    return limits.max_tokens if limits.HasField("max_tokens") else -1


async def _token_ids(lease: Lease, prompt: Prompt, *, add_special: bool) -> Sequence[int]:
    request = worker_pb2.WorkerTokenizeRequest(text=prompt.text, add_special=add_special, plain_spans=prompt.spans)
    return (await lease.worker.tokenize(request)).token_ids
