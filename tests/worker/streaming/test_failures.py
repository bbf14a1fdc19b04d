"""A read that fails ends the requests that need it, with an error, and no others."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path
from typing import Any

import pytest

from hypura.v1 import placement_pb2 as pb
from hypura_worker.errors import DecodeFailed, EngineBroken, LoadFailed, ModelFileChanged, ReadFailed
from hypura_worker.llama.graph import _Calls
from hypura_worker.loaded_model import LlamaModel
from hypura_worker.streaming.experts import ExpertStreamer
from tests.worker.conftest import running
from tests.worker.plans import make_plan

LAYER, EXPERTS = 2, 8


def _with_a_hole(model: Path, folder: Path) -> Path:
    """A copy of the model that ends with a second copy of one fused tensor, cut off before its last expert."""
    path = folder / "hole.gguf"
    shutil.copy(model, path)
    tensor = _tensor(make_plan(path, pb.MODE_EXPERT_STREAMING))
    data = path.read_bytes()
    start = tensor.extent.offset_bytes
    with path.open("ab") as file:
        file.write(data[start : start + tensor.extent.length_bytes * (EXPERTS - 1) // EXPERTS])
    return path


def _tensor(plan: pb.Plan) -> pb.TensorPlacement:
    return next(t for t in plan.tensors if t.name == f"blk.{LAYER}.ffn_down_exps.weight")


def _plan_with_hole(path: Path, **options: Any) -> pb.Plan:
    """Reads the tensor from its second copy, whose last expert is past the end of the file."""
    plan = make_plan(path, pb.MODE_EXPERT_STREAMING, slots=12, direct=False, exact=False, **options)
    extent = _tensor(plan).extent
    extent.offset_bytes = path.stat().st_size - extent.length_bytes * (EXPERTS - 1) // EXPERTS
    return plan


def test_a_failed_read_ends_only_the_requests_that_need_it(moe_model: Path, tmp_path: Path) -> None:
    """Seen before the abort path: the decode continued at full speed with wrong ids."""
    path = _with_a_hole(moe_model, tmp_path)
    prompts = [[3 + 7 * i, 5 + i, 60 - i] for i in range(12)]
    with running(make_plan(path, pb.MODE_EXPERT_STREAMING, slots=12, exact=False)) as sound:
        expected = [sound.tokens(p, 3) for p in prompts]
    with running(_plan_with_hole(path)) as alone:
        outcomes = [_outcome(alone, p) for p in prompts]
    hit = [outcome is None for outcome in outcomes]
    assert any(hit) and not all(hit), "the prompts must fall on both sides of the hole"
    assert [o for o in outcomes if o is not None] == [e for e, failed in zip(expected, hit, strict=True) if not failed]
    with running(_plan_with_hole(path, sequences=4, ubatch_tokens=4)) as together:
        answers = [together.ask(p, 3)[1] for p in prompts]
        for answer, failed, tokens in zip(answers, hit, expected, strict=True):
            if failed:
                with pytest.raises(ReadFailed, match=f"expert 7 of layer {LAYER}.*truncated"):
                    answer.wait()
            else:
                answer.wait()
                assert answer.tokens == tokens
        assert not together.broken


def _outcome(engine: object, prompt: list[int]) -> list[int] | None:
    try:
        return engine.tokens(prompt, 3)  # type: ignore[attr-defined]
    except ReadFailed:
        return None


def test_a_failed_layer_ends_the_request_and_the_next_is_right(dense_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "dense.gguf"
    shutil.copy(dense_model, path)
    plan = make_plan(path, pb.MODE_DENSE_STREAMING, direct=False)
    bad = next(t for t in plan.tensors if t.name == "blk.3.ffn_up.weight")
    bad.extent.offset_bytes = path.stat().st_size - 100
    with running(plan) as engine:
        for _ in range(2):
            _, answer = engine.ask([1, 2, 3], 4)
            with pytest.raises(ReadFailed, match="layer 3"):
                answer.wait()
        assert not engine.broken


def test_a_file_written_to_while_loaded_stops_the_model(moe_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "changing.gguf"
    shutil.copy(moe_model, path)
    with running(make_plan(path, pb.MODE_EXPERT_STREAMING, slots=16)) as engine:
        engine.tokens([1, 2, 3], 2)
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - 4096)
        _, answer = engine.ask([1, 2, 3], 2)
        with pytest.raises(ModelFileChanged, match="changed since it was planned"):
            answer.wait()
        assert len(engine.broken) == 1
        with pytest.raises(EngineBroken):
            engine.ask([1], 1)


def test_a_deleted_file_stays_readable_through_its_descriptor(moe_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "gone.gguf"
    shutil.copy(moe_model, path)
    with running(make_plan(path, pb.MODE_EXPERT_STREAMING, slots=16)) as engine:
        before = engine.tokens([9, 8, 7], 6)
        path.unlink()
        assert engine.tokens([9, 8, 7], 6) == before


def test_a_file_that_changed_before_the_load_is_refused(moe_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "old.gguf"
    shutil.copy(moe_model, path)
    plan = make_plan(path, pb.MODE_EXPERT_STREAMING)
    path.touch()
    with pytest.raises(ModelFileChanged, match="plan"):
        LlamaModel(plan)
    path.unlink()
    with pytest.raises(ModelFileChanged, match="gone"):
        LlamaModel(plan)


def test_a_plan_that_does_not_fit_the_model_is_refused(moe_model: Path) -> None:
    plan = make_plan(moe_model, pb.MODE_EXPERT_STREAMING)
    plan.experts.experts_per_layer = 7
    with pytest.raises(LoadFailed, match="7 experts"):
        LlamaModel(plan)


def test_a_graph_that_cannot_be_computed_says_so(moe_model: Path) -> None:
    """Seen: reported as "no memory for the ids of the chosen experts"."""
    compute = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)(lambda backend, graph: -1)
    with running(make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=8, ubatch_tokens=1, exact=False)) as engine:
        streamer = engine.model.streamer
        assert isinstance(streamer, ExpertStreamer)
        calls = _Calls.from_address(streamer._products.handle)
        real, calls.compute = calls.compute, ctypes.cast(compute, ctypes.c_void_p).value
        engine.model.slow_drive(2)  # so that products are computed row by row
        _, answer = engine.ask([1, 2, 3], 4)
        with pytest.raises(
            DecodeFailed, match=r"could not compute the products of the experts of layer \d \(status -1\)"
        ):
            answer.wait()
        calls.compute = real
        assert len(engine.tokens([1, 2, 3], 4)) == 4
        assert not engine.broken
