"""Expert-streaming plans: the routed experts in slots, the rest resident."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypura_daemon.models.hyperparameters import Hyperparameters
from hypura_daemon.models.tensors import Role
from hypura_daemon.planning import footprint, slots
from hypura_daemon.planning.assemble import assemble
from hypura_daemon.planning.embeddings import by_row
from hypura_daemon.planning.estimate import Streaming
from hypura_daemon.planning.frame import Frame
from hypura_daemon.planning.offload import offload, resident_tier
from hypura_daemon.planning.types import ExpertPlan, MemoryItem, Mode, Plan, Tier


def expert_streaming(frame: Frame) -> Plan | None:
    """Slots for as many experts as there is memory left; None if there is too little for one token's."""
    hyper = frame.model.hyperparameters
    found = slots.classes(frame.model.tensors, hyper.expert_count, frame.padding_bytes)
    shared = slots.merged(found)
    sharings = [found] if len(shared) == len(found) else [found, shared]
    fallback: Plan | None = None
    for sharing in sharings:
        for ubatch in frame.ubatches:
            made = _with_slots(frame, sharing, ubatch)
            if made is None:
                continue
            if frame.buffers_are_modest(ubatch, slots.MAX_GROUP_SLOTS):
                return made
            fallback = made  # the smallest ubatch that works, if none is modest
        if fallback is not None:
            return fallback
    if frame.request.weight_cache_bytes is None and frame.request.weight_cache_percent is None:
        return None
    return _with_slots(frame, shared, min(frame.ubatches), least=True)


def _with_slots(frame: Frame, sharing: Sequence[slots.ExpertClass], ubatch: int, *, least: bool = False) -> Plan | None:
    """The expert-streaming plan for this ubatch; None when the slots cannot hold what one pass may choose.

    least: with as few slots as do, though they are more than --weight-cache allows.
    """
    model, hyper = frame.model, frame.model.hyperparameters
    routed = sum(t.size_bytes for t in model.tensors if t.role is Role.ROUTED_EXPERT)
    embeddings = by_row(model.tensors, model.architecture, ubatch)
    bare = sum(t.size_bytes for t in model.tensors if t.role is not Role.ROUTED_EXPERT) - embeddings.saved_bytes
    of_experts = (Role.ROUTED_EXPERT, Role.EXPERT_VECTOR)
    layers, on_gpu = offload(frame, ubatch, frozenset(t.name for t in model.tensors if t.role in of_experts))
    layer_count = sum(len(c.layers) for c in sharing)
    items = [
        MemoryItem("weights", bare - on_gpu),
        *embeddings.items,
        *frame.buffers(ubatch, slots.MAX_GROUP_SLOTS),
        MemoryItem("expert prediction", footprint.prediction_bytes(hyper, layer_count)),
    ]
    left = frame.request.memory_limit_bytes - sum(item.size_bytes for item in items)
    cache = frame.cache_limit(routed)
    reason = "{} of {} routed experts fit beside the rest"
    if least:
        cache = slots.least_bytes(sharing, hyper.expert_count, _least_slots(hyper, ubatch))
        reason = "{} of {} routed experts have a slot, the least that works: --weight-cache allows fewer"
    groups = slots.share_out(sharing, hyper.expert_count, left if cache is None else min(left, cache))
    if cache is not None:
        groups = [replace(group, most_slots=group.slots) for group in groups]
    if left <= 0 or min(group.slots for group in groups) < _least_slots(hyper, ubatch):
        return None
    slots_bytes = slots.slots_bytes(groups)
    items.append(MemoryItem("expert slots", slots_bytes))
    lent_bytes = frame.lent_bytes(ubatch, layers) if cache is None else 0
    total, count = layer_count * hyper.expert_count, sum(group.slots for group in groups)
    return assemble(
        frame,
        Mode.EXPERT_STREAMING,
        reason.format(count, total),
        ubatch,
        items,
        {
            t.name: Tier.NVME
            if t.role is Role.ROUTED_EXPERT or t.name in embeddings.names
            else resident_tier(t, layers, model)
            for t in model.tensors
        },
        gpu_layers=layers,
        streaming=Streaming(slot_share=min(1.0, count / total * (1 + lent_bytes / slots_bytes))),
        experts=ExpertPlan(
            groups=tuple(groups),
            experts_per_layer=hyper.expert_count,
            experts_per_token=hyper.expert_used_count,
            expert_bytes=sum(c.expert_bytes * len(c.layers) for c in sharing) // layer_count,
        ),
        embedding_cache_bytes=embeddings.cache_bytes,
    )


def _least_slots(hyper: Hyperparameters, ubatch: int) -> int:
    """What one layer may choose in one pass, at most."""
    return min(hyper.expert_count, hyper.expert_used_count * ubatch)
