"""What all modes of a plan start from: model, machine and checked request."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from hypura.sizes import MAX_MEMORY_BYTES
from hypura_daemon.errors import BudgetTooSmall, ContextTooLong, InvalidRequest
from hypura_daemon.hardware.profile import DriveProfile, HardwareProfile
from hypura_daemon.models.gguf.architectures import ENCODERS
from hypura_daemon.models.gguf.hyperparameters import Pooling
from hypura_daemon.models.model import Model
from hypura_daemon.planning import footprint
from hypura_daemon.planning.plan import IoPlan, LoadRequest, MemoryItem, MemoryKind

DEFAULT_CONTEXT_TOKENS = 4096
DEFAULT_SEQUENCES = 4
EXACT_UBATCH_TOKENS = 32
EXACT_EXPERTS_UBATCH_TOKENS = 1
"""With `exact` the ubatch must not depend on the memory limit, and the smallest one holds one token's experts."""

WHOLE_TEXT_TOKENS = 2048
"""The longest text for which an encoder is prepared: it computes a text in one pass, whatever the memory limit."""
_UNFUSED_KV_TYPES = ("f16", "f32")
"""Without the fused operation V is transposed, which is impossible with quantized types."""
_LEAST_HEADS_PER_KV = 4
"""If so many heads or more share K and V, the two products are quicker (docs/measurements.md, twelfth version)."""
_USUAL_TOKENS = 1024
_UBATCHES = (512, 256, 128, 64, 32, 16, 8, 4, 2, 1)
_MAX_SEQUENCES = 64
_BUFFER_SHARE = 0.12
"""The largest share of the memory limit that buffers for a larger ubatch are worth."""
_RESERVE_BYTES = 48_000_000
_RESERVE_SHARE = 0.01
_USUAL_WORKER_BYTES = 150_000_000
_USUAL_ALIGNMENT_BYTES = 4096
_TOKEN_BYTES = 170
"""The size of llama.cpp's tables per token of the vocabulary: 25 MB for 152k."""
_PAGE_BYTES, _PADDED_BYTES = 4096, 256 << 10
"""Slices of this size or more are read in whole pages."""
_CHUNK_BYTES = 4 << 20
_LEAST_QUEUE_DEPTH = 4
"""Even if the drive needs no more: a demand read finds a free reader while others prefetch."""
_QUEUE_DEPTH = 4


@dataclass(frozen=True, slots=True)
class PlanInputs:
    """The model, with its loaded tensors only, the machine, its drive and the request with its defaults filled in.

    smallest_ubatch: only the smallest ubatch is tried, to see whether anything fits.
    """

    model: Model
    hardware: HardwareProfile
    drive: DriveProfile | None
    request: LoadRequest
    context_tokens: int
    sequences: int
    kv_type: str
    unfused_attention: bool = False
    smallest_ubatch: bool = False

    def kv_bytes(self, ubatch: int) -> int:
        """The size of the KV cache and of recurrent states."""
        return footprint.kv_bytes(
            self.model.architecture,
            self.model.hyperparameters,
            self.context_tokens,
            self.sequences,
            ubatch,
            self.kv_type,
        )

    def lent_bytes(self, ubatch: int, gpu_layers: int) -> int:
        """The part of the KV cache that a usual conversation leaves to slots or the ring: pages are taken as they fill.

        0 on a GPU and with unified memory: there the worker cannot give cleared pages back.
        """
        if gpu_layers or self.hardware.unified_memory:
            return 0
        usual = replace(self, context_tokens=min(self.context_tokens, _USUAL_TOKENS))
        lent = self.kv_bytes(ubatch) - usual.kv_bytes(ubatch)
        if not self.unfused_attention:
            return lent
        hyper = self.model.hyperparameters  # V is transposed then: every token fills a part of all its pages
        return lent * hyper.key_length // (hyper.key_length + hyper.value_length)

    def logits_rows(self, ubatch: int) -> int:
        """The number of tokens with memory for logits: once within a pass, at the output head, and once after it.

        Texts' vectors need it too: for llama.cpp every token that they are made of is an output.
        """
        pooled = self.model.reads_whole_texts or self.model.hyperparameters.pooling_type is Pooling.MEAN
        outputs = max(ubatch, self.sequences) if pooled else self.sequences
        return outputs if self.model.architecture in ENCODERS else 2 * outputs

    def compute_bytes(self, ubatch: int) -> int:
        """The size of the compute buffers."""
        return footprint.compute_bytes(
            self.model.hyperparameters,
            self.context_tokens,
            self.logits_rows(ubatch),
            ubatch,
            unfused_attention=self.unfused_attention,
        )

    def buffers(self, ubatch: int, group_slots: int) -> list[MemoryItem]:
        """The memory items that are neither weights nor slots."""
        hyper = self.model.hyperparameters
        limit = self.request.memory_limit_bytes
        return [
            MemoryItem(MemoryKind.WORKER_PROCESS, self.hardware.worker_base_bytes or _USUAL_WORKER_BYTES),
            MemoryItem(MemoryKind.VOCABULARY, hyper.vocabulary_tokens * _TOKEN_BYTES),
            MemoryItem(MemoryKind.KV_CACHE, self.kv_bytes(ubatch)),
            MemoryItem(MemoryKind.COMPUTE_BUFFERS, self.compute_bytes(ubatch)),
            MemoryItem(MemoryKind.WORK_BUFFER, footprint.work_bytes(hyper, group_slots, ubatch)),
            MemoryItem(MemoryKind.RESERVE, max(_RESERVE_BYTES, int(limit * _RESERVE_SHARE))),
        ]

    def padding_bytes(self, slice_bytes: int) -> int:
        """The padding that an aligned read of a slice may need; large slices are read in whole pages."""
        least = _PAGE_BYTES if slice_bytes >= _PADDED_BYTES else 0
        return 2 * max(least, self.alignment(lambda drive: drive.offset_alignment_bytes))

    def alignment(self, which: Callable[[DriveProfile], int]) -> int:
        """One of the drive's alignments, or the usual one if it is unknown."""
        return (which(self.drive) if self.drive is not None else 0) or _USUAL_ALIGNMENT_BYTES

    def io(self) -> IoPlan:
        """How to read from the model's drive."""
        drive = self.drive
        measured = drive is not None and drive.best_queue_depth > 0
        return IoPlan(
            chunk_bytes=max(drive.best_block_bytes, 1 << 20) if measured and drive is not None else _CHUNK_BYTES,
            queue_depth=max(drive.best_queue_depth, _LEAST_QUEUE_DEPTH)
            if measured and drive is not None
            else _QUEUE_DEPTH,
            direct=drive.direct if drive is not None else True,
            offset_alignment_bytes=self.alignment(lambda d: d.offset_alignment_bytes),
            memory_alignment_bytes=self.alignment(lambda d: d.memory_alignment_bytes),
        )

    def cache_limit(self, streamable_bytes: int) -> int | None:
        """How many of these bytes --weight-cache allows in memory; None for no limit."""
        request = self.request
        if request.weight_cache_bytes is not None:
            return request.weight_cache_bytes
        if request.weight_cache_percent is not None:
            return int(streamable_bytes * request.weight_cache_percent / 100)
        return None

    @property
    def may_unfuse(self) -> bool:
        """Whether attention can be computed unfused, and may be quicker so.

        Not with `exact`, where logits must not depend on what fits; nor on a GPU, which has kernels for it.
        """
        hyper = self.model.hyperparameters
        shared = max(hyper.head_count) >= _LEAST_HEADS_PER_KV * max(hyper.head_count_kv) > 0
        supported = self.model.generates and not hyper.kv_lora_rank and self.kv_type in _UNFUSED_KV_TYPES
        return shared and supported and not self.hardware.gpus and not self.request.exact

    @property
    def ubatches(self) -> tuple[int, ...]:
        """The ubatch sizes to try, largest first; only one if answers must not depend on the memory limit."""
        if self.model.reads_whole_texts:
            return (min(self.context_tokens, WHOLE_TEXT_TOKENS),)
        if self.request.exact:
            experts = self.model.hyperparameters.expert_count
            return (EXACT_EXPERTS_UBATCH_TOKENS if experts else min(EXACT_UBATCH_TOKENS, self.context_tokens),)
        return _UBATCHES[-1:] if self.smallest_ubatch else tuple(u for u in _UBATCHES if u <= self.context_tokens)

    def buffers_are_modest(self, ubatch: int, group_slots: int) -> bool:
        """Whether this ubatch's buffers leave most of the memory to weights."""
        size = self.compute_bytes(ubatch) + footprint.work_bytes(self.model.hyperparameters, group_slots, ubatch)
        return size <= self.request.memory_limit_bytes * _BUFFER_SHARE

    def too_small(self, least_bytes: int) -> BudgetTooSmall:
        """The error that names the smallest memory limit."""
        kv = self.kv_bytes(1)
        return BudgetTooSmall(
            f"{self.model.name} cannot run in {self.request.memory_limit_bytes / 1e6:.0f} MB: with a context of "
            f"{self.context_tokens} tokens (KV cache {kv / 1e6:.0f} MB) the least is "
            f"{math.ceil(least_bytes / 1e6)} MB; raise --memory, or lower --context",
            least_bytes,
        )


def plan_inputs(
    model: Model, hardware: HardwareProfile, drive: DriveProfile | None, request: LoadRequest
) -> PlanInputs:
    """The inputs, with the request's defaults filled in. Raises InvalidRequest, ContextTooLong."""
    hyper = model.hyperparameters
    if not 0 < request.memory_limit_bytes <= MAX_MEMORY_BYTES:
        raise InvalidRequest(
            f"memory of {request.memory_limit_bytes} bytes is not possible; give for example --memory 4GB"
        )
    percent = request.weight_cache_percent
    if percent is not None and not 0 <= percent <= 100:
        raise InvalidRequest(f"a weight cache of {percent} % is not possible; give 0 to 100 %, or a size")
    if request.weight_cache_bytes is not None and request.weight_cache_bytes < 0:
        raise InvalidRequest(f"a weight cache of {request.weight_cache_bytes} bytes is not possible")
    trained = hyper.context_length
    context = request.context_tokens or min(DEFAULT_CONTEXT_TOKENS, trained)
    if context > trained:
        raise ContextTooLong(
            f"a context of {context} tokens is more than the {trained} that {model.name} was trained for; "
            f"ask for at most {trained}"
        )
    sequences = 1 if request.exact else request.sequences or DEFAULT_SEQUENCES
    if not 1 <= sequences <= _MAX_SEQUENCES:
        raise InvalidRequest(f"{sequences} sequences are not possible; give 1 to {_MAX_SEQUENCES}")
    kv_type = request.kv_type or "f16"
    footprint.kv_element_bytes(kv_type)
    return PlanInputs(
        replace(model, tensors=model.loaded_tensors), hardware, drive, request, context, sequences, kv_type
    )
