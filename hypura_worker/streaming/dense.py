"""Streamed layers: tensors go through a ring, prefetched in the order in which the forward pass uses them.

    order of use   up0 gate0 down0 up1 gate1* down1 …                  * stays in memory, never read
    ring           [ up0: computing ][ gate0: read ][ down0: being read ][ up1: queued ]
                     └ free as soon as its node is computed; the next read is queued there at once

Small tensors share the room of a large one. Where memory is left beside the ring, some of the tensors stay there once
they are read. A learning pass, which computes nothing, shows the order of use when the model is loaded; if a later pass
uses another order, its units are read on demand, and its order holds from then on.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hypura.v1 import placement_pb2
from hypura_worker.errors import DecodeFailed, LoadFailed, ReadFailed
from hypura_worker.llama.arena import Arena
from hypura_worker.llama.context import Callbacks
from hypura_worker.llama.library import address_of, ggml_calls, hook, mirrors
from hypura_worker.streaming import embedding_rows
from hypura_worker.streaming.dense_places import Kept, Ring
from hypura_worker.streaming.geometry import Slices, lay_out, paged
from hypura_worker.streaming.order import Order
from hypura_worker.streaming.pool import Pool
from hypura_worker.streaming.reader import Alignment, Batch, Reader
from hypura_worker.streaming.streamed_tensors import StreamedTensor, resident_of_the_same_kind
from hypura_worker.streaming.streamer import StreamCounters

_ACQUIRE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.POINTER(ctypes.c_int32), ctypes.c_int32)
_RELEASE = ctypes.CFUNCTYPE(ctypes.c_int32)
_LEAST_DEPTH = 2
"""Times the largest tensor: one is read while the other computes."""
_DONE_WITH = -1
_MISREAD = 2  # HYPURA_DENSE_MISREAD


@mirrors("hypura_dense_tensor")
class _Entry(ctypes.Structure):
    """hypura_dense_tensor of dense.h."""

    _fields_ = (("tensor", ctypes.c_void_p), ("unit", ctypes.c_int32), ("reserved", ctypes.c_int32))


@mirrors("hypura_dense")
class _State(ctypes.Structure):
    """hypura_dense of dense.h."""

    _fields_ = (
        ("ggml", ctypes.c_void_p),
        ("arena", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
        ("table_length", ctypes.c_int32),
        ("failed", ctypes.c_int32),
        ("acquire", _ACQUIRE),
        ("release", _RELEASE),
        ("holding", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
        ("learning", ctypes.c_void_p),
    )


@dataclass(frozen=True, slots=True)
class _Unit:
    """One streamed tensor: the ggml_tensor's address, and its layout in the ring."""

    name: str
    address: int
    slices: Slices


@dataclass(slots=True)
class _Loaded:
    """A unit in memory, or being read to `start` there.

    until, in the ring: the last turn that is known to use it; prefetched: its read was begun before a node needed it.
    """

    unit: int
    until: int
    start: int
    prefetched: bool
    batch: Batch = field(default_factory=Batch)


class DenseStreamer:
    """Serves the tensors that a pass computes with; see the module's docstring.

    Raises LoadFailed for a ring too small.
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
        self._failure: Exception | None = None
        self.learning: int | None = None
        """A hypura_kv: the next pass only shows it and the order of use, and ends as if aborted."""
        alignment = paged(
            Alignment(plan.io.offset_alignment_bytes, plan.io.memory_alignment_bytes),
            max(tensor.length_bytes for tensor in tensors),
        )
        in_order = sorted(tensors, key=lambda t: (t.layer, t.file, t.offset_bytes))
        self._units = [
            _Unit(
                f"{t.component} of layer {t.layer}",
                t.address,
                lay_out(descriptors[t.file], t.offset_bytes, t.length_bytes, 1, alignment),
            )
            for t in in_order
        ]
        depth = min(plan.dense.ring_depth, len(self._units))
        self._least_depth = min(_LEAST_DEPTH, len(self._units))
        if depth < self._least_depth:
            raise LoadFailed(f"a ring of {depth} tensors is too small; the least is {self._least_depth}")
        self._largest_bytes = max(unit.slices.stride_bytes for unit in self._units)
        self._planned_bytes = depth * self._largest_bytes
        self._kept = Kept(
            [unit.slices.stride_bytes for unit in self._units], self._planned_bytes, plan.dense.max_kept_bytes
        )
        self._pool = Pool(self._planned_bytes + self._kept.most_bytes)
        self._ring = Ring(self._planned_bytes)
        self._loaded: deque[_Loaded] = deque()  # As in the ring, oldest first.
        self._found: dict[int, _Loaded] = {}
        self._order = Order(range(len(self._units)))
        self._prefetched_until = 0  # The first turn that nothing is read for yet.
        self._ubatch_tokens = plan.ubatch_tokens
        self._pinned = resident_of_the_same_kind(plan, tensors)
        self._uses = self._misses = 0
        table_length = 1 << (4 * len(tensors)).bit_length()
        self._table = (_Entry * table_length)()
        self._acquire, self._release = _ACQUIRE(self._on_acquire), _RELEASE(self._on_release)
        self._state = _State(
            ggml=ctypes.addressof(ggml_calls()),
            arena=arena.handle,
            table=ctypes.addressof(self._table),
            table_length=table_length,
            acquire=self._acquire,
            release=self._release,
        )
        for number, unit in enumerate(self._units):
            self._hook.hypura_dense_insert(ctypes.addressof(self._state), unit.address, number)

    @property
    def callbacks(self) -> Callbacks:
        """What the context is created with."""
        return Callbacks(
            address_of(self._hook.hypura_dense_eval),
            address_of(self._hook.hypura_dense_abort),
            ctypes.addressof(self._state),
        )

    @property
    def places(self) -> int:
        """How many tensors of the largest size have room."""
        return self._ring.capacity_bytes // self._largest_bytes

    @property
    def place_bytes(self) -> int:
        """Memory of the ring, and of what stays beside it, when they are filled."""
        return self._ring.capacity_bytes + self._kept.size_bytes

    def pass_tokens(self, memory_bytes: int) -> int:
        """As many as planned: a tensor serves any number of tokens."""
        return self._ubatch_tokens

    @property
    def least_bytes(self) -> int:
        """The least memory that `fit` accepts."""
        return self._least_depth * self._largest_bytes

    @property
    def most_bytes(self) -> int:
        """The ring as planned, and all that may stay beside it."""
        return self._planned_bytes + self._kept.most_bytes

    def fit(self, memory_bytes: int) -> None:
        """Use at most memory_bytes for the ring as planned, and for what stays where more is left."""
        if memory_bytes < self.least_bytes:
            raise LoadFailed(
                f"{memory_bytes / 1e6:.1f} MB are left for the ring, and the least is "
                f"{self.least_bytes / 1e6:.1f} MB; raise --memory, or lower --context"
            )
        capacity_bytes = min(self._planned_bytes, memory_bytes)
        if capacity_bytes != self._ring.capacity_bytes:
            self._empty()
            self._ring = Ring(capacity_bytes)
        for unit in self._kept.fit(memory_bytes - capacity_bytes):
            self._drop_kept(unit)
        self._pool.release(capacity_bytes, self._planned_bytes - capacity_bytes)
        self._pool.release(self._kept.end_bytes)

    def begin(self) -> None:
        """Learn the order of the last pass, or forget its failure."""
        if self._state.failed:
            self._order.forget()
        elif self._order.learn(whole=not self._state.learning):
            self._empty()
        self._failure = None
        self._state.failed = self._state.holding = 0
        self._state.learning = self.learning
        if self.learning is None:
            self._uses += self._pinned

    def failure(self) -> Exception | None:
        """Why the last pass failed, if it did."""
        if self._state.failed == _MISREAD:
            return embedding_rows.misread("a node")
        if self._state.failed:
            return self._failure or DecodeFailed("a streamed tensor could not be served")
        return None

    def counters(self) -> StreamCounters:
        """Counters since the load."""
        read = self._reader.figures()
        return StreamCounters(
            hits=max(0, self._uses - self._misses),
            misses=self._misses,
            bytes_read=read.bytes,
            stall_seconds=read.wait_ns / 1e9,
            drive_seconds=read.busy_ns / 1e9,
        )

    def close(self) -> None:
        """Release the memory."""
        self._empty()
        self._pool.close()

    def _on_acquire(self, units: ctypes._Pointer[ctypes.c_int32], count: int) -> int:
        # ctypes prints an exception raised in a callback and continues: none may escape.
        wanted = [units[i] for i in range(count)]
        try:
            if self._state.learning:
                self._order.note(wanted)
                self._point_at_any_memory(wanted)
            else:
                self._serve(wanted)
        except Exception as error:
            self._failure = error
            self._point_at_any_memory(wanted)
            return 1
        return 0

    def _on_release(self) -> int:
        try:
            self._order.computed()
            self._prefetch()
        except Exception as error:
            self._failure = error
            return 1
        return 0

    def _serve(self, wanted: list[int]) -> None:
        """Have these units in memory; everything else in the ring may be dropped for them."""
        self._order.use(wanted)
        self._uses += len(wanted)
        if not self._ensure_all(wanted):
            self._empty()
            if not self._ensure_all(wanted):
                needed = sum(self._units[unit].slices.stride_bytes for unit in wanted)
                raise DecodeFailed(
                    f"one node needs {needed / 1e6:.1f} MB of streamed weights, and the ring holds "
                    f"{self._ring.capacity_bytes / 1e6:.1f} MB; raise --memory"
                )
        self._prefetch()
        for unit in wanted:
            self._await(self._found[unit])

    def _await(self, loaded: _Loaded) -> None:
        """Wait until it is in memory. A prefetch that failed is read again: its error may be gone."""
        try:
            self._reader.wait(loaded.batch)
        except ReadFailed as error:
            if loaded.prefetched:
                loaded.prefetched, loaded.batch = False, Batch()
                self._read(loaded)
                self._await(loaded)
                return
            self._forget(loaded)
            raise ReadFailed(f"{self._units[loaded.unit].name}: {error}") from error

    def _ensure_all(self, wanted: list[int]) -> bool:
        return all(self._ensure(unit, self._order.now, prefetched=False) for unit in wanted)

    def _prefetch(self) -> None:
        """Queue reads of the units that come next until the ring is full."""
        now = self._order.now
        self._prefetched_until = max(self._prefetched_until, now)
        while self._prefetched_until < now + len(self._order) and self._ensure(
            self._order.unit(self._prefetched_until), self._prefetched_until, prefetched=True
        ):
            self._prefetched_until += 1

    def _ensure(self, unit: int, turn: int, *, prefetched: bool) -> bool:
        """Have the unit in memory or being read for this turn; False if there is no room."""
        if unit in self._found:
            loaded = self._found[unit]
            loaded.until = max(loaded.until, turn)
            return True
        stays = (start := self._kept.place(unit)) is not None
        if start is None and (start := self._room(self._units[unit].slices.stride_bytes)) is None:
            return False
        self._found[unit] = loaded = _Loaded(unit, turn, start, prefetched)
        if not stays:
            self._loaded.append(loaded)
        self._read(loaded)
        return True

    def _read(self, loaded: _Loaded) -> None:
        """Begin to read it to its place."""
        slices, place = self._units[loaded.unit].slices, self._pool.address + loaded.start
        self._misses += 1
        self._hook.hypura_tensor_place(self._units[loaded.unit].address, place + slices.shift_bytes)
        self._reader.submit(slices.reads(np.zeros(1, np.int64), np.array([place], np.uint64)), loaded.batch)

    def _room(self, size_bytes: int) -> int | None:
        """A span of the ring, for which the oldest units are dropped; None if they are still needed."""
        while (start := self._ring.take(size_bytes)) is None:
            if not self._loaded or self._loaded[0].until >= self._order.now:
                return None
            self._drop_oldest()
        return start

    def _drop_kept(self, unit: int) -> None:
        """Forget a unit that has lost its place beside the ring."""
        if (loaded := self._found.pop(unit, None)) is not None:
            self._finish_read(loaded)

    def _drop_oldest(self) -> None:
        """Free the room of the oldest unit, once nothing is read into it any more; ignores an error of that read."""
        loaded = self._loaded[0]
        self._finish_read(loaded)
        self._forget(loaded)
        self._loaded.popleft()
        self._ring.give_back()

    def _empty(self) -> None:
        while self._loaded:
            self._drop_oldest()
        self._prefetched_until = self._order.now

    def _finish_read(self, loaded: _Loaded) -> None:
        """Wait until nothing is read into its place; forget it if its read failed."""
        try:
            self._reader.wait(loaded.batch)
        except ReadFailed:
            self._forget(loaded)

    def _forget(self, loaded: _Loaded) -> None:
        """Its bytes must not be used; its room becomes free when it is the oldest."""
        if self._found.get(loaded.unit) is loaded:
            del self._found[loaded.unit]
        loaded.until = _DONE_WITH

    def _point_at_any_memory(self, units: list[int]) -> None:
        """Give these units valid addresses: llama.cpp computes up to its next check whether it should abort.

        They are no longer where the ring has them, so the ring forgets them.
        """
        for unit in units:
            if unit in self._found:
                loaded = self._found[unit]
                self._finish_read(loaded)
                self._forget(loaded)
            self._hook.hypura_tensor_place(
                self._units[unit].address, self._pool.address + self._units[unit].slices.shift_bytes
            )
