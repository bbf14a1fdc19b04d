"""Whole layers through a ring of places, read ahead of the forward pass.

    layer order    0  1  2* 3  4* 5  6* …        * streamed, the others pinned
    ring, depth 3  [ 2: computing ][ 4: read ][ 6: being read ]
                     └ free as soon as a node needs layer 4; then 8 is read into it

The order of layers is not assumed: which unit followed which is remembered from pass to
pass, and a unit that nobody foresaw is read on demand.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hypura.v1 import placement_pb2
from hypura_worker.errors import DecodeFailed, LoadFailed, ReadFailed
from hypura_worker.llama.arena import Arena
from hypura_worker.llama.hooks import Callbacks
from hypura_worker.llama.library import address_of, ggml_calls, hook
from hypura_worker.streaming.geometry import Slices, lay_out
from hypura_worker.streaming.memory import Pool
from hypura_worker.streaming.reader import Alignment, Batch, Reader
from hypura_worker.streaming.streamer import StreamCounters
from hypura_worker.streaming.tensors import StreamedTensor

_ACQUIRE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.POINTER(ctypes.c_int32), ctypes.c_int32)
_LEAST_DEPTH = 2


class _Entry(ctypes.Structure):
    """hypura_dense_tensor of hook.h."""

    _fields_ = (("tensor", ctypes.c_void_p), ("unit", ctypes.c_int32), ("reserved", ctypes.c_int32))


class _State(ctypes.Structure):
    """hypura_dense of hook.h."""

    _fields_ = (
        ("ggml", ctypes.c_void_p),
        ("arena", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
        ("table_length", ctypes.c_int32),
        ("failed", ctypes.c_int32),
        ("acquire", _ACQUIRE),
        ("held", ctypes.c_int32 * 10),
        ("held_count", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
    )


@dataclass(frozen=True, slots=True)
class _Unit:
    """One layer's streamed tensors: (address, layout, where in the place it goes)."""

    layer: int
    parts: tuple[tuple[int, Slices, int], ...]
    size_bytes: int


@dataclass(slots=True)
class _Place:
    """Room for one unit. unit: which is in it, or being read into it, by `batch`."""

    address: int
    unit: int | None = None
    batch: Batch = field(default_factory=Batch)


class DenseStreamer:
    """Serves the layers that a pass computes with; see the module's docstring.

    tensors: those of the streamed layers. Raises LoadFailed for a ring too shallow.
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
        alignment = Alignment(plan.io.offset_alignment_bytes, plan.io.memory_alignment_bytes)
        self._units = _units(tensors, descriptors, alignment)
        depth = min(plan.dense.ring_depth, len(self._units))
        if depth < min(_LEAST_DEPTH, len(self._units)):
            raise LoadFailed(f"a ring of {depth} layers is too shallow; the least is {_LEAST_DEPTH}")
        self._place_bytes = max(unit.size_bytes for unit in self._units)
        self._pool = Pool(depth * self._place_bytes)
        self._depth = depth
        self._places = [self._place(number) for number in range(depth)]
        self._place_of: dict[int, _Place] = {}
        self._follower = {unit: (unit + 1) % len(self._units) for unit in range(len(self._units))}
        self._last_unit: int | None = None
        self._ubatch_tokens = plan.ubatch_tokens
        self._pinned = len(plan.dense.pinned_layers)
        self._uses = self._misses = 0
        table_length = 1 << (4 * len(tensors)).bit_length()
        self._table = (_Entry * table_length)()
        self._acquire = _ACQUIRE(self._on_acquire)
        self._state = _State(
            ggml=ctypes.addressof(ggml_calls()),
            arena=arena.handle,
            table=ctypes.addressof(self._table),
            table_length=table_length,
            acquire=self._acquire,
        )
        for number, unit in enumerate(self._units):
            for address, _, _ in unit.parts:
                self._hook.hypura_dense_insert(ctypes.addressof(self._state), address, number)

    @property
    def callbacks(self) -> Callbacks:
        """What the context is made with."""
        return Callbacks(
            address_of(self._hook.hypura_dense_eval),
            address_of(self._hook.hypura_dense_abort),
            ctypes.addressof(self._state),
        )

    @property
    def places(self) -> int:
        """Ring places in use."""
        return len(self._places)

    @property
    def place_bytes(self) -> int:
        """Memory of the ring when it is filled."""
        return len(self._places) * self._place_bytes

    @property
    def pass_tokens(self) -> int:
        """As many as planned: a layer serves any number of tokens."""
        return self._ubatch_tokens

    @property
    def least_bytes(self) -> int:
        """The least that `fit` can do with."""
        return min(_LEAST_DEPTH, len(self._units)) * self._place_bytes

    @property
    def most_bytes(self) -> int:
        """The ring as planned: what is pinned cannot be more later."""
        return self._depth * self._place_bytes

    def fit(self, memory_bytes: int) -> None:
        """Use at most memory_bytes for the ring."""
        if memory_bytes < self.least_bytes:
            raise LoadFailed(
                f"{memory_bytes / 1e6:.0f} MB are left for the ring, and the least is "
                f"{self.least_bytes / 1e6:.0f} MB; raise --memory, or lower --context"
            )
        depth = min(self._depth, memory_bytes // self._place_bytes)
        self._state.held_count = 0
        for place in self._places[depth:]:
            self._settle(place)
            self._forget(place)
        del self._places[depth:]
        self._pool.release(depth * self._place_bytes)
        self._places += [self._place(number) for number in range(len(self._places), depth)]

    def begin(self) -> None:
        """Forget the failure of the last pass."""
        if self._state.failed:
            self._state.held_count = 0
        self._failure = None
        self._state.failed = 0
        self._uses += self._pinned

    def failure(self) -> Exception | None:
        """Why the last pass failed, if it did."""
        if self._state.failed:
            return self._failure or DecodeFailed("a streamed layer could not be served")
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
        for place in self._places:
            self._settle(place)
        self._pool.close()

    def _on_acquire(self, units: ctypes._Pointer[ctypes.c_int32], count: int) -> int:
        # ctypes prints an exception raised in a callback and goes on: nothing may escape.
        wanted = [units[i] for i in range(count)]
        try:
            self._serve(wanted)
        except Exception as error:
            self._failure = error
            self._point_somewhere(wanted)
            return 1
        return 0

    def _serve(self, wanted: list[int]) -> None:
        """Have these units in memory; whatever else the ring holds may give way."""
        for unit in wanted:
            if self._last_unit is not None and self._last_unit != unit:
                self._follower[self._last_unit] = unit
            self._last_unit = unit
        self._uses += len(wanted)
        keep = list(dict.fromkeys([*wanted, *self._ahead(wanted[-1])]))[: max(len(self._places), len(wanted))]
        if len(wanted) > len(self._places):
            raise DecodeFailed(f"one node needs {len(wanted)} streamed layers, the ring holds {len(self._places)}")
        free = [place for place in self._places if place.unit not in keep]
        for unit in keep:
            if unit not in self._place_of:
                self._read(unit, free.pop())
        for unit in wanted:
            place = self._place_of[unit]
            try:
                self._reader.wait(place.batch)
            except ReadFailed as error:
                self._forget(place)
                raise ReadFailed(f"layer {self._units[unit].layer}: {error}") from error

    def _ahead(self, unit: int) -> list[int]:
        """The units expected after this one, as many as the ring holds."""
        order = []
        for _ in self._places:
            unit = self._follower[unit]
            order.append(unit)
        return order

    def _place(self, number: int) -> _Place:
        return _Place(self._pool.address + number * self._place_bytes)

    def _read(self, number: int, place: _Place) -> None:
        self._settle(place)
        self._forget(place)
        self._misses += 1
        place.batch = Batch()
        first = np.zeros(1, np.int64)
        reads = []
        for address, slices, offset in self._units[number].parts:
            start = place.address + offset
            reads.append(slices.reads(first, np.array([start], np.uint64)))
            self._hook.hypura_tensor_place(address, start + slices.shift_bytes)
        whole = np.concatenate(reads)
        place.unit = number
        self._place_of[number] = place
        self._reader.submit(whole, place.batch)

    def _settle(self, place: _Place) -> None:
        """Wait until nothing is read into the place any more; what failed there is nobody's yet."""
        if place.unit is not None:
            try:
                self._reader.wait(place.batch)
            except ReadFailed:
                self._forget(place)

    def _forget(self, place: _Place) -> None:
        if place.unit is not None:
            del self._place_of[place.unit]
        place.unit = None

    def _point_somewhere(self, units: list[int]) -> None:
        """After a failure llama.cpp computes up to the next check all the same: let it find memory.

        What is pointed elsewhere is no longer where its place is, so the place forgets it.
        """
        for unit in units:
            if unit in self._place_of:
                self._settle(self._place_of[unit])
            if unit in self._place_of:
                self._forget(self._place_of[unit])
            for address, slices, offset in self._units[unit].parts:
                self._hook.hypura_tensor_place(address, self._pool.address + offset + slices.shift_bytes)


def _units(tensors: Sequence[StreamedTensor], descriptors: Sequence[int], alignment: Alignment) -> list[_Unit]:
    """One unit per layer, tensors in file order."""
    units = []
    for layer in sorted({tensor.layer for tensor in tensors}):
        parts, offset = [], 0
        members = (tensor for tensor in tensors if tensor.layer == layer)
        for tensor in sorted(members, key=lambda t: (t.file, t.offset_bytes)):
            slices = lay_out(descriptors[tensor.file], tensor.offset_bytes, tensor.length_bytes, 1, alignment)
            parts.append((tensor.address, slices, offset))
            offset += slices.stride_bytes
        units.append(_Unit(layer, tuple(parts), offset))
    return units
