"""Routed experts in slots: the hook asks for what is missing, this reads it and says where it is.

    group of layers ── one pool per component (gate, up, down; biases, scales)
                       └ N places; slot s of every component holds one expert of one layer

The fused tensors of all layers of a group point at the group's pools, with N experts
instead of all; the hook rewrites expert ids to slot numbers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hypura.v1 import placement_pb2
from hypura_worker.errors import DecodeFailed, EngineBroken, LoadFailed, ReadFailed
from hypura_worker.llama.arena import Arena
from hypura_worker.llama.hooks import Callbacks
from hypura_worker.llama.library import address_of, ggml_calls, hook
from hypura_worker.streaming.geometry import Slices, lay_out
from hypura_worker.streaming.memory import Pool
from hypura_worker.streaming.reader import Alignment, Batch, Reader
from hypura_worker.streaming.replacement import least_recently_used
from hypura_worker.streaming.streamer import StreamCounters
from hypura_worker.streaming.tensors import StreamedTensor

_MISS = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32, ctypes.POINTER(ctypes.c_int32), ctypes.c_int32, ctypes.c_int32)
_GUARD = 2


class _Layer(ctypes.Structure):
    """hypura_expert_layer of hook.h."""

    _fields_ = (
        ("experts", ctypes.c_int32),
        ("slot_of", ctypes.c_void_p),
        ("last_used", ctypes.c_void_p),
        ("uses", ctypes.c_void_p),
    )


class _State(ctypes.Structure):
    """hypura_experts of hook.h."""

    _fields_ = (
        ("ggml", ctypes.c_void_p),
        ("arena", ctypes.c_void_p),
        ("layers", ctypes.c_void_p),
        ("layer_count", ctypes.c_int32),
        ("failed", ctypes.c_int32),
        ("miss", _MISS),
        ("clock", ctypes.c_uint64),
        ("hits", ctypes.c_uint64),
        ("misses", ctypes.c_uint64),
        ("rewritten", ctypes.c_void_p),
        ("ids", ctypes.c_void_p),
        ("ids_capacity", ctypes.c_int64),
        ("guard", ctypes.c_char * 136),
    )


@dataclass(frozen=True, slots=True)
class _Vector:
    """Bias or scale of all experts of a layer, kept in memory: rows[expert] is its bytes."""

    component: str
    rows: npt.NDArray[np.uint8]


@dataclass(slots=True)
class _Group:
    """Layers that share slots. usable: how many slots may be filled by now."""

    layers: tuple[int, ...]
    slots: int
    usable: int
    stride_bytes: dict[str, int]
    pools: dict[str, Pool]
    layer_of: npt.NDArray[np.int64]
    expert_of: npt.NDArray[np.int64]

    @property
    def slot_bytes(self) -> int:
        return sum(self.stride_bytes.values())


class ExpertStreamer:
    """Serves the experts that a pass chooses; see the module's docstring.

    tensors: the fused experts of the streamed layers, and the vectors indexed by expert.
    Raises LoadFailed when the plan's groups do not fit them.
    """

    def __init__(
        self,
        arena: Arena,
        plan: placement_pb2.Plan,
        tensors: Sequence[StreamedTensor],
        descriptors: Sequence[int],
        reader: Reader,
    ) -> None:
        self._hook = hook()
        self._reader = reader
        self._alignment = Alignment(plan.io.offset_alignment_bytes, plan.io.memory_alignment_bytes)
        self._descriptors = descriptors
        self._failure: Exception | None = None
        experts = plan.experts.experts_per_layer
        layer_count = max(t.layer for t in tensors) + 1
        self._slot_of = np.full((layer_count, experts), -1, np.int32)
        self._last_used = np.zeros((layer_count, experts), np.uint64)
        self._uses = np.zeros((layer_count, experts), np.uint64)
        self._slices: dict[int, list[tuple[str, Slices]]] = {}
        self._vectors: dict[int, list[_Vector]] = {}
        self._groups: list[_Group] = []
        self._group_of: dict[int, _Group] = {}
        self._experts, self._per_token = experts, plan.experts.experts_per_token
        self._ubatch_tokens = plan.ubatch_tokens
        for tensor in tensors:
            _expert_dimension(tensor, experts)
        self._read_vectors(tensors, experts)
        for group in plan.experts.groups:
            self._add_group(group, [t for t in tensors if t.layer in set(group.layers)], experts)
        self._layers = (_Layer * layer_count)()
        for layer in self._group_of:
            self._layers[layer] = _Layer(
                experts,
                self._slot_of[layer].ctypes.data,
                self._last_used[layer].ctypes.data,
                self._uses[layer].ctypes.data,
            )
        self._miss = _MISS(self._on_miss)
        self._state = _State(
            ggml=ctypes.addressof(ggml_calls()),
            arena=arena.handle,
            layers=ctypes.addressof(self._layers),
            layer_count=layer_count,
            miss=self._miss,
        )

    @property
    def callbacks(self) -> Callbacks:
        """What the context is made with."""
        return Callbacks(
            address_of(self._hook.hypura_experts_eval),
            address_of(self._hook.hypura_experts_abort),
            ctypes.addressof(self._state),
        )

    @property
    def places(self) -> int:
        """Slots in use."""
        return sum(group.usable for group in self._groups)

    @property
    def place_bytes(self) -> int:
        """Memory of all slots in use when they are filled."""
        return sum(group.usable * group.slot_bytes for group in self._groups)

    @property
    def pass_tokens(self) -> int:
        """So many that one layer's choices fit the slots of its group."""
        fewest = min(group.usable for group in self._groups)
        return self._ubatch_tokens if fewest >= self._experts else min(self._ubatch_tokens, fewest // self._per_token)

    def fit(self, memory_bytes: int) -> None:
        """Use at most memory_bytes for slots: all groups give way alike."""
        planned = sum(group.slots * group.slot_bytes for group in self._groups)
        share = min(1.0, memory_bytes / planned) if planned else 1.0
        for group in self._groups:
            usable = min(group.slots, int(group.slots * share))
            if usable < self._per_token:
                least = sum(self._per_token * g.slots / group.slots * g.slot_bytes for g in self._groups)
                raise LoadFailed(
                    f"{memory_bytes / 1e6:.0f} MB are left for expert slots, and the least is {least / 1e6:.0f} MB; "
                    "raise --memory, or lower --context"
                )
            self._shrink(group, usable)

    def begin(self) -> None:
        """Forget the failure of the last pass."""
        self._failure = None
        self._state.failed = 0
        self._state.rewritten = None

    def failure(self) -> Exception | None:
        """Why the last pass failed, if it did."""
        if self._state.failed == _GUARD:
            node = self._state.guard.decode(errors="replace")
            return EngineBroken(f"this architecture indexes experts in a way hypura does not know ({node})")
        if self._state.failed:
            return self._failure or DecodeFailed("the router chose an expert that does not exist")
        return None

    def counters(self) -> StreamCounters:
        """Counters since the load."""
        bytes_read, waited = self._reader.counters()
        return StreamCounters(self._state.hits, self._state.misses, bytes_read, waited)

    def close(self) -> None:
        """Release the memory."""
        for group in self._groups:
            for pool in group.pools.values():
                pool.close()
        self._hook.hypura_experts_free_scratch(ctypes.addressof(self._state))

    def _on_miss(self, layer: int, ids: ctypes._Pointer[ctypes.c_int32], per_token: int, tokens: int) -> int:
        # ctypes prints an exception raised in a callback and goes on: nothing may escape.
        try:
            chosen = np.ctypeslib.as_array(ids, (per_token * tokens,))
            self._fetch(layer, np.unique(chosen[self._slot_of[layer][chosen] < 0]).astype(np.int64))
        except Exception as error:
            self._failure = error
            return 1
        return 0

    def _fetch(self, layer: int, missing: npt.NDArray[np.int64]) -> None:
        """Read these experts of the layer into slots and record where they are."""
        group = self._group_of[layer]
        slots = self._take(group, len(missing))
        indices = slots.astype(np.uint64)
        parts = []
        for component, slices in self._slices[layer]:
            stride = np.uint64(group.stride_bytes[component])
            places = np.uint64(group.pools[component].address) + indices * stride
            parts.append(slices.reads(missing, places))
        reads = np.concatenate(parts)
        batch = Batch()
        for vector in self._vectors.get(layer, ()):
            stride_bytes = group.stride_bytes[vector.component]
            table = group.pools[vector.component].bytes[: group.slots * stride_bytes].reshape(group.slots, -1)
            table[slots] = vector.rows[missing]
        self._reader.submit(reads, batch)
        try:
            self._reader.wait(batch)  # right after: the batch must outlive its reads
        except ReadFailed as error:
            raise ReadFailed(f"expert {batch.failed_tag} of layer {layer}: {error}") from error
        self._slot_of[layer, missing] = slots
        group.layer_of[slots] = layer
        group.expert_of[slots] = missing

    def _take(self, group: _Group, count: int) -> npt.NDArray[np.int64]:
        """Empty `count` slots of the group and return their numbers."""
        layers, experts = group.layer_of[: group.usable], group.expert_of[: group.usable]
        last_used = np.where(layers >= 0, self._last_used[layers, experts], np.uint64(0))
        slots = least_recently_used(last_used, self._state.clock, count)
        if len(slots) < count:
            raise DecodeFailed(
                f"one pass needs {count} more experts of a layer than the {group.usable} slots can hold; "
                "this is a fault of the plan's ubatch"
            )
        self._vacate(group, slots)
        return slots

    def _vacate(self, group: _Group, slots: npt.NDArray[np.int64]) -> None:
        held = slots[group.layer_of[slots] >= 0]
        self._slot_of[group.layer_of[held], group.expert_of[held]] = -1
        group.layer_of[held] = -1

    def _shrink(self, group: _Group, usable: int) -> None:
        self._vacate(group, np.arange(usable, group.usable))
        group.usable = usable
        for component, pool in group.pools.items():
            pool.release(usable * group.stride_bytes[component])

    def _read_vectors(self, tensors: Sequence[StreamedTensor], experts: int) -> None:
        """Bring the biases and scales of the streamed layers into memory."""
        found: list[tuple[StreamedTensor, Pool, Slices]] = []
        for tensor in tensors:
            if tensor.role == placement_pb2.TENSOR_ROLE_EXPERT_VECTOR:
                descriptor = self._descriptors[tensor.file]
                slices = lay_out(descriptor, tensor.offset_bytes, tensor.length_bytes, 1, self._alignment)
                found.append((tensor, Pool(slices.stride_bytes), slices))
        if not found:
            return
        first, batch = np.zeros(1, np.int64), Batch()
        reads = [slices.reads(first, np.array([pool.address], np.uint64)) for _, pool, slices in found]
        self._reader.submit(np.concatenate(reads), batch)
        self._reader.wait(batch)
        for tensor, pool, slices in found:
            start = slices.shift_bytes
            rows = pool.bytes[start : start + tensor.length_bytes].reshape(experts, -1).copy()
            self._vectors.setdefault(tensor.layer, []).append(_Vector(tensor.component, rows))
            pool.close()

    def _add_group(self, planned: placement_pb2.ExpertGroup, tensors: Sequence[StreamedTensor], experts: int) -> None:
        """Make the pools of one group and point its tensors at them."""
        shifts: dict[int, int] = {}
        strides: dict[str, int] = {}
        parts = {layer: sorted(t.component for t in tensors if t.layer == layer) for layer in planned.layers}
        arrived = [components for components in parts.values() if components]
        if any(components != arrived[0] for components in arrived):
            raise LoadFailed("the plan groups layers whose experts have different parts; plan again")
        for tensor in tensors:
            slice_bytes = tensor.length_bytes // experts
            if tensor.role == placement_pb2.TENSOR_ROLE_EXPERT_VECTOR:
                if strides.setdefault(tensor.component, slice_bytes) != slice_bytes:
                    raise LoadFailed(f"the plan groups layers whose {tensor.component} differ; plan again")
                shifts[tensor.address] = 0
                continue
            slices = lay_out(self._descriptors[tensor.file], tensor.offset_bytes, slice_bytes, experts, self._alignment)
            self._slices.setdefault(tensor.layer, []).append((tensor.component, slices))
            strides[tensor.component] = max(strides.get(tensor.component, 0), slices.stride_bytes)
            shifts[tensor.address] = slices.shift_bytes
        slots = planned.slots
        group = _Group(
            layers=tuple(planned.layers),
            slots=slots,
            usable=slots,
            stride_bytes=strides,
            pools={component: Pool(slots * stride) for component, stride in strides.items()},
            layer_of=np.full(slots, -1, np.int64),
            expert_of=np.zeros(slots, np.int64),
        )
        for tensor in tensors:
            dimension = _expert_dimension(tensor, experts)
            stride = strides[tensor.component]
            self._hook.hypura_tensor_slots(tensor.address, dimension, slots, stride)
            pool = group.pools[tensor.component]
            self._hook.hypura_tensor_place(tensor.address, pool.address + shifts[tensor.address])
            self._group_of[tensor.layer] = group
        self._groups.append(group)


def _expert_dimension(tensor: StreamedTensor, experts: int) -> int:
    """2 for fused weights, 1 for biases, 0 for scales. Raises LoadFailed for anything else."""
    dimension = len(tensor.shape) - 1
    while dimension > 0 and tensor.shape[dimension] == 1:
        dimension -= 1
    if tensor.shape[dimension] != experts or tensor.length_bytes % experts:
        raise LoadFailed(f"{tensor.name} has shape {tensor.shape}, whose last dimension is not {experts} experts")
    return dimension
