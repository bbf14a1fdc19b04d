"""Dense-streaming plans: which tensors of the layers are pinned in memory, and which are streamed through a ring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hypura_daemon.models.gguf.tensor_roles import Role
from hypura_daemon.models.model import ModelTensor
from hypura_daemon.planning.assembly import make_plan
from hypura_daemon.planning.estimate import Streaming
from hypura_daemon.planning.inputs import PlanInputs
from hypura_daemon.planning.placement import by_row, offload, resident_tier
from hypura_daemon.planning.plan import DensePlan, MemoryItem, MemoryKind, Mode, Plan, Tier

MIN_DEPTH = 2
"""The ring's depth in places for the largest tensor: one is computed with while the other is read. Where reads are the
bottleneck, they take longer than the computing between them, and a third place is worth less than a pinned tensor."""
_MAX_DEEP_SHARE = 0.25
"""Small tensors need more places to keep the drive busy, but a pinned tensor need not be read at all."""
_FFN = {Role.DENSE_FFN}
_MATRICES = {Role.DENSE_FFN, Role.ATTENTION, Role.ROUTED_EXPERT, Role.SHARED_EXPERT}
_SMALLEST_STREAMED_BYTES = 16_384
_MAX_SIZES, _MAX_CHECKS = 64, 1 << 17
"""The limits of sizes tried as the largest, and of tensors examined for them: models have a handful of sizes, but a
file may have as many sizes as tensors. Seen: 65,536 of them would have taken hours."""
_SLOWER_PROMPTS = 1.05
"""How much longer a prompt may take in favour of decoding: a smaller ubatch's buffers leave more memory to pin."""
_SMALLEST_CHOSEN_UBATCH = 64
"""Products of fewer tokens use the processor worse, which the estimate does not include."""


@dataclass(frozen=True, slots=True)
class Division:
    """Which tensors are pinned, and the ring for the others.

    pinned: names of the tensors that stay in memory; depth: the number of places in the ring, each of place_bytes, for
    the largest streamed tensor.
    """

    pinned: frozenset[str]
    pinned_bytes: int
    depth: int
    place_bytes: int

    @property
    def ring_bytes(self) -> int:
        """The memory of the ring."""
        return self.depth * self.place_bytes


def dense_streaming(inputs: PlanInputs) -> Plan | None:
    """The plan that streams layers through the ring; None if two of the smallest tensors do not fit."""
    for attention in (False, True):
        tensors = streamable(inputs.model.tensors, attention=attention)
        made = [
            plan
            for ubatch in (inputs.ubatches if tensors else ())
            if (plan := _with_ubatch(inputs, tensors, ubatch, attention=attention)) is not None
        ]
        if made:
            return _best(made)
    return None


def _best(plans: Sequence[Plan]) -> Plan:
    """The plan that decodes fastest among those with about the shortest prompts; plans: the largest ubatch first."""
    quickest = min(plan.estimate.ttft_seconds for plan in plans)
    quick = [
        plan
        for plan in plans
        if plan.ubatch_tokens >= _SMALLEST_CHOSEN_UBATCH and plan.estimate.ttft_seconds <= _SLOWER_PROMPTS * quickest
    ]
    return max(quick or plans[:1], key=lambda plan: plan.estimate.tok_per_second)


def _with_ubatch(inputs: PlanInputs, tensors: Sequence[ModelTensor], ubatch: int, *, attention: bool) -> Plan | None:
    """The plan that may stream these tensors; None if it does not fit, or its buffers leave too little memory."""
    model, experts = inputs.model, inputs.model.hyperparameters.expert_count
    if not inputs.buffers_are_modest(ubatch, experts) and ubatch > min(inputs.ubatches):
        return None
    names = frozenset(tensor.name for tensor in tensors)
    gpu_layers, on_gpu = offload(inputs, ubatch, streamed=names)
    embeddings = by_row(model.tensors, model.architecture, ubatch)
    bare = sum(t.size_bytes for t in model.tensors if t.name not in names) - embeddings.saved_bytes
    items = [MemoryItem(MemoryKind.WEIGHTS, bare - on_gpu), *embeddings.items, *inputs.buffers(ubatch, experts)]
    left = inputs.request.memory_limit_bytes - sum(item.size_bytes for item in items)
    largest = max(t.size_bytes for t in tensors)
    cache = inputs.cache_limit(sum(t.size_bytes for t in tensors))
    if cache is not None:
        left = min(left, max(cache, min(MIN_DEPTH, len(tensors)) * _place_bytes(inputs, largest)))
    io = inputs.io()
    chosen = divide(
        tensors,
        left,
        place_bytes=lambda size: _place_bytes(inputs, size),
        in_flight_bytes=2 * io.chunk_bytes * io.queue_depth,
    )
    if chosen is None:
        return None
    items[0] = MemoryItem(MemoryKind.WEIGHTS, items[0].size_bytes + chosen.pinned_bytes)
    items.append(MemoryItem(MemoryKind.RING, chosen.ring_bytes))
    streamed = [t for t in tensors if t.name not in chosen.pinned]
    streamed_bytes = sum(t.size_bytes for t in streamed)
    max_kept_bytes = streamed_bytes
    if cache is not None:
        max_kept_bytes = min(streamed_bytes, max(0, cache - chosen.pinned_bytes - chosen.ring_bytes))
    lent_bytes = min(max_kept_bytes, inputs.lent_bytes(ubatch, gpu_layers))
    nvme = {t.name for t in streamed} | embeddings.names
    layers = tuple(sorted({t.layer for t in streamed}))
    return make_plan(
        inputs,
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
            max_kept_bytes=max_kept_bytes,
            attention_streamed=attention,
            streamed_tensors=len(streamed),
            pinned_tensors=len(chosen.pinned),
        ),
        embedding_cache_bytes=embeddings.cache_bytes,
    )


def _place_bytes(inputs: PlanInputs, size_bytes: int) -> int:
    """The room that a tensor of this size takes in the ring."""
    return size_bytes + inputs.padding_bytes(size_bytes)


def streamable(tensors: Sequence[ModelTensor], *, attention: bool) -> list[ModelTensor]:
    """The layers' feed-forward matrices, or, with attention, all their large matrices; layer by layer."""
    roles = _MATRICES if attention else _FFN
    found = [
        tensor
        for tensor in tensors
        if tensor.layer >= 0
        and tensor.role in roles
        and len(tensor.shape) >= 2
        and tensor.size_bytes >= _SMALLEST_STREAMED_BYTES
        and tensor.name.endswith(".weight")
    ]
    return sorted(found, key=lambda tensor: (tensor.layer, tensor.file, tensor.offset_bytes))


def divide(
    tensors: Sequence[ModelTensor], memory_bytes: int, *, place_bytes: Callable[[int], int], in_flight_bytes: int
) -> Division | None:
    """What to pin, and the ring's depth, within memory_bytes, so that as little as possible is read; None if none fits.

    tensors: those of `streamable`, at least one; place_bytes: the room that a tensor of a size takes in the ring, with
    padding; in_flight_bytes: reads that the drive should have queued.

    The largest streamed tensor determines the ring's size, so each size is tried as the largest: larger tensors stay.
    """
    found: Division | None = None
    for largest_bytes in _largest(tensors):
        made = _divide(tensors, memory_bytes, largest_bytes, place_bytes(largest_bytes), in_flight_bytes)
        if made is not None and (found is None or made.pinned_bytes > found.pinned_bytes):
            found = made
    return found


def _largest(tensors: Sequence[ModelTensor]) -> list[int]:
    """The sizes to try, largest first: all, or evenly chosen ones that include the largest and the smallest."""
    sizes = sorted({tensor.size_bytes for tensor in tensors}, reverse=True)
    most = max(2, min(_MAX_SIZES, _MAX_CHECKS // len(tensors)))
    if len(sizes) <= most:
        return sizes
    return [sizes[place * (len(sizes) - 1) // (most - 1)] for place in range(most)]


def _divide(
    tensors: Sequence[ModelTensor], memory_bytes: int, largest_bytes: int, place_bytes: int, in_flight_bytes: int
) -> Division | None:
    """The division that streams nothing larger than largest_bytes."""
    small = [tensor for tensor in tensors if tensor.size_bytes <= largest_bytes]
    large = [tensor for tensor in tensors if tensor.size_bytes > largest_bytes]
    left = memory_bytes - sum(tensor.size_bytes for tensor in large)
    depth = _depth(len(small), left, place_bytes, in_flight_bytes)
    if depth is None:
        return None
    pinned = _pin(small, left - depth * place_bytes) + large
    return Division(
        frozenset(tensor.name for tensor in pinned),
        sum(tensor.size_bytes for tensor in pinned),
        min(depth, len(tensors) - len(pinned)),
        place_bytes,
    )


def _depth(count: int, memory_bytes: int, place_bytes: int, in_flight_bytes: int) -> int | None:
    possible = memory_bytes // place_bytes
    if possible < min(MIN_DEPTH, count):
        return None
    busy = 1 + -(-in_flight_bytes // place_bytes)
    cheap = int(memory_bytes * _MAX_DEEP_SHARE) // place_bytes
    return min(max(MIN_DEPTH, min(busy, cheap)), possible, count)


def _pin(tensors: Sequence[ModelTensor], memory_bytes: int) -> list[ModelTensor]:
    """The tensors to pin: spread evenly by bytes, then as many more as fit; never all of them."""
    total_bytes = sum(tensor.size_bytes for tensor in tensors)
    share = min(1.0, memory_bytes / total_bytes)
    pinned: dict[str, ModelTensor] = {}
    passed_bytes = pinned_bytes = 0
    for tensor in tensors:
        # Bresenham: a tensor is pinned if the share of pinned bytes so far stays within the overall share.
        passed_bytes += tensor.size_bytes
        if pinned_bytes + tensor.size_bytes <= share * passed_bytes:
            pinned[tensor.name] = tensor
            pinned_bytes += tensor.size_bytes
    for tensor in sorted(tensors, key=lambda tensor: -tensor.size_bytes):
        if tensor.name not in pinned and pinned_bytes + tensor.size_bytes <= memory_bytes:
            pinned[tensor.name] = tensor
            pinned_bytes += tensor.size_bytes
    if len(pinned) == len(tensors):
        del pinned[min(tensors, key=lambda tensor: tensor.size_bytes).name]
    return list(pinned.values())
