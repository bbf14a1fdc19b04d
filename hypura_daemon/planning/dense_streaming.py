"""Dense-streaming plans: tensors through a ring, as many as fit pinned."""

from __future__ import annotations

from collections.abc import Sequence

from hypura_daemon.models.model import ModelTensor
from hypura_daemon.planning import ring
from hypura_daemon.planning.assemble import assemble
from hypura_daemon.planning.embeddings import by_row
from hypura_daemon.planning.estimate import Streaming
from hypura_daemon.planning.frame import Frame
from hypura_daemon.planning.offload import offload, resident_tier
from hypura_daemon.planning.types import DensePlan, MemoryItem, Mode, Plan, Tier

_SLOWER_PROMPTS = 1.05
"""That much longer a prompt may take for the sake of decoding: what a smaller ubatch's buffers leave is pinned."""
_SMALLEST_CHOSEN_UBATCH = 64
"""Products of fewer tokens use the processor less well, which the estimate does not know."""


def dense_streaming(frame: Frame) -> Plan | None:
    """Layers through the ring; None if two of the smallest tensors do not fit."""
    for attention in (False, True):
        tensors = ring.streamable(frame.model.tensors, attention=attention)
        made = [
            plan
            for ubatch in (frame.ubatches if tensors else ())
            if (plan := _with_ubatch(frame, tensors, ubatch, attention=attention)) is not None
        ]
        if made:
            return _best(made)
    return None


def _best(plans: Sequence[Plan]) -> Plan:
    """The one that decodes fastest of those that are about as quick with prompts; plans: the largest ubatch first."""
    quickest = min(plan.estimate.ttft_seconds for plan in plans)
    quick = [
        plan
        for plan in plans
        if plan.ubatch_tokens >= _SMALLEST_CHOSEN_UBATCH and plan.estimate.ttft_seconds <= _SLOWER_PROMPTS * quickest
    ]
    return max(quick or plans[:1], key=lambda plan: plan.estimate.tok_per_second)


def _with_ubatch(frame: Frame, tensors: Sequence[ModelTensor], ubatch: int, *, attention: bool) -> Plan | None:
    """The plan that may stream these; None if it does not fit, or too little is left beside its buffers."""
    model, experts = frame.model, frame.model.hyperparameters.expert_count
    if not frame.buffers_are_modest(ubatch, experts) and ubatch > min(frame.ubatches):
        return None
    names = frozenset(tensor.name for tensor in tensors)
    gpu_layers, on_gpu = offload(frame, ubatch, streamed=names)
    embeddings = by_row(model.tensors, model.architecture, ubatch)
    bare = sum(t.size_bytes for t in model.tensors if t.name not in names) - embeddings.saved_bytes
    items = [MemoryItem("weights", bare - on_gpu), *embeddings.items, *frame.buffers(ubatch, experts)]
    left = frame.request.memory_limit_bytes - sum(item.size_bytes for item in items)
    largest = max(t.size_bytes for t in tensors)
    cache = frame.cache_limit(sum(t.size_bytes for t in tensors))
    if cache is not None:
        left = min(left, max(cache, min(ring.LEAST_DEPTH, len(tensors)) * _place_bytes(frame, largest)))
    io = frame.io()
    chosen = ring.divide(
        tensors,
        left,
        place_bytes=lambda size: _place_bytes(frame, size),
        in_flight_bytes=2 * io.chunk_bytes * io.queue_depth,
    )
    if chosen is None:
        return None
    items[0] = MemoryItem("weights", items[0].size_bytes + chosen.pinned_bytes)
    items.append(MemoryItem("ring", chosen.ring_bytes))
    streamed = [t for t in tensors if t.name not in chosen.pinned]
    streamed_bytes = sum(t.size_bytes for t in streamed)
    most_kept_bytes = streamed_bytes
    if cache is not None:
        most_kept_bytes = min(streamed_bytes, max(0, cache - chosen.pinned_bytes - chosen.ring_bytes))
    lent_bytes = min(most_kept_bytes, frame.lent_bytes(ubatch, gpu_layers))
    nvme = {t.name for t in streamed} | embeddings.names
    layers = tuple(sorted({t.layer for t in streamed}))
    return assemble(
        frame,
        Mode.DENSE_STREAMING,
        f"{len(streamed)} of {len(tensors)} large tensors are read in every pass"
        + (", attention included" if attention else ""),
        ubatch,
        items,
        {t.name: Tier.NVME if t.name in nvme else resident_tier(t, gpu_layers, model) for t in model.tensors},
        gpu_layers=gpu_layers,
        streaming=Streaming(dense_bytes=streamed_bytes - lent_bytes // chosen.place_bytes * chosen.place_bytes),
        dense=DensePlan(
            streamed_layers=layers,
            pinned_layers=tuple(sorted({t.layer for t in tensors} - set(layers))),
            ring_depth=chosen.depth,
            ring_slot_bytes=chosen.place_bytes,
            most_kept_bytes=most_kept_bytes,
            attention_streamed=attention,
            streamed_tensors=len(streamed),
            pinned_tensors=len(chosen.pinned),
        ),
        embedding_cache_bytes=embeddings.cache_bytes,
    )


def _place_bytes(frame: Frame, size_bytes: int) -> int:
    """What a tensor of that size takes in the ring."""
    return size_bytes + frame.padding_bytes(size_bytes)
