"""Streamed layers compute the resident run's logits, with any ring, any kept tensors, and after failures."""

from __future__ import annotations

import shutil
from collections import deque
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hypura.v1 import placement_pb2 as pb
from hypura_worker.errors import ReadFailed
from hypura_worker.llama.context import BatchToken
from hypura_worker.loaded_model import LlamaModel
from hypura_worker.streaming.dense_places import Kept, Ring
from hypura_worker.streaming.order import Order
from tests.worker.passes import all_logits
from tests.worker.plans import make_plan

TOKENS, PROMPT = [5, 9, 17, 33, 64, 12, 90, 3, 41, 7], 6


@pytest.fixture(scope="module")
def resident_logits(dense_model: Path) -> npt.NDArray[np.float32]:
    return all_logits(make_plan(dense_model, pb.MODE_RESIDENT), TOKENS, PROMPT)


def decode(model: LlamaModel, position: int) -> npt.NDArray[np.float32]:
    """The prompt first, then token by token, as all_logits does."""
    count = PROMPT if position == 0 else 1
    batch = [BatchToken(TOKENS[position + i], position + i, 0, i == count - 1) for i in range(count)]
    model.ready().decode(batch)
    return model.ready().logits(count - 1).copy()


def passes(model: LlamaModel) -> list[npt.NDArray[np.float32]]:
    return [decode(model, position) for position in (0, *range(PROMPT, len(TOKENS)))]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    depth=st.integers(2, 50),
    everything=st.booleans(),
    kept=st.sets(st.integers(0, 41)),
    max_kept_bytes=st.integers(0, 2_000_000),
)
def test_any_ring_and_any_tensors_kept(
    dense_model: Path,
    resident_logits: npt.NDArray[np.float32],
    depth: int,
    everything: bool,
    kept: set[int],
    max_kept_bytes: int,
) -> None:
    chances = (number in kept for number in range(10_000))
    plan = make_plan(
        dense_model,
        pb.MODE_DENSE_STREAMING,
        ring_depth=depth,
        everything=everything,
        max_kept_bytes=max_kept_bytes,
        kept=lambda name: "blk.5." not in name and name.endswith("weight") and next(chances),
    )
    assert np.array_equal(all_logits(plan, TOKENS, PROMPT), resident_logits)


def test_each_tensor_is_read_once_in_a_pass(dense_model: Path) -> None:
    """The order of use is not the file's: in a wrong order, the first pass would read most tensors again and again."""
    plan = make_plan(dense_model, pb.MODE_DENSE_STREAMING, ring_depth=3, everything=True)
    streamed = sum(t.tier == pb.TIER_NVME for t in plan.tensors)
    model = LlamaModel(plan)
    try:
        assert model.streamer is not None and model.streamer.counters().misses == 0, "a learning pass reads nothing"
        counted = []
        for position in (0, *range(PROMPT, len(TOKENS))):
            decode(model, position)
            counted.append(model.streamer.counters().misses)
    finally:
        model.close()
    ahead = counted[0] - streamed
    assert 0 < ahead < 10, "the next pass is prefetched, as far as the ring has room"
    assert counted == [streamed * (i + 1) + ahead for i in range(len(counted))]


def test_a_ring_for_all_of_it_reads_it_once(dense_model: Path, resident_logits: npt.NDArray[np.float32]) -> None:
    plan = make_plan(dense_model, pb.MODE_DENSE_STREAMING, ring_depth=1000, everything=True)
    streamed = sum(t.tier == pb.TIER_NVME for t in plan.tensors)
    model = LlamaModel(plan)
    try:
        assert np.array_equal(np.stack(passes(model)), resident_logits)
        assert model.streamer is not None and model.streamer.counters().misses == streamed
    finally:
        model.close()


def test_the_ring_shrinks_and_grows_between_passes(dense_model: Path, resident_logits: npt.NDArray[np.float32]) -> None:
    model = LlamaModel(make_plan(dense_model, pb.MODE_DENSE_STREAMING, ring_depth=6, everything=True))
    try:
        streamer = model.streamer
        assert streamer is not None
        least, most = streamer.least_bytes, streamer.most_bytes
        sizes = [most, least, (least + most) // 2, least + 4096, most]
        for size, position, expected in zip(sizes, (0, *range(PROMPT, 10)), resident_logits, strict=True):
            streamer.fit(size)
            assert streamer.place_bytes == size
            assert np.array_equal(decode(model, position), expected)
    finally:
        model.close()


def test_what_stays_beside_the_ring_is_read_once(dense_model: Path, resident_logits: npt.NDArray[np.float32]) -> None:
    """Memory that a plan had left over was not used: 0.5 of 10 GB."""
    plan = make_plan(dense_model, pb.MODE_DENSE_STREAMING, ring_depth=2, everything=True, max_kept_bytes=1 << 40)
    streamed = sum(t.tier == pb.TIER_NVME for t in plan.tensors)
    model = LlamaModel(plan)
    try:
        streamer = model.streamer
        assert streamer is not None
        assert np.array_equal(np.stack(passes(model)), resident_logits)
        assert streamer.counters().misses == streamed
        ring, most = streamer.least_bytes, streamer.most_bytes
        missed = []
        for size in (ring + (most - ring) // 2, ring + 4096, most, most):
            streamer.fit(size)
            assert streamer.place_bytes <= size
            model.ready().cut(0, 0)
            before = streamer.counters().misses
            assert np.array_equal(np.stack(passes(model)), resident_logits)
            missed.append(streamer.counters().misses - before)
        half, none, all_again, nothing_new = missed
        assert nothing_new == 0 < all_again <= streamed < half < none
    finally:
        model.close()


@given(st.lists(st.integers(1, 20), min_size=1), st.integers(0, 300), st.lists(st.integers(0, 300)))
def test_places_of_what_stays_never_overlap_nor_move(sizes: list[int], most: int, limits: list[int]) -> None:
    kept = Kept(sizes, 1000, most)
    assert all(kept.place(unit) is None for unit in range(len(sizes)))
    at: dict[int, int] = {}
    for limit in limits:
        lost = kept.fit(limit)
        now = {unit: place for unit in range(len(sizes)) if (place := kept.place(unit)) is not None}
        assert set(lost) == set(at) - set(now)
        assert all(at.get(unit, place) == place for unit, place in now.items())
        assert kept.size_bytes == sum(sizes[unit] for unit in now) <= min(limit, most)
        spans = sorted((place, place + sizes[unit]) for unit, place in now.items())
        assert all(end <= start for (_, end), (start, _) in pairwise([(0, 1000), *spans, (kept.end_bytes, 0)]))
        at = now


def test_what_stays_is_spread_evenly() -> None:
    kept = Kept([1] * 64, 0, 64)
    kept.fit(16)
    assert [unit for unit in range(64) if kept.place(unit) is not None] == list(range(0, 64, 4))


@pytest.mark.parametrize("name", ["attn_q", "ffn_gate"])
def test_after_a_failed_read_in_the_middle_of_a_layer_logits_are_right_again(
    dense_model: Path, resident_logits: npt.NDArray[np.float32], tmp_path: Path, name: str
) -> None:
    path = tmp_path / "dense.gguf"
    shutil.copy(dense_model, path)
    plan = make_plan(path, pb.MODE_DENSE_STREAMING, ring_depth=3, everything=True, direct=False)
    whole = path.stat().st_size
    bad = next(t for t in plan.tensors if t.name == f"blk.3.{name}.weight").extent
    data = path.read_bytes()[bad.offset_bytes : bad.offset_bytes + bad.length_bytes]
    bad.offset_bytes = whole + 512 - whole % 512  # where the test puts the bytes later
    model = LlamaModel(plan)
    try:
        for _ in range(2):
            with pytest.raises(ReadFailed, match=rf"{name}.weight of layer 3.*truncated"):
                decode(model, 0)
            model.ready().cut(0, 0)
        with path.open("r+b") as file:
            file.seek(bad.offset_bytes)
            file.write(data)
        assert np.array_equal(np.stack(passes(model)), resident_logits)
    finally:
        model.close()


@given(st.integers(1, 40), st.lists(st.integers(1, 20)), st.randoms())
def test_spans_of_a_ring_never_overlap(capacity: int, sizes: list[int], random: object) -> None:
    ring, held = Ring(capacity), deque[tuple[int, int]]()
    for size in sizes:
        while (start := ring.take(size)) is None and held:
            ring.give_back()
            held.popleft()
        if start is None:
            assert size > capacity
            continue
        assert 0 <= start <= capacity - size
        assert all(start + size <= other or other + length <= start for other, length in held)
        held.append((start, size))


def test_the_order_is_the_last_whole_pass_s() -> None:
    order = Order(range(4))
    order.note([2])
    order.note([0])
    assert order.learn(whole=False), "the file's order was an assumption"
    assert [order.unit(turn) for turn in range(5)] == [2, 0, 1, 3, 2]
    for unit in (2, 0, 3, 1):
        order.use([unit])
        order.computed()
    assert order.now == 7, "unit 1 came when it was not expected, as in the pass after"
    assert order.learn(whole=True) and [order.unit(turn) for turn in range(4)] == [2, 0, 3, 1]
    for unit in (2, 0, 3):
        order.use([unit])
        order.computed()
    order.forget()
    order.use([2])
    assert order.now == 4, "a failed pass is begun again, and teaches nothing"
    order.use([9])
    order.computed()
    assert order.now == 4, "an unknown unit has no turn"
    assert order.learn(whole=False) and len(order) == 5
