"""Slots and rings are fitted to the memory that is really left."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypura.v1 import placement_pb2 as pb
from hypura_worker.errors import LoadFailed
from hypura_worker.loaded_model import LlamaModel
from tests.worker.plans import make_plan


def test_fewer_slots_make_shorter_passes(moe_model: Path) -> None:
    """Seen: a plan that missed by 2 % failed the load, though a smaller pass would have run."""
    model = LlamaModel(make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=32, ubatch_tokens=4))
    try:
        assert model.streamer is not None
        whole = model.streamer.place_bytes
        model.streamer.fit(whole * 5 // 32)
        assert (model.streamer.places, model.streamer.pass_tokens(whole * 5 // 32)) == (5, 2)
        assert model.streamer.place_bytes <= whole * 5 // 32
        with pytest.raises(LoadFailed, match="the least is"):
            model.streamer.fit(whole // 32)
    finally:
        model.close()
    plan = make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=32, ubatch_tokens=4)
    plan.memory_limit_bytes = 1  # less than the process has by now: everything must give way
    with pytest.raises(LoadFailed, match=r"raise --memory"):
        LlamaModel(plan)


def test_the_fewest_slots_are_enough(moe_model: Path) -> None:
    """Seen: the least was one byte more than the most, and what was planned did not load."""
    plan = make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=2, ubatch_tokens=1)
    plan.memory_limit_bytes = 8 << 30
    model = LlamaModel(plan)
    try:
        assert model.streamer is not None
        assert model.streamer.least_bytes == model.streamer.most_bytes == model.streamer.place_bytes
        model.streamer.fit(model.streamer.least_bytes)
        assert (model.streamer.places, model.pass_tokens) == (2, 1)
    finally:
        model.close()


def test_slots_take_what_the_plan_left_over(moe_model: Path) -> None:
    plan = make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=12)
    for group in plan.experts.groups:
        group.max_slots = 32
    plan.memory_limit_bytes = 8 << 30
    model = LlamaModel(plan)
    try:
        assert model.streamer is not None
        assert model.streamer.places == 32
        least, most = model.memory_limits
        assert least < plan.memory_limit_bytes
        assert model.resize(least) == least
        assert model.streamer.places < 12
        assert model.resize(most) == most
        assert model.streamer.places == 32
    finally:
        model.close()


def test_the_ring_shrinks_to_two_places(dense_model: Path) -> None:
    model = LlamaModel(make_plan(dense_model, pb.MODE_DENSE_STREAMING, ring_depth=4))
    try:
        assert model.streamer is not None
        whole = model.streamer.place_bytes
        model.streamer.fit(whole * 3 // 4)
        assert model.streamer.places == 3
        with pytest.raises(LoadFailed, match="the least is"):
            model.streamer.fit(whole // 4)
    finally:
        model.close()
