"""How expert slots are shared out: which layers share them, and how many each group gets."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hypura_daemon.models.model import ModelTensor
from hypura_daemon.models.tensors import Role
from hypura_daemon.planning.types import ExpertGroup

MAX_GROUP_SLOTS = 512
"""The CPU's work buffer grows with slots x top-k x ubatch, every operation touches a counter per slot,
and Metal stops at 1,024 experts."""


@dataclass(frozen=True, slots=True)
class Part:
    """One tensor's share of an expert: room_bytes in a slot, read_bytes from the drive on a miss."""

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
        """Room for any of its experts."""
        return sum(part.room_bytes for part in self.parts)

    @property
    def expert_bytes(self) -> int:
        """What a miss reads."""
        return sum(part.read_bytes for part in self.parts)


def classes(tensors: Sequence[ModelTensor], experts: int, padding_bytes: Callable[[int], int]) -> list[ExpertClass]:
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


def merged(found: Sequence[ExpertClass]) -> list[ExpertClass]:
    """As few classes as possible, with slots as large as the largest expert.

    Where memory is so short that one token's experts of each class do not fit, sharing slots
    beats losing a few bytes in each.
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

    Every class gets the same share of its experts. Its layers are dealt to its groups in turn: early layers choose
    anew with every token where late ones repeat, and only within a group can slots go to those that need them.
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
    """Memory for which `share_out` gives every group that many slots, where it makes one group of each class."""
    whole = sum(len(c.layers) * experts * c.slot_bytes for c in found)
    # Half a slot more, since shares are rounded down.
    return math.ceil(max(whole * (least_slots + 0.5) / (len(c.layers) * experts) for c in found))


def slots_bytes(groups: Sequence[ExpertGroup]) -> int:
    """Memory of all slots."""
    return sum(group.slots * group.slot_bytes for group in groups)
