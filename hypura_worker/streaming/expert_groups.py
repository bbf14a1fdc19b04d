"""Where streamed experts lie in memory: layers that share slots, the pools of these, and the tensors that point there.

    group of layers ── one pool per component (gate, up, down; biases, scales)
                       └ N places; slot s of every component holds one expert of one layer

The fused tensors of all layers of a group point at the group's pools, with N experts instead of all.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hypura.v1 import placement_pb2
from hypura_worker.errors import LoadFailed
from hypura_worker.llama.library import hook
from hypura_worker.streaming import expert_state as state
from hypura_worker.streaming.geometry import FusedTensor, Slices, lay_out, lay_out_slots
from hypura_worker.streaming.pool import Pool
from hypura_worker.streaming.prediction import Confidence
from hypura_worker.streaming.reader import Alignment, Batch, Reader
from hypura_worker.streaming.streamed_tensors import StreamedTensor


@dataclass(frozen=True, slots=True)
class ExpertGroup:
    """Layers that share slots: what the hook sees of it, and the memory behind.

    planned: how many slots are in use at first; there is address space for all of `slots`.
    """

    shared: state.Group
    slots: ctypes.Array[state.Slot]
    planned: int
    stride_bytes: dict[str, int]
    pools: dict[str, Pool]

    @property
    def usable(self) -> int:
        """How many slots may be filled."""
        return int(self.shared.usable)

    @property
    def slot_bytes(self) -> int:
        """Memory of one slot."""
        return sum(self.stride_bytes.values())


class ExpertGroups:
    """The streamed layers of a model, laid out in groups of slots for the hook.

    layers: [layer] as the hook sees them; slot_of: [layer, expert], -1 where the expert is not in memory; streamed: the
    numbers of the streamed layers, in order. Raises LoadFailed when the plan's groups do not fit the tensors.
    """

    def __init__(
        self, plan: placement_pb2.Plan, tensors: Sequence[StreamedTensor], descriptors: Sequence[int], reader: Reader
    ) -> None:
        self._reader = reader
        self._alignment = Alignment(plan.io.offset_alignment_bytes, plan.io.memory_alignment_bytes)
        self._descriptors = descriptors
        self._experts, self._per_token = plan.experts.experts_per_layer, plan.experts.experts_per_token
        self._ubatch_tokens = plan.ubatch_tokens
        layer_count = max(t.layer for t in tensors) + 1
        self.slot_of = np.full((layer_count, self._experts), -1, np.int32)
        self.layers = (state.Layer * layer_count)()
        self.groups: list[ExpertGroup] = []
        for tensor in tensors:
            _expert_dimension(tensor, self._experts)
        self._rows = self._read_vectors(tensors, self._experts)
        for group in plan.experts.groups:
            if here := [t for t in tensors if t.layer in set(group.layers)]:
                self._add_group(group, here)
        self.streamed = [number for number in range(layer_count) if self.layers[number].experts]
        for index, number in enumerate(self.streamed):
            layer = self.layers[number]
            layer.streamed_index = index
            layer.next_streamed = self.streamed[index + 1] if index + 1 < len(self.streamed) else -1
            for lookahead in layer.lookahead:
                lookahead.confidence = Confidence.unlearned()

    def tokens_served(self, slots: int, classes: int) -> int:
        """For how many tokens one layer's choices always find slots; a pass has no more than a ubatch."""
        of_class, most = slots // classes, self._ubatch_tokens
        return most if of_class * classes >= self._experts else min(most, of_class // self._per_token)

    def _read_vectors(self, tensors: Sequence[StreamedTensor], experts: int) -> dict[int, npt.NDArray[np.uint8]]:
        """The biases and scales of the streamed layers, by tensor address: [experts, bytes]."""
        found: list[tuple[StreamedTensor, Pool, Slices]] = []
        for tensor in tensors:
            if tensor.role == placement_pb2.TENSOR_ROLE_EXPERT_VECTOR:
                descriptor = self._descriptors[tensor.file]
                slices = lay_out(descriptor, tensor.offset_bytes, tensor.length_bytes, 1, self._alignment)
                found.append((tensor, Pool(slices.stride_bytes), slices))
        if not found:
            return {}
        first, batch = np.zeros(1, np.int64), Batch()
        reads = [slices.reads(first, np.array([pool.address], np.uint64)) for _, pool, slices in found]
        self._reader.submit(np.concatenate(reads), batch)
        self._reader.wait(batch)
        rows = {}
        for tensor, pool, slices in found:
            start = slices.shift_bytes
            rows[tensor.address] = pool.bytes[start : start + tensor.length_bytes].reshape(experts, -1).copy()
            pool.close()
        return rows

    def _add_group(self, planned: placement_pb2.ExpertGroup, tensors: Sequence[StreamedTensor]) -> None:
        """Make the pools of one group for the tensors that arrived, and point these at them."""
        experts = self._experts
        layers = sorted({tensor.layer for tensor in tensors})
        planned_slots = min(planned.slots, experts * len(layers))
        weights = [
            FusedTensor(
                t.address, self._descriptors[t.file], t.offset_bytes, t.length_bytes // self._experts, t.component
            )
            for t in tensors
            if t.address not in self._rows
        ]
        layouts, classes = lay_out_slots(
            weights,
            experts,
            self._alignment,
            planned_slots,
            lambda classes: self.tokens_served(planned_slots, classes) >= self._ubatch_tokens,
        )
        for tensor in tensors:
            size = tensor.length_bytes // experts
            layouts.setdefault(tensor.address, Slices(-1, 0, size, 0, size, False, self._alignment))
        strides: dict[str, int] = {}
        for tensor in tensors:
            stride = layouts[tensor.address].stride_bytes
            strides[tensor.component] = max(strides.get(tensor.component, 0), stride)
        slack = max(layout.slack_bytes for layout in layouts.values())
        most = max(planned_slots, min(planned.max_slots, experts * len(layers)))
        slots = (state.Slot * most)(*(state.Slot(layer=-1) for _ in range(most)))
        group = ExpertGroup(
            shared=state.Group(slots=most, usable=planned_slots, classes=classes, slot=slots),
            slots=slots,
            planned=planned_slots,
            stride_bytes=strides,
            pools={component: Pool(most * stride + slack) for component, stride in strides.items()},
        )
        self.groups.append(group)
        components: set[tuple[str, ...]] = set()
        for number in layers:
            mine = [t for t in tensors if t.layer == number]
            own = sorted(mine, key=lambda t: (t.address in self._rows, t.component))
            components.add(tuple(t.component for t in own))
            self._add_layer(number, group, [(t, layouts[t.address]) for t in own])
        if len(components) > 1:
            raise LoadFailed("the plan groups layers whose experts have different parts; plan again")

    def _add_layer(self, number: int, group: ExpertGroup, own: Sequence[tuple[StreamedTensor, Slices]]) -> None:
        """Describe one layer to the hook; weights come first in `own`."""
        weights = [slices for tensor, slices in own if tensor.address not in self._rows]
        if len(weights) > state.MAX_WEIGHTS or len(own) > state.MAX_PARTS:
            raise LoadFailed(f"layer {number} has experts of {len(own)} tensors, more than hypura knows how to stream")
        layer = self.layers[number]
        layer.experts, layer.slot_of = self._experts, self.slot_of[number].ctypes.data
        layer.group = ctypes.pointer(group.shared)
        layer.weight_count, layer.part_count = len(weights), len(own)
        layer.expert_bytes = sum(slices.slice_bytes for slices in weights)
        layer.read_order[:] = range(state.MAX_WEIGHTS)
        for index, (tensor, slices) in enumerate(own):
            pool, stride = group.pools[tensor.component], group.stride_bytes[tensor.component]
            rows = self._rows.get(tensor.address)
            if rows is not None and stride != slices.stride_bytes:
                raise LoadFailed(f"the plan groups layers whose {tensor.component} differ; plan again")
            layer.parts[index] = state.Part(
                tensor=tensor.address,
                pool=pool.address,
                stride_bytes=stride,
                shift_bytes=slices.shift_bytes,
                slice_bytes=slices.slice_bytes,
                offset_bytes=slices.offset_bytes,
                step_bytes=slices.alignment.offset_bytes,
                rows=rows.ctypes.data if rows is not None else None,
                fd=slices.descriptor,
                bounce=slices.bounce,
            )
            dimension = _expert_dimension(tensor, self._experts)
            hook().hypura_tensor_slots(tensor.address, dimension, len(group.slots), stride)
            hook().hypura_tensor_place(tensor.address, pool.address + slices.shift_bytes)


def _expert_dimension(tensor: StreamedTensor, experts: int) -> int:
    """2 for fused weights, 1 for biases, 0 for scales. Raises LoadFailed for anything else."""
    dimension = len(tensor.shape) - 1
    while dimension > 0 and tensor.shape[dimension] == 1:
        dimension -= 1
    if tensor.shape[dimension] != experts or tensor.length_bytes % experts:
        raise LoadFailed(f"{tensor.name} has shape {tensor.shape}, whose last dimension is not {experts} experts")
    return dimension
