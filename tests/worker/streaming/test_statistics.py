"""Expert statistics: what one load saves warms up the next, and a damaged file is ignored."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import llama_cpp  # noqa: F401 - before numpy
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hypura.v1 import placement_pb2 as pb
from hypura_worker.loaded_model import LlamaModel
from hypura_worker.streaming.prediction import load_likelihood, save_likelihood
from tests.worker.conftest import running
from tests.worker.plans import make_plan


def test_likelihoods_are_saved_and_loaded(tmp_path: Path) -> None:
    wanted = np.random.default_rng(1).uniform(1e-4, 1, (5, 16)).astype(np.float32)
    path = tmp_path / "new folder" / "model"
    save_likelihood(path, wanted)
    found = load_likelihood(path, 5, 16)
    assert found is not None
    assert np.abs(np.log10(found / wanted)).max() < 0.01
    assert path.stat().st_size < 200
    assert load_likelihood(path, 16, 5) is None, "another model's statistics"
    assert [p.name for p in path.parent.iterdir()] == ["model"]


def test_a_file_of_an_earlier_version_is_loaded(tmp_path: Path) -> None:
    """Statistics outlive an update of hypura: magic, layers, experts, then a byte per expert on a scale of decades."""
    path = tmp_path / "model"
    path.write_bytes(b"hypura1\n" + struct.pack("<II", 2, 3) + bytes([0, 255, 51, 102, 153, 204]))
    found = load_likelihood(path, 2, 3)
    assert found is not None
    assert np.allclose(found, [[1e-4, 1, 10**-3.2], [10**-2.4, 10**-1.6, 10**-0.8]], rtol=1e-5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(data=st.binary(max_size=64))
def test_a_damaged_file_is_ignored(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(data)
    assert load_likelihood(path, 2, 8) is None


def test_the_next_load_begins_warm_and_answers_the_same(moe_model: Path, tmp_path: Path) -> None:
    """Warm slots must hold what their numbers say: a warmed run's tokens equal a cold one's."""
    plan = make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=12)
    plan.experts.statistics_path = str(tmp_path / "experts")
    with running(plan) as cold:
        expected = cold.tokens([5, 6, 7], 60)
    assert (tmp_path / "experts").stat().st_size < 1000
    with running(plan) as warm:
        assert warm.tokens([5, 6, 7], 60) == expected


@pytest.mark.parametrize("content", [b"", b"junk" * 100])
def test_junk_in_place_of_statistics_does_not_stop_a_load(moe_model: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "experts"
    path.write_bytes(content)
    plan = make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=12)
    plan.experts.statistics_path = str(path)
    with running(plan) as engine:
        assert len(engine.tokens([1, 2], 4)) == 4


def test_statistics_that_cannot_be_saved_or_read_are_ignored(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    save_likelihood(blocked / "experts", np.ones((2, 8), np.float32))
    assert load_likelihood(blocked / "experts", 2, 8) is None
    assert load_likelihood(tmp_path, 2, 8) is None


def test_without_statistics_the_first_load_fills_its_slots_too(moe_model: Path, tmp_path: Path) -> None:
    """Keeps out a first prompt that reads everything, after minutes in which nothing was done."""
    plan = make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=12)
    plan.experts.statistics_path = str(tmp_path / "experts")
    model = LlamaModel(plan)
    try:
        assert model.streamer is not None
        deadline = time.monotonic() + 10
        while model.streamer.counters().bytes_read < model.streamer.place_bytes / 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert model.streamer.counters().bytes_read >= model.streamer.place_bytes / 2
    finally:
        model.close()
