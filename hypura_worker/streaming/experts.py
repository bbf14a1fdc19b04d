"""Routed experts in slots: Python lays the slots out; the compiled hook reads what is chosen and rewrites the ids.

    group of layers ── one pool per component (gate, up, down; biases, scales)
                       └ N places; slot s of every component holds one expert of one layer

The fused tensors of all layers of a group point at the group's pools, with N experts
instead of all; the hook rewrites expert ids to slot numbers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hypura.v1 import placement_pb2
from hypura_worker.errors import DecodeFailed, EngineBroken, LoadFailed, ReadFailed
from hypura_worker.llama.arena import Arena
from hypura_worker.llama.context import Callbacks
from hypura_worker.llama.graph import Products
from hypura_worker.llama.library import address_of, ggml_calls, hook
from hypura_worker.streaming import embedding_rows
from hypura_worker.streaming import expert_state as state
from hypura_worker.streaming.geometry import FusedTensor, Slices, lay_out, lay_out_slots
from hypura_worker.streaming.pool import Pool, commit
from hypura_worker.streaming.prediction import Coactivation, Confidence, Likelihood, load_likelihood, save_likelihood
from hypura_worker.streaming.reader import Alignment, Batch, Reader, describe_error
from hypura_worker.streaming.streamed_tensors import StreamedTensor
from hypura_worker.streaming.streamer import StreamCounters

_WORTH_KEEPING_PASSES = 32
_LEAST_CONFIDENCE = 0.5
"""Of a prediction, to read for it, until it is known how busy the drive is."""


@dataclass(frozen=True, slots=True)
class _Group:
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


class ExpertStreamer:
    """Serves the experts that a pass chooses; see the module's docstring.

    tensors: the fused experts of the streamed layers, and the vectors indexed by expert;
    learning: a hypura_kv; the next passes only show it and the graph: they read nothing, and their results are void.
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
        self.learning: int | None = None
        self._reader = reader
        self._alignment = Alignment(plan.io.offset_alignment_bytes, plan.io.memory_alignment_bytes)
        self._descriptors = descriptors
        experts = plan.experts.experts_per_layer
        layer_count = max(t.layer for t in tensors) + 1
        self._experts, self._per_token = experts, plan.experts.experts_per_token
        self._ubatch_tokens = plan.ubatch_tokens
        self._slot_of = np.full((layer_count, experts), -1, np.int32)
        self._layers = (state.Layer * layer_count)()
        self._groups: list[_Group] = []
        for tensor in tensors:
            _expert_dimension(tensor, experts)
        self._rows = self._read_vectors(tensors, experts)
        for group in plan.experts.groups:
            if here := [t for t in tensors if t.layer in set(group.layers)]:
                self._add_group(group, here)
        streamed = [number for number in range(layer_count) if self._layers[number].experts]
        for index, number in enumerate(streamed):
            layer = self._layers[number]
            layer.streamed_index = index
            layer.next_streamed = streamed[index + 1] if index + 1 < len(streamed) else -1
            for lookahead in layer.lookahead:
                lookahead.confidence = Confidence.unlearned()
        self.likelihood = Likelihood(layer_count, experts, self._per_token)
        self._coactivation = Coactivation(layer_count, experts, self._per_token)
        self._scratch = state.Scratch(experts)
        self._products = Products(plan.threads)
        self._state = state.Experts(
            ggml=ctypes.addressof(ggml_calls()),
            arena=arena.handle,
            reader=reader.handle,
            layers=ctypes.addressof(self._layers),
            layer_count=layer_count,
            streamed_count=len(streamed),
            per_token=self._per_token,
            likelihood=ctypes.addressof(self.likelihood.state),
            coactivation=ctypes.addressof(self._coactivation.state),
            products=self._products.handle,
            current=-1,
            least_confidence=_LEAST_CONFIDENCE,
            voted_layer=-1,
            unvoted_count=2.0,
            unvoted_chosen=1.0,
        )
        self._scratch.attach(self._state)
        self._statistics = Path(plan.experts.statistics_path) if plan.experts.statistics_path else None

    @property
    def callbacks(self) -> Callbacks:
        """What the context is created with."""
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
    def rows_apart(self) -> int:
        """Rows of products that were computed while other experts of their node were still being read."""
        return int(self._state.figures.rows_apart)

    def pass_tokens(self, memory_bytes: int) -> int:
        """As many as leave one layer's choices room in the slots of its group, even if all are of one class."""
        return min(self._tokens_served(self._usable(g, memory_bytes), g.shared.classes) for g in self._groups)

    @property
    def least_bytes(self) -> int:
        """The least memory that `fit` accepts: every group then serves one token."""
        planned = self._planned_bytes
        return max(-(-self._fewest(g.shared.classes) * planned // g.planned) for g in self._groups)

    @property
    def most_bytes(self) -> int:
        """The most memory that `fit` can use."""
        return sum(len(group.slots) * group.slot_bytes for group in self._groups)

    def fit(self, memory_bytes: int) -> None:
        """Use at most memory_bytes for slots, in equal shares of each group; all of it if there are enough slots."""
        if memory_bytes < self.least_bytes:
            raise LoadFailed(
                f"{memory_bytes / 1e6:.1f} MB are left for expert slots, and the least is "
                f"{self.least_bytes / 1e6:.1f} MB; raise --memory, or lower --context"
            )
        for group in self._groups:
            self._resize(group, self._usable(group, memory_bytes))

    def begin(self) -> None:
        """Forget the failure of the last pass."""
        self._hook.hypura_experts_begin(ctypes.addressof(self._state), self.learning)

    def failure(self) -> Exception | None:
        """Why the last pass failed, if it did."""
        figures = self._state.figures
        if not figures.failed:
            return None
        if figures.failed == state.GUARD:
            node = figures.guard.decode(errors="replace")
            return EngineBroken(f"this architecture indexes experts in a way hypura does not know ({node})")
        if figures.failed == state.MISREAD:
            return embedding_rows.misread(figures.guard.decode(errors="replace"))
        if figures.failed == state.READ_FAILED:
            where = f"expert {figures.failed_expert} of layer {figures.failed_layer}"
            return ReadFailed(f"{where}: {describe_error(figures.error)}")
        if figures.failed == state.NO_SLOTS:
            return DecodeFailed(
                f"one pass needs more experts of a layer than the {min(g.usable for g in self._groups)} slots can "
                "hold; this is a fault of the plan's ubatch"
            )
        if figures.failed == state.NO_MEMORY:
            return DecodeFailed("no memory for the ids of the chosen experts")
        if figures.failed == state.NOT_COMPUTED:
            return DecodeFailed(
                f"ggml could not compute the products of the experts of layer {figures.failed_layer} "
                f"(status {figures.error}); ask again"
            )
        return DecodeFailed("the router chose an expert that does not exist")

    def counters(self) -> StreamCounters:
        """Counters since the load."""
        read, figures = self._reader.figures(), self._state.figures
        return StreamCounters(
            hits=figures.hits,
            misses=figures.misses,
            bytes_read=read.bytes,
            stall_seconds=read.wait_ns / 1e9,
            prefetched_bytes=figures.prefetched_bytes,
            prefetched_used_bytes=figures.prefetched_used_bytes,
            drive_seconds=read.busy_ns / 1e9,
            hook_seconds=figures.hook_ns / 1e9,
        )

    def close(self) -> None:
        """Release the memory, once nothing is read into it any more; save what was learned for the next load."""
        self._save_statistics()
        for group in self._groups:
            self._drop_from(group, 0)
        for group in self._groups:
            for pool in group.pools.values():
                pool.close()
        self._products.close()
        self._hook.hypura_experts_free_scratch(ctypes.addressof(self._state))

    def commit(self, progress: Callable[[float], None]) -> None:
        """Take the memory of all slots in use now; progress is called with the share that is done."""
        commit(
            [(pool, g.usable * g.stride_bytes[component]) for g in self._groups for component, pool in g.pools.items()],
            progress,
        )

    def warm(self) -> None:
        """Fill the empty slots with what an earlier run used most, in the background, until the first request.

        Without an earlier run all experts are equally likely: the same ones of every layer are read.
        """
        if self._statistics is None:
            return
        known = load_likelihood(self._statistics, *self.likelihood.by_layer.shape)
        if known is None:
            known = np.tile(-np.arange(self._experts, dtype=np.float32), (len(self._layers), 1))
        else:
            self.likelihood.recall(known)
        order = np.argsort(-known, axis=None, kind="stable")[: 2 * self.places]
        layers, experts = (index.astype(np.int32) for index in np.unravel_index(order, known.shape))
        self._hook.hypura_experts_warm(
            ctypes.addressof(self._state), layers.ctypes.data, experts.ctypes.data, len(order)
        )

    def _save_statistics(self) -> None:
        visits = self._state.clock // max(1, self._state.streamed_count)
        if self._statistics is not None and visits >= _WORTH_KEEPING_PASSES:
            save_likelihood(self._statistics, self.likelihood.by_layer)

    def _tokens_served(self, slots: int, classes: int) -> int:
        """For how many tokens one layer's choices always find slots; a pass has no more than a ubatch."""
        of_class, most = slots // classes, self._ubatch_tokens
        return most if of_class * classes >= self._experts else min(most, of_class // self._per_token)

    def _drop_from(self, group: _Group, usable: int) -> None:
        self._hook.hypura_experts_drop_from(
            ctypes.addressof(self._state), ctypes.addressof(group.shared), min(usable, group.usable)
        )

    def _usable(self, group: _Group, memory_bytes: int) -> int:
        """How many of the group's slots memory_bytes for all groups allow."""
        return min(len(group.slots), group.planned * memory_bytes // self._planned_bytes)

    def _resize(self, group: _Group, usable: int) -> None:
        if usable >= group.usable:
            group.shared.usable = usable
            return
        self._drop_from(group, usable)
        for component, pool in group.pools.items():
            pool.release(usable * group.stride_bytes[component])

    @property
    def _planned_bytes(self) -> int:
        return sum(group.planned * group.slot_bytes for group in self._groups)

    def _fewest(self, classes: int) -> int:
        """Slots with which a group serves one token, even if all its experts are of one class."""
        return min(self._per_token * classes, self._experts)

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
            lambda classes: self._tokens_served(planned_slots, classes) >= self._ubatch_tokens,
        )
        for tensor in tensors:
            size = tensor.length_bytes // experts
            layouts.setdefault(tensor.address, Slices(-1, 0, size, 0, size, False, self._alignment))
        strides: dict[str, int] = {}
        for tensor in tensors:
            stride = layouts[tensor.address].stride_bytes
            strides[tensor.component] = max(strides.get(tensor.component, 0), stride)
        slack = max(layout.slack_bytes for layout in layouts.values())
        most = max(planned_slots, min(planned.most_slots, experts * len(layers)))
        slots = (state.Slot * most)(*(state.Slot(layer=-1) for _ in range(most)))
        group = _Group(
            shared=state.Group(slots=most, usable=planned_slots, classes=classes, slot=slots),
            slots=slots,
            planned=planned_slots,
            stride_bytes=strides,
            pools={component: Pool(most * stride + slack) for component, stride in strides.items()},
        )
        self._groups.append(group)
        components: set[tuple[str, ...]] = set()
        for number in layers:
            mine = [t for t in tensors if t.layer == number]
            own = sorted(mine, key=lambda t: (t.address in self._rows, t.component))
            components.add(tuple(t.component for t in own))
            self._add_layer(number, group, [(t, layouts[t.address]) for t in own])
        if len(components) > 1:
            raise LoadFailed("the plan groups layers whose experts have different parts; plan again")

    def _add_layer(self, number: int, group: _Group, own: Sequence[tuple[StreamedTensor, Slices]]) -> None:
        """Describe one layer to the hook; weights come first in `own`."""
        weights = [slices for tensor, slices in own if tensor.address not in self._rows]
        if len(weights) > state.MAX_WEIGHTS or len(own) > state.MAX_PARTS:
            raise LoadFailed(f"layer {number} has experts of {len(own)} tensors, more than hypura knows how to stream")
        layer = self._layers[number]
        layer.experts, layer.slot_of = self._experts, self._slot_of[number].ctypes.data
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
            self._hook.hypura_tensor_slots(tensor.address, dimension, len(group.slots), stride)
            self._hook.hypura_tensor_place(tensor.address, pool.address + slices.shift_bytes)


def _expert_dimension(tensor: StreamedTensor, experts: int) -> int:
    """2 for fused weights, 1 for biases, 0 for scales. Raises LoadFailed for anything else."""
    dimension = len(tensor.shape) - 1
    while dimension > 0 and tensor.shape[dimension] == 1:
        dimension -= 1
    if tensor.shape[dimension] != experts or tensor.length_bytes % experts:
        raise LoadFailed(f"{tensor.name} has shape {tensor.shape}, whose last dimension is not {experts} experts")
    return dimension
