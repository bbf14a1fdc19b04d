"""Runs all requests of a model in common forward passes, one pass a step.

add ─► waiting ─► a sequence each ─► compose ─► forward pass ─► tokens to their requests
                       ▲                             │
                       └── failed: rolled back, ─────┘
                           its members computed one by one
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence as Seq

import structlog

from hypura_worker.engine.batching import Part, Placement, batch, compose, make_room, oldest, place, room_for
from hypura_worker.engine.counters import NOTHING_STREAMED, EngineCounters
from hypura_worker.engine.embedding import embed
from hypura_worker.engine.events import Finished, Logprob, Prefill
from hypura_worker.engine.generation import Generation
from hypura_worker.engine.kv_cache import KvCache, Sequence, State, generation_of
from hypura_worker.engine.request import EmbedRequest, Request, ResizeRequest
from hypura_worker.errors import ConstraintFailed, DecodeFailed, EngineBroken, InvalidRequest
from hypura_worker.llama.context import BatchToken, NoRoom
from hypura_worker.loaded_model import LlamaModel
from hypura_worker.streaming.streamer import StreamCounters

_MAX_FAILURES_ALONE = 2


class Runner:
    """The requests under way, and the passes that answer them. One thread uses it; any may read `counters`."""

    def __init__(self, model: LlamaModel) -> None:
        self._model = model
        self._context = model.ready()
        self._ubatch_tokens = model.pass_tokens
        self._cache = KvCache(self._context, model.plan.sequences)
        self._sequences = self._cache.sequences
        self._waiting: deque[Request | EmbedRequest] = deque()
        self._begun = 0
        self.counters = EngineCounters()

    @property
    def embed_tokens(self) -> int:
        """The longest text that can be embedded."""
        return min(self._ubatch_tokens, self._context.size_tokens) if self._context.whole else self._context.size_tokens

    @property
    def is_idle(self) -> bool:
        """Whether a step would have nothing to do."""
        return not self._waiting and all(s.generation is None for s in self._sequences)

    def add(self, request: Request | EmbedRequest) -> None:
        """Queue a request behind those that wait."""
        self._waiting.append(request)
        self.counters.queued = len(self._waiting)

    def resize(self, request: ResizeRequest) -> None:
        """Keep to another memory limit from the next pass on."""
        request.apply(self._model)
        self._ubatch_tokens = self._model.pass_tokens

    def step(self) -> None:
        """Compute the next pass, and send what comes out of it.

        Raises EngineBroken and ModelFileChanged, after which no request can be answered.
        """
        self._drop_cancelled()
        self._admit()
        parts = self._schedule()
        if parts:
            before = self._stream_counters()
            if self._compute(parts):
                for sequence, output in self._advance(parts, before):
                    self._sample(sequence, output)
        self.counters.active = sum(s.generation is not None for s in self._sequences)

    def fail_all(self, error: Exception) -> None:
        """End every request with this error."""
        for sequence in self._sequences:
            if sequence.generation is not None:
                self._fail(sequence, error)
        for request in self._waiting:
            if isinstance(request, Request):
                request.sampler.close()
            request.emit(error)
        self._waiting.clear()
        self.counters.queued = self.counters.active = 0

    def _drop_cancelled(self) -> None:
        for request in [r for r in self._waiting if r.cancelled]:
            self._waiting.remove(request)
            if isinstance(request, Request):
                request.sampler.close()
        for sequence in self._sequences:
            if sequence.generation is not None and sequence.generation.request.cancelled:
                self._release(sequence)

    def _admit(self) -> None:
        """Give waiting requests sequences, first come first served."""
        while self._waiting:
            request = self._waiting[0]
            prompt = request.prompt if isinstance(request, Request) and not self._model.plan.exact else []
            placement = place(self._sequences, prompt, cuts=self._context.cuts)
            if placement is None:
                break
            # It stays in the queue until it is begun or done, so that fail_all reaches it if this fails.
            if isinstance(request, Request):
                self._begin(request, placement)
            elif not self._embed_next(request, placement.sequence):
                break
            self._waiting.popleft()
        self.counters.queued = len(self._waiting)

    def _begin(self, request: Request, placement: Placement) -> None:
        sequence, prompt = placement.sequence, request.prompt
        # The last token is computed again: its logits are needed.
        self._cache.reuse(sequence, placement.source, min(placement.prefix, len(prompt) - 1))
        request.sampler.see(prompt)
        self._begun += 1
        sequence.generation = Generation(request, self._begun)
        request.counters.started = time.monotonic()
        request.counters.prompt_tokens = len(prompt)
        request.counters.cached_tokens = len(sequence.held)

    def _embed_next(self, request: EmbedRequest, sequence: Sequence) -> bool:
        """Compute the request's next text in an idle sequence; whether all are done, or it has failed.

        One text a step, so that answers continue beside a long list. It waits while generations need the room; the KV
        of idle conversations is dropped only as far as the text needs the room.
        """
        text = request.texts[request.embedded]
        dropped = room_for(self._sequences, sequence, len(text), self._cache.capacity_tokens)
        if dropped is None:
            return False
        for idle in (sequence, *dropped):
            self._cache.cut(idle, 0)
        try:
            if self._context.whole and len(text) > self._ubatch_tokens:
                raise InvalidRequest(
                    f"the text has {len(text)} tokens; this model embeds at most {self._ubatch_tokens}"
                )
            vector = embed(self._context, text, sequence.id, self._ubatch_tokens, self._forward)
        except (DecodeFailed, InvalidRequest) as error:
            # llama.cpp may find no room where the token counts did.
            if isinstance(error, NoRoom) and self._cache.drop_idle():
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

    def _schedule(self) -> list[Part]:
        """What the next pass computes, once the KV cache has room for it."""
        parts = compose(self._sequences, self._ubatch_tokens)
        if not parts:
            return []
        kept, dropped = make_room(self._sequences, parts, self._cache.capacity_tokens)
        if not kept:  # these must wait for room that an older request holds
            parts = oldest(self._sequences, self._ubatch_tokens)
            kept, dropped = make_room(self._sequences, parts, self._cache.capacity_tokens)
        for sequence in dropped:
            self._cache.cut(sequence, 0)
        return kept

    def _compute(self, parts: list[Part]) -> bool:
        """Compute the parts; False when the pass failed, and was rolled back."""
        try:
            self._forward(batch(parts))
        except DecodeFailed as error:
            for part in parts:
                self._cache.roll_back(part.sequence)
            if isinstance(error, NoRoom):
                self._free_room(parts, error)
            else:
                self._isolate(parts, error)
            return False
        return True

    def _forward(self, tokens: Seq[BatchToken]) -> None:
        """One pass, counted. Raises what Context.decode raises, and ModelFileChanged: its results are void then."""
        self._model.check_files()
        start_seconds = time.monotonic()
        self._context.decode(tokens)
        self._model.check_files()  # the pass may have read what was written meanwhile
        self.counters.forward_seconds += time.monotonic() - start_seconds
        self.counters.passes += 1
        self.counters.stream = self._stream_counters()

    def _free_room(self, parts: list[Part], error: NoRoom) -> None:
        """llama.cpp found no room where the token counts did: drop idle KV, or else fail the youngest request."""
        if not self._cache.drop_idle():
            self._fail(max(parts, key=lambda part: part.generation.order).sequence, error)

    def _isolate(self, parts: list[Part], error: DecodeFailed) -> None:
        """Have the members of a failed pass computed one by one; what fails by itself twice is at fault."""
        generations = [part.generation for part in parts]
        structlog.get_logger().warning("a pass failed", requests=[g.request.id for g in generations], error=str(error))
        for part, generation in zip(parts, generations, strict=True):
            if len(parts) == 1:
                generation.failures += 1
            generation.alone = True
            if generation.failures >= _MAX_FAILURES_ALONE:
                self._fail(part.sequence, error)

    def _advance(self, parts: list[Part], before: StreamCounters) -> list[tuple[Sequence, int]]:
        """Count what a pass computed; the sequences whose last token is in, each with the index of its output."""
        outputs: list[tuple[Sequence, int]] = []
        computed = 0
        for part in parts:
            sequence, generation = part.sequence, part.generation
            counters, prefill = generation.request.counters, sequence.state is State.PREFILL
            self._cache.extend(sequence, part.tokens, self.counters.passes)
            generation.alone, generation.failures = False, 0
            counters.add_pass(before, self.counters.stream, len(parts), prefill=prefill)
            if not counters.output_tokens:
                # Also of a prompt found whole in memory: clients learn its length before the first token.
                self.counters.prompt_tokens += part.count if prefill else 0
                generation.request.emit(Prefill(len(sequence.held), counters.prompt_tokens))
            computed += part.count
            if not sequence.missing:
                outputs.append((sequence, computed - 1))
        return outputs

    def _sample(self, sequence: Sequence, output: int) -> None:
        """Choose what follows in a sequence; the request alone fails where that fails."""
        request = generation_of(sequence).request
        try:
            reason = self._extend(generation_of(sequence), output)
            if reason:
                self._finish(sequence, reason)
            elif request.cancelled:
                self._release(sequence)
        except (DecodeFailed, ConstraintFailed) as error:
            self._fail(sequence, error)
        except EngineBroken:
            raise
        except Exception as error:  # a defect that one request meets must not end the others
            structlog.get_logger().exception("sampling failed", request=request.id)
            self._fail(sequence, DecodeFailed(f"sampling failed: {error!r}"))

    def _extend(self, generation: Generation, output: int) -> str:
        """Add the next token, and those that its format forces after it; the reason if the answer ends, else empty."""
        request, sampler = generation.request, generation.request.sampler
        if request.limits.max_tokens == 0:
            return "length"
        forced = sampler.forced()  # Before the first token; later they are taken with the one before.
        if not forced:
            token, logprob = sampler.choose(self._context.logits(output))
            if sampler.stops_at_end and self._model.vocabulary.ends_generation(token):
                generation.count_time()
                return "stop"
            if reason := self._append(generation, token, logprob):
                return reason
            forced = sampler.forced()
        for token in forced:
            sampler.accept(token)
            request.counters.forced_tokens += 1
            self.counters.forced_tokens += 1
            if reason := self._append(generation, token, None):
                return reason
        return "stop" if sampler.is_over else ""

    def _append(self, generation: Generation, token: int, logprob: Logprob | None) -> str:
        self.counters.output_tokens += 1
        text = self._model.vocabulary.piece(token, generation.request.visible)
        return generation.append(token, text, logprob, self._context.size_tokens)

    def _finish(self, sequence: Sequence, reason: str) -> None:
        generation, request = generation_of(sequence), generation_of(sequence).request
        generation.send_rest()
        self.counters.finished += 1
        self._release(sequence)
        request.emit(Finished(reason, request.counters, request.sampling.seed, generation.stop_string))

    def _fail(self, sequence: Sequence, error: Exception) -> None:
        request = generation_of(sequence).request
        self.counters.failed += 1
        self._release(sequence)
        structlog.get_logger().warning("request failed", request=request.id, error=str(error))
        request.emit(error)

    def _release(self, sequence: Sequence) -> None:
        """End the sequence's generation; its KV stays for a later request that begins alike."""
        generation_of(sequence).request.sampler.close()
        sequence.generation = None

    def _stream_counters(self) -> StreamCounters:
        return self._model.streamer.counters() if self._model.streamer is not None else NOTHING_STREAMED
