"""Expert-streaming plans: the routed experts in slots, which groups of layers share, and the rest resident."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hypura_daemon.models.gguf.hyperparameters import Hyperparameters
from hypura_daemon.models.gguf.tensor_roles import Role
from hypura_daemon.models.model import ModelTensor
from hypura_daemon.planning import footprint
from hypura_daemon.planning.assembly import make_plan
from hypura_daemon.planning.estimate import Streaming
from hypura_daemon.planning.inputs import PlanInputs
from hypura_daemon.planning.placement import by_row, offload, resident_tier
from hypura_daemon.planning.plan import ExpertGroup, ExpertPlan, MemoryItem, MemoryKind, Mode, Plan, Tier

MAX_GROUP_SLOTS = 512
"""The CPU's work buffer grows with slots x top-k x ubatch, every operation touches a counter per slot, and Metal
supports at most 1,024 experts."""


@dataclass(frozen=True, slots=True)
class Part:
    """One tensor's part of an expert. room_bytes: in a slot; read_bytes: from the drive on a miss."""

    component: str
    type: str
    room_bytes: int
    read_bytes: int


@dataclass(frozen=True, slots=True)
class ExpertClass:
    """Layers that may share slots: their experts have these parts, or smaller ones of the same components."""

    layers: tuple[int, ...]
    parts: tuple[Part, ...]

    @property
    def slot_bytes(self) -> int:
        """The room for any of its experts."""
        return sum(part.room_bytes for part in self.parts)

    @property
    def expert_bytes(self) -> int:
        """The bytes that a miss reads."""
        return sum(part.read_bytes for part in self.parts)


def expert_streaming(inputs: PlanInputs) -> Plan | None:
    """The plan with slots for as many experts as fit; None if those of one token do not fit."""
    hyper = inputs.model.hyperparameters
    found = expert_classes(inputs.model.tensors, hyper.expert_count, inputs.padding_bytes)
    shared = merged_classes(found)
    sharings = [found] if len(shared) == len(found) else [found, shared]
    fallback: Plan | None = None
    for sharing in sharings:
        for ubatch in inputs.ubatches:
            made = _with_slots(inputs, sharing, ubatch)
            if made is None:
                continue
            if inputs.buffers_are_modest(ubatch, MAX_GROUP_SLOTS):
                return made
            fallback = made  # The smallest ubatch that works, if none has modest buffers.
        if fallback is not None:
            return fallback
    if inputs.request.weight_cache_bytes is None and inputs.request.weight_cache_percent is None:
        return None
    return _with_slots(inputs, shared, min(inputs.ubatches), least=True)


def _with_slots(inputs: PlanInputs, sharing: Sequence[ExpertClass], ubatch: int, *, least: bool = False) -> Plan | None:
    """The expert-streaming plan for this ubatch; None if the slots cannot hold the experts that one pass may choose.

    least: with as few slots as work, even if --weight-cache allows fewer.
    """
    model, hyper = inputs.model, inputs.model.hyperparameters
    routed = sum(t.size_bytes for t in model.tensors if t.role is Role.ROUTED_EXPERT)
    embeddings = by_row(model.tensors, model.architecture, ubatch)
    bare = sum(t.size_bytes for t in model.tensors if t.role is not Role.ROUTED_EXPERT) - embeddings.saved_bytes
    of_experts = (Role.ROUTED_EXPERT, Role.EXPERT_VECTOR)
    layers, on_gpu = offload(inputs, ubatch, frozenset(t.name for t in model.tensors if t.role in of_experts))
    layer_count = sum(len(c.layers) for c in sharing)
    items = [
        MemoryItem(MemoryKind.WEIGHTS, bare - on_gpu),
        *embeddings.items,
        *inputs.buffers(ubatch, MAX_GROUP_SLOTS),
        MemoryItem(MemoryKind.EXPERT_PREDICTION, footprint.prediction_bytes(hyper, layer_count)),
    ]
    left = inputs.request.memory_limit_bytes - sum(item.size_bytes for item in items)
    cache = inputs.cache_limit(routed)
    reason = "{} of {} routed experts fit beside the rest"
    if least:
        cache = least_bytes(sharing, hyper.expert_count, _least_slots(hyper, ubatch))
        reason = "{} of {} routed experts have a slot, the least that works: --weight-cache allows fewer"
    groups = share_out(sharing, hyper.expert_count, left if cache is None else min(left, cache))
    if cache is not None:
        groups = [replace(group, max_slots=group.slots) for group in groups]
    if left <= 0 or min(group.slots for group in groups) < _least_slots(hyper, ubatch):
        return None
    size_bytes = slots_bytes(groups)
    items.append(MemoryItem(MemoryKind.EXPERT_SLOTS, size_bytes))
    lent_bytes = inputs.lent_bytes(ubatch, layers) if cache is None else 0
    total, count = layer_count * hyper.expert_count, sum(group.slots for group in groups)
    return make_plan(
        inputs,
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
        streaming=Streaming(slot_share=min(1.0, count / total * (1 + lent_bytes / size_bytes))),
        experts=ExpertPlan(
            groups=tuple(groups),
            experts_per_layer=hyper.expert_count,
            experts_per_token=hyper.expert_used_count,
            expert_bytes=sum(c.expert_bytes * len(c.layers) for c in sharing) // layer_count,
        ),
        embedding_cache_bytes=embeddings.cache_bytes,
    )


def _least_slots(hyper: Hyperparameters, ubatch: int) -> int:
    """The most experts that one layer may choose in one pass."""
    return min(hyper.expert_count, hyper.expert_used_count * ubatch)


def expert_classes(
    tensors: Sequence[ModelTensor], experts: int, padding_bytes: Callable[[int], int]
) -> list[ExpertClass]:
    """The model's expert classes. padding_bytes: room that an aligned read may need beside a part of that size."""
    parts: dict[int, list[Part]] = defaultdict(list)
    for tensor in tensors:
        if tensor.role in (Role.ROUTED_EXPERT, Role.EXPERT_VECTOR):
            component, size = tensor.name.split(".", 2)[2], tensor.size_bytes // experts
            read = tensor.role is Role.ROUTED_EXPERT
            room = size + padding_bytes(size) if read else size
            parts[tensor.layer].append(Part(component, tensor.type, room, size if read else 0))
    members: dict[tuple[Part, ...], list[int]] = defaultdict(list)
    for layer, found in sorted(parts.items()):
        if any(part.read_bytes for part in found):
            members[tuple(sorted(found, key=lambda part: part.component))].append(layer)
    return [ExpertClass(tuple(layers), key) for key, layers in members.items()]


def merged_classes(found: Sequence[ExpertClass]) -> list[ExpertClass]:
    """As few classes as possible, with slots for the largest expert.

    If memory is so short that the experts of one token do not fit in each class, sharing slots is better than the few
    bytes lost in each slot.
    """
    alike: dict[tuple[str, ...], list[ExpertClass]] = defaultdict(list)
    for expert_class in found:
        alike[tuple(part.component for part in expert_class.parts)].append(expert_class)
    return [
        ExpertClass(
            tuple(sorted(layer for member in members for layer in member.layers)),
            tuple(
                max(same, key=lambda part: part.room_bytes) for same in zip(*(m.parts for m in members), strict=True)
            ),
        )
        for members in alike.values()
    ]


def share_out(found: Sequence[ExpertClass], experts: int, memory_bytes: int) -> list[ExpertGroup]:
    """Groups of at most MAX_GROUP_SLOTS slots that take at most memory_bytes together.

    Every class gets slots for the same share of its experts. Its layers are distributed to its groups in turn: early
    layers choose anew with every token where late layers repeat, and slots can move only within a group.
    """
    whole = sum(len(c.layers) * experts * c.slot_bytes for c in found)
    share = max(0.0, min(1.0, memory_bytes / whole)) if whole else 1.0
    groups = []
    for expert_class in found:
        layers = expert_class.layers
        slots = int(len(layers) * experts * share)
        count = min(-(-slots // MAX_GROUP_SLOTS) or 1, len(layers))
        for i in range(count):
            members = layers[i::count]
            fair = min(int(len(members) * experts * share), MAX_GROUP_SLOTS)
            most = min(len(members) * experts, MAX_GROUP_SLOTS)
            groups.append(ExpertGroup(members, fair, expert_class.slot_bytes, most))
    return groups


def least_bytes(found: Sequence[ExpertClass], experts: int, least_slots: int) -> int:
    """The memory with which `share_out` gives every group least_slots slots, if it makes one group of each class."""
    whole = sum(len(c.layers) * experts * c.slot_bytes for c in found)
    # Half a slot more, because shares are rounded down.
    return math.ceil(max(whole * (least_slots + 0.5) / (len(c.layers) * experts) for c in found))


def slots_bytes(groups: Sequence[ExpertGroup]) -> int:
    """The memory of all slots."""
    return sum(group.slots * group.slot_bytes for group in groups)
