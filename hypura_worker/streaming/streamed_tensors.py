"""The streamed tensors that llama.cpp's loader has created, joined with what the plan says of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hypura.v1 import placement_pb2

_BLOCK = re.compile(r"^blk\.(\d+)\.(.+)$")


@dataclass(frozen=True, slots=True)
class StreamedTensor:
    """address: the ggml_tensor; component: its name within the layer, such as
    ffn_gate_exps.weight; shape: fastest dimension first; the extent is in file `file`."""

    address: int
    name: str
    layer: int
    component: str
    role: int
    shape: tuple[int, ...]
    file: int
    offset_bytes: int
    length_bytes: int


def streamed_placements(plan: placement_pb2.Plan) -> list[placement_pb2.TensorPlacement]:
    """What the plan streams: the tensors on the drive, and with routed experts also the
    vectors that are indexed by expert (kept in memory, but reordered with the slots)."""
    experts = plan.mode == placement_pb2.MODE_EXPERT_STREAMING
    streamed_layers = {t.layer for t in plan.tensors if t.tier == placement_pb2.TIER_NVME}
    return [
        tensor
        for tensor in plan.tensors
        if tensor.tier == placement_pb2.TIER_NVME
        or (experts and tensor.role == placement_pb2.TENSOR_ROLE_EXPERT_VECTOR and tensor.layer in streamed_layers)
    ]


def is_embedding(tensor: StreamedTensor) -> bool:
    """Whether rows of the tensor are read by token, not all of it."""
    return tensor.role == placement_pb2.TENSOR_ROLE_EMBEDDING


def arrived(
    placements: Sequence[placement_pb2.TensorPlacement], arrivals: Sequence[tuple[str, int]]
) -> list[StreamedTensor]:
    """Join placements with the (name, address) of each tensor that the loader created; a name may come twice
    (tied weights), or never (layers that llama.cpp leaves out)."""
    by_name = {placement.name: placement for placement in placements}
    tensors = []
    for name, address in arrivals:
        placement = by_name[name]
        match = _BLOCK.match(name)
        tensors.append(
            StreamedTensor(
                address=address,
                name=name,
                layer=placement.layer,
                component=match[2] if match else name,
                role=placement.role,
                shape=tuple(placement.shape),
                file=placement.extent.file,
                offset_bytes=placement.extent.offset_bytes,
                length_bytes=placement.extent.length_bytes,
            )
        )
    return tensors


def resident_of_the_same_kind(plan: placement_pb2.Plan, streamed: Sequence[StreamedTensor]) -> int:
    """How many resident tensors are the same component, in another layer, as a streamed one."""
    components = {tensor.component for tensor in streamed}
    return sum(
        placement.tier != placement_pb2.TIER_NVME
        for placement in plan.tensors
        if (match := _BLOCK.match(placement.name)) and match[2] in components
    )


def override_patterns(placements: Sequence[placement_pb2.TensorPlacement]) -> list[str]:
    """Regular expressions that match exactly these names, one per component: the loader
    compiles each of them for each tensor of the model."""
    layers: dict[str, list[str]] = {}
    patterns = []
    for placement in placements:
        match = _BLOCK.match(placement.name)
        if match:
            layers.setdefault(match[2], []).append(match[1])
        else:
            patterns.append(f"^{re.escape(placement.name)}$")
    for component, numbers in layers.items():
        patterns.append(rf"^blk\.({'|'.join(numbers)})\.{re.escape(component)}$")
    return patterns
