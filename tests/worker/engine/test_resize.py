"""A memory limit that changes while requests are answered: fewer or more slots, the same tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypura.v1 import placement_pb2 as pb
from hypura_worker.loaded_model import LlamaModel
from tests.worker.conftest import running
from tests.worker.plans import make_plan

PROMPT = [5, 9, 17, 33, 64, 12, 90, 3]
LIMIT_BYTES = 64_000_000_000


def limited(plan: pb.Plan) -> pb.Plan:
    plan.memory_limit_bytes = LIMIT_BYTES
    return plan


@pytest.mark.parametrize("mode", ["experts", "layers"])
def test_tokens_stay_the_same_while_the_cache_shrinks_and_grows(moe_model: Path, dense_model: Path, mode: str) -> None:
    model = moe_model if mode == "experts" else dense_model
    plan = (
        make_plan(model, pb.MODE_EXPERT_STREAMING, slots=16)
        if mode == "experts"
        else make_plan(model, pb.MODE_DENSE_STREAMING, ring_depth=4)
    )
    with running(make_plan(model, pb.MODE_RESIDENT)) as resident:
        expected = resident.tokens(PROMPT, 48)
    with running(limited(plan)) as streamed:
        engine, loaded = streamed.engine, streamed.model
        least, most = loaded.memory_limits
        assert least < LIMIT_BYTES <= most
        _, answer = streamed.ask(PROMPT, 48)
        for limit in (least, LIMIT_BYTES, (least + LIMIT_BYTES) // 2, least, most):
            assert engine.resize(limit).result(timeout=30) == limit
        answer.wait()
        assert answer.tokens == expected
        assert streamed.tokens(PROMPT, 48) == expected


def test_slots_follow_the_limit_and_give_their_memory_back(moe_model: Path) -> None:
    model = LlamaModel(limited(make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=16, ubatch_tokens=4)))
    try:
        assert model.streamer is not None
        places, (least, most) = model.streamer.places, model.memory_limits
        assert model.resize(0) == least
        assert model.streamer.places < places and model.pass_tokens == 1
        assert model.resize((least + most) // 2) == (least + most) // 2 and model.streamer.places < places
        assert model.resize(1 << 60) == most and model.streamer.places == places
        assert model.pass_tokens == 4, "a pass never takes more than planned"
    finally:
        model.close()


def test_a_resident_model_has_nothing_to_give(dense_model: Path) -> None:
    with running(limited(make_plan(dense_model, pb.MODE_RESIDENT))) as resident:
        assert resident.engine.resize(1).result(timeout=30) == LIMIT_BYTES


def test_an_engine_that_ended_refuses(moe_model: Path) -> None:
    with running(make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=32)) as streamed:
        streamed.engine.stop()
        # The thread that empties the inbox has ended: this must not wait for ever.
        with pytest.raises(Exception, match="ending"):
            streamed.engine.resize(1).result(timeout=5)
