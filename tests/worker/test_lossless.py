"""Streaming never changes a logit: every architecture on the planner's lists, on random models, bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import llama_cpp  # noqa: F401 - before numpy
import numpy as np
import pytest
from gguf import GGUFReader

from hypura.v1 import placement_pb2 as pb
from hypura_daemon.models.gguf.architectures import DENSE_STREAMING, EXPERT_STREAMING
from hypura_daemon.models.model import open_model
from hypura_daemon.planning.plan import LoadRequest
from hypura_daemon.planning.wire import plan_to_proto
from tests.budgets import planned
from tests.models.random_architectures import list_architectures, list_predicting, write_random_model
from tests.worker.passes import all_logits
from tests.worker.plans import make_plan

COMMON = {
    "llama", "qwen2moe", "qwen3", "qwen3moe", "qwen3next", "qwen35moe", "gpt-oss", "deepseek2", "glm4moe",
    "gemma3", "gemma3n", "gemma4", "phi3", "olmoe",
}  # fmt: skip
ROOT = Path(__file__).parents[2]


def _compare(path: Path, kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.worker.lossless", str(path), kind],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr[-2000:]
    cases = json.loads(done.stdout)["cases"]
    assert len(cases) >= 4
    assert set(cases.values()) == {"equal"}, cases


def _cases() -> list[Any]:
    cases = []
    for architecture, moe in list_architectures():
        marks = () if architecture in COMMON else (pytest.mark.slow,)
        if moe and architecture in EXPERT_STREAMING:
            cases.append(pytest.param(architecture, True, "expert", id=f"{architecture}-experts", marks=marks))
        if architecture in DENSE_STREAMING:
            kind = "moe-layers" if moe else "layers"
            slow = (pytest.mark.slow,) if moe else marks
            cases.append(pytest.param(architecture, moe, "dense", id=f"{architecture}-{kind}", marks=slow))
    return cases


@pytest.mark.parametrize(("architecture", "moe", "kind"), _cases())
def test_streamed_logits_equal_resident_logits(architecture: str, moe: bool, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_random_model(architecture, moe, path)
    _compare(path, kind)


def _predicting() -> list[Any]:
    cases = []
    for architecture, moe in list_predicting():
        slow = () if architecture in ("glm4moe", "qwen35") else (pytest.mark.slow,)
        if moe and architecture in EXPERT_STREAMING:
            cases.append(pytest.param(architecture, True, "expert", id=f"{architecture}-experts", marks=slow))
        if architecture in DENSE_STREAMING:
            slow = slow or ((pytest.mark.slow,) if moe else ())
            cases.append(pytest.param(architecture, moe, "dense", id=f"{architecture}-layers", marks=slow))
    return cases


@pytest.mark.parametrize(("architecture", "moe", "kind"), _predicting())
def test_a_layer_that_predicts_further_tokens_is_left_out(
    architecture: str, moe: bool, kind: str, tmp_path: Path
) -> None:
    """Seen: alone in its group of slots, since its types are its own, it ended the load with "min() arg is empty"."""
    path = tmp_path / "model.gguf"
    write_random_model(architecture, moe, path, prediction_type="F16")
    _compare(path, kind)


@pytest.mark.parametrize(("architecture", "moe"), [("glm4moe", True), ("qwen35", False)])
@pytest.mark.parametrize("kind", ["F16", "F32"])
def test_what_is_planned_of_a_model_that_predicts_loads(
    architecture: str, moe: bool, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.gguf"
    write_random_model(architecture, moe, path, prediction_type=kind)
    model = open_model(path, "predicts")
    tokens, found = list(range(3, 23)), []
    for percent in (None, 70.0, 0.0):
        made = planned(model, LoadRequest(memory_limit_bytes=2_000_000_000, exact=True, weight_cache_percent=percent))
        found.append(all_logits(plan_to_proto(made), tokens, 12))
        assert {tensor.layer for tensor in made.tensors} == {-1, 0, 1, 2, 3}
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])


@pytest.mark.parametrize("architecture", ["qwen3moe", "gpt-oss"])
def test_slices_that_are_no_multiple_of_a_block(architecture: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_random_model(architecture, True, path, aligned=False)
    _compare(path, "expert")


@pytest.mark.parametrize("kind", ["expert", "dense"])
def test_gemma4_26b_a4b(kind: str, tmp_path: Path) -> None:
    """Gate and up apart, token embeddings that are the output too, none per layer, K and V of every layer."""
    path = tmp_path / "model.gguf"
    keys = {"embedding_length_per_layer_input": 0, "attention.shared_kv_layers": 0}
    write_random_model("gemma4", True, path, tied=True, fused=False, more=keys, without=r"(per_layer|.*inp_gate).*")
    names = {tensor.name for tensor in GGUFReader(path).tensors}
    assert {"blk.0.ffn_gate_exps.weight", "blk.0.ffn_up_exps.weight", "blk.0.ffn_down_exps.scale"} <= names
    assert not any("per_layer" in name or name == "output.weight" or "gate_up" in name for name in names)
    _compare(path, kind)


def test_gemma4_e4b(tmp_path: Path) -> None:
    """Embeddings of every layer, read by row though those of the token are the output too."""
    path = tmp_path / "model.gguf"
    write_random_model("gemma4", False, path, tied=True)
    plan = make_plan(path, pb.MODE_DENSE_STREAMING, embedding_cache_bytes=1 << 20)
    by_row = [t.name for t in plan.tensors if t.role == pb.TENSOR_ROLE_EMBEDDING and t.tier == pb.TIER_NVME]
    assert by_row == ["per_layer_token_embd.weight"]
    _compare(path, "dense")


def test_the_lists_include_common_architectures() -> None:
    assert COMMON - {"qwen3", "gemma3", "gemma3n", "phi3"} <= EXPERT_STREAMING
    assert {"llama", "qwen3", "gemma3", "gemma3n", "gemma4", "phi3", "rwkv6", "rwkv7"} <= DENSE_STREAMING
    assert "grovemoe" not in EXPERT_STREAMING, "the nodes of its two expert banks have the same name"
