"""Streamed experts: the slots of a plan, the compiled hook that serves them, and what it reports.

expert_groups.py   where the slots and their tensors lie
csrc/experts.c     during a pass: reads the experts that a layer chooses, and rewrites their ids to slot numbers
here               between passes: resizing, failures, counters, warming up, statistics
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hypura.v1 import placement_pb2
from hypura_worker.errors import DecodeFailed, EngineBroken, LoadFailed, ReadFailed
from hypura_worker.llama.arena import Arena
from hypura_worker.llama.context import Callbacks
from hypura_worker.llama.graph import Products
from hypura_worker.llama.library import address_of, ggml_calls, hook
from hypura_worker.streaming import embedding_rows
from hypura_worker.streaming import expert_state as state
from hypura_worker.streaming.expert_groups import ExpertGroup, ExpertGroups
from hypura_worker.streaming.pool import commit
from hypura_worker.streaming.prediction import Coactivation, Likelihood, load_likelihood, save_likelihood
from hypura_worker.streaming.reader import Reader, describe_error
from hypura_worker.streaming.streamed_tensors import StreamedTensor
from hypura_worker.streaming.streamer import StreamCounters

_WORTH_KEEPING_PASSES = 32
_LEAST_CONFIDENCE = 0.5
"""Of a prediction, to read for it, until it is known how busy the drive is."""


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
        self._experts, self._per_token = plan.experts.experts_per_layer, plan.experts.experts_per_token
        self._layout = ExpertGroups(plan, tensors, descriptors, reader)
        self._layers, self._groups = self._layout.layers, self._layout.groups
        layer_count = len(self._layers)
        self.likelihood = Likelihood(layer_count, self._experts, self._per_token)
        self._coactivation = Coactivation(layer_count, self._experts, self._per_token)
        self._scratch = state.Scratch(self._experts)
        self._products = Products(plan.threads)
        self._state = state.Experts(
            ggml=ctypes.addressof(ggml_calls()),
            arena=arena.handle,
            reader=reader.handle,
            layers=ctypes.addressof(self._layers),
            layer_count=layer_count,
            streamed_count=len(self._layout.streamed),
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
        return min(self._layout.tokens_served(self._usable(g, memory_bytes), g.shared.classes) for g in self._groups)

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

    def _drop_from(self, group: ExpertGroup, usable: int) -> None:
        self._hook.hypura_experts_drop_from(
            ctypes.addressof(self._state), ctypes.addressof(group.shared), min(usable, group.usable)
        )

    def _usable(self, group: ExpertGroup, memory_bytes: int) -> int:
        """How many of the group's slots memory_bytes for all groups allow."""
        return min(len(group.slots), group.planned * memory_bytes // self._planned_bytes)

    def _resize(self, group: ExpertGroup, usable: int) -> None:
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
