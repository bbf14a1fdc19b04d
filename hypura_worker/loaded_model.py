"""The loaded model: llama.cpp's model and context, and the streamer between them and the drive, as the plan says."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import llama_cpp
import structlog

from hypura.v1 import placement_pb2
from hypura_worker import runtime
from hypura_worker.errors import DecodeFailed, EngineBroken, LoadFailed
from hypura_worker.llama import log
from hypura_worker.llama.arena import Arena
from hypura_worker.llama.context import BatchToken, Context, PassHook
from hypura_worker.llama.kv_memory import KvMemory, Loan
from hypura_worker.llama.vocabulary import Vocabulary
from hypura_worker.llama.weights import LoadMode, load_weights
from hypura_worker.streaming.dense import DenseStreamer
from hypura_worker.streaming.embedding_rows import EmbeddingRows
from hypura_worker.streaming.experts import ExpertStreamer
from hypura_worker.streaming.model_files import ModelFiles
from hypura_worker.streaming.reader import Alignment, Reader
from hypura_worker.streaming.streamed_tensors import (
    StreamedTensor,
    arrived,
    is_embedding,
    override_patterns,
    streamed_placements,
)
from hypura_worker.streaming.streamer import Streamer

_STREAMING = (placement_pb2.MODE_EXPERT_STREAMING, placement_pb2.MODE_DENSE_STREAMING)
_BEFORE_THE_CONTEXT = (
    placement_pb2.MEMORY_KIND_WORKER_PROCESS,
    placement_pb2.MEMORY_KIND_VOCABULARY,
    placement_pb2.MEMORY_KIND_WEIGHTS,
)
_FILLED_LATER = (
    placement_pb2.MEMORY_KIND_WORK_BUFFER,
    placement_pb2.MEMORY_KIND_EXPERT_PREDICTION,
    placement_pb2.MEMORY_KIND_EMBEDDING_ROWS,
)
"""Memory that is not resident yet when the context has been made."""
_REQUESTS_BYTES, _LEAST_REQUESTS_BYTES = 24_000_000, 8_000_000
"""Memory that is left for requests beside a pass; the least where the streamer could not work otherwise."""
_HEADER_BYTES = 16_000_000
"""The metadata of the file, which llama.cpp holds beside its own tables until the model is loaded."""


class LlamaModel:
    """The loaded model. Raises LoadFailed, or ModelFileChanged, with the reason.

    progress is called with the share of its memory that is filled: weights, then slots; 0 to 1.
    watch: wraps the streamer's hook; the context gets what it returns.
    """

    def __init__(
        self,
        plan: placement_pb2.Plan,
        progress: Callable[[float], None] = lambda share: None,
        watch: Callable[[PassHook | None], PassHook | None] = lambda hook: hook,
    ) -> None:
        self.plan = plan
        self._memory_limit_bytes = plan.memory_limit_bytes
        self._cache_bytes = 0  # What slots or ring may take of the limit when the context is full.
        self._watch = watch
        self.streamer: Streamer | None = None
        self._rows: EmbeddingRows | None = None
        self._loan: Loan | None = None
        self._handle: int | None = None
        self._arena: Arena | None = None
        self._reader: Reader | None = None
        self._files: ModelFiles | None = None
        self.context: Context | None = None
        log.redirect()
        log.forget_errors()
        llama_cpp.llama_backend_init()
        try:
            self._files = ModelFiles(plan.files, direct=plan.io.direct)
            slots_bytes = _planned_bytes(plan, placement_pb2.MEMORY_KIND_EXPERT_SLOTS)
            weights = plan.resident_bytes / max(1, plan.resident_bytes + slots_bytes)
            self._load(self._files, lambda share: progress(weights * share))
            self._files.check_paths()
            self.vocabulary = Vocabulary(self._handle)
            self._make_context()
            self._record_graph()
            if isinstance(self.streamer, ExpertStreamer):
                self.streamer.commit(lambda share: progress(weights + (1 - weights) * share))
                self.streamer.warm()
            progress(1.0)
        except BaseException:
            self.close()
            raise

    def check_files(self) -> None:
        """Raise ModelFileChanged if passes read files, and one of them is no longer what was planned.

        After a pass without this error, its results were computed with the planned weights.
        """
        if self._files is not None and (self.streamer is not None or self.plan.mode == placement_pb2.MODE_MMAP):
            self._files.check()

    def ready(self) -> Context:
        """The context. Raises LoadFailed when the model is closed."""
        if self.context is None:
            raise LoadFailed("the model is closed")
        return self.context

    @property
    def pass_tokens(self) -> int:
        """The most tokens of a pass: fewer than planned where slots had to be given up."""
        if self.streamer is None:
            return self.plan.ubatch_tokens
        return self.streamer.pass_tokens(self._cache_bytes)

    @property
    def memory_limits(self) -> tuple[int, int]:
        """The least and the most that `resize` can make of the memory limit."""
        if self.streamer is None:
            return self._memory_limit_bytes, self._memory_limit_bytes
        fixed = self._memory_limit_bytes - self._cache_bytes
        return fixed + self.streamer.least_bytes, fixed + self.streamer.most_bytes

    def resize(self, memory_limit_bytes: int) -> int:
        """Keep to another memory limit from now on, or to the nearest one possible, and return it; between passes."""
        least, most = self.memory_limits
        limit = min(max(memory_limit_bytes, least), most)
        if self.streamer is not None:
            self._cache_bytes += limit - self._memory_limit_bytes
            self._memory_limit_bytes = limit
            self._fit()
        return limit

    def slow_drive(self, milliseconds: int) -> None:
        """Delay each read by this much, for tests."""
        for reader in (self._reader, self._rows):
            if reader is not None:
                reader.delay(milliseconds)

    def close(self) -> None:
        """Free everything, in an order in which nothing outlives what it points to."""
        self._loan = None
        if self.context is not None:
            self.context.close()
            self.context = None
        if self.streamer is not None:
            self.streamer.close()
            self.streamer = None
        if self._handle:
            llama_cpp.llama_model_free(self._handle)
            self._handle = None
        if self._arena is not None:
            self._arena.free()
            self._arena = None
        if self._rows is not None:
            self._rows.close()
            self._rows = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._files is not None:
            self._files.close()
            self._files = None

    def _load(self, files: ModelFiles, progress: Callable[[float], None]) -> None:
        """Load the resident weights, and make the streamer for the others."""
        plan, mode = self.plan, self._load_mode()
        placements = streamed_placements(plan) if plan.mode in _STREAMING else []
        if placements:
            self._arena = Arena()
        self._handle = load_weights(plan, mode, self._arena, override_patterns(placements), progress)
        if mode is LoadMode.PLAIN and plan.io.direct:
            files.drop_cached()
        if self._arena is not None:
            tensors = arrived(placements, self._arena.finish_load())
            if all(is_embedding(tensor) for tensor in tensors):
                raise LoadFailed("none of the tensors to stream arrived at the loader; plan again")
            self._make_streamer(self._arena, tensors, files.descriptors)

    def _load_mode(self) -> LoadMode:
        """Direct reads where the limit has room for them: for each tensor llama.cpp makes a buffer of its size.

        The room of context, slots and ring counts, since they are made later.
        """
        plan = self.plan
        if plan.mode == placement_pb2.MODE_MMAP:
            return LoadMode.MMAP
        if not plan.io.direct or not hasattr(os, "O_DIRECT"):
            return LoadMode.PLAIN
        largest = max((t.extent.length_bytes for t in plan.tensors if t.tier != placement_pb2.TIER_NVME), default=0)
        # Repacked weights have one more buffer, of llama.cpp's loader.
        buffers = largest * (2 if plan.extra_buffers else 1)
        allocated = _planned_bytes(plan, *_BEFORE_THE_CONTEXT)
        return LoadMode.DIRECT if allocated + buffers + _HEADER_BYTES <= plan.memory_limit_bytes else LoadMode.PLAIN

    def _make_streamer(self, arena: Arena, tensors: list[StreamedTensor], descriptors: list[int]) -> None:
        """Make the streamer, and what reads embedding rows, for these tensors."""
        io = self.plan.io
        of_tokens = [tensor for tensor in tensors if is_embedding(tensor)]
        of_layers = [tensor for tensor in tensors if not is_embedding(tensor)]
        if of_tokens:
            alignment = Alignment(io.offset_alignment_bytes, io.memory_alignment_bytes)
            cache_bytes = self.plan.embedding_cache_bytes
            self._rows = EmbeddingRows(arena, of_tokens, descriptors, alignment, io.queue_depth, cache_bytes)
        self._reader = Reader(io.queue_depth, io.chunk_bytes)
        kind = ExpertStreamer if self.plan.mode == placement_pb2.MODE_EXPERT_STREAMING else DenseStreamer
        self.streamer = kind(arena, self.plan, of_layers, descriptors, self._reader)

    def _record_graph(self) -> None:
        """Let the streamer record the graph, so that it can prefetch from the start of the first request on.

        A model whose streamed experts are used in an unsupported way is refused here, not in the middle of an answer.
        """
        context = self.ready()
        streamer = self.streamer
        if not isinstance(streamer, ExpertStreamer | DenseStreamer) or not context.generates:
            return
        cache = KvMemory()
        streamer.learning = cache.handle
        try:
            with log.quiet():
                context.decode([BatchToken(0, 0, 0, True)])
        except (DecodeFailed, EngineBroken) as error:
            # Where layers are streamed, it always ends so: aborted before anything is computed.
            if isinstance(streamer, ExpertStreamer) or isinstance(error, EngineBroken):
                raise LoadFailed(str(error)) from error
        finally:
            streamer.learning = None
        context.cut(0, 0)
        if cache.size_bytes and cache.release():
            self._loan = Loan(cache, context.touched_tokens)
            self._fit()

    def _make_context(self) -> None:
        """Make the context, and let the slots or the ring take the memory that it leaves."""
        plan = self.plan
        prepare = self._prepare if self.streamer is not None else None
        self.context = Context(self._handle, plan, self._watch(self.streamer), prepare)
        if self.streamer is None:
            return
        self._cache_bytes = self.streamer.place_bytes
        compute_bytes = self.context.compute_bytes
        if compute_bytes is None or not runtime.resident_counts_touched_pages():
            return  # not measurable here: the figures of the plan hold
        # The plan's reserve was for what is measured by now, except for requests.
        later = compute_bytes + _planned_bytes(plan, *_FILLED_LATER)
        free = plan.memory_limit_bytes - runtime.resident_bytes() - later
        left = free - max(_REQUESTS_BYTES, _planned_bytes(plan, placement_pb2.MEMORY_KIND_RESERVE) // 4)
        left = max(left, min(free - _LEAST_REQUESTS_BYTES, self.streamer.least_bytes))
        structlog.get_logger().info(
            "slots take the memory that is left", planned_bytes=self.streamer.place_bytes, left_bytes=left
        )
        self._cache_bytes = min(max(left, 0), self.streamer.most_bytes)
        self.streamer.fit(self._cache_bytes)

    def _prepare(self, tokens: Sequence[int]) -> None:
        """Before each pass: read its embedding rows, and make room for it in the KV cache."""
        if self._rows is not None:
            self._rows.bring(tokens)
        if self._loan is not None and self._loan.make_room(len(tokens)):
            self._fit()

    def _fit(self) -> None:
        """Let slots or the ring take the memory that they may use now."""
        if self.streamer is not None:
            lent_bytes = self._loan.lent_bytes if self._loan is not None else 0
            self.streamer.fit(min(self._cache_bytes + lent_bytes, self.streamer.most_bytes))


def _planned_bytes(plan: placement_pb2.Plan, *kinds: placement_pb2.MemoryKind) -> int:
    """Memory that the plan has for these kinds together."""
    return sum(item.size_bytes for item in plan.memory if item.kind in kinds)
