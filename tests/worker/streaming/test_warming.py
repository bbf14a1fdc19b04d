"""Prefetches that are cancelled by the thousand: a pass, or a smaller memory limit, must not wait for that."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import llama_cpp  # noqa: F401 - before numpy
import numpy as np
import pytest

from hypura_worker.llama.library import ggml_calls, hook
from hypura_worker.streaming import expert_state as state
from hypura_worker.streaming.pool import Pool
from hypura_worker.streaming.prediction import Coactivation, Likelihood
from hypura_worker.streaming.reader import Reader

LAYERS, EXPERTS, PARTS = 48, 256, 3
"""12,288 experts, 36,864 reads: cancelled one by one, 500 million steps."""
SLICE_BYTES = 512
MOST_SECONDS = 0.5
LATE_MILLISECONDS = 1000


@dataclass
class Warmed:
    """A mixture of experts without a model: slots for each layer, all of which are being filled."""

    experts: state.Experts
    layers: ctypes.Array[state.Layer]
    groups: list[state.Group]

    def at(self, layer: int, expert: int) -> int:
        """The slot of the expert; -1: none."""
        slot_of = ctypes.cast(self.layers[layer].slot_of, ctypes.POINTER(ctypes.c_int32))
        return int(slot_of[expert])

    @property
    def held(self) -> int:
        return sum(self.at(layer, expert) >= 0 for layer in range(LAYERS) for expert in range(EXPERTS))


@pytest.fixture
def warmed(tmp_path: Path) -> Iterator[Warmed]:
    """Reads of all experts are queued; the drive is so slow that two are under way."""
    path = tmp_path / "experts"
    path.write_bytes(bytes(EXPERTS * SLICE_BYTES))
    descriptor, reader = os.open(path, os.O_RDONLY), Reader(2, 65_536)
    reader.delay(LATE_MILLISECONDS)
    pool, slot_of = Pool(EXPERTS * SLICE_BYTES), np.full((LAYERS, EXPERTS), -1, np.int32)
    likelihood, coactivation = Likelihood(LAYERS, EXPERTS, 8), Coactivation(LAYERS, EXPERTS, 8)
    scratch, layers = state.Scratch(EXPERTS), (state.Layer * LAYERS)()
    groups, slots = [], []
    for number in range(LAYERS):
        slots.append((state.Slot * EXPERTS)(*(state.Slot(layer=-1) for _ in range(EXPERTS))))
        groups.append(state.Group(slots=EXPERTS, usable=EXPERTS, classes=1, slot=slots[-1]))
        layer = layers[number]
        layer.experts, layer.streamed_index = EXPERTS, number
        layer.next_streamed = number + 1 if number + 1 < LAYERS else -1
        layer.slot_of, layer.group = slot_of[number].ctypes.data, ctypes.pointer(groups[-1])
        layer.weight_count = layer.part_count = PARTS
        layer.read_order[:] = range(state.MAX_WEIGHTS)
        for part in range(PARTS):
            layer.parts[part] = state.Part(
                pool=pool.address, stride_bytes=SLICE_BYTES, slice_bytes=SLICE_BYTES, step_bytes=1, fd=descriptor
            )
    experts = state.Experts(
        ggml=ctypes.addressof(ggml_calls()),
        reader=reader.handle,
        layers=ctypes.addressof(layers),
        layer_count=LAYERS,
        streamed_count=LAYERS,
        per_token=8,
        likelihood=ctypes.addressof(likelihood.state),
        coactivation=ctypes.addressof(coactivation.state),
        current=-1,
        voted_layer=-1,
    )
    scratch.attach(experts)
    numbers, ids = (n.astype(np.int32) for n in np.divmod(np.arange(LAYERS * EXPERTS), EXPERTS))
    hook().hypura_experts_warm(ctypes.addressof(experts), numbers.ctypes.data, ids.ctypes.data, numbers.size)
    found = Warmed(experts, layers, groups)
    assert found.held == LAYERS * EXPERTS
    try:
        yield found
    finally:
        reader.delay(0)
        reader.close()
        pool.close()
        os.close(descriptor)


def _processor_seconds(work: Callable[[], None]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began


def test_the_first_pass_cancels_a_warm_up_at_once(warmed: Warmed) -> None:
    """Seen: 1.2 s for 6,000 experts, under the lock that reads need."""
    begin = hook().hypura_experts_begin
    assert _processor_seconds(lambda: begin(ctypes.addressof(warmed.experts), None)) < MOST_SECONDS
    assert warmed.held <= 2, "only what threads are reading stays"
    assert _processor_seconds(lambda: begin(ctypes.addressof(warmed.experts), None)) < MOST_SECONDS


def test_dropping_slots_cancels_their_reads_at_once(warmed: Warmed) -> None:
    """A smaller memory limit, or an unload, soon after the load."""

    def shrink() -> None:
        for group in warmed.groups:
            hook().hypura_experts_drop_from(ctypes.addressof(warmed.experts), ctypes.addressof(group), EXPERTS // 2)

    assert _processor_seconds(shrink) < MOST_SECONDS
    assert warmed.held == LAYERS * EXPERTS // 2
    assert all(warmed.at(layer, expert) < EXPERTS // 2 for layer in range(LAYERS) for expert in range(EXPERTS))
