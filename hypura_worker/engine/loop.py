"""One thread that runs forward passes for all requests of a model.

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
from collections.abc import Sequence as Tokens
from concurrent.futures import Future

import structlog

from hypura_worker.constraining.limits import STACK_BYTES
from hypura_worker.engine.batching import Part, Placement, compose, make_room, oldest, place, room_for
from hypura_worker.engine.counters import NOTHING_STREAMED, EngineCounters
from hypura_worker.engine.embedding import embed
from hypura_worker.engine.events import Chunk, Finished, Logprob, Prefill
from hypura_worker.engine.generation import TextStream
from hypura_worker.engine.request import EmbedRequest, Request, ResizeRequest
from hypura_worker.engine.sequence import Sequence, State, Work
from hypura_worker.errors import (
    ConstraintFailed,
    DecodeFailed,
    EngineBroken,
    ModelFileChanged,
    RequestError,
    ServerBusy,
)
from hypura_worker.llama.context import BatchToken, NoRoom
from hypura_worker.model import LlamaModel
from hypura_worker.streaming.streamer import StreamCounters

_FAILURES_ALONE = 2


class Engine:
    """Runs requests on a loaded model; see the module's docstring.

    on_broken is called, from the engine's thread, when nothing can be answered any more.
    """

    def __init__(self, model: LlamaModel, on_broken: Callable[[Exception], None], *, queue_limit: int = 256) -> None:
        self._model = model
        self._context = model.ready()
        self._exact = model.plan.exact
        self._ubatch_tokens = model.pass_tokens
        self._sequences = [Sequence(i) for i in range(model.plan.sequences)]
        self._inbox: queue.Queue[Request | EmbedRequest | ResizeRequest | None] = queue.Queue()
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
        before = threading.stack_size(STACK_BYTES)
        try:
            self._thread.start()
        finally:
            threading.stack_size(before)

    @property
    def embed_tokens(self) -> int:
        """The longest text that can be embedded."""
        return min(self._ubatch_tokens, self._context.size_tokens) if self._context.whole else self._context.size_tokens

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

    def resize(self, memory_limit_bytes: int) -> Future[int]:
        """Keep to another memory limit, from the next pass on; from any thread. The limit that it became."""
        change = ResizeRequest(memory_limit_bytes)
        if self._ending or self._broken is not None:
            change.refuse(self._broken or EngineBroken("the worker is ending"))
        else:
            self._inbox.put(change)
        return change.done

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
            if isinstance(request, ResizeRequest):
                request.apply(self._model)
                self._ubatch_tokens = self._model.pass_tokens
            elif request is not None:
                self._waiting.append(request)
        self.counters.queued = len(self._waiting)

    def _step(self) -> None:
        self._drop_cancelled()
        self._admit()
        parts = compose(self._sequences, self._ubatch_tokens)
        if parts:
            parts, dropped = make_room(self._sequences, parts, self._context.size_tokens)
            if not parts:  # whoever's turn it is must wait for room that older work holds
                wanted = oldest(self._sequences, self._ubatch_tokens)
                parts, dropped = make_room(self._sequences, wanted, self._context.size_tokens)
            for sequence in dropped:
                self._cut(sequence, 0)
            self._pass(parts)
        self.counters.active = sum(s.work is not None for s in self._sequences)

    def _drop_cancelled(self) -> None:
        for request in [r for r in self._waiting if r.cancelled]:
            self._waiting.remove(request)
            if isinstance(request, Request):
                request.sampler.close()
        for sequence in self._sequences:
            if sequence.work is not None and sequence.work.request.cancelled:
                self._release(sequence)

    def _admit(self) -> None:
        """Give waiting requests sequences, first come first served."""
        while self._waiting:
            request = self._waiting[0]
            prompt = request.prompt if isinstance(request, Request) and not self._exact else []
            placement = place(self._sequences, prompt, cuts=self._context.cuts)
            if placement is None:
                break
            # It stays in the queue until it is done or begun: whatever breaks here still tells it.
            if isinstance(request, Request):
                self._begin(request, placement)
            elif not self._embed_next(request, placement.sequence):
                break
            self._waiting.popleft()
        self.counters.queued = len(self._waiting)

    def _begin(self, request: Request, placement: Placement) -> None:
        prompt, sequence, source = request.prompt, placement.sequence, placement.source
        # The last token is computed anew: its logits are wanted.
        reused = min(placement.prefix, len(prompt) - 1)
        window = self._context.window_tokens
        if source is not None and window and self._context.first_position(source.id) > max(0, reused - window + 1):
            reused = 0  # what a sliding window still needs is gone
        if source is sequence:
            self._cut(sequence, reused)
        else:
            self._cut(sequence, 0)
            if source is not None and reused:
                self._context.copy(source.id, sequence.id, reused)
                sequence.held = source.held[:reused]
        request.sampler.see(prompt)
        self._orders += 1
        sequence.work = Work(request, list(prompt), TextStream(request.limits.stop), self._orders)
        request.counters.started = time.monotonic()
        request.counters.prompt_tokens = len(prompt)
        request.counters.cached_tokens = len(sequence.held)

    def _forward(self, tokens: Tokens[BatchToken]) -> None:
        """One pass, counted. Raises ModelFileChanged, as Context.decode does the rest: its results are void then."""
        self._model.check_files()
        start_seconds = time.monotonic()
        self._context.decode(tokens)
        self._model.check_files()  # the pass may have read what was written meanwhile
        self.counters.forward_seconds += time.monotonic() - start_seconds
        self.counters.passes += 1
        self.counters.stream = self._stream_counters()

    def _pass(self, parts: list[Part]) -> None:
        """Compute the parts and act on what comes out, or on the failure."""
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
        before = self._stream_counters()
        try:
            self._forward(tokens)
        except NoRoom as error:
            self._roll_back(parts)
            self._relieve(parts, error)
            return
        except DecodeFailed as error:
            self._roll_back(parts)
            self._suspect(parts, error)
            return
        for part, state in zip(parts, states, strict=True):
            work, sequence = _work(part.sequence), part.sequence
            sequence.held += work.wanted[len(sequence.held) : len(sequence.held) + part.count]
            sequence.used = self.counters.passes
            work.alone, work.failures = False, 0
            work.request.counters.add_pass(before, self.counters.stream, len(parts), prefill=state is State.PREFILL)
            if not work.request.counters.output_tokens:
                # Also of a prompt found whole in memory: clients learn its length before the first token.
                self.counters.prompt_tokens += part.count if state is State.PREFILL else 0
                work.request.emit(Prefill(len(sequence.held), work.request.counters.prompt_tokens))
        for sequence, index in outputs:
            try:
                self._sample(sequence, index)
            except (DecodeFailed, ConstraintFailed) as error:
                self._fail(sequence, error)
            except EngineBroken:
                raise
            except Exception as error:  # one request's slip must not end the others
                structlog.get_logger().exception("sampling failed", request=_work(sequence).request.id)
                self._fail(sequence, DecodeFailed(f"sampling failed: {error!r}"))

    def _sample(self, sequence: Sequence, index: int) -> None:
        """Choose the sequence's next token, send it, and end the request if it is time."""
        work = _work(sequence)
        request, limits, counters = work.request, work.request.limits, work.request.counters
        if limits.max_tokens == 0:
            self._finish(sequence, "length")
            return
        vocabulary = self._model.vocabulary
        forced = request.sampler.forced()  # Before the first token; later they are taken with the one before.
        if not forced:
            token, logprob = request.sampler.choose(self._context.logits(index))
            if request.sampler.stops_at_end and vocabulary.ends_generation(token):
                counters.last_token = time.monotonic()
                counters.first_token = counters.first_token or counters.last_token
                self._finish(sequence, "stop")
                return
            if not self._take(sequence, token, logprob):
                return
            forced = request.sampler.forced()
        for token in forced:
            request.sampler.accept(token)
            counters.forced_tokens += 1
            self.counters.forced_tokens += 1
            if not self._take(sequence, token, None):
                return
        if request.sampler.is_over:
            self._finish(sequence, "stop")
        elif request.cancelled:
            self._release(sequence)

    def _take(self, sequence: Sequence, token: int, logprob: Logprob | None) -> bool:
        """Make the token the answer's next and send it; False, and the request has ended, if it is time for that."""
        work = _work(sequence)
        request, counters = work.request, work.request.counters
        counters.last_token = time.monotonic()
        counters.first_token = counters.first_token or counters.last_token
        counters.output_tokens += 1
        self.counters.output_tokens += 1
        work.wanted.append(token)
        self._send(work, work.text.push(self._model.vocabulary.piece(token, request.visible)), token, logprob)
        if work.text.stopped:
            self._finish(sequence, "stop")
        elif counters.output_tokens == request.limits.max_tokens or len(work.wanted) >= min(
            self._context.size_tokens, request.limits.context_tokens or self._context.size_tokens
        ):
            self._finish(sequence, "length")
        else:
            return True
        return False

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
        work.request.emit(Finished(reason, work.request.counters, work.request.sampling.seed, work.text.stopped_by))

    def _fail(self, sequence: Sequence, error: Exception) -> None:
        request = _work(sequence).request
        self.counters.failed += 1
        self._release(sequence)
        structlog.get_logger().warning("request failed", request=request.id, error=str(error))
        request.emit(error)

    def _release(self, sequence: Sequence) -> None:
        """End the sequence's work; its KV stays for a later request that begins alike."""
        _work(sequence).request.sampler.close()
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

    def _embed_next(self, request: EmbedRequest, sequence: Sequence) -> bool:
        """Compute the request's next text in an idle sequence; whether all are done, or it has failed.

        One text a step, so that answers go on beside a long list. It waits while answers need the room; idle
        conversations give way only as far as it needs theirs.
        """
        text = request.texts[request.embedded]
        going = room_for(self._sequences, sequence, len(text), self._context.size_tokens)
        if going is None:
            return False
        for idle in (sequence, *going):
            self._cut(idle, 0)
        try:
            if self._context.whole and len(text) > self._ubatch_tokens:
                raise RequestError(f"the text has {len(text)} tokens; this model embeds at most {self._ubatch_tokens}")
            vector = embed(self._context, text, sequence.id, self._ubatch_tokens, self._forward)
        except (DecodeFailed, RequestError) as error:
            held = [s for s in self._sequences if s.work is None and s.held]
            if isinstance(error, NoRoom) and held:  # llama.cpp found no room where the token counts did
                for idle in held:
                    self._cut(idle, 0)
                return False
            self.counters.failed += 1
            request.emit(error)
            return True
        request.embedded += 1
        request.emit(vector)
        if request.embedded < len(request.texts):
            return False
        self.counters.finished += 1
        request.emit(None)
        return True

    def _stream_counters(self) -> StreamCounters:
        return self._model.streamer.counters() if self._model.streamer is not None else NOTHING_STREAMED

    def _break(self, error: Exception) -> None:
        self._broken = error
        self._fail_all(error)
        self._on_broken(error)

    def _fail_all(self, error: Exception) -> None:
        while not self._inbox.empty():  # this thread is the only one that takes
            request = self._inbox.get_nowait()
            if isinstance(request, ResizeRequest):
                request.refuse(error)
            elif request is not None:
                self._waiting.append(request)
        for sequence in self._sequences:
            if sequence.work is not None:
                self._fail(sequence, error)
        for request in self._waiting:
            if isinstance(request, Request):
                request.sampler.close()
            request.emit(error)
        self._waiting.clear()


def _work(sequence: Sequence) -> Work:
    if sequence.work is None:
        raise EngineBroken(f"sequence {sequence.id} has no work")
    return sequence.work
