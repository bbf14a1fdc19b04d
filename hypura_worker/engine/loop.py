"""The engine: one thread that runs forward passes for all requests of a model.

    submit ─► waiting ─► a sequence each ─► compose ─► pass ─► tokens to their requests
                              ▲                          │
                              └── failed: rolled back, ──┘
                                  its members tried one by one

The thread is the only writer of sequences, the context and the streamer.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from hypura_worker.engine.batching import Part, compose, make_room, place
from hypura_worker.engine.embedding import embed
from hypura_worker.engine.request import Chunk, EmbedRequest, Finished, Logprob, Prefill, Request
from hypura_worker.engine.sampler import Sampler
from hypura_worker.engine.sequence import Sequence, State, Work, common_prefix
from hypura_worker.engine.text import TextStream
from hypura_worker.errors import (
    DecodeFailed,
    EngineBroken,
    ModelFileChanged,
    RequestError,
    ServerBusy,
    WorkerError,
)
from hypura_worker.llama.context import BatchToken, NoRoom
from hypura_worker.model import LlamaModel
from hypura_worker.streaming.streamer import StreamCounters

_FAILURES_ALONE = 2
_NOTHING = StreamCounters(0, 0, 0, 0.0)


@dataclass(slots=True)
class EngineCounters:
    """Since the load; written by the engine's thread, read by anyone."""

    finished: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    passes: int = 0
    forward_seconds: float = 0.0
    active: int = 0
    queued: int = 0
    stream: StreamCounters = field(default_factory=lambda: _NOTHING)


class Engine:
    """Runs requests on a loaded model; see the module's docstring.

    on_broken is called, from the engine's thread, when nothing can be answered any more.
    """

    def __init__(self, model: LlamaModel, on_broken: Callable[[Exception], None], *, queue_limit: int = 256) -> None:
        self._model = model
        self._context = model.ready()
        self._exact = model.plan.exact
        # The slots may have given way to the real memory: then a pass takes fewer tokens than planned.
        self._ubatch_tokens = model.streamer.pass_tokens if model.streamer else model.plan.ubatch_tokens
        self._sequences = [Sequence(i) for i in range(model.plan.sequences)]
        self._inbox: queue.Queue[Request | EmbedRequest | None] = queue.Queue()
        self._waiting: deque[Request | EmbedRequest] = deque()
        self._queue_limit = queue_limit
        self._on_broken = on_broken
        self._broken: Exception | None = None
        self._ending = False
        self._orders = 0
        self.counters = EngineCounters()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, request: Request | EmbedRequest) -> None:
        """Queue a request; from any thread. Raises ServerBusy or what broke the engine."""
        if self._broken is not None:
            raise EngineBroken(f"the worker cannot go on: {self._broken}")
        if self._inbox.qsize() + self.counters.queued >= self._queue_limit:
            raise ServerBusy(f"{self._queue_limit} requests wait already; try again later")
        self._inbox.put(request)

    def cancel(self, request: Request | EmbedRequest) -> None:
        """End a request without an answer, before the next pass; from any thread."""
        request.cancelled = True
        self._inbox.put(None)

    def stop(self) -> None:
        """End after the pass under way; unfinished requests are told."""
        self._ending = True
        self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        log = structlog.get_logger()
        while True:
            self._receive()
            if self._ending:
                self._fail_all(EngineBroken("the worker is ending"))
                return
            try:
                self._step()
            except (EngineBroken, ModelFileChanged) as error:
                self._break(error)
                return
            except Exception as error:
                log.exception("the engine met an unexpected error")
                self._break(EngineBroken(f"unexpected error: {error!r}"))
                return

    def _receive(self) -> None:
        """Take what came in; wait for it when there is nothing to do."""
        idle = not self._waiting and all(s.work is None for s in self._sequences)
        while True:
            try:
                request = self._inbox.get(block=idle)
            except queue.Empty:
                break
            idle = False
            if request is not None:
                self._waiting.append(request)
        self.counters.queued = len(self._waiting)

    def _step(self) -> None:
        self._drop_cancelled()
        self._admit()
        parts = compose(self._sequences, self._ubatch_tokens)
        if parts:
            parts, dropped = make_room(self._sequences, parts, self._context.size_tokens)
            for sequence in dropped:
                self._cut(sequence, 0)
            self._pass(parts)
        self.counters.active = sum(s.work is not None for s in self._sequences)

    def _drop_cancelled(self) -> None:
        self._waiting = deque(request for request in self._waiting if not request.cancelled)
        for sequence in self._sequences:
            if sequence.work is not None and sequence.work.request.cancelled:
                self._release(sequence)

    def _admit(self) -> None:
        """Give waiting requests sequences, first come first served."""
        while self._waiting:
            request = self._waiting[0]
            prompt = request.prompt if isinstance(request, Request) else []
            sequence = place(self._sequences, prompt)
            if sequence is None:
                break
            # It stays in the queue until it is done or begun: whatever breaks here still tells it.
            if isinstance(request, EmbedRequest):
                self._embed(request, sequence)
            else:
                self._begin(sequence, request)
            self._waiting.popleft()
        self.counters.queued = len(self._waiting)

    def _begin(self, sequence: Sequence, request: Request) -> None:
        prompt = request.prompt
        try:
            sampler = Sampler(request.sampling, request.limits, self._model.vocabulary)
        except WorkerError as error:
            self.counters.failed += 1
            request.emit(error)
            return
        # The last token is computed anew: its logits are wanted.
        reused = 0 if self._exact else min(common_prefix(sequence.held, prompt), len(prompt) - 1)
        window = self._context.window_tokens
        if window and self._context.first_position(sequence.id) > max(0, reused - window + 1):
            reused = 0  # what a sliding window still needs is gone
        self._cut(sequence, reused)
        sampler.see(prompt[-request.sampling.repeat_last_n :] if request.sampling.repeat_last_n > 0 else prompt)
        self._orders += 1
        sequence.work = Work(request, list(prompt), sampler, TextStream(request.limits.stop), self._orders)
        request.costs.started = time.monotonic()
        request.costs.prompt_tokens = len(prompt)
        request.costs.cached_tokens = len(sequence.held)

    def _pass(self, parts: list[Part]) -> None:
        """Compute the parts and act on what comes out, or on the failure."""
        if self._model.streamer is not None:
            self._model.check_files()
        tokens: list[BatchToken] = []
        outputs: list[tuple[Sequence, int]] = []
        for part in parts:
            work, start = _work(part.sequence), len(part.sequence.held)
            for position in range(start, start + part.count):
                last = position == len(work.wanted) - 1
                if last:
                    outputs.append((part.sequence, len(tokens)))
                tokens.append(BatchToken(work.wanted[position], position, part.sequence.id, last))
        states = [part.sequence.state for part in parts]
        before, start_seconds = self._stream_counters(), time.monotonic()
        try:
            self._context.decode(tokens)
        except NoRoom as error:
            self._roll_back(parts)
            self._relieve(parts, error)
            return
        except DecodeFailed as error:
            self._roll_back(parts)
            self._suspect(parts, error)
            return
        self.counters.forward_seconds += time.monotonic() - start_seconds
        self.counters.passes += 1
        after = self.counters.stream = self._stream_counters()
        for part, state in zip(parts, states, strict=True):
            work, sequence = _work(part.sequence), part.sequence
            sequence.held += work.wanted[len(sequence.held) : len(sequence.held) + part.count]
            sequence.used = self.counters.passes
            work.alone, work.failures = False, 0
            self._account(work, state, before, after)
            if state is State.PREFILL and not work.request.costs.output_tokens:
                self.counters.prompt_tokens += part.count
                work.request.emit(Prefill(len(sequence.held), work.request.costs.prompt_tokens))
        for sequence, index in outputs:
            try:
                self._sample(sequence, index)
            except DecodeFailed as error:
                self._fail(sequence, error)

    def _sample(self, sequence: Sequence, index: int) -> None:
        """Choose the sequence's next token, send it, and end the request if it is time."""
        work = _work(sequence)
        request, limits, costs = work.request, work.request.limits, work.request.costs
        if limits.max_tokens == 0:
            self._finish(sequence, "length")
            return
        token, logprob = work.sampler.choose(self._context.logits(index))
        now = time.monotonic()
        costs.first_token = costs.first_token or now
        costs.last_token = now
        vocabulary = self._model.vocabulary
        if not limits.ignore_eos and vocabulary.ends_generation(token):
            self._finish(sequence, "stop")
            return
        costs.output_tokens += 1
        self.counters.output_tokens += 1
        work.wanted.append(token)
        self._send(work, work.text.push(vocabulary.piece(token)), token, logprob)
        if work.text.stopped:
            self._finish(sequence, "stop")
        elif costs.output_tokens == limits.max_tokens or len(work.wanted) >= self._context.size_tokens:
            self._finish(sequence, "length")
        elif request.cancelled:
            self._release(sequence)

    def _send(self, work: Work, text: str, token: int, logprob: Logprob | None) -> None:
        work.unsent_tokens.append(token)
        if logprob is not None:
            work.unsent_logprobs.append(logprob)
        if text:
            self._flush(work, text)

    def _flush(self, work: Work, text: str) -> None:
        work.request.emit(Chunk(text, tuple(work.unsent_tokens), tuple(work.unsent_logprobs)))
        work.unsent_tokens.clear()
        work.unsent_logprobs.clear()

    def _finish(self, sequence: Sequence, reason: str) -> None:
        work = _work(sequence)
        rest = work.text.finish()
        if rest or work.unsent_tokens:
            self._flush(work, rest)
        self.counters.finished += 1
        self._release(sequence)
        work.request.emit(Finished(reason, work.request.costs, work.request.sampling.seed))

    def _fail(self, sequence: Sequence, error: Exception) -> None:
        request = _work(sequence).request
        self.counters.failed += 1
        self._release(sequence)
        structlog.get_logger().warning("request failed", request=request.id, error=str(error))
        request.emit(error)

    def _release(self, sequence: Sequence) -> None:
        """End the sequence's work; its KV stays for a later request that begins alike."""
        _work(sequence).sampler.close()
        sequence.work = None

    def _cut(self, sequence: Sequence, length: int) -> None:
        if length == len(sequence.held):
            return
        kept = self._context.cut(sequence.id, length)
        del sequence.held[length if kept else 0 :]

    def _roll_back(self, parts: list[Part]) -> None:
        """Take a failed pass's positions back; what cannot be cut is emptied and computed again."""
        for part in parts:
            held = len(part.sequence.held)
            if not (held and self._context.cuts and self._context.cut(part.sequence.id, held)):
                self._context.cut(part.sequence.id, 0)
                part.sequence.held.clear()

    def _suspect(self, parts: list[Part], error: DecodeFailed) -> None:
        """Try the members of a failed pass one by one; what fails by itself twice is at fault."""
        works = [_work(part.sequence) for part in parts]
        structlog.get_logger().warning("a pass failed", requests=[w.request.id for w in works], error=str(error))
        for part, work in zip(parts, works, strict=True):
            if len(parts) == 1:
                work.failures += 1
            work.alone = True
            if work.failures >= _FAILURES_ALONE:
                self._fail(part.sequence, error)

    def _relieve(self, parts: list[Part], error: NoRoom) -> None:
        """llama.cpp found no room where the token counts did: drop idle KV, then the youngest work."""
        idle = [s for s in self._sequences if s.work is None and s.held]
        for sequence in idle:
            self._cut(sequence, 0)
        if not idle:
            youngest = max(parts, key=lambda part: _work(part.sequence).order)
            self._fail(youngest.sequence, error)

    def _embed(self, request: EmbedRequest, sequence: Sequence) -> None:
        """Compute all texts of the request in an idle sequence."""
        longest = max((len(text) for text in request.texts), default=0)
        held = sum(len(s.held) for s in self._sequences)
        for idle in self._sequences:
            if idle is sequence or (idle.work is None and held + longest > self._context.size_tokens):
                held -= len(idle.held)
                self._cut(idle, 0)
        try:
            vectors = embed(self._context, request.texts, sequence.id, self._ubatch_tokens)
        except (DecodeFailed, RequestError) as error:
            self.counters.failed += 1
            request.done(error)
            return
        self.counters.finished += 1
        request.done(vectors)

    def _account(self, work: Work, state: State, before: StreamCounters, after: StreamCounters) -> None:
        costs, bytes_read = work.request.costs, after.bytes_read - before.bytes_read
        if not costs.output_tokens:
            costs.prefill_bytes += bytes_read
            return
        costs.decode_passes += 1
        costs.decode_bytes += bytes_read
        costs.hits += after.hits - before.hits
        costs.misses += after.misses - before.misses
        costs.stall_seconds += after.stall_seconds - before.stall_seconds

    def _stream_counters(self) -> StreamCounters:
        return self._model.streamer.counters() if self._model.streamer is not None else _NOTHING

    def _break(self, error: Exception) -> None:
        self._broken = error
        self._fail_all(error)
        self._on_broken(error)

    def _fail_all(self, error: Exception) -> None:
        self._receive_rest()
        for sequence in self._sequences:
            if sequence.work is not None:
                self._fail(sequence, error)
        for request in self._waiting:
            if isinstance(request, Request):
                request.emit(error)
            else:
                request.done(error)
        self._waiting.clear()

    def _receive_rest(self) -> None:
        while True:
            try:
                request = self._inbox.get_nowait()
            except queue.Empty:
                return
            if request is not None:
                self._waiting.append(request)


def _work(sequence: Sequence) -> Work:
    if sequence.work is None:
        raise EngineBroken(f"sequence {sequence.id} has no work")
    return sequence.work
